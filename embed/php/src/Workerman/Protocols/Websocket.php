<?php

declare(strict_types=1);

namespace Workerman\Protocols;

/** The values of `$connection->websocketType`; the protocol itself is in the library. */
class Websocket
{
    /** Text, which has to be UTF-8. */
    public const BINARY_TYPE_BLOB = "\x81";

    /** Binary. */
    public const BINARY_TYPE_ARRAYBUFFER = "\x82";
}
