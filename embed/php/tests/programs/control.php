<?php

/** Listeners that come and go, Unix sockets, pipes, full buffers, the ends of processes. */

declare(strict_types=1);

use Workerman\Connection\TcpConnection;
use Workerman\Timer;
use Workerman\Worker;
use Workhive\Hive;

require_once __DIR__ . '/../../autoload.php';

Worker::$logFile = '/dev/null';

$control = new Worker('text://' . getenv('TEST_TEXT'));
$control->name = 'control';
$control->onWorkerStart = function (Worker $control): void {
    echo "start of $control->name $control->id\n";
    $control->inner = new Worker('text://' . getenv('TEST_INNER'));
    $control->inner->onMessage = fn (TcpConnection $connection, string $line) => $connection->send("inner $line");
    $control->unix = new Worker('unix://' . getenv('TEST_FOLDER') . '/bytes.sock');
    $control->unix->onMessage = fn (TcpConnection $connection, string $data) => $connection->send(strrev($data));
    $control->unix->listen();
};
$control->onWorkerStop = function (): void {
    // Nothing can wait any more; what can be known here is known.
    echo 'stop, ' . json_encode(isset($GLOBALS['control']->uidConnections['x'])) . "\n";
};
$control->uidConnections = [];
$control->onMessage = function (TcpConnection $connection, string $line) use ($control): void {
    match ($line) {
        'listen' => $control->inner->listen(),
        'unlisten' => $control->inner->unlisten(),
        'pause' => $control->inner->pauseAccept(),
        'resume' => $control->inner->resumeAccept(),
        'timers' => timers(),
        'stop' => Worker::stopAll(4),
        'reload' => Worker::reloadAllWorkers(),
        'signal' => signalled(),
        'wrong' => wrong($connection),
    };
    $connection->send("$line done");
};

function timers(): void
{
    $count = 0;
    $first = Timer::add(0.005, function () use (&$count): void {
        ++$count;
    });
    Timer::sleep(0.05);
    $again = Timer::del($first) && !Timer::del($first) && !Timer::del(12345);
    $seen = $count;
    Timer::add(0.005, function () use (&$count): void {
        $count += 1000;
    });
    Timer::delAll();
    Timer::sleep(0.03);
    echo 'timers ' . json_encode([$seen > 1, $again, $count === $seen]) . "\n";
}

function signalled(): void
{
    pcntl_signal(SIGWINCH, static fn () => throw new DomainException('an error in a signal handler'));
    posix_kill(getmypid(), SIGWINCH);
}

function wrong(TcpConnection $connection): void
{
    foreach (['udp://127.0.0.1:1', 'ssl://127.0.0.1:1', 'nosuch://127.0.0.1:1', 'text://127.0.0.1:notaport'] as $address) {
        try {
            (new Worker($address))->listen();
            echo "taken: $address\n";
        } catch (RuntimeException $error) {
            echo "refused: {$error->getMessage()}\n";
        }
    }
    $worker = new Worker('text://127.0.0.1:1');
    $worker->options = ['ping_intervall' => 1];
    try {
        $worker->listen();
    } catch (RuntimeException $error) {
        echo "refused: {$error->getMessage()}\n";
    }
}

$stays = new Worker('tcp://' . getenv('TEST_TCP'));
$stays->name = 'stays';
$stays->reloadable = false;
$stays->onWorkerReload = fn () => print "told of a reload\n";
// Bytes to the second client come from the first, no faster than it takes them.
$waiting = null;
$stays->onConnect = function (TcpConnection $connection) use (&$waiting): void {
    if ($waiting === null) {
        $waiting = $connection;
        return;
    }
    $waiting->maxSendBufferSize = 100_000;
    $connection->pipe($waiting);
    $pause = $waiting->onBufferFull;
    $waiting->onBufferFull = function () use ($pause): void {
        static $told = false;
        $told || print "full\n";
        $told = true;
        $pause();
    };
    $waiting = null;
};

Worker::runAll();
