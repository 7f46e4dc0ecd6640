<?php

/**
 * Pushes to users in the browser, from four processes.
 *
 *     php push.php start
 *     printf '{"uid":"anna","percent":"88%%"}\n' | nc -N 127.0.0.1 5678
 *
 * The browser: `ws = new WebSocket('ws://127.0.0.1:1234'); ws.onopen = () => ws.send('anna'); ws.onmessage = e => console.log(e.data)`
 */

declare(strict_types=1);

use Workerman\Connection\TcpConnection;
use Workerman\Worker;

require_once __DIR__ . '/../autoload.php';

$worker = new Worker('websocket://' . (getenv('PUSH_ADDRESS') ?: '0.0.0.0:1234'));
$worker->name = 'push';
$worker->count = 4;

// An array of all processes: whoever sets an entry, every process finds it.
$worker->uidConnections = [];

$worker->onWorkerStart = function (): void {
    // Programs of this machine say here whom to tell what. Each process listens, and any of them reaches any user.
    $door = new Worker('text://' . (getenv('PUSH_TEXT_ADDRESS') ?: '127.0.0.1:5678'));
    $door->onMessage = function (TcpConnection $connection, string $line): void {
        global $worker;
        $uid = json_decode($line, true)['uid'] ?? null;
        if (!is_string($uid) && !is_int($uid)) {
            $connection->send('error: a line is an object with a uid');
            return;
        }
        $isThere = isset($worker->uidConnections[$uid]) && $worker->uidConnections[$uid]->send($line);
        $connection->send($isThere ? 'ok' : 'fail');
    };
    $door->listen();
};

$worker->onMessage = function (TcpConnection $connection, string $data): void {
    global $worker;
    if (!isset($connection->uid)) {
        // Whoever comes says who he is. A real program would want proof.
        $connection->uid = $data;
        $worker->uidConnections[$data] = $connection;
    }
};

$worker->onClose = function (TcpConnection $connection): void {
    global $worker;
    if (isset($connection->uid)) {
        unset($worker->uidConnections[$connection->uid]);
    }
};

Worker::runAll();
