<?php

declare(strict_types=1);

namespace Workerman\Connection;

use AllowDynamicProperties;

/** What every connection is: the name under which programs know it, and the counters of the process. */
#[AllowDynamicProperties]
abstract class ConnectionInterface
{
    /** Codes of onError. */
    public const CONNECT_FAIL = 1;
    public const SEND_FAIL = 2;

    /** Counters of this process. */
    public static array $statistics = [
        'connection_count' => 0,
        'total_request' => 0,
        'throw_exception' => 0,
        'send_fail' => 0,
    ];

    /** Handlers of this connection; null: those of its worker. */
    public $onMessage = null;
    public $onClose = null;
    public $onError = null;
    public $onBufferFull = null;
    public $onBufferDrain = null;

    /** Called with what a handler has thrown, instead of closing the connection. */
    public $errorHandler = null;

    /** The class of the protocol, null for plain bytes. */
    public ?string $protocol = null;

    abstract public function send(mixed $sendBuffer, bool $raw = false): bool|null;

    abstract public function close(mixed $data = null, bool $raw = false): void;

    abstract public function getRemoteIp(): string;

    abstract public function getRemotePort(): int;

    abstract public function getRemoteAddress(): string;

    abstract public function getLocalIp(): string;

    abstract public function getLocalPort(): int;

    abstract public function getLocalAddress(): string;

    abstract public function isIpV4(): bool;

    abstract public function isIpV6(): bool;
}
