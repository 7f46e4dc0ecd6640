<?php

declare(strict_types=1);

namespace Workhive;

use InvalidArgumentException;
use Workerman\Connection\TcpConnection;
use Workerman\Protocols\Http\Chunk;
use Workerman\Protocols\Http\Response;
use Workerman\Protocols\Http\ServerSentEvents;

/**
 * Answers to HTTP requests.
 *
 * @internal
 */
final class Replies
{
    private const HTML = "Content-Type: text/html;charset=utf-8\n";

    public static function send(TcpConnection $connection, mixed $reply, bool $raw): bool|null
    {
        if ($reply instanceof Response) {
            return self::response($connection, $reply);
        }
        if ($raw && is_string($reply) && !$connection->isStreaming) {
            return self::response($connection, self::parsed($reply));
        }
        if ($reply instanceof Chunk || $reply instanceof ServerSentEvents || $connection->isStreaming) {
            return self::chunk($connection, TcpConnection::text($reply), $reply instanceof Chunk);
        }
        $body = is_string($reply) ? $reply : TcpConnection::text($reply);
        $result = Library::$ffi->wh_conn_respond($connection->handle, 200, self::HTML, strlen(self::HTML), $body, strlen($body));
        return $result === Abi::OK ? true : $connection->notSent($result, $body);
    }

    /** Ends a response of several chunks. */
    public static function lastChunk(TcpConnection $connection): void
    {
        $connection->isStreaming = false;
        Library::$ffi->wh_conn_chunk($connection->handle, null, 0, 1);
    }

    private static function response(TcpConnection $connection, Response $response): bool|null
    {
        $file = $response->file();
        if ($file !== null) {
            return FileSender::send($connection, $response, ...$file);
        }
        $flags = 0;
        $lines = Fields::lines($response->getHeaders(), $flags);
        $body = $response->rawBody();
        $status = $response->getStatusCode();
        $result = ($flags & Fields::IS_STREAM) !== 0
            ? self::begin($connection, $status, $lines, $body)
            : Library::$ffi->wh_conn_respond($connection->handle, $status, $lines, strlen($lines), $body, strlen($body));
        if ($result !== Abi::OK) {
            return $connection->notSent($result, $body);
        }
        if ($flags === Fields::WANTS_CLOSE) {
            $connection->close();
        }
        return true;
    }

    private static function begin(TcpConnection $connection, int $status, string $lines, string $body): int
    {
        $result = Library::$ffi->wh_conn_respond_stream($connection->handle, $status, $lines, strlen($lines));
        if ($result !== Abi::OK) {
            return $result;
        }
        $connection->isStreaming = true;
        return $body === '' ? Abi::OK : Library::$ffi->wh_conn_chunk($connection->handle, $body, strlen($body), 0);
    }

    /** An empty Chunk is the last one. */
    private static function chunk(TcpConnection $connection, string $data, bool $mayEnd): bool|null
    {
        if ($data === '') {
            if ($mayEnd) {
                self::lastChunk($connection);
            }
            return true;
        }
        $result = Library::$ffi->wh_conn_chunk($connection->handle, $data, strlen($data), 0);
        return $result === Abi::OK ? true : $connection->notSent($result, $data);
    }

    /** A whole response that the program has written itself. */
    private static function parsed(string $text): Response
    {
        [$head, $body] = explode("\r\n\r\n", $text, 2) + [1 => null];
        $lines = explode("\r\n", $head);
        if ($body === null || preg_match('#^HTTP/1\.\d (\d{3})(?: |$)#', array_shift($lines), $match) !== 1) {
            throw new InvalidArgumentException('what is sent raw to an HTTP client has to be a whole response, its head included');
        }
        $headers = [];
        foreach ($lines as $line) {
            [$name, $value] = explode(':', $line, 2) + [1 => ''];
            $headers[$name][] = trim($value);
        }
        return new Response((int) $match[1], $headers, $body);
    }
}
