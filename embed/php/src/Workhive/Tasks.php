<?php

declare(strict_types=1);

namespace Workhive;

use Fiber;
use LogicException;
use Throwable;
use Workerman\Connection\TcpConnection;

/**
 * Where the program's handlers run: each in a fiber, so that one which asks the hive something (is this user online?)
 * can wait for the answer in the middle of a line while the process goes on with other connections.
 *
 * To make a fiber costs a hundred times what it costs to go on with one, so fibers are kept: each runs one handler
 * after another. Only a handler that really waits gets a Task.
 *
 * @internal
 */
final class Tasks
{
    public const DONE = Abi::OK;
    public const WAITS = Abi::PENDING;
    public const FAILED = Abi::ERR_CALLBACK;

    /** The connection whose handler runs, if it is one's. */
    public static ?TcpConnection $connection = null;

    /** What the handler that has just failed has thrown, and whose it was. Whoever gets FAILED takes it (Failures). */
    public static ?Throwable $thrown = null;
    public static ?TcpConnection $thrower = null;

    private static ?Fiber $running = null;
    private static ?Task $task = null;
    private static bool $done = false;
    private static bool $isWaiting = false;
    private static mixed $callback = null;

    /** @var list<Fiber> fibers without work; the last one is used next, since its memory is warm */
    private static array $idle = [];

    /** @var array<int, Task|null> who waits for which answer; null: nobody yet */
    private static array $waiting = [];

    /** @var array<int, mixed> answers that nobody has taken yet */
    private static array $answers = [];

    private static int $lastToken = 0;

    /** Fibers kept for later; handlers that wait at the same time have as many as they need. */
    private const MAX_IDLE = 64;

    /**
     * Runs a handler until it has ended (DONE), has thrown (FAILED, see $thrown) or waits (WAITS: it goes on when the
     * answer comes, and then `$after` is called with what it has thrown, or null).
     *
     * @param callable $callback not declared so: PHP would look at it twice
     * @param list<mixed> $arguments
     * @param ?callable(?Throwable): void $after
     */
    public static function run(?TcpConnection $connection, mixed $callback, array $arguments, ?callable $after = null): int
    {
        if (self::$running !== null) {
            return self::runInside($connection, $callback, $arguments, $after);
        }
        $fiber = array_pop(self::$idle) ?? self::fiber();
        self::$connection = $connection;
        self::$running = $fiber;
        self::$callback = $callback;
        self::$done = false;
        $fiber->resume($arguments);
        while (!self::$done) {
            if (self::$task !== null && self::$isWaiting) {
                self::$isWaiting = false;
                self::$task->after = $after;
                self::$running = self::$task = self::$connection = null;
                return self::WAITS;
            }
            self::refuse($fiber);
        }
        self::$idle[] = $fiber;
        self::$running = self::$task = self::$connection = null;
        if (self::$thrown === null) {
            return self::DONE;
        }
        self::$thrower = $connection;
        return self::FAILED;
    }

    /** The same for a handler that is called because of what another one does, which goes on afterwards. */
    private static function runInside(?TcpConnection $connection, mixed $callback, array $arguments, ?callable $after): int
    {
        $outer = [self::$running, self::$connection, self::$task];
        self::$running = self::$task = null;
        $code = self::run($connection, $callback, $arguments, $after);
        [self::$running, self::$connection, self::$task] = $outer;
        return $code;
    }

    /** What became of a handler that was run inside another one: a failure of it ends its connection. */
    public static function settle(int $code): void
    {
        if ($code === self::FAILED) {
            $connection = self::$thrower;
            Failures::later($connection, Failures::take());
        }
    }

    /** Whether the code that runs is a handler in a fiber of ours, and so can wait; in onWorkerStop no answer would come. */
    public static function canWait(): bool
    {
        return Process::$isWorker && self::$running !== null && Fiber::getCurrent() === self::$running;
    }

    /** Whether it is this one that goes on now, and does not wait. */
    public static function isAt(Task $task): bool
    {
        return self::$task === $task;
    }

    /** A number under which an answer will come. */
    public static function ask(): int
    {
        $token = ++self::$lastToken;
        self::$waiting[$token] = null;
        return $token;
    }

    /** The question was not put, or nobody will wait for its answer. */
    public static function forget(int $token): void
    {
        unset(self::$waiting[$token], self::$answers[$token]);
    }

    /** Waits for the answer. */
    public static function wait(int $token): mixed
    {
        if (!array_key_exists($token, self::$answers)) {
            if (!self::canWait()) {
                self::forget($token);
                throw new LogicException('only handlers can wait for an answer of the hive, and not from a Fiber that they made themselves');
            }
            self::$waiting[$token] = self::$task ??= new Task(self::$running, self::$connection);
            // Handlers that have run inside this one may have left it set.
            self::$done = false;
            self::$isWaiting = true;
            Fiber::suspend();
        }
        $answer = self::$answers[$token];
        self::forget($token);
        return $answer;
    }

    /** The answer has come. Whoever waits for it goes on at once, inside this call. */
    public static function answer(int $token, mixed $answer): void
    {
        if (!array_key_exists($token, self::$waiting)) {
            return;
        }
        self::$answers[$token] = $answer;
        $task = self::$waiting[$token];
        if ($task !== null) {
            self::$waiting[$token] = null;
            self::goOn($task);
        }
    }

    private static function goOn(Task $task): void
    {
        $outerConnection = self::$connection;
        $outerFiber = self::$running;
        $outerTask = self::$task;
        self::$connection = $task->connection;
        self::$running = $task->fiber;
        self::$task = $task;
        self::$done = false;
        $task->fiber->resume();
        while (!self::$done && !self::$isWaiting) {
            self::refuse($task->fiber);
        }
        self::$isWaiting = false;
        $done = self::$done;
        $thrown = self::$thrown;
        self::$thrown = null;
        self::$connection = $outerConnection;
        self::$running = $outerFiber;
        self::$task = $outerTask;
        if ($done) {
            if (count(self::$idle) < self::MAX_IDLE) {
                self::$idle[] = $task->fiber;
            } else {
                // It ends as a function does. To throw it away would look like an exit to its guard.
                $task->fiber->resume(null);
            }
            $task->end($thrown);
        }
    }

    /** A handler has suspended the fiber that it runs in, and nobody knows when it should go on: there it fails. */
    private static function refuse(Fiber $fiber): void
    {
        $fiber->throw(new LogicException(
            'a handler cannot suspend its own Fiber, which is workhive\'s: make one for it (new Fiber(..)), or use Timer::sleep()',
        ));
    }

    private static function fiber(): Fiber
    {
        $fiber = new Fiber(self::work(...));
        $fiber->start();
        return $fiber;
    }

    /** What a fiber does all its life. */
    private static function work(): void
    {
        $guard = new ExitGuard();
        for (;;) {
            $arguments = Fiber::suspend();
            if ($arguments === null) {
                $guard->leave();
                return;
            }
            $callback = self::$callback;
            self::$callback = null;
            try {
                $callback(...$arguments);
            } catch (Throwable $thrown) {
                self::$thrown = $thrown;
                $thrown = null;
            }
            // What the handler was given ends with it, not with the next one.
            $callback = $arguments = null;
            self::$done = true;
        }
    }
}
