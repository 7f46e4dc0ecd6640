<?php

declare(strict_types=1);

namespace Workhive;

use FFI;
use FFI\CData;
use Throwable;
use Workerman\Timer;
use Workerman\Worker;

/**
 * The functions that the library calls: one of each kind for the whole process, made once. PHP never gives back the memory
 * of a function that was handed to C, so none is made later; a number (`user`) says for whom a call is.
 *
 * An exception that leaves such a function ends PHP. Those of the program are caught where its handlers run
 * (Tasks::run), those of this package here.
 *
 * @internal
 */
final class Callbacks
{
    public const DECLARATION = <<<'C'
        struct workhive_php {
            wh_worker_fn start; wh_worker_fn stop; wh_worker_fn reload; wh_worker_fn timer; wh_fork_fn fork; wh_log_fn log;
            wh_conn_fn connect; wh_message_fn message; wh_request_fn request; wh_close_fn close; wh_error_fn error;
            wh_conn_fn full; wh_conn_fn drain; wh_opening_fn opening; wh_conn_fn opened; wh_uid_fn online; wh_uid_fn offline;
            wh_done_fn done; wh_outcome_fn outcome; wh_presence_fn presence; wh_count_fn count; wh_names_fn names; wh_topic_fn topic;
            wh_members_fn members; wh_session_fn session;
        };
        C;

    /** The functions as C sees them. */
    public static CData $table;

    /** Makes them. */
    public static function make(): void
    {
        if (isset(self::$table)) {
            return;
        }
        Library::load();
        $table = Library::$ffi->new('struct workhive_php', false);
        self::ofTheProcess($table);
        self::ofConnections($table);
        self::ofAnswers($table);
        self::$table = $table;
    }

    private static function ofTheProcess(CData $table): void
    {
        $table->start = static function (int $user): int {
            try {
                $code = Events::workerStart(Worker::of($user));
                return $code === Tasks::WAITS ? Abi::PENDING : Failures::code($code);
            } catch (Throwable $thrown) {
                return Failures::ofCallback($thrown);
            }
        };
        $table->stop = static fn (int $user): int => self::guarded(static fn (): int => Events::workerStop(Worker::of($user)));
        $table->reload = static fn (int $user): int => self::guarded(static fn (): int => Events::workerReload(Worker::of($user)));
        $table->timer = static fn (int $user): int => self::guarded(static fn (): int => Timer::fire($user));
        $table->fork = static function (int $user): int {
            try {
                return Process::fork();
            } catch (Throwable) {
                return -1;
            }
        };
        $table->log = static function (int $user, int $level, ?CData $text, int $len): void {
            try {
                Log::take($level, $len === 0 ? '' : FFI::string($text, $len));
            } catch (Throwable) {
                // Nobody is left to be told.
            }
        };
        $table->online = static fn (int $user, CData $uid, int $len): int => self::guarded(
            static fn (): int => Events::presence(Worker::of($user), 'onUidOnline', FFI::string($uid, $len)),
        );
        $table->offline = static fn (int $user, CData $uid, int $len): int => self::guarded(
            static fn (): int => Events::presence(Worker::of($user), 'onUidOffline', FFI::string($uid, $len)),
        );
    }

    /** `message` and `request` are what speed depends on: they are as short as can be. */
    private static function ofConnections(CData $table): void
    {
        $table->connect = static fn (int $user, int $conn): int => self::guarded(static fn (): int => Events::connect($user, $conn));
        $table->message = static function (int $user, int $conn, ?CData $data, int $len, int $isText): int {
            try {
                $code = Events::message(
                    Events::$connections[$conn] ?? Events::connection($user, $conn),
                    $len === 0 ? '' : FFI::string($data, $len),
                    $isText === 0,
                );
                return $code === Tasks::FAILED ? Failures::code($code) : Abi::OK;
            } catch (Throwable $thrown) {
                return Failures::ofCallback($thrown);
            }
        };
        $table->request = static function (int $user, int $conn, int $request): int {
            try {
                $code = Events::request(Events::$connections[$conn] ?? Events::connection($user, $conn), $request);
                return $code === Tasks::FAILED ? Failures::code($code) : Abi::OK;
            } catch (Throwable $thrown) {
                return Failures::ofCallback($thrown);
            }
        };
        $table->close = static fn (int $user, int $conn, CData $info): int => self::guarded(static fn (): int => Events::close($conn, $info));
        $table->error = static function (int $user, int $conn, int $kind, ?CData $text, int $len): int {
            return self::guarded(static fn (): int => Events::error($conn, $kind, $len === 0 ? '' : FFI::string($text, $len)));
        };
        $table->full = static fn (int $user, int $conn): int => self::guarded(static fn (): int => Events::bufferFull($conn));
        $table->drain = static fn (int $user, int $conn): int => self::guarded(static fn (): int => Events::bufferDrain($conn));
        $table->opening = static fn (int $user, int $conn, int $opening): int => self::guarded(
            static fn (): int => Events::opening($user, $conn, $opening),
        );
        $table->opened = static fn (int $user, int $conn): int => self::guarded(static fn (): int => Events::opened($conn));
    }

    private static function ofAnswers(CData $table): void
    {
        $table->done = static fn (int $user, int $result) => self::answer($user, $result);
        $table->outcome = static fn (int $user, CData $outcome) => self::answer(
            $user,
            new Outcome($outcome->delivered, $outcome->refused, $outcome->unknown, $outcome->is_delivered !== 0),
        );
        $table->presence = static fn (int $user, int $presence) => self::answer($user, $presence);
        $table->count = static fn (int $user, int $count, int $partial) => self::answer($user, $count);
        $table->names = static function (int $user, ?CData $names, int $count, int $next, int $partial): void {
            $list = [];
            for ($i = 0; $i < $count; ++$i) {
                $list[] = (string) Library::copy($names[$i]);
            }
            self::answer($user, [$list, $next]);
        };
        $table->members = static function (int $user, ?CData $members, int $count, int $more, int $partial): void {
            $ids = [];
            for ($i = 0; $i < $count; ++$i) {
                $ids[] = (string) Library::copy($members[$i]->id);
            }
            self::answer($user, [$ids, $more !== 0]);
        };
        $table->session = static fn (int $user, ?CData $data, int $len, int $partial) => self::answer(
            $user,
            $data === null ? null : FFI::string($data, $len),
        );
        $table->topic = static function (int $user, ?CData $data, int $len, int $isText): void {
            try {
                Hive::topicMessage($user, $len === 0 ? '' : FFI::string($data, $len));
            } catch (Throwable $thrown) {
                Failures::log($thrown);
            }
        };
    }

    /** @param callable(): int $event */
    private static function guarded(callable $event): int
    {
        try {
            return Failures::code($event());
        } catch (Throwable $thrown) {
            return Failures::ofCallback($thrown);
        }
    }

    private static function answer(int $token, mixed $answer): void
    {
        try {
            Tasks::answer($token, $answer);
        } catch (Throwable $thrown) {
            Failures::log($thrown);
        }
    }
}
