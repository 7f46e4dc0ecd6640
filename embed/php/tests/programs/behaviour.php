<?php

/** Answers to what BehaviourTest asks, each with what Workerman's users would write. */

declare(strict_types=1);

use Workerman\Connection\TcpConnection;
use Workerman\Lib\Timer as OldTimer;
use Workerman\Protocols\Http\Chunk;
use Workerman\Protocols\Http\Request;
use Workerman\Protocols\Http\Response;
use Workerman\Timer;
use Workerman\Worker;
use Workhive\Hive;

require_once __DIR__ . '/../../autoload.php';

Worker::$logFile = '/dev/null';
register_shutdown_function(function (): void {
    echo 'shutdown of ' . getmypid() . "\n";
});

$text = new Worker('text://' . getenv('TEST_TEXT'));
$text->name = 'text';
$text->count = 2;
// Set before the worker runs, by name: looked up when they are due.
$text->onMessage = 'on_line';
$text->onConnect = function (TcpConnection $connection): void {
    $connection->errors = 0;
    $connection->notes[] = 'connected';
};
$text->onClose = function (TcpConnection $connection): void {
    echo "closed {$connection->getRemoteIp()} " . count($connection->worker->connections) . "\n";
};
$text->rooms['lobby'] = [];

function on_line(TcpConnection $connection, string $line): void
{
    global $text;
    [$word, $rest] = explode(' ', $line, 2) + [1 => ''];
    match ($word) {
        'id' => $connection->send("$text->id " . (isset($text->connections[$connection->id]) ? 'listed' : 'unlisted')),
        'notes' => $connection->send(json_encode([$connection->notes, $text->rooms, isset($connection->nothing)])),
        'json' => $connection->send(['a' => 1]),
        'throw' => throw new DomainException('an error in a handler'),
        'exit' => exit(3),
        'guard' => guarded($connection),
        'lines' => $connection->send("two\nlines\n"),
        'fork' => forked($connection),
        'suspend' => Fiber::suspend(),
        'old' => OldTimer::add(0.01, fn () => $connection->send('old timer'), [], false),
        'sleep' => slept($connection, $rest),
        'change' => changed($connection),
        'status' => $connection->send($connection->getStatus(false) . ' ' . $connection->bytesRead),
        'end' => $connection->end('last words'),
        'gone' => gone($connection),
        'own' => own($connection),
        default => $connection->send($line),
    };
}

function guarded(TcpConnection $connection): void
{
    $connection->errorHandler = fn (Throwable $error) => $connection->send('guarded: ' . $error->getMessage());
    throw new DomainException('caught');
}

/** A child of the program's own, which ends as it likes. */
function forked(TcpConnection $connection): void
{
    $pid = pcntl_fork();
    if ($pid === 0) {
        exit(7);
    }
    pcntl_waitpid($pid, $status);
    $connection->send('child ' . pcntl_wexitstatus($status));
}

/** Two sleeps in a line; what comes meanwhile has to wait for its turn. */
function slept(TcpConnection $connection, string $rest): void
{
    Timer::sleep(0.02);
    Timer::sleep(0.02);
    $connection->send("slept $rest");
}

function changed(TcpConnection $connection): void
{
    $connection->worker->onMessage = fn (TcpConnection $connection, string $line) => $connection->send("changed: $line");
    $connection->send('changed');
}

function gone(TcpConnection $connection): void
{
    $connection->close('bye');
    echo 'after close: ' . json_encode($connection->send('too late')) . "\n";
}

/** In a Fiber of the program's own nothing can wait, and a send goes out without an outcome. */
function own(TcpConnection $connection): void
{
    $fiber = new Fiber(function () use ($connection): void {
        try {
            Hive::isUidOnline('x');
        } catch (LogicException $error) {
            $connection->send(get_class($error) . ' ' . json_encode(Hive::sendToUid('x', 'y')));
        }
    });
    $fiber->start();
}

$web = new Worker('http://' . getenv('TEST_HTTP'));
$web->name = 'web';
$web->onMessage = function (TcpConnection $connection, Request $request): void {
    match ($request->path()) {
        '/text' => $connection->send('a string'),
        '/sleep' => sleeping($connection, $request),
        '/kept' => Timer::add(0.01, fn () => $connection->send("{$request->method()} {$request->header('x-a')} {$request->rawBody()}"), [], false),
        '/big' => $connection->send((new Response())->withFile($request->get('file'))),
        '/part' => $connection->send((new Response())->withFile($request->get('file'), 5, 3)),
        '/upload' => $connection->send(sha1_file($request->file('f')['tmp_name'])),
        '/inject' => $connection->send(new Response(200, ['X-A' => $request->rawBody()], 'x')),
        '/chunks' => chunks($connection),
        '/twice' => $connection->send('one') && $connection->send('two'),
        default => $connection->send(new Response(404, [], 'nothing')),
    };
};

function sleeping(TcpConnection $connection, Request $request): void
{
    Timer::sleep((float) $request->get('s'));
    // Read only now: the request has outlived the library's.
    $connection->send($request->get('s') . ' ' . $request->rawBody());
}

function chunks(TcpConnection $connection): void
{
    $connection->send(new Response(200, ['Transfer-Encoding' => 'chunked'], 'a'));
    $connection->send(new Chunk('b'));
    $connection->send(new Chunk(''));
}

$ws = new Worker('websocket://' . getenv('TEST_WS'));
$ws->name = 'ws';
$ws->onConnect = function (TcpConnection $connection): void {
    // Before the handshake: it waits.
    $connection->send('early');
};
$ws->onWebSocketConnect = function (TcpConnection $connection, Request $request): void {
    if ($request->get('token') === 'bad') {
        $connection->close(new Response(401, [], 'who are you'));
        return;
    }
    $connection->headers = ['X-Served-By: workhive'];
};
$ws->onWebSocketConnected = fn (TcpConnection $connection, Request $request) => $connection->send("opened {$request->path()}");
$ws->onMessage = function (TcpConnection $connection, string $data): void {
    if ($data === 'binary please') {
        $connection->websocketType = Workerman\Protocols\Websocket::BINARY_TYPE_ARRAYBUFFER;
        $connection->send("\xff\x00");
    } elseif ($data === 'throw') {
        throw new DomainException('an error in a WebSocket handler');
    } else {
        $connection->send(json_encode($connection->send("\xff")));
    }
};

Worker::runAll();
