<?php

declare(strict_types=1);

namespace Workerman\Protocols;

use Workerman\Connection\ConnectionInterface;

/** A protocol of the program's own: `new Worker('myproto://..')` finds the class `Protocols\Myproto`. */
interface ProtocolInterface
{
    /** Length of the first package in the buffer; 0: more bytes are needed to tell; negative: broken, the connection ends. */
    public static function input(string $buffer, ConnectionInterface $connection): int;

    /** What onMessage is called with, from a whole package. */
    public static function decode(string $buffer, ConnectionInterface $connection): mixed;

    /** The bytes to be sent for what `send` was given. */
    public static function encode(mixed $data, ConnectionInterface $connection): string;
}
