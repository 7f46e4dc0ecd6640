<?php

/** How connections end, buffers fill and empty, and handlers wait: as Workerman's manual has it. */

declare(strict_types=1);

namespace Protocols;

use DomainException;
use ErrorException;
use Workerman\Connection\TcpConnection;
use Workerman\Timer;
use Workerman\Worker;

require_once __DIR__ . '/../../autoload.php';

Worker::$logFile = getenv('TEST_LOG');

/** Lines, of which one cannot be decoded. It does not look how long they are. */
class Brittle extends \Workerman\Protocols\Text
{
    public static function input(string $buffer, \Workerman\Connection\ConnectionInterface $connection): int
    {
        $end = strpos($buffer, "\n");
        return $end === false ? 0 : $end + 1;
    }

    public static function decode(string $buffer, \Workerman\Connection\ConnectionInterface $connection): string
    {
        return $buffer === "bad\n" ? throw new DomainException('a bad package') : parent::decode($buffer, $connection);
    }
}

// Programs may have everything that PHP warns of thrown, also what is silenced by @.
set_error_handler(static function (int $severity, string $text, string $file, int $line): never {
    throw new ErrorException($text, 0, $severity, $file, $line);
});

$ws = new Worker('websocket://' . getenv('TEST_WS'));
$ws->name = 'ws';
$ws->uidConnections = [];
$ws->onClose = function (TcpConnection $connection) use ($ws): void {
    echo "onClose {$connection->getStatus(false)} {$connection->getRemoteIp()} " . (isset($ws->connections[$connection->id]) ? 'listed' : 'unlisted') . "\n";
    if (isset($connection->uid)) {
        unset($ws->uidConnections[$connection->uid]);
    }
    if (isset($connection->fails)) {
        throw new DomainException('an error in onClose');
    }
};
$ws->onMessage = function (TcpConnection $connection, string $order) use ($ws): void {
    if ($order === 'other') {
        $connection->send('count ' . count($ws->connections) . ' ' . count(TcpConnection::$connections));
        return;
    }
    if ($order === 'uid') {
        $connection->uid = 'anna';
        $ws->uidConnections['anna'] = $connection;
    }
    $connection->fails = $order === 'fail' ? true : null;
    match ($order) {
        'code' => $connection->closeWith(4001, 'why'),
        'destroy' => $connection->destroy(),
        default => $connection->close('bye'),
    };
    $connection->close('once is enough');
    echo "after $order: {$connection->getStatus(false)} " . (isset($connection->worker->connections[$connection->id]) ? 'listed' : 'unlisted') . "\n";
    if ($order === 'uid') {
        echo 'uid: ' . json_encode(isset($ws->uidConnections['anna'])) . "\n";
    }
};

$bytes = new Worker('tcp://' . getenv('TEST_TCP'));
$bytes->name = 'bytes';
$bytes->onClose = function (): void {
    echo "the slow one has closed\n";
};
$bytes->onMessage = function (TcpConnection $connection, string $order): void {
    if ($order === 'much') {
        $connection->close(str_repeat('x', 8_000_000));
        echo "much: {$connection->getStatus(false)}\n";
        return;
    }
    // The manual's page on onBufferFull and onBufferDrain.
    $connection->maxSendBufferSize = 200_000;
    $connection->onBufferFull = function (TcpConnection $connection): void {
        echo "full\n";
        $connection->pauseRecv();
    };
    $connection->onBufferDrain = function (TcpConnection $connection): void {
        echo "drain\n";
        $connection->resumeRecv();
    };
    $sent = 0;
    for ($i = 0; $i < 100; ++$i) {
        $sent += $connection->send(str_repeat('x', 100_000)) === true ? 100_000 : 0;
    }
    echo "sent $sent\n";
};

$brittle = new Worker('brittle://' . getenv('TEST_OWN'));
$brittle->name = 'brittle';
$brittle->onConnect = function (TcpConnection $connection): void {
    $connection->maxPackageSize = 1000;
};
$brittle->onMessage = function (TcpConnection $connection, string $line): void {
    Timer::sleep(0.05);
    $connection->send("$line done");
};
$brittle->onClose = function (): void {
    echo "the brittle one has ended\n";
};

$text = new Worker('text://' . getenv('TEST_TEXT'));
$text->name = 'text';
$text->onMessage = function (TcpConnection $connection, string $order): void {
    match ($order) {
        'exit' => exit(5),
        'delAll' => Timer::delAll(),
        default => Timer::sleep((float) $order),
    };
    $connection->send("$order done");
};
$text->onWorkerStop = function (): void {
    echo 'a timer of an ending process: ' . get_debug_type(Timer::add(1, static fn () => null)) . "\n";
};

Worker::runAll();
