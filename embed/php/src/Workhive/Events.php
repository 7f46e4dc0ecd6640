<?php

declare(strict_types=1);

namespace Workhive;

use FFI\CData;
use Throwable;
use WeakReference;
use Workerman\Connection\TcpConnection;
use Workerman\Protocols\Http\Request;
use Workerman\Worker;

/**
 * What the library tells, brought to the program's handlers. A handler is looked up when it is due: the connection's own
 * if it has one, else that of its worker. Each function returns what Tasks::run has returned.
 *
 * @internal
 */
final class Events
{
    /** @var array<int, TcpConnection> by the library's number */
    public static array $connections = [];

    public static function workerStart(Worker $worker): int
    {
        Process::entered($worker);
        if ($worker->onWorkerStart === null) {
            return Tasks::DONE;
        }
        return Tasks::run(null, $worker->onWorkerStart, [$worker], static function (?Throwable $thrown): void {
            $text = $thrown === null ? null : Failures::text($thrown);
            Library::$ffi->wh_ready(Process::$hive, $text, $text === null ? 0 : strlen($text));
        });
    }

    public static function workerStop(Worker $worker): int
    {
        $worker->stopping = true;
        return $worker->onWorkerStop === null ? Tasks::DONE : Tasks::run(null, $worker->onWorkerStop, [$worker]);
    }

    public static function workerReload(Worker $worker): int
    {
        return $worker->onWorkerReload === null ? Tasks::DONE : Tasks::run(null, $worker->onWorkerReload, [$worker]);
    }

    public static function presence(Worker $worker, string $handler, string $uid): int
    {
        return $worker->{$handler} === null ? Tasks::DONE : Tasks::run(null, $worker->{$handler}, [$worker, $uid]);
    }

    /** Makes the object of a new connection. */
    public static function connection(int $user, int $conn): TcpConnection
    {
        $worker = Worker::of($user);
        $connection = new TcpConnection($worker, $conn);
        self::$connections[$conn] = $connection;
        $worker->connections[$connection->id] = $connection;
        TcpConnection::$connections[$connection->id] = $connection;
        return $connection;
    }

    public static function connect(int $user, int $conn): int
    {
        $connection = self::connection($user, $conn);
        $handler = $connection->worker->onConnect;
        return $handler === null ? Tasks::DONE : Tasks::run($connection, $handler, [$connection]);
    }

    public static function message(TcpConnection $connection, string $data, bool $isBinary): int
    {
        if ($connection->hasLeft) {
            return Tasks::DONE;
        }
        if ($connection->task !== null) {
            $connection->task->line[] = [self::message(...), [$connection, $data, $isBinary]];
            return Tasks::DONE;
        }
        if ($connection->codec === TcpConnection::BYTES && $connection->protocol !== null) {
            return Packages::take($connection, $data);
        }
        ++TcpConnection::$statistics['total_request'];
        $connection->messageIsBinary = $isBinary;
        $handler = $connection->onMessage ?? $connection->worker->onMessage;
        return $handler === null ? Tasks::DONE : Tasks::run($connection, $handler, [$connection, $data]);
    }

    public static function request(TcpConnection $connection, int $lent): int
    {
        if ($connection->hasLeft) {
            return Tasks::DONE;
        }
        $request = new Request('', $connection, $lent);
        if ($connection->task !== null) {
            $request->keep();
            $connection->task->line[] = [self::requested(...), [$connection, $request]];
            return Tasks::DONE;
        }
        $weak = WeakReference::create($request);
        ++TcpConnection::$statistics['total_request'];
        $handler = $connection->onMessage ?? $connection->worker->onMessage;
        $arguments = [$connection, $request];
        unset($request);
        $code = $handler === null ? Tasks::DONE : Tasks::run($connection, $handler, $arguments);
        $arguments = null;
        // Who still has it, such as a handler that waits, has it whole: the library takes it back now.
        $weak->get()?->keep();
        return $code;
    }

    private static function requested(TcpConnection $connection, Request $request): int
    {
        if ($connection->hasLeft) {
            return Tasks::DONE;
        }
        ++TcpConnection::$statistics['total_request'];
        $handler = $connection->onMessage ?? $connection->worker->onMessage;
        return $handler === null ? Tasks::DONE : Tasks::run($connection, $handler, [$connection, $request]);
    }

    /** A WebSocket's handshake: the handler may close the connection, which refuses it, or set `headers` of the answer. */
    public static function opening(int $user, int $conn, int $opening): int
    {
        $connection = self::$connections[$conn] ?? self::connection($user, $conn);
        if ($connection->hasLeft) {
            return Tasks::DONE;
        }
        $handler = $connection->onWebSocketConnect ?? $connection->worker->onWebSocketConnect;
        $isAwaited = ($connection->onWebSocketConnected ?? $connection->worker->onWebSocketConnected) !== null;
        if ($handler === null && !$isAwaited) {
            return Tasks::DONE;
        }
        $request = Request::opening($connection, $opening);
        $code = Tasks::DONE;
        if ($handler !== null) {
            $connection->opening = $opening;
            $code = Tasks::run($connection, $handler, [$connection, $request]);
            $connection->opening = 0;
            if ($code === Tasks::FAILED) {
                return $code;
            }
            Handshake::answer($connection, $opening);
        }
        $request->keep();
        $connection->handshake = $isAwaited ? $request : null;
        return $code;
    }

    public static function opened(int $conn): int
    {
        $connection = self::present($conn);
        if ($connection === null) {
            return Tasks::DONE;
        }
        if ($connection->task !== null) {
            $connection->task->line[] = [self::opened(...), [$conn]];
            return Tasks::DONE;
        }
        $connection->flushEarly();
        $request = $connection->handshake;
        $connection->handshake = null;
        $handler = $connection->onWebSocketConnected ?? $connection->worker->onWebSocketConnected;
        return $handler === null ? Tasks::DONE : Tasks::run($connection, $handler, [$connection, $request]);
    }

    public static function close(int $conn, CData $info): int
    {
        $connection = self::$connections[$conn] ?? null;
        unset(self::$connections[$conn]);
        if ($connection === null || $connection->hasLeft) {
            return Tasks::DONE;
        }
        if ($connection->onClose !== null || $connection->worker->onClose !== null) {
            $connection->closeCode = $info->peer_code;
            $connection->closeReason = Library::copy($info->peer_reason) ?? '';
        }
        return self::over($connection);
    }

    /**
     * The program has closed it, and hears of its end at once, as with Workerman. The library still says goodbye to the
     * client, and tells of nothing but the end of that.
     */
    public static function leave(TcpConnection $connection): void
    {
        if (!$connection->hasLeft) {
            $connection->hasLeft = true;
            Tasks::settle(self::over($connection));
        }
    }

    private static function over(TcpConnection $connection): int
    {
        $connection->status = TcpConnection::STATUS_CLOSED;
        if ($connection->onClose !== null || $connection->worker->onClose !== null) {
            // Afterwards the library does not know them any more.
            $connection->getRemoteAddress();
            $connection->getLocalAddress();
        }
        if ($connection->task !== null && !Tasks::isAt($connection->task)) {
            $connection->task->line[] = [self::closed(...), [$connection]];
            return Tasks::DONE;
        }
        return self::closed($connection);
    }

    private static function closed(TcpConnection $connection): int
    {
        $handler = $connection->onClose ?? $connection->worker->onClose;
        if ($handler === null) {
            self::forget($connection);
            return Tasks::DONE;
        }
        $code = Tasks::run($connection, $handler, [$connection], static function (?Throwable $thrown) use ($connection): void {
            self::forget($connection);
            if ($thrown !== null) {
                Failures::later($connection, $thrown);
            }
        });
        if ($code !== Tasks::WAITS) {
            self::forget($connection);
        }
        return $code;
    }

    private static function forget(TcpConnection $connection): void
    {
        unset($connection->worker->connections[$connection->id], TcpConnection::$connections[$connection->id]);
        if ($connection->protocol !== null && method_exists($connection->protocol, 'onClose')) {
            try {
                $connection->protocol::onClose($connection);
            } catch (Throwable $thrown) {
                Failures::log($thrown);
            }
        }
        $connection->forget();
    }

    /** The connection, unless it has ended for the program. */
    private static function present(int $conn): ?TcpConnection
    {
        $connection = self::$connections[$conn] ?? null;
        return $connection === null || $connection->hasLeft ? null : $connection;
    }

    public static function error(int $conn, int $kind, string $text): int
    {
        $connection = self::present($conn);
        $handler = $connection?->onError ?? $connection?->worker->onError;
        return $handler === null ? Tasks::DONE : Tasks::run($connection, $handler, [$connection, TcpConnection::errorCode($kind), $text]);
    }

    public static function bufferFull(int $conn): int
    {
        return self::present($conn)?->tellFull() ?? Tasks::DONE;
    }

    public static function bufferDrain(int $conn): int
    {
        $connection = self::present($conn);
        if ($connection === null) {
            return Tasks::DONE;
        }
        $connection->file?->goOn();
        if (!$connection->isFull) {
            return Tasks::DONE;
        }
        $connection->isFull = false;
        $handler = $connection->onBufferDrain ?? $connection->worker->onBufferDrain;
        return $handler === null ? Tasks::DONE : Tasks::run($connection, $handler, [$connection]);
    }
}
