<?php

declare(strict_types=1);

namespace Protocols;

use RuntimeException;
use Workerman\Connection\ConnectionInterface;
use Workerman\Protocols\ProtocolInterface;

/** `5:hello,`: a decimal number of at most eight digits, a colon, so many bytes, a comma. */
class Netstring implements ProtocolInterface
{
    private const DIGITS = 8;

    public static function input(string $buffer, ConnectionInterface $connection): int
    {
        $colon = strspn($buffer, '0123456789');
        if ($colon > self::DIGITS || ($colon === 0 && $buffer !== '')) {
            return -1;
        }
        if ($colon === strlen($buffer)) {
            return 0;
        }
        return $buffer[$colon] === ':' ? $colon + (int) $buffer + 2 : -1;
    }

    public static function decode(string $buffer, ConnectionInterface $connection): string
    {
        if (!str_ends_with($buffer, ',')) {
            throw new RuntimeException('a netstring ends with a comma');
        }
        return substr($buffer, strpos($buffer, ':') + 1, -1);
    }

    public static function encode(mixed $data, ConnectionInterface $connection): string
    {
        return strlen((string) $data) . ":$data,";
    }
}
