<?php

declare(strict_types=1);

namespace Workerman\Protocols\Http;

use Stringable;
use Workhive\Fields;
use Workhive\MimeTypes;

/**
 * An answer to a request.
 *
 *     $connection->send(new Response(404, ['Content-Type' => 'text/plain'], 'nothing here'));
 *
 * Content-Length, Date, Connection and Transfer-Encoding are the library's: what is set of them only says what is wanted (`Connection: close`,
 * `Transfer-Encoding: chunked`). The reason phrase is the usual one of the status.
 */
class Response implements Stringable
{
    protected ?string $reason = null;

    /** @var ?array{string, int, int} path, offset, length */
    protected ?array $file = null;

    public function __construct(protected int $status = 200, protected array $headers = [], protected string $body = '')
    {
    }

    public function header(string $name, string $value): static
    {
        Fields::refuse($name, $value);
        $this->headers[$name] = $value;
        return $this;
    }

    public function withHeader(string $name, string $value): static
    {
        return $this->header($name, $value);
    }

    /** @param array<string, string|list<string>> $headers added to what is there */
    public function withHeaders(array $headers): static
    {
        $this->headers = array_merge_recursive($this->headers, $headers);
        return $this;
    }

    public function withoutHeader(string $name): static
    {
        unset($this->headers[$name]);
        return $this;
    }

    public function getHeader(string $name): array|string|null
    {
        return $this->headers[$name] ?? null;
    }

    public function getHeaders(): array
    {
        return $this->headers;
    }

    public function withStatus(int $code, ?string $reasonPhrase = null): static
    {
        $this->status = $code;
        $this->reason = $reasonPhrase;
        return $this;
    }

    public function getStatusCode(): int
    {
        return $this->status;
    }

    public function getReasonPhrase(): ?string
    {
        return $this->reason;
    }

    /** Without effect: the version is that of the request. */
    public function withProtocolVersion(string $version): static
    {
        return $this;
    }

    public function withBody(string $body): static
    {
        $this->body = $body;
        return $this;
    }

    public function rawBody(): string
    {
        return $this->body;
    }

    /** A file as the body, or a part of it (then the status is 206); 404 if there is none. */
    public function withFile(string $file, int $offset = 0, int $length = 0): static
    {
        if (!is_file($file)) {
            return $this->withStatus(404)->withBody('<h3>404 Not Found</h3>');
        }
        $this->file = [$file, $offset, $length];
        return $this;
    }

    public function cookie(
        string $name,
        string $value = '',
        ?int $maxAge = null,
        string $path = '',
        string $domain = '',
        bool $secure = false,
        bool $httpOnly = false,
        string $sameSite = '',
    ): static {
        $cookie = $name . '=' . rawurlencode($value)
            . ($domain === '' ? '' : "; Domain=$domain")
            . ($maxAge === null ? '' : "; Max-Age=$maxAge")
            . ($path === '' ? '' : "; Path=$path")
            . ($secure ? '; Secure' : '')
            . ($httpOnly ? '; HttpOnly' : '')
            . ($sameSite === '' ? '' : "; SameSite=$sameSite");
        Fields::refuse('Set-Cookie', $cookie);
        $this->headers['Set-Cookie'] = [...(array) ($this->headers['Set-Cookie'] ?? []), $cookie];
        return $this;
    }

    public function getMimeType(string $ext): string
    {
        return MimeTypes::of($ext);
    }

    /** The response as text, for logs and tests: what goes out is written by the library. */
    public function __toString(): string
    {
        $lines = str_replace("\n", "\r\n", Fields::lines($this->headers));
        return "HTTP/1.1 $this->status " . ($this->reason ?? '') . "\r\n{$lines}Content-Length: " . strlen($this->body) . "\r\n\r\n$this->body";
    }

    /** @internal @return ?array{string, int, int} path, offset, length */
    public function file(): ?array
    {
        return $this->file;
    }

    /** @internal What is said of a file unless the program says otherwise. @return array<string, string> */
    public function fileHeaders(string $path): array
    {
        $headers = [];
        $names = array_change_key_case($this->headers);
        if (!isset($names['content-type'])) {
            $headers['Content-Type'] = MimeTypes::of(pathinfo($path, PATHINFO_EXTENSION));
            if ($headers['Content-Type'] === MimeTypes::UNKNOWN && !isset($names['content-disposition'])) {
                $headers['Content-Disposition'] = 'attachment; filename="' . preg_replace('/["\\\\\x00-\x1f\x7f]/', '', basename($path)) . '"';
            }
        }
        if (!isset($names['last-modified'])) {
            $headers['Last-Modified'] = gmdate('D, d M Y H:i:s', (int) filemtime($path)) . ' GMT';
        }
        return $headers;
    }
}
