<?php

declare(strict_types=1);

namespace GatewayWorker\Lib;

use RuntimeException;
use Workerman\Connection\TcpConnection;
use Workhive\Hive;
use Workhive\Tasks;

/**
 * GatewayWorker's names for what Hive does. A client id is Hive::idOf(connection). What GatewayWorker does to a client by
 * its id alone works here too, but for what says that it is of a connection of this process.
 */
class Gateway
{
    public static function sendToAll(string $message, ?array $clientIds = null, ?array $excludeClientIds = null): void
    {
        if ($clientIds === null) {
            Hive::sendToAll($message, except: $excludeClientIds ?? [], wait: false);
            return;
        }
        foreach (array_diff($clientIds, $excludeClientIds ?? []) as $clientId) {
            self::sendToClient($clientId, $message);
        }
    }

    public static function sendToClient(string $clientId, string $message): bool
    {
        Hive::sendToConnection($clientId, $message, wait: false);
        return true;
    }

    public static function sendToCurrentClient(string $message): bool
    {
        return Tasks::$connection?->send($message) !== false;
    }

    public static function isOnline(string $clientId): bool
    {
        return self::find($clientId) !== null || in_array($clientId, iterator_to_array(Hive::connections(), false), true);
    }

    /** Of a connection of this process. */
    public static function bindUid(string $clientId, string|int $uid): void
    {
        Hive::bindUid(self::here($clientId), $uid);
    }

    /** Of a connection of this process. */
    public static function unbindUid(string $clientId, string|int $uid): void
    {
        Hive::unbindUid(self::here($clientId), $uid);
    }

    /** Of a connection of this process. */
    public static function getUidByClientId(string $clientId): ?string
    {
        return Hive::uidOf(self::here($clientId));
    }

    public static function isUidOnline(string|int $uid): bool
    {
        return Hive::isUidOnline($uid) === true;
    }

    /** @param string|int|list<string|int> $uid */
    public static function sendToUid(string|int|array $uid, string $message): void
    {
        Hive::sendToUids((array) $uid, $message, wait: false);
    }

    public static function joinGroup(string $clientId, string|int $group): void
    {
        $here = self::find($clientId);
        $here !== null ? Hive::joinRoom($here, (string) $group) : Hive::joinConnection($clientId, (string) $group);
    }

    public static function leaveGroup(string $clientId, string|int $group): void
    {
        Hive::leaveConnection($clientId, (string) $group);
    }

    public static function ungroup(string|int $group): void
    {
        Hive::dismissRoom((string) $group);
    }

    /** @param string|int|list<string|int> $group */
    public static function sendToGroup(string|int|array $group, string $message, ?array $excludeClientIds = null): void
    {
        Hive::sendToRooms(array_map(strval(...), (array) $group), $message, except: $excludeClientIds ?? [], wait: false);
    }

    public static function getClientIdCountByGroup(string|int $group): int
    {
        return Hive::roomSize((string) $group);
    }

    /** @return list<string> */
    public static function getClientIdListByGroup(string|int $group): array
    {
        return iterator_to_array(Hive::connectionsOfRoom((string) $group), false);
    }

    /** @return list<string> */
    public static function getClientIdByUid(string|int $uid): array
    {
        return iterator_to_array(Hive::connectionsOfUid($uid), false);
    }

    /** @return list<string> */
    public static function getAllClientIdList(): array
    {
        return iterator_to_array(Hive::connections(), false);
    }

    /** Of a connection of this process. */
    public static function setSession(string $clientId, array $session): void
    {
        Hive::setSession(self::here($clientId), $session);
    }

    public static function updateSession(string $clientId, array $session): void
    {
        self::setSession($clientId, array_replace_recursive(self::getSession($clientId) ?? [], $session));
    }

    public static function getSession(string $clientId): ?array
    {
        return Hive::sessionOf($clientId);
    }

    public static function getAllClientIdCount(): int
    {
        return Hive::connectionCount();
    }

    /** @return list<string> */
    public static function getAllUidList(): array
    {
        return iterator_to_array(Hive::uids(), false);
    }

    public static function getAllUidCount(): int
    {
        return iterator_count(Hive::uids());
    }

    /** @return list<string> */
    public static function getAllGroupIdList(): array
    {
        return iterator_to_array(Hive::rooms(), false);
    }

    public static function closeClient(string $clientId, ?string $message = null): void
    {
        if ($message !== null) {
            self::sendToClient($clientId, $message);
        }
        Hive::closeConnection($clientId);
    }

    public static function closeCurrentClient(?string $message = null): void
    {
        Tasks::$connection?->close($message);
    }

    private static function here(string $clientId): TcpConnection
    {
        return self::find($clientId) ?? throw new RuntimeException("there is no connection $clientId in this process");
    }

    private static function find(string $clientId): ?TcpConnection
    {
        $current = Tasks::$connection;
        if ($current !== null && Hive::idOf($current) === $clientId) {
            return $current;
        }
        foreach (TcpConnection::$connections as $connection) {
            if (Hive::idOf($connection) === $clientId) {
                return $connection;
            }
        }
        return null;
    }
}
