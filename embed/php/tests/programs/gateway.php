<?php

/** What GatewayWorker's users write, in two processes. */

declare(strict_types=1);

use GatewayWorker\Lib\Gateway;
use Workerman\Connection\TcpConnection;
use Workerman\Worker;
use Workhive\Hive;

require_once __DIR__ . '/../../autoload.php';

Worker::$logFile = '/dev/null';

$ws = new Worker('websocket://' . getenv('TEST_WS'));
$ws->name = 'gateway';
$ws->count = 2;
$ws->reusePort = true;
$ws->onMessage = function (TcpConnection $connection, string $data) use ($ws): void {
    $id = Hive::idOf($connection);
    [$word, $rest] = explode(' ', $data, 2) + [1 => ''];
    match ($word) {
        'id' => $connection->send("$ws->id $id"),
        'bind' => [Gateway::bindUid($id, $rest), Gateway::updateSession($id, ['name' => $rest]), $connection->send('bound')],
        'name' => $connection->send(json_encode(Gateway::getSession($rest))),
        'join' => [Gateway::joinGroup($rest, 'room'), $connection->send('joined')],
        'group' => $connection->send(json_encode([
            Gateway::getClientIdCountByGroup('room'),
            Gateway::getClientIdListByGroup('room'),
            Gateway::getAllGroupIdList(),
        ])),
        'say' => Gateway::sendToGroup(['room', 'nobody'], $rest, [$id]),
        'tell' => Gateway::sendToUid(['anna', 'bert'], $rest),
        'whose' => $connection->send(json_encode(Gateway::getClientIdByUid($rest))),
        'online' => $connection->send(json_encode([Gateway::isOnline($rest), Gateway::isUidOnline($rest), Gateway::getAllUidCount()])),
        'ungroup' => [Gateway::ungroup('room'), $connection->send('gone')],
        'kick' => Gateway::closeClient($rest, 'bye'),
    };
};

Worker::runAll();
