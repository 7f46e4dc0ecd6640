<?php
// The same job for several processes: Gateways hold the WebSocket clients, BusinessWorkers take the lines.

use GatewayWorker\BusinessWorker;
use GatewayWorker\Gateway;
use GatewayWorker\Lib\Gateway as Clients;
use GatewayWorker\Register;
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
        return;
    }
    foreach (['Workerman' => 'BENCH_WORKERMAN', 'GatewayWorker' => 'BENCH_GATEWAYWORKER'] as $space => $root) {
        if (str_starts_with($class, "$space\\")) {
            $file = getenv($root) . '/src' . strtr(substr($class, strlen($space)), '\\', '/') . '.php';
            if (is_file($file)) {
                require $file;
            }
        }
    }
});

final class Events
{
    public static function onMessage(string $client, string $uid): void
    {
        Clients::bindUid($client, $uid);
    }
}

$place = getenv('BENCH_PLACE');
Worker::$pidFile = "$place/pid";
Worker::$statusFile = "$place/status";
Worker::$logFile = "$place/messages";

$register = getenv('BENCH_REGISTER');
new Register("text://$register");

$gateway = new Gateway('websocket://' . getenv('BENCH_CLIENTS'));
$gateway->name = 'gateway';
$gateway->count = (int) getenv('BENCH_GATEWAYS');
$gateway->reusePort = true;
$gateway->startPort = (int) getenv('BENCH_LINKS');
$gateway->registerAddress = $register;

$business = new BusinessWorker();
$business->name = 'business';
$business->count = (int) getenv('BENCH_BUSINESS');
$business->registerAddress = $register;
$business->eventHandler = Events::class;
$business->onWorkerStart = static function (): void {
    $lines = new Worker('text://' . getenv('BENCH_LINES'));
    $lines->reusePort = true;
    $lines->onMessage = static function (TcpConnection $sender, string $line): void {
        // What comes of it is not told, so `ok` says only that it has been passed on: asking first whether the uid is
        // there would block this process for a round trip per line.
        Clients::sendToUid(json_decode($line, true)['uid'], $line);
        $sender->send('ok');
    };
    $lines->listen();
};
Worker::runAll();
