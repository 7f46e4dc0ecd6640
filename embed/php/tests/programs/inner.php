<?php

/** Every process opens the same address. */

declare(strict_types=1);

use Workerman\Connection\TcpConnection;
use Workerman\Worker;

require_once __DIR__ . '/../../autoload.php';

Worker::$logFile = '/dev/null';

$outer = new Worker();
$outer->name = 'outer';
$outer->count = 4;
$outer->onWorkerStart = function () use ($outer): void {
    $inner = new Worker('http://' . getenv('TEST_HTTP'));
    $inner->reusePort = getenv('TEST_REUSE_PORT') === '1';
    $inner->onMessage = function (TcpConnection $connection) use ($outer): void {
        $connection->close("process $outer->id");
    };
    $inner->listen();
};

Worker::runAll();
