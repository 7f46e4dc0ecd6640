<?php

declare(strict_types=1);

namespace Workerman\Protocols;

use Workerman\Connection\ConnectionInterface;

/** Messages behind their length (four bytes, big-endian, itself included); see Text for what this class is for. */
class Frame implements ProtocolInterface
{
    private const HEAD = 4;

    public static function input(string $buffer, ConnectionInterface $connection): int
    {
        if (strlen($buffer) < self::HEAD) {
            return 0;
        }
        $length = unpack('N', $buffer)[1];
        return $length < self::HEAD ? -1 : $length;
    }

    public static function decode(string $buffer, ConnectionInterface $connection): string
    {
        return substr($buffer, self::HEAD);
    }

    public static function encode(mixed $data, ConnectionInterface $connection): string
    {
        return pack('N', self::HEAD + strlen((string) $data)) . $data;
    }
}
