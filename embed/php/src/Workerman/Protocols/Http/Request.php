<?php

declare(strict_types=1);

namespace Workerman\Protocols\Http;

use AllowDynamicProperties;
use FFI;
use LogicException;
use Stringable;
use Workerman\Connection\TcpConnection;
use Workhive\Abi;
use Workhive\FormData;
use Workhive\Library;
use Workhive\TemporaryFiles;

/**
 * A request. While the handler runs it is read from the library as far as it is asked for; who keeps it has it whole.
 *
 *     $name = $request->get('name', 'nobody');
 *
 * There are no sessions (`session()`): they would need a store that all processes share.
 */
#[AllowDynamicProperties]
class Request implements Stringable
{
    /** Most parts of a form with files. */
    public static int $maxFileUploads = 1024;

    public ?TcpConnection $connection = null;

    /** A place for the program's own things. */
    public array $context = [];
    public array $properties = [];

    /** The library's number while it lends the request; 0 afterwards. */
    private int $lent = 0;
    private bool $isOpening = false;

    private ?string $method = null;
    private string $target = '/';
    private string $path = '/';
    private string $query = '';
    private string $version = '1.1';
    private ?string $head = null;
    private ?string $body = null;

    private ?array $get = null;
    private ?array $post = null;
    private ?array $files = null;
    private ?TemporaryFiles $uploaded = null;
    private ?array $fields = null;
    private ?array $cookies = null;

    /**
     * @param string $buffer a whole request as it comes over the wire
     * @param int $lent the library's number of one that it lends
     */
    public function __construct(string $buffer = '', ?TcpConnection $connection = null, int $lent = 0)
    {
        $this->connection = $connection;
        $this->lent = $lent;
        if ($buffer === '') {
            return;
        }
        [$head, $this->body] = explode("\r\n\r\n", $buffer, 2) + [1 => ''];
        [$line, $this->head] = explode("\r\n", $head, 2) + [1 => ''];
        [$this->method, $this->target, $version] = explode(' ', $line, 3) + ['', '/', 'HTTP/1.0'];
        $this->version = substr($version, 5);
        [$path, $this->query] = explode('?', $this->target, 2) + [1 => ''];
        $this->path = $path === '' ? '/' : $path;
    }

    /** @internal */
    public static function opening(TcpConnection $connection, int $lent): self
    {
        $request = new self('', $connection, $lent);
        $request->isOpening = true;
        $request->body = '';
        return $request;
    }

    /** @internal Copies what was not read yet: the library is about to take it back. */
    public function keep(): void
    {
        if ($this->lent !== 0) {
            $this->read();
            $this->readBody();
            $this->readHead();
            $this->lent = 0;
        }
    }

    public function method(): string
    {
        return $this->method ?? $this->read()->method;
    }

    public function uri(): string
    {
        $this->method ?? $this->read();
        return $this->target;
    }

    public function path(): string
    {
        $this->method ?? $this->read();
        return $this->path;
    }

    public function queryString(): string
    {
        $this->method ?? $this->read();
        return $this->query;
    }

    public function protocolVersion(): string
    {
        $this->method ?? $this->read();
        return $this->version;
    }

    /** A field, its name in any case; all of them by lower-case names. Those that came twice are joined by commas. */
    public function header(?string $name = null, mixed $default = null): mixed
    {
        if ($name === null) {
            return $this->fields();
        }
        if ($this->fields === null && $this->lent !== 0) {
            $result = $this->isOpening
                ? Library::$ffi->wh_opening_header($this->lent, $name, strlen($name), Library::$bytesAddress)
                : Library::$ffi->wh_request_header($this->lent, $name, strlen($name), Library::$bytesAddress);
            if ($result === Abi::OK && Library::copy(Library::$bytes) === null) {
                return $default;
            }
        }
        return $this->fields()[strtolower($name)] ?? $default;
    }

    public function host(bool $withoutPort = false): ?string
    {
        $host = $this->header('host');
        return $host !== null && $withoutPort ? preg_replace('/:\d{1,5}$/', '', $host) : $host;
    }

    /** Of the query string. */
    public function get(?string $name = null, mixed $default = null): mixed
    {
        if ($this->get === null) {
            parse_str($this->queryString(), $this->get);
        }
        return $name === null ? $this->get : $this->get[$name] ?? $default;
    }

    /** Of the body: a form, or JSON. */
    public function post(?string $name = null, mixed $default = null): mixed
    {
        $this->post ?? $this->parseBody();
        return $name === null ? $this->post : $this->post[$name] ?? $default;
    }

    /** An uploaded file: `name`, `tmp_name`, `size`, `error`, `type`. The file is gone when the request is. */
    public function file(?string $name = null): mixed
    {
        $this->files ?? $this->parseBody();
        return $name === null ? $this->files : $this->files[$name] ?? null;
    }

    public function cookie(?string $name = null, mixed $default = null): mixed
    {
        if ($this->cookies === null) {
            $this->cookies = [];
            foreach (explode(';', (string) $this->header('cookie', '')) as $cookie) {
                [$key, $value] = explode('=', $cookie, 2) + [1 => null];
                if ($value !== null) {
                    $this->cookies[trim($key)] = $value;
                }
            }
        }
        return $name === null ? $this->cookies : $this->cookies[$name] ?? $default;
    }

    public function rawBody(): string
    {
        return $this->body ?? $this->readBody();
    }

    /** The request line and the fields. */
    public function rawHead(): string
    {
        $line = "{$this->method()} {$this->uri()} HTTP/{$this->protocolVersion()}";
        $head = $this->head ?? $this->readHead();
        return $head === '' ? $line : "$line\r\n$head";
    }

    public function rawBuffer(): string
    {
        return "{$this->rawHead()}\r\n\r\n{$this->rawBody()}";
    }

    public function toArray(): array
    {
        return [
            'method' => $this->method(),
            'uri' => $this->uri(),
            'path' => $this->path(),
            'queryString' => $this->queryString(),
            'protocolVersion' => $this->protocolVersion(),
            'host' => $this->host(),
            'headers' => $this->header(),
            'get' => $this->get(),
            'post' => $this->post(),
            'cookies' => $this->cookie(),
            'files' => $this->file(),
        ];
    }

    public function session(): never
    {
        throw new LogicException('there are no sessions in workhive: keep what belongs to a user in a store that all processes share, under a cookie of your own');
    }

    public function __toString(): string
    {
        return $this->rawBuffer();
    }

    /** @return array<string, string> */
    private function fields(): array
    {
        if ($this->fields === null) {
            $this->fields = [];
            foreach (explode("\r\n", $this->head ?? $this->readHead()) as $line) {
                [$name, $value] = explode(':', $line, 2) + [1 => null];
                if ($value === null) {
                    continue;
                }
                $name = strtolower($name);
                $value = trim($value, " \t");
                $this->fields[$name] = isset($this->fields[$name]) ? "{$this->fields[$name]},$value" : $value;
            }
        }
        return $this->fields;
    }

    private function read(): self
    {
        if ($this->lent === 0) {
            $this->method ??= 'GET';
            return $this;
        }
        static $view = null, $address = null, $size = 0;
        if ($view === null) {
            $view = Library::$ffi->new('wh_request_view');
            $address = FFI::addr($view);
            $size = FFI::sizeof($view);
        }
        Library::check(
            $this->isOpening
                ? Library::$ffi->wh_opening_read($this->lent, $address, $size)
                : Library::$ffi->wh_request_read($this->lent, $address, $size),
        );
        $this->method = (string) Library::copy($view->method);
        $this->target = (string) Library::copy($view->target);
        $this->path = (string) Library::copy($view->path);
        $this->query = (string) Library::copy($view->query);
        $this->version = "$view->version_major.$view->version_minor";
        // A body is copied now if it is short: to come back for it would cost more.
        if ($this->body === null && $view->body->len <= 4096) {
            $this->body = (string) Library::copy($view->body);
        }
        return $this;
    }

    private function readBody(): string
    {
        if ($this->body === null && $this->lent !== 0) {
            $view = Library::$ffi->new('wh_request_view');
            Library::check(Library::$ffi->wh_request_read($this->lent, FFI::addr($view), FFI::sizeof($view)));
            $this->body = (string) Library::copy($view->body);
        }
        return $this->body ??= '';
    }

    private function readHead(): string
    {
        if ($this->head === null && $this->lent !== 0) {
            Library::check(
                $this->isOpening
                    ? Library::$ffi->wh_opening_headers($this->lent, Library::$bytesAddress)
                    : Library::$ffi->wh_request_headers($this->lent, Library::$bytesAddress),
            );
            $this->head = str_replace("\n", "\r\n", rtrim((string) Library::copy(Library::$bytes), "\n"));
        }
        return $this->head ??= '';
    }

    private function parseBody(): void
    {
        $this->post = $this->files = [];
        $body = $this->rawBody();
        $type = (string) $this->header('content-type', '');
        if ($body === '') {
            return;
        }
        if (preg_match('/^multipart\/form-data;.*\bboundary="?([^";]+)"?/i', $type, $match) === 1) {
            [$this->post, $this->files] = FormData::parse($body, $match[1], static::$maxFileUploads);
            $this->uploaded = new TemporaryFiles($this->files);
        } elseif (preg_match('/\bjson\b/i', $type) === 1) {
            $this->post = (array) json_decode($body, true);
        } else {
            parse_str($body, $this->post);
        }
    }
}
