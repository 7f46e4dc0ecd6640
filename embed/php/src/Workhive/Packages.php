<?php

declare(strict_types=1);

namespace Workhive;

use Throwable;
use Workerman\Connection\TcpConnection;

/**
 * Protocols of the program's own: classes with `input`, `decode` and `encode`, run here on the bytes of a plain
 * connection, since they are given the connection and may decode into any PHP value.
 *
 * @internal
 */
final class Packages
{
    /** Takes bytes, and brings every whole package in them to onMessage. */
    public static function take(TcpConnection $connection, string $data): int
    {
        $connection->received .= $data;
        // A handler that waits or pauses leaves the rest for later; one that closes leaves it for nobody.
        while ($connection->received !== '' && self::mayGoOn($connection)) {
            $package = self::next($connection);
            if ($package === null) {
                break;
            }
            ++TcpConnection::$statistics['total_request'];
            $message = $connection->protocol === null ? $package : $connection->protocol::decode($package, $connection);
            $handler = $connection->onMessage ?? $connection->worker->onMessage;
            if ($handler === null) {
                continue;
            }
            $code = Tasks::run($connection, $handler, [$connection, $message]);
            if ($code === Tasks::FAILED) {
                return $code;
            }
            if ($code === Tasks::WAITS) {
                $connection->task->line[] = [self::take(...), [$connection, '']];
                break;
            }
        }
        return Tasks::DONE;
    }

    private static function mayGoOn(TcpConnection $connection): bool
    {
        return $connection->status === TcpConnection::STATUS_ESTABLISHED && !$connection->isPaused;
    }

    /** The next whole package, or null if more has to come or the connection is broken. */
    private static function next(TcpConnection $connection): ?string
    {
        if ($connection->protocol === null) {
            [$package, $connection->received] = [$connection->received, ''];
            return $package;
        }
        $length = $connection->packageLength;
        if ($length === 0) {
            try {
                $length = $connection->protocol::input($connection->received, $connection);
            } catch (Throwable $thrown) {
                Failures::log($thrown);
                $length = false;
            }
            // So much without a package would go on for ever.
            $isEndless = $length === 0 && strlen($connection->received) > $connection->maxPackageSize;
            if (($length === 0 && !$isEndless) || $connection->status !== TcpConnection::STATUS_ESTABLISHED) {
                return null;
            }
            if ($isEndless || $length === false || $length < 0 || $length > $connection->maxPackageSize) {
                Log::warn("{$connection->protocol}: a package from {$connection->getRemoteAddress()} is broken or too long: its connection is closed");
                $connection->destroy();
                return null;
            }
        }
        if ($length > strlen($connection->received)) {
            $connection->packageLength = $length;
            return null;
        }
        $connection->packageLength = 0;
        $package = substr($connection->received, 0, $length);
        $connection->received = substr($connection->received, $length);
        return $package;
    }
}
