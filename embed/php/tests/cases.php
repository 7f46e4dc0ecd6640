<?php

/** The case server of PHP: embed/cases/README.md says what it does. */

declare(strict_types=1);

use Workerman\Connection\TcpConnection;
use Workerman\Protocols\Http\Chunk;
use Workerman\Protocols\Http\Request;
use Workerman\Protocols\Http\Response;
use Workerman\Protocols\Websocket;
use Workerman\Timer;
use Workerman\Worker;
use Workhive\Hive;

require_once __DIR__ . '/../autoload.php';
require_once __DIR__ . '/Protocols/Netstring.php';

function said(string $text): void
{
    Worker::log($text);
}

function setting(string $name): string
{
    return (string) getenv("WORKHIVE_CASE_$name");
}

function who(): string
{
    return Hive::place()['slot'] . ' ' . getmypid();
}

function deep(): never
{
    deeper();
}

function deeper(): never
{
    throw new RuntimeException('told to fail');
}

function once(int $ms, callable $what): int
{
    return Timer::add($ms / 1000, $what, [], false);
}

/** Text, whatever `echoed` has set before. */
function answer(TcpConnection $connection, string $text): bool|null
{
    $connection->websocketType = Websocket::BINARY_TYPE_BLOB;
    return $connection->send($text);
}

function flood(TcpConnection $connection, int $size): void
{
    $taken = 0;
    while (answer($connection, str_repeat('x', $size)) === true) {
        ++$taken;
    }
    said("flooded $taken");
}

function child(): string
{
    exec("sh -c 'echo from the child; exit 7'", $lines, $code);
    return "$lines[0] $code";
}

/** What every group that takes orders does with a message. */
function orders(TcpConnection $connection, string $message): void
{
    static $kept = null;
    $isOrder = str_starts_with($message, '!') && !($connection->protocol === Websocket::class && $connection->messageIsBinary);
    if (!$isOrder) {
        $connection->websocketType = $connection->messageIsBinary ? Websocket::BINARY_TYPE_ARRAYBUFFER : Websocket::BINARY_TYPE_BLOB;
        $connection->send($message);
        return;
    }
    [$order, $rest] = explode(' ', $message, 2) + [1 => ''];
    [$first, $text] = explode(' ', $rest, 2) + [1 => ''];
    switch ($order) {
        case '!who':
            answer($connection, who());
            break;
        case '!about':
            $class = explode('\\', $connection->protocol ?? 'tcp');
            answer($connection, strtolower(end($class)) . " {$connection->getRemoteAddress()} {$connection->getLocalAddress()}");
            break;
        case '!fail':
            deep();
            // no break
        case '!after':
            once((int) $first, static fn () => answer($connection, $text));
            break;
        case '!every':
            $n = 0;
            $timer = Timer::add((int) $first / 1000, static function () use ($connection, $text, &$n, &$timer): void {
                answer($connection, (string) ++$n);
                if ($n === (int) $text) {
                    Timer::del($timer);
                }
            });
            break;
        case '!cancel':
            $late = once((int) $first, static fn () => answer($connection, 'late'));
            once(2 * (int) $first, static fn () => answer($connection, 'done'));
            Timer::del($late);
            break;
        case '!timer-fail':
            once(1, static fn () => throw new RuntimeException('timer told to fail'));
            once(20, static fn () => answer($connection, 'still here'));
            break;
        case '!close':
            $rest === '' ? $connection->close() : $connection->closeWith((int) $first, $text);
            break;
        case '!destroy':
            $connection->destroy();
            break;
        case '!pause':
            $connection->pauseRecv();
            answer($connection, 'paused');
            once((int) $first, static function () use ($connection): void {
                $connection->resumeRecv();
                answer($connection, 'resumed');
            });
            break;
        case '!flood':
            flood($connection, (int) $first);
            break;
        case '!set':
            $connection->kept = $rest;
            answer($connection, 'set');
            break;
        case '!get':
            answer($connection, $connection->kept ?? 'none');
            break;
        case '!keep':
            $kept = $connection;
            answer($connection, 'kept');
            break;
        case '!kept':
            answer($connection, $kept !== null && answer($kept, $rest) !== false ? 'sent' : 'gone');
            break;
        case '!invalid':
            answer($connection, answer($connection, "\xff\xfe") === false ? 'refused' : 'taken');
            break;
        case '!stats':
            $stats = Hive::stats();
            answer($connection, "$stats[connections] $stats[accepted] $stats[messages_in]");
            break;
        case '!child':
            answer($connection, child());
            break;
        case '!stop':
            answer($connection, 'stopping');
            Worker::stopAll();
            break;
        case '!later':
            Timer::sleep(0.01);
            answer($connection, $rest);
            break;
        case '!later-fail':
            Timer::sleep(0.01);
            deep();
            // no break
        default:
            answer($connection, 'what?');
    }
}

function pages(TcpConnection $connection, Request $request): void
{
    [, $page, $rest] = explode('/', $request->path(), 3) + [2 => ''];
    $plain = ['Content-Type' => 'text/plain'];
    switch ([$request->method(), $page]) {
        case ['GET', '']:
            $connection->send('Hello, World!');
            return;
        case ['POST', '']:
            $connection->send(new Response(200, $plain, $request->rawBody()));
            return;
        case ['GET', 'who']:
            $connection->send(who());
            return;
        case ['GET', 'status']:
            $connection->send(new Response((int) $rest, ['X-Case' => 'yes'], "status $rest"));
            return;
        case ['POST', 'field']:
            $connection->send(new Response(200, ['X-Case' => $request->rawBody()], 'ok'));
            return;
        case ['GET', 'stream']:
            $connection->send(new Response(200, $plain + ['Transfer-Encoding' => 'chunked'], 'one '));
            once(1, static function () use ($connection): void {
                $connection->send(new Chunk('two '));
                once(1, static function () use ($connection): void {
                    $connection->send(new Chunk('three'));
                    $connection->send(new Chunk(''));
                });
            });
            return;
        case ['GET', 'after']:
            once(10, static fn () => $connection->send('after'));
            return;
        case ['GET', 'later']:
            Timer::sleep(0.01);
            $connection->send('later');
            return;
        case ['GET', 'later-fail']:
            Timer::sleep(0.01);
            deep();
            // no break
        case ['GET', 'fail']:
            deep();
            // no break
        default:
            $connection->send(
                $page === 'read'
                    ? implode("\n", [
                        $request->method(),
                        $request->path(),
                        $request->queryString(),
                        $request->header('x-case', ''),
                        $request->protocolVersion(),
                        strlen($request->rawBody()),
                        '',
                    ])
                    : new Response(404, [], 'nothing here'),
            );
    }
}

function push(TcpConnection $connection, string $message): void
{
    if (!isset($connection->uid)) {
        $connection->uid = $message;
        Hive::bindUid($connection, $message);
        $connection->send("bound $message");
        return;
    }
    [$order, $rest] = explode(' ', $message, 2) + [1 => ''];
    [$first, $text] = explode(' ', $rest, 2) + [1 => ''];
    switch ($order) {
        case '!who':
            $connection->send(who());
            break;
        case '!join':
            Hive::joinRoom($connection, $rest);
            $connection->send("joined $rest");
            break;
        case '!leave':
            Hive::leaveRoom($connection, $rest);
            $connection->send("left $rest");
            break;
        case '!rooms':
            $rooms = Hive::roomsOf($connection);
            sort($rooms, SORT_STRING);
            $connection->send(implode(',', $rooms));
            break;
        case '!size':
            $connection->send((string) Hive::roomSize($rest));
            break;
        case '!uid':
            $connection->send(Hive::uidOf($connection));
            break;
        case '!id':
            $connection->send(Hive::idOf($connection));
            break;
        case '!online':
            $connection->send(match (Hive::isUidOnline($rest)) {
                true => 'online',
                false => 'offline',
                null => 'unknown',
            });
            break;
        case '!to':
            $connection->send('delivered ' . Hive::sendToUid($first, $text)->delivered);
            break;
        case '!say':
            $connection->send('said ' . Hive::sendToRoom($first, $text, except: [Hive::idOf($connection)])->delivered);
            break;
        case '!all':
            Hive::sendToAll($rest);
            break;
        case '!send':
            $connection->send('delivered ' . Hive::sendToConnection($first, $text)->delivered);
            break;
        case '!kick':
            Hive::closeUid($rest, 4001, 'kicked');
            break;
        case '!count':
            $connection->send((string) iterator_count(Hive::uids()));
            break;
        case '!publish':
            Hive::publish($first, $text);
            break;
        default:
            $connection->send('what?');
    }
}

function pushLine(TcpConnection $connection, string $line): void
{
    if ($line === '!who') {
        $connection->send(who());
        return;
    }
    [$uid, $text] = explode(' ', $line, 2) + [1 => ''];
    $connection->send(Hive::sendToUid($uid, $text)->isDelivered() ? 'ok' : 'fail');
}

function opening(TcpConnection $connection, Request $request): void
{
    if ($request->path() === '/refuse') {
        $connection->close('not here');
        return;
    }
    $offered = array_map(trim(...), explode(',', $request->header('sec-websocket-protocol', '')));
    if (in_array('case', $offered, true)) {
        $connection->headers[] = 'Sec-WebSocket-Protocol: case';
    }
    $connection->headers[] = 'X-Case: ' . $request->queryString();
}

/** What every group and every inner listener has. */
function common(Worker $worker, callable $onMessage): Worker
{
    $worker->onMessage = $onMessage;
    $worker->onClose = static fn (TcpConnection $connection) => said("on_close $connection->closeCode $connection->closeReason");
    $worker->onError = static fn (TcpConnection $connection, int $code, string $text) => said('on_error ' . strtok($text, "\n"));
    $worker->onBufferFull = static fn () => said('on_buffer_full');
    $worker->onBufferDrain = static fn () => said('on_buffer_drain');
    return $worker;
}

/** A group; null if this run has none of that name. */
function group(string $name, string $scheme, callable $onMessage, ?callable $onStart = null): ?Worker
{
    $address = setting(strtoupper($name));
    if ($address === '') {
        return null;
    }
    $worker = common($scheme === '' ? new Worker() : new Worker("$scheme://$address"), $onMessage);
    $worker->name = $name;
    $worker->onWorkerStart = static function () use ($onStart): void {
        if (setting('FAIL_START') !== '') {
            throw new RuntimeException(setting('FAIL_START'));
        }
        pcntl_signal(SIGWINCH, static fn () => said('saw SIGWINCH'));
        if (setting('SIGNALS') === 'host') {
            pcntl_signal(SIGTERM, static function (): void {
                said('host saw SIGTERM');
                Hive::signal(SIGTERM);
            });
        }
        if ($onStart !== null) {
            $onStart();
        }
        said('on_worker_start');
    };
    $worker->onWorkerStop = static fn () => said('on_worker_stop');
    return $worker;
}

function listenInside(): void
{
    $inner = common(new Worker('text://' . setting('INNER')), 'orders');
    $inner->reusePort = setting('INNER_HOW') === 'reuse_port';
    $inner->shared = setting('INNER_HOW') === 'shared';
    try {
        $inner->listen();
    } catch (RuntimeException $error) {
        said('does without: ' . strtr($error->getMessage(), "\n", ' '));
    }
}

function listenForPushes(): void
{
    $inner = common(new Worker('text://' . setting('PUSH_TEXT')), 'pushLine');
    $inner->reusePort = true;
    $inner->listen();
    Hive::subscribe('case', static fn (string $text) => said("topic $text"));
}

Worker::$logFile = '/dev/null';
TcpConnection::$defaultMaxPackageSize = 17825792;
foreach (['text', 'frame', 'tcp', 'websocket', 'netstring'] as $scheme) {
    $worker = group($scheme, $scheme, 'orders');
    if ($worker !== null && $scheme === 'websocket') {
        $worker->onWebSocketConnect = 'opening';
    }
}
group('http', 'http', 'pages');
group('inner', '', 'orders', 'listenInside');
$push = group('push', 'websocket', 'push', 'listenForPushes');
if ($push !== null) {
    $push->onUidOnline = static fn (Worker $worker, string $uid) => said("online $uid");
    $push->onUidOffline = static fn (Worker $worker, string $uid) => said("offline $uid");
}
if (setting('LOG') === 'own') {
    Hive::logWith(static fn (string $level, string $text) => fwrite(STDERR, "own: $level $text\n"));
}
if (setting('SIGNALS') === 'host') {
    Hive::leaveSignals();
}
Worker::runAll();
