<?php

/** Pushes as Workerman's users write it, with more than one process. */

declare(strict_types=1);

use Workerman\Connection\TcpConnection;
use Workerman\Worker;

require_once __DIR__ . '/../../autoload.php';

Worker::$logFile = '/dev/null';

$hub = new Worker('websocket://' . getenv('TEST_WS'));
$hub->name = 'hub';
$hub->count = 4;
$hub->uidConnections = array();
$hub->onWorkerStart = function (Worker $hub): void {
    $door = new Worker('text://' . getenv('TEST_TEXT'));
    // One address in four processes: with uidConnections they share the socket, unless told otherwise.
    $door->reusePort = getenv('TEST_REUSE_PORT') === '1';
    $door->onMessage = 'door';
    $door->listen();
};

function door(TcpConnection $connection, string $line): void
{
    global $hub;
    [$word, $uid, $text] = explode(' ', $line, 3) + [1 => '', 2 => ''];
    if ($word === 'push') {
        $answer = isset($hub->uidConnections[$uid]) ? json_encode($hub->uidConnections[$uid]->send($text)) : 'nobody';
    } elseif ($word === 'all') {
        $uids = [];
        foreach ($hub->uidConnections as $uid => $each) {
            $each->send($text);
            $uids[] = $uid;
        }
        sort($uids);
        $answer = json_encode($uids);
    } elseif ($word === 'count') {
        $answer = count($hub->uidConnections);
    } elseif ($word === 'kick') {
        $hub->uidConnections[$uid]->close('go');
        $answer = 'kicked';
    } elseif ($word === 'wrong') {
        try {
            $hub->uidConnections[$uid] = 'no connection';
        } catch (InvalidArgumentException $error) {
            $answer = $error->getMessage();
        }
    }
    $connection->send("$hub->id $answer");
}

$hub->onMessage = function (TcpConnection $connection, string $data): void {
    global $hub;
    if (!isset($connection->uid)) {
        $connection->uid = $data;
        $hub->uidConnections[$connection->uid] = $connection;
        $connection->send("hello from $hub->id");
    } elseif ($data === 'leave') {
        unset($hub->uidConnections[$connection->uid]);
        $connection->send('left');
    }
};
$hub->onClose = function (TcpConnection $connection): void {
    global $hub;
    if (isset($connection->uid)) {
        unset($hub->uidConnections[$connection->uid]);
    }
    echo "closed\n";
};

Worker::runAll();
