<?php

declare(strict_types=1);

namespace Workhive;

use RuntimeException;
use Workerman\Connection\TcpConnection;
use Workerman\Protocols\Frame;
use Workerman\Protocols\Http;
use Workerman\Protocols\Text;
use Workerman\Protocols\Websocket;
use Workerman\Worker;

/**
 * What a Worker says, told to the library.
 *
 * @internal
 */
final class Definition
{
    private const SCHEMES = [
        'tcp' => [TcpConnection::BYTES, null],
        'unix' => [TcpConnection::BYTES, null],
        'text' => [TcpConnection::LINES, Text::class],
        'frame' => [TcpConnection::FRAMES, Frame::class],
        'websocket' => [TcpConnection::WEBSOCKET, Websocket::class],
        'http' => [TcpConnection::HTTP, Http::class],
    ];

    private const GROUP_TEXTS = ['name' => Abi::NAME, 'user' => Abi::USER, 'group' => Abi::GROUP];

    /** A group of the hive. */
    public static function add(Worker $worker, int $hive): void
    {
        $address = self::address($worker);
        $handle = self::open($worker, $address);
        self::int($handle, Abi::COUNT, max(1, $worker->count));
        self::int($handle, Abi::RELOADABLE, (int) $worker->reloadable);
        if (Worker::$stopTimeout > 0) {
            self::int($handle, Abi::DRAIN, (int) (Worker::$stopTimeout * 1000));
        }
        foreach (self::GROUP_TEXTS as $property => $option) {
            if ($worker->{$property} !== '' && $worker->{$property} !== 'none') {
                Library::check(Library::$ffi->wh_worker_set_text($handle, $option, $worker->{$property}, strlen($worker->{$property})));
            }
        }
        $table = Callbacks::$table;
        $number = $worker->number();
        Library::check(Library::$ffi->wh_on_worker_start($handle, $table->start, $number, null));
        Library::check(Library::$ffi->wh_on_worker_stop($handle, $table->stop, $number, null));
        Library::check(Library::$ffi->wh_on_worker_reload($handle, $table->reload, $number, null));
        if ($worker->onUidOnline !== null) {
            Library::check(Library::$ffi->wh_on_uid_online($handle, $table->online, $number, null));
        }
        if ($worker->onUidOffline !== null) {
            Library::check(Library::$ffi->wh_on_uid_offline($handle, $table->offline, $number, null));
        }
        Library::check(Library::$ffi->wh_hive_add($hive, $handle));
        $worker->listensAt($address);
    }

    /** A listener in this process. */
    public static function listen(Worker $worker): void
    {
        $address = self::address($worker);
        $handle = self::open($worker, $address);
        if ($worker->shared ?? (!$worker->reusePort && Process::$worker?->hasUidConnections())) {
            self::int($handle, Abi::SHARED, 1);
        }
        $worker->id = Process::$slot;
        $result = Library::$ffi->wh_listen($handle);
        if ($result !== Abi::OK) {
            $error = self::inPhp(Library::error($result));
            // It is not the library's then, and a program may try again and again.
            Library::$ffi->wh_worker_free($handle);
            throw $error;
        }
        $worker->listensAt($address);
    }

    /** The remedies that the library names, as one writes them in PHP. */
    private static function inPhp(Error $error): Error
    {
        $text = strtr($error->getMessage(), ['.reuse_port(true)' => '$worker->reusePort = true', '.shared(true)' => '$worker->shared = true']);
        return new Error($text, $error->getCode(), $error->name);
    }

    private static function open(Worker $worker, string $address): int
    {
        Callbacks::make();
        Library::check(Library::$ffi->wh_worker_new($address, strlen($address), Library::$handle));
        $handle = Library::$handle[0];
        if ($worker->reusePort) {
            self::int($handle, Abi::REUSE_PORT, 1);
        }
        if (is_int($worker->socketOption('backlog'))) {
            self::int($handle, Abi::BACKLOG, $worker->socketOption('backlog'));
        }
        if ($address !== '') {
            self::int($handle, Abi::MAX_SEND_BUFFER, TcpConnection::$defaultMaxSendBufferSize);
            // Bytes have no messages; packages of the program's own protocols are measured where they are found.
            if ($worker->codec !== TcpConnection::BYTES) {
                self::int($handle, Abi::MAX_MESSAGE, TcpConnection::$defaultMaxPackageSize);
            }
            self::handlers($handle, $worker);
        }
        foreach ($worker->options as $name => $value) {
            $constant = Abi::class . '::' . strtoupper((string) $name);
            if (!defined($constant)) {
                throw new RuntimeException("there is no option named $name: \$worker->options takes those of the C header, such as ping_interval");
            }
            $option = constant($constant);
            is_string($value)
                ? Library::check(Library::$ffi->wh_worker_set_text($handle, $option, $value, strlen($value)))
                : self::int($handle, $option, (int) $value);
        }
        return $handle;
    }

    private static function handlers(int $handle, Worker $worker): void
    {
        $ffi = Library::$ffi;
        $table = Callbacks::$table;
        $number = $worker->number();
        Library::check($ffi->wh_on_connect($handle, $table->connect, $number, null));
        Library::check($ffi->wh_on_close($handle, $table->close, $number, null));
        Library::check($ffi->wh_on_error($handle, $table->error, $number, null));
        Library::check($ffi->wh_on_buffer_full($handle, $table->full, $number, null));
        Library::check($ffi->wh_on_buffer_drain($handle, $table->drain, $number, null));
        if ($worker->codec === TcpConnection::HTTP) {
            Library::check($ffi->wh_on_request($handle, $table->request, $number, null));
            return;
        }
        Library::check($ffi->wh_on_message($handle, $table->message, $number, null));
        if ($worker->codec === TcpConnection::WEBSOCKET) {
            Library::check($ffi->wh_on_websocket_connect($handle, $table->opening, $number, null));
            Library::check($ffi->wh_on_websocket_connected($handle, $table->opened, $number, null));
        }
    }

    private static function int(int $handle, int $option, int $value): void
    {
        Library::check(Library::$ffi->wh_worker_set_int($handle, $option, $value));
    }

    /** The address as the library wants it; what it says of the protocol is noted in the worker. */
    private static function address(Worker $worker): string
    {
        $given = $worker->address();
        if ($given === null || $given === '') {
            return '';
        }
        [$scheme, $place] = explode('://', $given, 2) + [1 => null];
        if ($place === null) {
            [$scheme, $place] = ['tcp', $given];
        }
        $scheme = strtolower($scheme);
        if ($scheme === 'ws') {
            $scheme = 'websocket';
        }
        foreach (['udp' => 'datagrams', 'ssl' => 'TLS'] as $transport => $what) {
            if ($scheme === $transport || $worker->transport === $transport) {
                throw new RuntimeException("$given: $what ($transport) is not there; for TLS put a proxy such as nginx in front");
            }
        }
        if ($scheme === 'unix') {
            $worker->transport = 'unix';
        }
        $native = $scheme;
        if ($worker->protocol !== null) {
            $native = self::schemeOf($worker->protocol) ?? 'tcp';
        } elseif (!isset(self::SCHEMES[$scheme])) {
            $worker->protocol = self::protocolClass($scheme, $given);
            $native = 'tcp';
        }
        [$worker->codec, $class] = self::SCHEMES[$native];
        $worker->protocol ??= $class;
        $native = $native === 'unix' ? 'tcp' : $native;
        $isPath = $worker->transport === 'unix' && !str_starts_with($place, 'unix:');
        return "$native://" . ($isPath ? "unix:$place" : $place);
    }

    private static function schemeOf(string $class): ?string
    {
        foreach (self::SCHEMES as $scheme => [, $native]) {
            if ($native !== null && ltrim($class, '\\') === $native) {
                return $scheme;
            }
        }
        return null;
    }

    private static function protocolClass(string $scheme, string $given): string
    {
        if (preg_match('/^[a-z][a-z0-9]*$/', $scheme) !== 1) {
            throw new RuntimeException("$given: a protocol's name has letters and digits only");
        }
        foreach (['Protocols\\', 'Workerman\\Protocols\\'] as $space) {
            $class = $space . ucfirst($scheme);
            if (class_exists($class)) {
                return $class;
            }
        }
        throw new RuntimeException("$given: there is no class Protocols\\" . ucfirst($scheme) . ' with the functions input, decode and encode');
    }
}
