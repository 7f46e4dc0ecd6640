<?php

declare(strict_types=1);

namespace Workhive;

use stdClass;
use Workerman\Connection\TcpConnection;
use Workerman\Protocols\Websocket;

/**
 * All connections of a user, in whichever processes they are, in the shape of one connection: `send` and `close` reach them
 * all. What belongs to a single connection (its address, its buffer, its properties) is not known here.
 */
final class UidConnection extends TcpConnection
{
    /** How many sends of a loop over all users go out before one is waited for, so that links between processes do not overflow. */
    private const WINDOW = 256;

    private static int $unanswered = 0;

    /** @internal `$inLoop`: one of many, whose outcome nobody looks at */
    public function __construct(public readonly string $uid, private readonly bool $inLoop = false)
    {
        // Not the parent's: there is no connection of this process behind it.
        $this->id = 0;
        $this->handle = 0;
        $this->codec = TcpConnection::FRAMES;
        $this->worker = null;
        $this->context = new stdClass();
        $this->maxSendBufferSize = self::$defaultMaxSendBufferSize;
        $this->maxPackageSize = self::$defaultMaxPackageSize;
        $this->lingerTimeout = 0.0;
    }

    /**
     * True: at least one connection of the user has it. False: none. Null: not known. In a `foreach` over all users it is
     * handed over without waiting, which is true as well.
     */
    public function send(mixed $sendBuffer, bool $raw = false): bool|null
    {
        $data = is_string($sendBuffer) ? $sendBuffer : TcpConnection::text($sendBuffer);
        $wait = !$this->inLoop || ++self::$unanswered % self::WINDOW === 0;
        $outcome = Hive::sendToUid($this->uid, $data, $this->websocketType === Websocket::BINARY_TYPE_ARRAYBUFFER, wait: $wait);
        if ($this->inLoop) {
            return true;
        }
        return $outcome === null || $outcome->isUnknown() ? null : $outcome->isDelivered();
    }

    public function close(mixed $data = null, bool $raw = false): void
    {
        if ($data !== null) {
            $this->send($data);
        }
        Hive::closeUid($this->uid);
    }

    public function closeWith(int $code, string $reason = ''): void
    {
        Hive::closeUid($this->uid, $code, $reason);
    }

    public function end(mixed $data = null, bool $raw = false): void
    {
        $this->close($data);
    }

    public function destroy(): void
    {
        Hive::closeUid($this->uid);
    }

    public function pauseRecv(): void
    {
    }

    public function resumeRecv(): void
    {
    }

    public function getStatus(bool $rawOutput = true): int|string
    {
        $status = Hive::isUidOnline($this->uid) === false ? self::STATUS_CLOSED : self::STATUS_ESTABLISHED;
        return $rawOutput ? $status : self::STATUS_TO_STRING[$status];
    }
}
