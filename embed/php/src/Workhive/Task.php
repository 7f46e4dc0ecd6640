<?php

declare(strict_types=1);

namespace Workhive;

use Fiber;
use Throwable;
use Workerman\Connection\TcpConnection;

/**
 * A handler that waits. Its connection is held meanwhile: a drain waits for it, a client that has said its last word
 * still gets its answer, and what else happens on the connection waits in line.
 *
 * @internal
 */
final class Task
{
    /** @var ?callable(?Throwable): void */
    public mixed $after = null;

    /** @var list<array{callable, list<mixed>}> what has happened on the connection meanwhile */
    public array $line = [];

    public function __construct(public readonly Fiber $fiber, public readonly ?TcpConnection $connection)
    {
        if ($connection === null) {
            return;
        }
        if ($connection->task === null) {
            $connection->task = $this;
            Library::$ffi->wh_conn_hold($connection->handle);
            Library::$ffi->wh_conn_pause($connection->handle);
        }
    }

    /** The handler has ended. */
    public function end(?Throwable $thrown): void
    {
        $connection = $this->connection;
        if ($connection?->task === $this) {
            $connection->task = null;
            if (!$connection->isPaused) {
                Library::$ffi->wh_conn_resume($connection->handle);
            }
            Library::$ffi->wh_conn_release($connection->handle);
        }
        if ($this->after !== null) {
            self::guarded($connection, $this->after, [$thrown]);
        } elseif ($thrown !== null) {
            Failures::later($connection, $thrown);
        }
        while ($this->line !== [] && $connection->task === null) {
            self::guarded($connection, ...array_shift($this->line));
        }
        if ($this->line !== []) {
            $connection->task->line = array_merge($this->line, $connection->task->line);
            $this->line = [];
        }
    }

    /** Whatever goes wrong in it, the line goes on: at its end is the connection's own. */
    private static function guarded(?TcpConnection $connection, callable $event, array $arguments): void
    {
        try {
            if ($event(...$arguments) === Tasks::FAILED) {
                Failures::later($connection, Failures::take());
            }
        } catch (Throwable $thrown) {
            Failures::later($connection, $thrown);
        }
    }
}
