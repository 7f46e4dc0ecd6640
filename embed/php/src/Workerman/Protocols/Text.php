<?php

declare(strict_types=1);

namespace Workerman\Protocols;

use Workerman\Connection\ConnectionInterface;

/**
 * Lines of text. `text://` workers have it from the library; this class is for connections whose `protocol` is set to
 * it later, and for protocols that build on it.
 */
class Text implements ProtocolInterface
{
    public static function input(string $buffer, ConnectionInterface $connection): int
    {
        $end = strpos($buffer, "\n");
        if ($end === false) {
            return strlen($buffer) >= ($connection->maxPackageSize ?? PHP_INT_MAX) ? -1 : 0;
        }
        return $end + 1;
    }

    public static function decode(string $buffer, ConnectionInterface $connection): string
    {
        return rtrim($buffer, "\r\n");
    }

    public static function encode(mixed $data, ConnectionInterface $connection): string
    {
        return "$data\n";
    }
}
