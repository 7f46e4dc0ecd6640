<?php

declare(strict_types=1);

namespace Workhive;

use Workerman\Connection\TcpConnection;
use Workerman\Protocols\Http\Response;

/**
 * What onWebSocketConnect has decided, told to the library.
 *
 * @internal
 */
final class Handshake
{
    public static function answer(TcpConnection $connection, int $opening): void
    {
        if ($connection->status !== TcpConnection::STATUS_ESTABLISHED) {
            $refusal = $connection->refusal instanceof Response ? $connection->refusal : new Response(403, [], (string) $connection->refusal);
            $body = $refusal->rawBody();
            Library::check(Library::$ffi->wh_opening_refuse($opening, $refusal->getStatusCode(), $body, strlen($body)));
            return;
        }
        foreach ($connection->headers as $name => $line) {
            [$name, $value] = is_string($name) ? [$name, (string) $line] : explode(':', (string) $line, 2) + [1 => ''];
            $name = trim($name, " \t");
            $value = trim($value, " \t");
            Fields::refuse($name, $value);
            Library::check(
                strcasecmp($name, 'Sec-WebSocket-Protocol') === 0
                    ? Library::$ffi->wh_opening_subprotocol($opening, $value, strlen($value))
                    : Library::$ffi->wh_opening_add_header($opening, $name, strlen($name), $value, strlen($value)),
            );
        }
    }
}
