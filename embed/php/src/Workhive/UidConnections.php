<?php

declare(strict_types=1);

namespace Workhive;

use ArrayAccess;
use Countable;
use InvalidArgumentException;
use IteratorAggregate;
use Traversable;
use Workerman\Connection\TcpConnection;

/**
 * What `$worker->uidConnections` is once an array was assigned to it: the users of all processes, under the array's syntax.
 *
 * | written | means |
 * |---|---|
 * | `[$uid] = $connection` | the connection gets this uid, beside others that have it |
 * | `isset([$uid])` | whether the user is online, in any process |
 * | `[$uid]->send($data)` | to every connection of the user, in any process; true if at least one has it |
 * | `unset([$uid])` | this process's connections lose the uid; in onClose nothing is left to do, and other tabs of the user stay |
 * | `foreach` | a UidConnection for each user who is online, in any process |
 * | `count()` | users online |
 *
 * Anything but a connection, and `[]`, is refused. Who wants an array of his own takes another name for it, or an ArrayObject.
 *
 * @implements ArrayAccess<string|int, TcpConnection>
 * @implements IteratorAggregate<string|int, UidConnection>
 */
final class UidConnections implements ArrayAccess, IteratorAggregate, Countable
{
    public function offsetExists(mixed $offset): bool
    {
        if (!Tasks::canWait()) {
            return self::here((string) $offset) !== [];
        }
        return Hive::isUidOnline(self::uid($offset)) === true;
    }

    public function offsetGet(mixed $offset): TcpConnection
    {
        return new UidConnection(self::uid($offset));
    }

    public function offsetSet(mixed $offset, mixed $value): void
    {
        if (!$value instanceof TcpConnection || $value instanceof UidConnection) {
            throw new InvalidArgumentException(
                'uidConnections holds connections of this process, not ' . get_debug_type($value)
                . ': keep other things in a property of another name, or assign an ArrayObject',
            );
        }
        if ($offset === null) {
            throw new InvalidArgumentException('uidConnections needs the uid: $worker->uidConnections[$uid] = $connection');
        }
        Hive::bindUid($value, self::uid($offset));
    }

    public function offsetUnset(mixed $offset): void
    {
        $uid = self::uid($offset);
        $closing = Tasks::$connection;
        if ($closing !== null && $closing->status === TcpConnection::STATUS_CLOSED && Hive::uidOf($closing) === $uid) {
            // It loses the uid with its end; what else has it are other connections of the same user.
            if ($closing->hasLeft) {
                Library::$ffi->wh_conn_unbind_uid($closing->handle, $uid, strlen($uid));
            }
            return;
        }
        foreach (self::here($uid) as $connection) {
            Hive::unbindUid($connection, $uid);
        }
    }

    public function getIterator(): Traversable
    {
        foreach (Hive::uids() as $uid) {
            // Keys as an array has them.
            yield (string) (int) $uid === $uid ? (int) $uid : $uid => new UidConnection($uid, true);
        }
    }

    public function count(): int
    {
        return iterator_count(Hive::uids());
    }

    /** @return list<TcpConnection> connections of this process with this uid */
    private static function here(string $uid): array
    {
        return array_values(array_filter(
            TcpConnection::$connections,
            static fn (TcpConnection $connection): bool => Hive::uidOf($connection) === $uid,
        ));
    }

    private static function uid(mixed $offset): string
    {
        if (!is_string($offset) && !is_int($offset)) {
            throw new InvalidArgumentException('a uid is a string or a number, not ' . get_debug_type($offset));
        }
        return (string) $offset;
    }
}
