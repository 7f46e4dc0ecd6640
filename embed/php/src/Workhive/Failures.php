<?php

declare(strict_types=1);

namespace Workhive;

use Throwable;
use Workerman\Connection\TcpConnection;

/**
 * What becomes of an exception that a handler did not catch: its connection ends, the log has all of it, and nobody else
 * notices.
 *
 * @internal
 */
final class Failures
{
    /** Tells the library why the callback that is about to return has failed, and returns what says so. */
    public static function ofCallback(Throwable $thrown): int
    {
        $text = self::text($thrown);
        Library::$ffi->wh_fail_text($text, strlen($text));
        return Abi::ERR_CALLBACK;
    }

    /** The same for a handler, from the code that Tasks::run gave; a connection may have an errorHandler of its own. */
    public static function code(int $code): int
    {
        if ($code !== Tasks::FAILED) {
            return Abi::OK;
        }
        $connection = Tasks::$thrower;
        $thrown = self::take();
        return self::handled($connection, $thrown) ? Abi::OK : self::ofCallback($thrown);
    }

    /** A handler has failed after its callback had returned. */
    public static function later(?TcpConnection $connection, Throwable $thrown): void
    {
        if (self::handled($connection, $thrown)) {
            return;
        }
        $text = self::text($thrown);
        if ($connection === null || Library::$ffi->wh_conn_fail($connection->handle, $text, strlen($text)) !== Abi::OK) {
            self::log($thrown);
        }
    }

    public static function log(Throwable $thrown): void
    {
        ++TcpConnection::$statistics['throw_exception'];
        Log::warn(self::text($thrown));
    }

    /** Takes what the last handler has thrown. */
    public static function take(): Throwable
    {
        $thrown = Tasks::$thrown;
        Tasks::$thrown = Tasks::$thrower = null;
        ++TcpConnection::$statistics['throw_exception'];
        return $thrown;
    }

    /** All that PHP has to say; what it was comes last, where the library looks for the reason in short. */
    public static function text(Throwable $thrown): string
    {
        $before = $thrown->getPrevious() === null ? '' : self::text($thrown->getPrevious()) . "\nand then\n";
        $message = $thrown->getMessage();
        if (str_contains($message, "\n")) {
            $before .= "$message\n";
            $message = strtr($message, "\n", ' ');
        }
        $place = "{$thrown->getFile()}:{$thrown->getLine()}";
        return "{$before}at $place\n{$thrown->getTraceAsString()}\n" . get_class($thrown) . ": $message";
    }

    private static function handled(?TcpConnection $connection, Throwable $thrown): bool
    {
        if ($connection?->errorHandler === null) {
            return false;
        }
        try {
            ($connection->errorHandler)($thrown);
            return true;
        } catch (Throwable $another) {
            self::log($another);
            return false;
        }
    }
}
