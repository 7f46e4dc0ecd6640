<?php
// Hello over HTTP, or an echo of WebSocket messages, by whichever of the two has been required.

use Workerman\Connection\TcpConnection;
use Workerman\Protocols\Http\Response;
use Workerman\Worker;

require getenv('BENCH_AUTOLOAD');

[, , $protocol, $address] = $argv;
// The verb is all that the two of them understand.
$argv = $_SERVER['argv'] = [$argv[0], 'start'];

$place = getenv('BENCH_PLACE');
Worker::$pidFile = "$place/pid";
Worker::$logFile = "$place/messages";

$worker = new Worker("$protocol://$address");
$worker->count = 1;
if ($protocol === 'http') {
    $worker->onMessage = static function (TcpConnection $connection, $request): void {
        $connection->send(new Response(200, ['Content-Type' => 'text/plain'], 'Hello, World!'));
    };
} else {
    $worker->onConnect = static function (TcpConnection $connection): void {
        $connection->websocketType = "\x82";
    };
    $worker->onMessage = static function (TcpConnection $connection, $message): void {
        $connection->send($message);
    };
}
Worker::runAll();
