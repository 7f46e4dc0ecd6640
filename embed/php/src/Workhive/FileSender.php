<?php

declare(strict_types=1);

namespace Workhive;

use RuntimeException;
use Workerman\Connection\TcpConnection;
use Workerman\Protocols\Http\Response;

/**
 * A file on its way to an HTTP client. Small ones are sent at once; of a large one a piece is read whenever the client has
 * taken what it was sent before.
 *
 * @internal
 */
final class FileSender
{
    /** Up to here a file is read whole, in bytes. */
    private const SMALL = 512 * 1024;

    /** What is read at once of a larger one, in bytes: it has to fit into the send buffer. */
    private const PIECE = 256 * 1024;

    /** @param resource $file */
    private function __construct(
        private readonly TcpConnection $connection,
        private readonly string $path,
        private $file,
        private int $left,
        private string $piece = '',
    ) {
    }

    public static function send(TcpConnection $connection, Response $response, string $path, int $offset, int $length): bool|null
    {
        $size = (int) filesize($path);
        $left = max(0, $length > 0 ? min($length, $size - $offset) : $size - $offset);
        $file = fopen($path, 'rb');
        if ($file === false || fseek($file, $offset) !== 0) {
            throw new RuntimeException("cannot read $path from byte $offset on");
        }
        $response = clone $response;
        if ($offset > 0 || $length > 0) {
            $response->withStatus(206)->header('Content-Range', sprintf('bytes %d-%d/%d', $offset, $offset + max(0, $left - 1), $size));
        }
        $lines = Fields::lines($response->getHeaders() + $response->fileHeaders($path));
        if ($left <= self::SMALL) {
            $body = $left === 0 ? '' : (string) stream_get_contents($file, $left);
            $result = Library::$ffi->wh_conn_respond($connection->handle, $response->getStatusCode(), $lines, strlen($lines), $body, strlen($body));
            return $result === Abi::OK ? true : $connection->notSent($result, $body);
        }
        $result = Library::$ffi->wh_conn_respond_stream($connection->handle, $response->getStatusCode(), $lines, strlen($lines));
        if ($result !== Abi::OK) {
            return $connection->notSent($result, '');
        }
        $connection->isStreaming = true;
        $connection->file = new self($connection, $path, $file, $left);
        $connection->file->goOn();
        return null;
    }

    /** Sends pieces until the buffer is full, or all is sent. */
    public function goOn(): void
    {
        while ($this->piece !== '' || $this->left > 0) {
            if ($this->piece === '') {
                $this->piece = (string) fread($this->file, min(self::PIECE, $this->left));
                $this->left -= strlen($this->piece);
                if ($this->piece === '') {
                    Log::warn("{$this->path} has become shorter while it was sent: the connection is ended");
                    $this->over();
                    $this->connection->destroy();
                    return;
                }
            }
            $result = Library::$ffi->wh_conn_chunk($this->connection->handle, $this->piece, strlen($this->piece), 0);
            if ($result === Abi::ERR_FULL) {
                return;
            }
            if ($result !== Abi::OK) {
                $this->over();
                return;
            }
            $this->piece = '';
        }
        $this->over();
        if ($this->connection->status === TcpConnection::STATUS_CLOSING) {
            $this->connection->goodbye();
        } else {
            Replies::lastChunk($this->connection);
        }
    }

    private function over(): void
    {
        fclose($this->file);
        $this->connection->file = null;
        $this->left = 0;
        $this->piece = '';
    }
}
