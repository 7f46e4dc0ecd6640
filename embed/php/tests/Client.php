<?php

declare(strict_types=1);

namespace Workhive\Tests;

use RuntimeException;

/** A client of text, WebSocket or HTTP, as plain as can be. */
final class Client
{
    /** @var resource */
    private $socket;

    private string $buffer = '';

    public function __construct(string $address)
    {
        $socket = stream_socket_client("tcp://$address", $number, $text, 10);
        if ($socket === false) {
            throw new RuntimeException("cannot connect to $address: $text");
        }
        stream_set_timeout($socket, 20);
        $this->socket = $socket;
    }

    public static function websocket(string $address, string $path = '/', array $headers = []): self
    {
        $client = new self($address);
        $lines = implode('', array_map(static fn (string $line): string => "$line\r\n", $headers));
        $client->write("GET $path HTTP/1.1\r\nHost: $address\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " . base64_encode(random_bytes(16)) . "\r\n$lines\r\n");
        $head = $client->head();
        if (!str_starts_with($head, 'HTTP/1.1 101 ')) {
            throw new RuntimeException($head);
        }
        $client->answer = $head;
        return $client;
    }

    /** The head of the handshake's answer. */
    public string $answer = '';

    public function write(string $data): void
    {
        for ($sent = 0; $sent < strlen($data); $sent += $written) {
            $written = fwrite($this->socket, substr($data, $sent));
            if ($written === false || $written === 0) {
                throw new RuntimeException('the server takes nothing more');
            }
        }
    }

    /** Writes what the server takes at once, and leaves the rest in `$data`; until `$enough` says so, if it is given. */
    public function writeWhilePossible(string &$data, ?callable $enough = null): void
    {
        stream_set_blocking($this->socket, false);
        do {
            $written = $data === '' ? 0 : (int) fwrite($this->socket, substr($data, 0, 65536));
            $data = substr($data, $written);
            if ($enough !== null && $written === 0) {
                usleep(2000);
            }
        } while ($enough === null ? $written > 0 : $data !== '' && !$enough());
        stream_set_blocking($this->socket, true);
    }

    /** What has come, without waiting. */
    public function available(): string
    {
        stream_set_blocking($this->socket, false);
        $data = (string) stream_get_contents($this->socket);
        stream_set_blocking($this->socket, true);
        return $data;
    }

    /** Whether something comes within so many seconds. */
    public function isReadable(float $seconds): bool
    {
        $read = [$this->socket];
        $none = null;
        return stream_select($read, $none, $none, 0, (int) ($seconds * 1e6)) === 1;
    }

    /** A line, without its end; null if the server has closed. */
    public function line(): ?string
    {
        $at = $this->find("\n");
        return $at === null ? null : rtrim($this->take($at + 1), "\r\n");
    }

    public function ask(string $line): ?string
    {
        $this->write("$line\n");
        return $this->line();
    }

    /** Everything up to the empty line. */
    public function head(): string
    {
        $at = $this->find("\r\n\r\n");
        return $at === null ? '' : $this->take($at + 4);
    }

    public function send(string $message, int $opcode = 1): void
    {
        $length = strlen($message);
        $head = $length < 126 ? chr(0x80 | $length) : ($length < 65536 ? chr(0xfe) . pack('n', $length) : chr(0xff) . pack('J', $length));
        $mask = random_bytes(4);
        $this->write(chr(0x80 | $opcode) . $head . $mask . ($message ^ substr(str_repeat($mask, intdiv($length, 4) + 1), 0, $length)));
    }

    /** The next message and its opcode; null if the server has closed without a close frame. @return ?array{int, string} */
    public function frame(): ?array
    {
        if (!$this->has(2)) {
            return null;
        }
        $length = ord($this->buffer[1]) & 0x7f;
        $head = 2 + ($length === 126 ? 2 : ($length === 127 ? 8 : 0));
        $this->has($head);
        $length = match ($length) {
            126 => unpack('n', $this->buffer, 2)[1],
            127 => unpack('J', $this->buffer, 2)[1],
            default => $length,
        };
        $this->has($head + $length);
        $frame = $this->take($head + $length);
        $opcode = ord($frame[0]) & 0x0f;
        return $opcode === 9 || $opcode === 10 ? $this->frame() : [$opcode, substr($frame, $head)];
    }

    public function message(): ?string
    {
        return $this->frame()[1] ?? null;
    }

    /** The code of the server's close frame; null if there was none. */
    public function closeCode(): ?int
    {
        while (($frame = $this->frame()) !== null) {
            if ($frame[0] === 8) {
                return strlen($frame[1]) >= 2 ? unpack('n', $frame[1])[1] : 1005;
            }
        }
        return null;
    }

    /** A request, and status, head and body of its answer. @return array{int, string, string} */
    public function http(string $line, string $body = '', array $headers = []): array
    {
        $lines = implode('', array_map(static fn (string $field): string => "$field\r\n", $headers));
        $this->write("$line HTTP/1.1\r\nHost: test\r\nContent-Length: " . strlen($body) . "\r\n$lines\r\n$body");
        return $this->reply();
    }

    /** @return array{int, string, string} */
    public function reply(): array
    {
        $head = $this->head();
        $body = '';
        if (preg_match('/^content-length: (\d+)/mi', $head, $match) === 1) {
            $this->has((int) $match[1]);
            $body = $this->take((int) $match[1]);
        } elseif (preg_match('/^transfer-encoding: chunked/mi', $head) === 1) {
            while (($size = hexdec($this->line() ?? '0')) > 0) {
                $this->has($size + 2);
                $body .= substr($this->take($size + 2), 0, -2);
            }
            $this->line();
        }
        return [(int) substr($head, 9, 3), $head, $body];
    }

    public function close(): void
    {
        fclose($this->socket);
    }

    private function find(string $what): ?int
    {
        while (($at = strpos($this->buffer, $what)) === false) {
            if (!$this->has(strlen($this->buffer) + 1)) {
                return null;
            }
        }
        return $at;
    }

    private function has(int $length): bool
    {
        while (strlen($this->buffer) < $length) {
            $more = fread($this->socket, 65536);
            if ($more === '' || $more === false) {
                if (stream_get_meta_data($this->socket)['timed_out']) {
                    throw new RuntimeException('the server says nothing; so far: ' . substr($this->buffer, 0, 200));
                }
                return false;
            }
            $this->buffer .= $more;
        }
        return true;
    }

    private function take(int $length): string
    {
        $taken = substr($this->buffer, 0, $length);
        $this->buffer = substr($this->buffer, $length);
        return $taken;
    }
}
