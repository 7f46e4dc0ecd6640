<?php
// One Workerman process that holds WebSocket clients by the uid they say first, and passes lines on to them.

use Workerman\Connection\TcpConnection;
use Workerman\Worker;

// A bare checkout lacks the coroutine package, of which no more is needed here than this.
final class NoCoroutines
{
    public static function destroy(): void
    {
    }
}

spl_autoload_register(static function (string $class): void {
    if ($class === 'Workerman\\Coroutine\\Context') {
        class_alias(NoCoroutines::class, $class);
    } elseif (str_starts_with($class, 'Workerman\\')) {
        $file = getenv('BENCH_WORKERMAN') . '/src/' . strtr(substr($class, 10), '\\', '/') . '.php';
        if (is_file($file)) {
            require $file;
        }
    }
});

$place = getenv('BENCH_PLACE');
Worker::$pidFile = "$place/pid";
Worker::$statusFile = "$place/status";
Worker::$logFile = "$place/messages";

$byUid = [];
$clients = new Worker('websocket://' . getenv('BENCH_CLIENTS'));
$clients->count = 1;
$clients->onMessage = static function (TcpConnection $client, string $uid) use (&$byUid): void {
    if (!isset($client->uid)) {
        $client->uid = $uid;
        $byUid[$uid] = $client;
    }
};
$clients->onClose = static function (TcpConnection $client) use (&$byUid): void {
    if (isset($client->uid)) {
        unset($byUid[$client->uid]);
    }
};
$clients->onWorkerStart = static function () use (&$byUid): void {
    $lines = new Worker('text://' . getenv('BENCH_LINES'));
    $lines->onMessage = static function (TcpConnection $sender, string $line) use (&$byUid): void {
        $client = $byUid[json_decode($line, true)['uid']] ?? null;
        $client?->send($line);
        $sender->send($client ? 'ok' : 'fail');
    };
    $lines->listen();
};
Worker::runAll();
