<?php

declare(strict_types=1);

namespace Workerman\Connection;

use JsonSerializable;
use stdClass;
use Stringable;
use Workerman\Protocols\Http\Request;
use Workerman\Protocols\Websocket;
use Workerman\Worker;
use Workhive\Abi;
use Workhive\Drains;
use Workhive\Events;
use Workhive\FileSender;
use Workhive\Library;
use Workhive\Log;
use Workhive\Replies;
use Workhive\Task;
use Workhive\Tasks;

/**
 * A connection of this process. Whatever else a program wants to know of it can be kept in properties of its own
 * (`$connection->uid = ..`).
 *
 *     $worker->onMessage = function (TcpConnection $connection, $data) {
 *         $connection->send("you said $data");
 *     };
 */
class TcpConnection extends ConnectionInterface implements JsonSerializable
{
    public const READ_BUFFER_SIZE = 87380;

    public const STATUS_INITIAL = 0;
    public const STATUS_CONNECTING = 1;
    public const STATUS_ESTABLISHED = 2;
    public const STATUS_ENDING = 4;
    public const STATUS_CLOSING = 8;
    public const STATUS_CLOSED = 16;

    public const STATUS_TO_STRING = [
        self::STATUS_INITIAL => 'INITIAL',
        self::STATUS_CONNECTING => 'CONNECTING',
        self::STATUS_ESTABLISHED => 'ESTABLISHED',
        self::STATUS_ENDING => 'ENDING',
        self::STATUS_CLOSING => 'CLOSING',
        self::STATUS_CLOSED => 'CLOSED',
    ];

    /** How a connection speaks. @internal */
    public const BYTES = 0;
    public const LINES = 1;
    public const WEBSOCKET = 2;
    public const HTTP = 3;
    public const FRAMES = 4;

    /** What leaves at the end of the turn unless the client is slow, in bytes: onClose need not wait for so much. */
    private const LEAVES_AT_ONCE = 65536;

    /** Bytes that may wait to be sent, in all connections made from then on; set it before Worker::runAll(). */
    public static int $defaultMaxSendBufferSize = 1048576;

    /** Longest message, in bytes; set it before Worker::runAll(). */
    public static int $defaultMaxPackageSize = 10485760;

    public static float $defaultLingerTimeout = 1.0;

    /** @var array<int, TcpConnection> every connection of this process, by id */
    public static array $connections = [];

    /** Its number in this process: 1, 2, .. What other processes can use is Hive::idOf(). */
    public int $id;

    public ?Worker $worker;

    public string $transport = 'tcp';

    /** A place for the program's own things. */
    public stdClass $context;

    /** For onWebSocketConnect: fields of the answer, as lines `Name: value`. */
    public array $headers = [];

    /** What `send` makes of data: Websocket::BINARY_TYPE_BLOB (text) or BINARY_TYPE_ARRAYBUFFER (binary). */
    public string $websocketType = Websocket::BINARY_TYPE_BLOB;

    public $onWebSocketConnect = null;
    public $onWebSocketConnected = null;

    public int $maxSendBufferSize;
    public int $maxPackageSize;
    public float $lingerTimeout;

    /** Whether the WebSocket message that onMessage was called with last was binary. */
    public bool $messageIsBinary = false;

    /** In onClose: the code and the reason of the client's close frame; 0 and '' if there was none. */
    public int $closeCode = 0;
    public string $closeReason = '';

    /** @internal */
    public int $status = self::STATUS_ESTABLISHED;

    /** @internal the library's number */
    public int $handle;

    /** @internal one of BYTES, LINES, FRAMES, WEBSOCKET, HTTP */
    public int $codec;

    /** @internal the handler of it that waits */
    public ?Task $task = null;

    /** @internal */
    public bool $isPaused = false;

    /** @internal whether it has ended for the program, while the library may still say goodbye to the client */
    public bool $hasLeft = false;

    /** @internal whether onBufferFull was called since the buffer was empty */
    public bool $isFull = false;

    /** @internal the handshake that onWebSocketConnect is about, while it runs */
    public int $opening = 0;

    /** @internal what onWebSocketConnect has closed with */
    public mixed $refusal = null;

    /** @internal */
    public ?Request $handshake = null;

    /** @internal bytes of a package that is not whole, for protocols of the program's own */
    public string $received = '';

    /** @internal length of that package, 0 while it is not known */
    public int $packageLength = 0;

    /** @internal the file that is being sent */
    public ?FileSender $file = null;

    /** @internal whether a response of several chunks has begun */
    public bool $isStreaming = false;

    /** @var list<array{mixed, bool}> sent before the WebSocket was open */
    private array $early = [];

    private ?string $remoteAddress = null;
    private ?string $localAddress = null;

    private static int $lastId = 0;

    /** @internal */
    public function __construct(Worker $worker, int $handle)
    {
        ++self::$statistics['connection_count'];
        $this->id = ++self::$lastId;
        $this->worker = $worker;
        $this->handle = $handle;
        $this->codec = $worker->codec;
        $this->protocol = $worker->protocol;
        $this->transport = $worker->transport;
        $this->maxSendBufferSize = self::$defaultMaxSendBufferSize;
        $this->maxPackageSize = self::$defaultMaxPackageSize;
        $this->lingerTimeout = self::$defaultLingerTimeout;
        $this->context = new stdClass();
    }

    /**
     * Sends a message. True: it is on its way. Null: it waits (before a WebSocket is open, or the protocol made nothing of
     * it). False: nothing of it is sent, since the connection is ending, or too much waits already (onError is called), or it cannot be
     * said in this protocol (the log says why).
     */
    public function send(mixed $sendBuffer, bool $raw = false): bool|null
    {
        if ($this->status !== self::STATUS_ESTABLISHED) {
            return false;
        }
        if ($this->codec === self::HTTP) {
            return Replies::send($this, $sendBuffer, $raw);
        }
        if ($this->codec === self::BYTES && $this->protocol !== null && !$raw) {
            $sendBuffer = $this->protocol::encode($sendBuffer, $this);
            if ($sendBuffer === '') {
                return null;
            }
        }
        if (!is_string($sendBuffer)) {
            $sendBuffer = self::text($sendBuffer);
        }
        if ($this->codec === self::LINES && str_contains($sendBuffer, "\n")) {
            return $this->sendLines($sendBuffer);
        }
        if ($this->maxSendBufferSize < self::$defaultMaxSendBufferSize && !$this->fits()) {
            Drains::watch($this);
            return $this->notSent(Abi::ERR_FULL, $sendBuffer);
        }
        $kind = $this->codec === self::WEBSOCKET && $this->websocketType !== Websocket::BINARY_TYPE_ARRAYBUFFER ? Abi::TEXT : Abi::BINARY;
        $result = Library::$ffi->wh_conn_send($this->handle, $kind, $sendBuffer, strlen($sendBuffer));
        if ($result !== Abi::OK) {
            return $this->notSent($result, $sendBuffer);
        }
        if (!$this->isFull && ($this->onBufferFull ?? $this->worker->onBufferFull) !== null && !$this->fits()) {
            Drains::watch($this);
            Tasks::settle($this->tellFull());
        }
        return true;
    }

    /**
     * Says goodbye as the protocol has it, when what waits is sent; with `$data` as the last words. In
     * onWebSocketConnect it refuses the handshake, with `$data` (a Response, or the body of a 403).
     *
     * For the program it ends at once: onClose is called inside this call, unless much waits to be sent, or an earlier handler of the
     * connection waits; then it is when that is over.
     */
    public function close(mixed $data = null, bool $raw = false): void
    {
        if ($this->status !== self::STATUS_ESTABLISHED) {
            return;
        }
        if ($this->opening !== 0) {
            $this->refusal = $data;
        } elseif ($data !== null) {
            $this->send($data, $raw);
        }
        $this->status = self::STATUS_CLOSING;
        if ($this->opening === 0 && $this->file === null) {
            $this->goodbye();
        }
    }

    /** Closes a WebSocket with a code (1000, 3000 to 4999) and a reason. */
    public function closeWith(int $code, string $reason = ''): void
    {
        if ($this->status !== self::STATUS_ESTABLISHED) {
            return;
        }
        $leaves = $this->getSendBufferQueueSize() <= self::LEAVES_AT_ONCE;
        Library::check(Library::$ffi->wh_conn_close_with($this->handle, $code, $reason, strlen($reason)));
        $this->status = self::STATUS_CLOSING;
        if ($leaves && $this->opening === 0) {
            Events::leave($this);
        }
    }

    /** @internal */
    public function goodbye(): void
    {
        if ($this->isStreaming) {
            Replies::lastChunk($this);
        }
        $leaves = $this->getSendBufferQueueSize() <= self::LEAVES_AT_ONCE;
        Library::$ffi->wh_conn_close($this->handle);
        if ($leaves) {
            Events::leave($this);
        }
    }

    /** Sends what waits, says that nothing more will come, and closes when the peer has, or after the linger time. */
    public function end(mixed $data = null, bool $raw = false): void
    {
        if ($this->status !== self::STATUS_ESTABLISHED) {
            return;
        }
        if ($data !== null) {
            $this->send($data, $raw);
        }
        $this->status = self::STATUS_ENDING;
        $this->onMessage = static function (): void {
        };
        Library::$ffi->wh_conn_end($this->handle);
    }

    /** Ends the connection at once; what waits is lost. */
    public function destroy(): void
    {
        if ($this->status === self::STATUS_CLOSED) {
            return;
        }
        $this->status = self::STATUS_CLOSED;
        if ($this->opening === 0) {
            Library::$ffi->wh_conn_destroy($this->handle);
            Events::leave($this);
        }
    }

    /** Takes nothing more from the peer until resumeRecv. */
    public function pauseRecv(): void
    {
        $this->isPaused = true;
        Library::$ffi->wh_conn_pause($this->handle);
    }

    public function resumeRecv(): void
    {
        if (!$this->isPaused) {
            return;
        }
        $this->isPaused = false;
        if ($this->task === null) {
            Library::$ffi->wh_conn_resume($this->handle);
            if ($this->received !== '') {
                Tasks::settle(\Workhive\Packages::take($this, ''));
            }
        }
    }

    /** Sends what comes here to `$dest`, no faster than that takes it. */
    public function pipe(self $dest): void
    {
        $this->onMessage = static fn (self $source, mixed $data) => $dest->send($data);
        $this->onClose = static fn () => $dest->close();
        $dest->onBufferFull = fn () => $this->pauseRecv();
        $dest->onBufferDrain = fn () => $this->resumeRecv();
    }

    /** For protocols of the program's own: drops bytes from the front of what was received. */
    public function consumeRecvBuffer(int $length): void
    {
        $this->received = substr($this->received, $length);
    }

    public function getRemoteIp(): string
    {
        return self::ip($this->getRemoteAddress());
    }

    public function getRemotePort(): int
    {
        return self::port($this->getRemoteAddress());
    }

    public function getRemoteAddress(): string
    {
        return $this->remoteAddress ??= (string) Library::lent('wh_conn_remote_addr', $this->handle);
    }

    public function getLocalIp(): string
    {
        return self::ip($this->getLocalAddress());
    }

    public function getLocalPort(): int
    {
        return self::port($this->getLocalAddress());
    }

    public function getLocalAddress(): string
    {
        return $this->localAddress ??= (string) Library::lent('wh_conn_local_addr', $this->handle);
    }

    public function isIpV4(): bool
    {
        return $this->transport !== 'unix' && !str_contains($this->getRemoteIp(), ':');
    }

    public function isIpV6(): bool
    {
        return $this->transport !== 'unix' && str_contains($this->getRemoteIp(), ':');
    }

    public function getStatus(bool $rawOutput = true): int|string
    {
        return $rawOutput ? $this->status : self::STATUS_TO_STRING[$this->status];
    }

    /** Bytes that wait to be sent. */
    public function getSendBufferQueueSize(): int
    {
        return Library::$ffi->wh_conn_send_queue($this->handle, Library::$number) === Abi::OK ? Library::$number[0] : 0;
    }

    public function getRecvBufferQueueSize(): int
    {
        return strlen($this->received);
    }

    public function bufferIsEmpty(): bool
    {
        return $this->getSendBufferQueueSize() === 0;
    }

    public function jsonSerialize(): array
    {
        return [
            'id' => $this->id,
            'status' => $this->getStatus(),
            'transport' => $this->transport,
            'getRemoteIp' => $this->getRemoteIp(),
            'remotePort' => $this->getRemotePort(),
            'getRemoteAddress' => $this->getRemoteAddress(),
            'getLocalIp' => $this->getLocalIp(),
            'getLocalPort' => $this->getLocalPort(),
            'getLocalAddress' => $this->getLocalAddress(),
            'isIpV4' => $this->isIpV4(),
            'isIpV6' => $this->isIpV6(),
        ];
    }

    /** bytesRead and bytesWritten are asked of the library; all else is the program's own. */
    public function &__get(string $name): mixed
    {
        if ($name === 'bytesRead' || $name === 'bytesWritten') {
            $stats = Library::$ffi->new('wh_conn_stats');
            $known = Library::$ffi->wh_conn_stats_of($this->handle, \FFI::addr($stats), \FFI::sizeof($stats)) === Abi::OK;
            $bytes = $known ? ($name === 'bytesRead' ? $stats->bytes_in : $stats->bytes_out) : 0;
            return $bytes;
        }
        // So that `$connection->rooms[] = 'lobby'` makes the property, as it does in an object without this function.
        $this->{$name} = null;
        return $this->{$name};
    }

    /** @internal Sends what was sent before the WebSocket was open. */
    public function flushEarly(): void
    {
        $early = $this->early;
        $this->early = [];
        $type = $this->websocketType;
        foreach ($early as [$data, $this->websocketType]) {
            $this->send($data);
        }
        $this->websocketType = $type;
    }

    /** @internal Calls onBufferFull, once until the buffer is empty again. */
    public function tellFull(): int
    {
        if ($this->isFull) {
            return Tasks::DONE;
        }
        $this->isFull = true;
        $handler = $this->onBufferFull ?? $this->worker?->onBufferFull;
        return $handler === null ? Tasks::DONE : Tasks::run($this, $handler, [$this]);
    }

    /** @internal Why nothing was sent, told as programs expect it. */
    public function notSent(int $result, string $data): bool|null
    {
        if ($result === Abi::ERR_STATE && $this->codec === self::WEBSOCKET) {
            $this->early[] = [$data, $this->websocketType];
            return null;
        }
        ++self::$statistics['send_fail'];
        if ($result === Abi::ERR_FULL) {
            $this->tellError('send buffer full and drop package');
            Tasks::settle($this->tellFull());
        } elseif ($result === Abi::ERR_UTF8) {
            Log::warn("a message to {$this->getRemoteAddress()} is not UTF-8, so it was not sent: set \$connection->websocketType = Websocket::BINARY_TYPE_ARRAYBUFFER for binary data");
        } elseif ($result !== Abi::ERR_GONE && $result !== Abi::ERR_HANDLE) {
            Log::warn("a message to {$this->getRemoteAddress()} was not sent: " . Library::error($result)->getMessage());
        }
        return false;
    }

    /** @internal The code of onError for what the library tells. */
    public static function errorCode(int $kind): int
    {
        // Protocol 1, I/O 2, idle 3, callback 4, panic 5, slow 6: Workerman has a code only for what could not be sent.
        return $kind === 2 || $kind === 6 ? self::SEND_FAIL : 10 + $kind;
    }

    /** @internal It has ended, and onClose has run. */
    public function forget(): void
    {
        --self::$statistics['connection_count'];
        $this->onMessage = $this->onClose = $this->onError = $this->onBufferFull = $this->onBufferDrain = $this->errorHandler = null;
        $this->onWebSocketConnect = $this->onWebSocketConnected = null;
        $this->file = $this->handshake = null;
        $this->received = '';
        $this->early = [];
        if (!$this->hasLeft) {
            // A handler that has closed it may go on.
            $this->worker = null;
        }
    }

    /** Text with line ends of its own: the client reads several lines, all of them or none is sent. */
    private function sendLines(string $text): ?bool
    {
        $queued = $this->getSendBufferQueueSize();
        if ($queued > 0 && $queued + strlen($text) + 1 > self::$defaultMaxSendBufferSize) {
            return $this->notSent(Abi::ERR_FULL, $text);
        }
        $sent = true;
        foreach (explode("\n", $text) as $line) {
            $sent = $sent === true ? $this->send($line) : $sent;
        }
        return $sent;
    }

    private function tellError(string $text): void
    {
        $handler = $this->onError ?? $this->worker?->onError;
        if ($handler !== null) {
            Tasks::settle(Tasks::run($this, $handler, [$this, self::SEND_FAIL, $text]));
        }
    }

    private function fits(): bool
    {
        return $this->getSendBufferQueueSize() < $this->maxSendBufferSize;
    }

    /** @internal What is not a string goes out as its text, or as JSON. */
    public static function text(mixed $data): string
    {
        return is_scalar($data) || $data === null || $data instanceof Stringable
            ? (string) $data
            : json_encode($data, JSON_UNESCAPED_UNICODE | JSON_THROW_ON_ERROR);
    }

    private static function ip(string $address): string
    {
        $colon = strrpos($address, ':');
        return $colon === false || str_starts_with($address, 'unix:') ? '' : substr($address, 0, $colon);
    }

    private static function port(string $address): int
    {
        $colon = strrpos($address, ':');
        return $colon === false ? 0 : (int) substr($address, $colon + 1);
    }
}
