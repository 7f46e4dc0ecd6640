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
    /** How often it is looked, in seconds. */
    private const EVERY = 0.002;

    /** @var array<int, TcpConnection> by the library's number */
    private static array $watched = [];

    private static int $timer = 0;

    public static function watch(TcpConnection $connection): void
    {
        self::$watched[$connection->handle] = $connection;
        if (self::$timer === 0) {
            self::$timer = Timer::add(self::EVERY, self::look(...));
        }
    }

    private static function look(): void
    {
        foreach (self::$watched as $handle => $connection) {
            if (!$connection->isFull || $connection->status === TcpConnection::STATUS_CLOSED) {
                unset(self::$watched[$handle]);
            } elseif ($connection->bufferIsEmpty()) {
                unset(self::$watched[$handle]);
                Tasks::settle(Events::bufferDrain($handle));
            }
        }
        if (self::$watched === []) {
            Timer::del(self::$timer);
            self::$timer = 0;
        }
    }
}
