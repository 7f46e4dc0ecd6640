<?php

/** Says hello over HTTP, from four processes: `php hello.php start`, then http://127.0.0.1:8080/?name=you */

declare(strict_types=1);

use Workerman\Connection\TcpConnection;
use Workerman\Protocols\Http\Request;
use Workerman\Protocols\Http\Response;
use Workerman\Worker;

require_once __DIR__ . '/../autoload.php';

$worker = new Worker('http://' . (getenv('HELLO_ADDRESS') ?: '0.0.0.0:8080'));
$worker->name = 'hello';
$worker->count = 4;
$worker->onMessage = function (TcpConnection $connection, Request $request) use ($worker): void {
    match ($request->path()) {
        '/' => $connection->send('Hello, ' . htmlspecialchars((string) $request->get('name', 'World')) . '!'),
        '/who' => $connection->send(new Response(200, ['Content-Type' => 'text/plain'], "process $worker->id\n")),
        default => $connection->send(new Response(404, [], 'nothing here')),
    };
};

Worker::runAll();
