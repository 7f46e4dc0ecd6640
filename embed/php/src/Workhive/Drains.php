<?php

declare(strict_types=1);

namespace Workhive;

use Workerman\Connection\TcpConnection;
use Workerman\Timer;

/**
 * Connections whose buffer is full by the program's measure. The library tells of an empty buffer only where it has refused
 * a message itself; Workerman's programs are told before one is lost, and wait for onBufferDrain. So it is looked after here.
 *
 * @internal
 */
final class Drains
{
    /** How often it is looked, in seconds: the less often the longer nobody has taken all, so that slow clients cost little. */
    private const SHORTEST = 0.002;
    private const LONGEST = 0.064;

    /** @var array<int, TcpConnection> by the library's number */
    private static array $watched = [];

    private static int $timer = 0;
    private static float $pause = self::SHORTEST;

    public static function watch(TcpConnection $connection): void
    {
        if (isset(self::$watched[$connection->handle])) {
            return;
        }
        self::$watched[$connection->handle] = $connection;
        if (self::$timer === 0 || self::$pause > self::SHORTEST) {
            Timer::del(self::$timer);
            self::lookIn(self::SHORTEST);
        }
    }

    private static function lookIn(float $pause): void
    {
        self::$pause = $pause;
        self::$timer = Timer::own($pause, self::look(...), false);
    }

    private static function look(): void
    {
        self::$timer = 0;
        $pause = min(2 * self::$pause, self::LONGEST);
        foreach (self::$watched as $handle => $connection) {
            if (!$connection->isFull || $connection->status === TcpConnection::STATUS_CLOSED) {
                unset(self::$watched[$handle]);
            } elseif ($connection->bufferIsEmpty()) {
                unset(self::$watched[$handle]);
                $pause = self::SHORTEST;
                Tasks::settle(Events::bufferDrain($handle));
            }
        }
        // A handler of these may have begun to look again.
        if (self::$watched !== [] && self::$timer === 0) {
            self::lookIn($pause);
        }
    }
}
