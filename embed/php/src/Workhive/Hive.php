<?php

declare(strict_types=1);

namespace Workhive;

use FFI;
use FFI\CData;
use Generator;
use Workerman\Connection\TcpConnection;

/**
 * The processes of this program together: users, rooms and connections, wherever they are.
 *
 *     Hive::bindUid($connection, 'anna');
 *     Hive::sendToUid('anna', 'hello')->isDelivered();   // in any process
 *
 * Calls that have an answer wait for it, in the middle of the handler, while the process goes on with other connections. Where nothing can
 * wait (in a Fiber that the program made itself, in onWorkerStop), they say so by an exception; the `send..` functions then
 * return null. Data are text for WebSockets unless `$binary`; they go out in the protocol of each connection.
 */
final class Hive
{
    /** @internal whether signals are left to the program */
    public static bool $ownSignals = false;

    /** @var array<int, callable> by number */
    private static array $topics = [];

    /** @var array<string, int> numbers of topics */
    private static array $topicNumbers = [];

    private static int $lastTopic = 0;

    // ---- users ----

    /** Makes `$uid` a name of this connection. From then on, a push to the uid reaches it. One uid may have many connections. */
    public static function bindUid(TcpConnection $connection, string|int $uid): void
    {
        $uid = (string) $uid;
        self::inForce(static fn (?CData $done, int $token): int => Library::$ffi->wh_conn_bind_uid($connection->handle, $uid, strlen($uid), $done, $token, null));
    }

    public static function unbindUid(TcpConnection $connection, string|int $uid): void
    {
        $uid = (string) $uid;
        Library::check(Library::$ffi->wh_conn_unbind_uid($connection->handle, $uid, strlen($uid)));
    }

    /** The first uid of a connection, also in its onClose; null if it has none. */
    public static function uidOf(TcpConnection $connection): ?string
    {
        return Library::lent('wh_conn_uid', $connection->handle);
    }

    /** Null: not known, since a process died or did not answer. */
    public static function isUidOnline(string|int $uid): ?bool
    {
        $uid = (string) $uid;
        $presence = self::answer(static fn (int $token): int => Library::$ffi->wh_is_uid_online($uid, strlen($uid), Callbacks::$table->presence, $token, null));
        return match ($presence) {
            Abi::ONLINE => true,
            Abi::OFFLINE => false,
            default => null,
        };
    }

    /** How many connections the hive has, with or without a uid. */
    public static function connectionCount(): int
    {
        return self::answer(static fn (int $token): int => Library::$ffi->wh_online_count(Callbacks::$table->count, $token, null));
    }

    /** Every uid that is online. @return Generator<int, string> */
    public static function uids(): Generator
    {
        return self::names('wh_uids');
    }

    /** @param list<string> $except ids of connections, see idOf */
    public static function sendToUid(string|int $uid, string $data, bool $binary = false, array $except = [], bool $wait = true): ?Outcome
    {
        return self::push('wh_send_to_uid', [(string) $uid], $data, $binary, $except, $wait);
    }

    /**
     * @param list<string|int> $uids each connection gets it once
     * @param list<string> $except ids of connections
     */
    public static function sendToUids(array $uids, string $data, bool $binary = false, array $except = [], bool $wait = true): ?Outcome
    {
        return self::pushToMany('wh_send_to_uids', $uids, $data, $binary, $except, $wait);
    }

    /** Closes every connection of the uid: 1000, or 3000 to 4999. */
    public static function closeUid(string|int $uid, int $code = 1000, string $reason = ''): void
    {
        $uid = (string) $uid;
        Library::check(Library::$ffi->wh_close_uid($uid, strlen($uid), $code, $reason, strlen($reason)));
    }

    // ---- rooms ----

    public static function joinRoom(TcpConnection $connection, string $room): void
    {
        self::inForce(static fn (?CData $done, int $token): int => Library::$ffi->wh_conn_join_room($connection->handle, $room, strlen($room), $done, $token, null));
    }

    public static function leaveRoom(TcpConnection $connection, string $room): void
    {
        Library::check(Library::$ffi->wh_conn_leave_room($connection->handle, $room, strlen($room)));
    }

    /** Every connection of the uid joins. */
    public static function joinUid(string|int $uid, string $room): void
    {
        $uid = (string) $uid;
        Library::check(Library::$ffi->wh_join_uid($uid, strlen($uid), $room, strlen($room)));
    }

    public static function leaveUid(string|int $uid, string $room): void
    {
        $uid = (string) $uid;
        Library::check(Library::$ffi->wh_leave_uid($uid, strlen($uid), $room, strlen($room)));
    }

    /** @return list<string> the rooms of a connection */
    public static function roomsOf(TcpConnection $connection): array
    {
        $list = Library::$ffi->new('const wh_bytes *[1]');
        if (Library::$ffi->wh_conn_rooms($connection->handle, FFI::addr($list[0]), Library::$number) !== Abi::OK) {
            return [];
        }
        $rooms = [];
        for ($i = 0; $i < Library::$number[0]; ++$i) {
            $rooms[] = (string) Library::copy($list[0][$i]);
        }
        return $rooms;
    }

    /** Connections in the room. */
    public static function roomSize(string $room): int
    {
        return self::answer(static fn (int $token): int => Library::$ffi->wh_room_size($room, strlen($room), Callbacks::$table->count, $token, null));
    }

    /** Every room that somebody is in. @return Generator<int, string> */
    public static function rooms(): Generator
    {
        return self::names('wh_rooms');
    }

    /** @param list<string> $except ids of connections */
    public static function sendToRoom(string $room, string $data, bool $binary = false, array $except = [], bool $wait = true): ?Outcome
    {
        return self::push('wh_send_to_room', [$room], $data, $binary, $except, $wait);
    }

    /**
     * @param list<string> $rooms each connection gets it once
     * @param list<string> $except ids of connections
     */
    public static function sendToRooms(array $rooms, string $data, bool $binary = false, array $except = [], bool $wait = true): ?Outcome
    {
        return self::pushToMany('wh_send_to_rooms', $rooms, $data, $binary, $except, $wait);
    }

    /** Everybody leaves the room. */
    public static function dismissRoom(string $room): void
    {
        Library::check(Library::$ffi->wh_dismiss_room($room, strlen($room)));
    }

    public static function closeRoom(string $room, int $code = 1000, string $reason = ''): void
    {
        Library::check(Library::$ffi->wh_close_room($room, strlen($room), $code, $reason, strlen($reason)));
    }

    // ---- connections ----

    /** The id of a connection in the whole hive: it can be kept and sent elsewhere, and never names another one. */
    public static function idOf(TcpConnection $connection): ?string
    {
        return Library::lent('wh_conn_id', $connection->handle);
    }

    public static function sendToConnection(string $id, string $data, bool $binary = false, bool $wait = true): ?Outcome
    {
        return self::outcome($wait, static fn (?CData $fn, int $token): int => Library::$ffi->wh_send_to_connection(
            $id,
            strlen($id),
            $binary ? Abi::BINARY : Abi::TEXT,
            $data,
            strlen($data),
            $fn,
            $token,
            null,
        ));
    }

    /** Makes a connection, in whichever process it is, a member of a room. */
    public static function joinConnection(string $id, string $room): void
    {
        Library::check(Library::$ffi->wh_join_connection($id, strlen($id), $room, strlen($room)));
    }

    public static function leaveConnection(string $id, string $room): void
    {
        Library::check(Library::$ffi->wh_leave_connection($id, strlen($id), $room, strlen($room)));
    }

    /** Ids of all connections, of those of a uid, or of those in a room. @return Generator<int, string> */
    public static function connections(): Generator
    {
        return self::members('wh_members_of_all', []);
    }

    /** @return Generator<int, string> */
    public static function connectionsOfUid(string|int $uid): Generator
    {
        return self::members('wh_members_of_uid', [(string) $uid]);
    }

    /** @return Generator<int, string> */
    public static function connectionsOfRoom(string $room): Generator
    {
        return self::members('wh_members_of_room', [$room]);
    }

    /** Keeps data with a connection that every process can ask for, up to 64 KiB of JSON. */
    public static function setSession(TcpConnection $connection, array $session): void
    {
        $json = json_encode($session, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE);
        Library::check(Library::$ffi->wh_conn_set_session($connection->handle, $json, strlen($json)));
    }

    /** What was kept with a connection, in whichever process it is; null if nothing was, or it is not there. */
    public static function sessionOf(string $id): ?array
    {
        $json = self::answer(static fn (int $token): int => Library::$ffi->wh_session_of($id, strlen($id), Callbacks::$table->session, $token, null));
        return $json === null ? null : json_decode($json, true);
    }

    public static function closeConnection(string $id, int $code = 1000, string $reason = ''): void
    {
        Library::check(Library::$ffi->wh_close_connection($id, strlen($id), $code, $reason, strlen($reason)));
    }

    /** @param list<string> $except ids of connections */
    public static function sendToAll(string $data, bool $binary = false, array $except = [], bool $wait = true): ?Outcome
    {
        return self::push('wh_send_to_all', [], $data, $binary, $except, $wait);
    }

    // ---- messages between processes ----

    /** Calls `$callback` with every message of the topic that any process publishes from then on. */
    public static function subscribe(string $topic, callable $callback): void
    {
        $number = ++self::$lastTopic;
        Library::check(Library::$ffi->wh_subscribe($topic, strlen($topic), Callbacks::$table->topic, $number, null));
        self::$topics[$number] = $callback;
        unset(self::$topics[self::$topicNumbers[$topic] ?? 0]);
        self::$topicNumbers[$topic] = $number;
    }

    public static function unsubscribe(string $topic): void
    {
        Library::check(Library::$ffi->wh_unsubscribe($topic, strlen($topic)));
        unset(self::$topics[self::$topicNumbers[$topic] ?? 0], self::$topicNumbers[$topic]);
    }

    public static function publish(string $topic, string $data): void
    {
        Library::check(Library::$ffi->wh_publish($topic, strlen($topic), Abi::BINARY, $data, strlen($data)));
    }

    /** @internal */
    public static function topicMessage(int $number, string $data): void
    {
        if (isset(self::$topics[$number])) {
            Tasks::settle(Tasks::run(null, self::$topics[$number], [$data]));
        }
    }

    // ---- this process ----

    /** @return array{group: string, slot: int, count: int, generation: int, pid: int} which process this is */
    public static function place(): array
    {
        $place = Library::$ffi->new('wh_place');
        Library::check(Library::$ffi->wh_place_of(Process::$hive, FFI::addr($place)));
        return [
            'group' => (string) Library::copy($place->group),
            'slot' => $place->slot,
            'count' => $place->count,
            'generation' => $place->generation,
            'pid' => $place->pid,
        ];
    }

    /** @return array<string, int> counters of this process */
    public static function stats(): array
    {
        $stats = Library::$ffi->new('wh_stats');
        Library::check(Library::$ffi->wh_stats_of(Process::$hive, FFI::addr($stats), FFI::sizeof($stats)));
        return [
            'connections' => $stats->connections,
            'accepted' => $stats->accepted,
            'messages_in' => $stats->messages_in,
            'bytes_in' => $stats->bytes_in,
            'bytes_out' => $stats->bytes_out,
            'timers' => $stats->timers,
        ];
    }

    /** Ends this process gracefully; the master starts another. */
    public static function stop(): void
    {
        Library::check(Library::$ffi->wh_stop(Process::$hive));
    }

    public static function stopAll(): void
    {
        Library::check(Library::$ffi->wh_stop_all(Process::$hive));
    }

    public static function reloadAll(): void
    {
        Library::check(Library::$ffi->wh_reload_all(Process::$hive));
    }

    /** Gives log lines to `$log(string $level, string $text)`, instead of Worker::$logFile and standard error. Before Worker::runAll(). */
    public static function logWith(callable $log): void
    {
        Log::$own = $log;
    }

    /** Leaves SIGTERM and the like of processes to the program, which hands them on by signal(). Before Worker::runAll(). */
    public static function leaveSignals(): void
    {
        self::$ownSignals = true;
    }

    /** Does what the signal would do to this process. */
    public static function signal(int $signal): void
    {
        Library::check(Library::$ffi->wh_signal(Process::$hive, $signal));
    }

    // ---- how ----

    /** @param list<string> $target none: everybody */
    private static function push(string $function, array $target, string $data, bool $binary, array $except, bool $wait): ?Outcome
    {
        $kind = $binary ? Abi::BINARY : Abi::TEXT;
        $ids = $except === [] ? null : new ByteList($except);
        $to = $target === [] ? [] : [$target[0], strlen($target[0])];
        return self::outcome($wait, static fn (?CData $fn, int $token): int => Library::$ffi->{$function}(
            ...$to,
            ...[$kind, $data, strlen($data), $ids?->list, $ids?->count ?? 0, $fn, $token, null],
        ));
    }

    private static function pushToMany(string $function, array $targets, string $data, bool $binary, array $except, bool $wait): ?Outcome
    {
        $to = new ByteList(array_map(strval(...), array_values($targets)));
        $ids = $except === [] ? null : new ByteList($except);
        $kind = $binary ? Abi::BINARY : Abi::TEXT;
        return self::outcome($wait, static fn (?CData $fn, int $token): int => Library::$ffi->{$function}(
            $to->list,
            $to->count,
            $kind,
            $data,
            strlen($data),
            $ids?->list,
            $ids?->count ?? 0,
            $fn,
            $token,
            null,
        ));
    }

    /** @param callable(?CData, int): int $call */
    private static function outcome(bool $wait, callable $call): ?Outcome
    {
        if (!$wait || !Tasks::canWait()) {
            Library::check($call(null, 0));
            return null;
        }
        return self::answer(static fn (int $token): int => $call(Callbacks::$table->outcome, $token));
    }

    /** @param callable(?CData, int): int $call */
    private static function inForce(callable $call): void
    {
        if (!Tasks::canWait()) {
            Library::check($call(null, 0));
            return;
        }
        $result = self::answer(static fn (int $token): int => $call(Callbacks::$table->done, $token));
        // The client was faster: it has gone, and onClose will say so.
        if ($result !== Abi::ERR_GONE) {
            Library::check($result);
        }
    }

    /** @param callable(int): int $call puts the question under this number */
    private static function answer(callable $call): mixed
    {
        $token = Tasks::ask();
        $result = $call($token);
        if ($result >= Abi::ERR_NULL) {
            Tasks::forget($token);
            throw Library::error($result);
        }
        return Tasks::wait($token);
    }

    /** @param list<string> $of @return Generator<int, string> */
    private static function members(string $function, array $of): Generator
    {
        $of = $of === [] ? [] : [$of[0], strlen($of[0])];
        $after = null;
        do {
            [$ids, $more] = self::answer(static fn (int $token): int => Library::$ffi->{$function}(
                ...$of,
                ...[$after, strlen((string) $after), Callbacks::$table->members, $token, null],
            ));
            foreach ($ids as $id) {
                yield $id;
            }
            $after = $ids === [] ? null : end($ids);
        } while ($more && $after !== null);
    }

    /** @return Generator<int, string> */
    private static function names(string $function): Generator
    {
        $from = -1;
        do {
            [$names, $from] = self::answer(static fn (int $token): int => Library::$ffi->{$function}($from, Callbacks::$table->names, $token, null));
            foreach ($names as $name) {
                yield $name;
            }
        } while ($from !== -1);
    }
}
