<?php

/** A chat with rooms, over four processes: `php chat.php start`, then http://127.0.0.1:8080/ in two windows. */

declare(strict_types=1);

use Workerman\Connection\TcpConnection;
use Workerman\Protocols\Http\Request;
use Workerman\Worker;
use Workhive\Hive;

require_once __DIR__ . '/../autoload.php';

$chat = new Worker('websocket://' . (getenv('CHAT_ADDRESS') ?: '0.0.0.0:1234'));
$chat->name = 'chat';
$chat->count = 4;

$chat->onWebSocketConnect = function (TcpConnection $connection, Request $request): void {
    $connection->nick = substr((string) $request->get('nick', ''), 0, 40);
    $connection->room = substr((string) $request->get('room', 'lobby'), 0, 40);
    if ($connection->nick === '' || $connection->room === '') {
        $connection->close('a nick is wanted: ws://..?nick=anna&room=lobby');
    }
};

$chat->onWebSocketConnected = function (TcpConnection $connection): void {
    Hive::bindUid($connection, $connection->nick);
    Hive::joinRoom($connection, $connection->room);
    say($connection->room, ['from' => $connection->nick, 'event' => 'joined', 'people' => Hive::roomSize($connection->room)]);
};

$chat->onMessage = function (TcpConnection $connection, string $text): void {
    if (preg_match('/^@(\S+) (.+)$/s', $text, $match) === 1) {
        $message = json_encode(['from' => $connection->nick, 'private' => $match[2]]);
        $connection->send($message);
        if (!Hive::sendToUid($match[1], $message)->isDelivered()) {
            $connection->send(json_encode(['from' => 'chat', 'text' => "$match[1] is not here"]));
        }
        return;
    }
    say($connection->room, ['from' => $connection->nick, 'text' => $text]);
};

$chat->onClose = function (TcpConnection $connection): void {
    if (isset($connection->room)) {
        say($connection->room, ['from' => $connection->nick, 'event' => 'left']);
    }
};

function say(string $room, array $message): void
{
    Hive::sendToRoom($room, json_encode($message, JSON_UNESCAPED_UNICODE), wait: false);
}

$page = new Worker('http://' . (getenv('CHAT_PAGE_ADDRESS') ?: '0.0.0.0:8080'));
$page->name = 'page';
$page->onMessage = function (TcpConnection $connection): void {
    $connection->send(file_get_contents(__DIR__ . '/chat.html'));
};

Worker::runAll();
