<?php

declare(strict_types=1);

namespace Workerman;

use RuntimeException;
use Workhive\Abi;
use Workhive\Callbacks;
use Workhive\Library;
use Workhive\Process;
use Workhive\Tasks;

/**
 * Timers of this process, from onWorkerStart on.
 *
 *     Timer::add(2.5, function () {
 *         echo "again\n";
 *     });
 */
class Timer
{
    /** Longest interval, in milliseconds: some hundred thousand years. */
    private const MAX_MS = 1 << 53;

    /** @var array<int, array{callable, array, bool, int, bool}> what to call, with what, whether again, the library's number, whether it is this package's */
    private static array $timers = [];

    private static int $lastId = 0;

    /** Calls `$func` after so many seconds, again and again unless `$persistent` is false. Returns the timer's id. */
    public static function add(float $timeInterval, callable $func, ?array $args = [], bool $persistent = true): int
    {
        return self::start($timeInterval, $func, $args ?? [], $persistent, false);
    }

    /** @internal A timer of this package's own, which `delAll` leaves alone. */
    public static function own(float $timeInterval, callable $func, bool $persistent): int
    {
        return self::start($timeInterval, $func, [], $persistent, true);
    }

    private static function start(float $timeInterval, callable $func, array $args, bool $persistent, bool $isOwn): int
    {
        if (!is_finite($timeInterval) || $timeInterval < 0) {
            throw new RuntimeException("a timer cannot have the interval $timeInterval: it is in seconds, 0 or more");
        }
        if (!Process::$isUp) {
            throw new RuntimeException('timers belong to a running process: add them in onWorkerStart or later');
        }
        $id = ++self::$lastId;
        if (!Process::$isWorker) {
            // The process ends, and its timers with it.
            return $id;
        }
        $ms = max(1, (int) min(self::MAX_MS, round($timeInterval * 1000)));
        $ffi = Library::$ffi;
        $table = Callbacks::$table;
        Library::check(
            $persistent
                ? $ffi->wh_timer_every($ms, $table->timer, $id, null, Library::$handle)
                : $ffi->wh_timer_after($ms, $table->timer, $id, null, Library::$handle),
        );
        self::$timers[$id] = [$func, $args, $persistent, Library::$handle[0], $isOwn];
        return $id;
    }

    public static function repeat(float $timeInterval, callable $func, array $args = []): int
    {
        return self::add($timeInterval, $func, $args);
    }

    public static function delay(float $timeInterval, callable $func, array $args = []): int
    {
        return self::add($timeInterval, $func, $args, false);
    }

    /** False if there is no such timer (any more). */
    public static function del(int $timerId): bool
    {
        if (!isset(self::$timers[$timerId])) {
            return false;
        }
        $handle = self::$timers[$timerId][3];
        unset(self::$timers[$timerId]);
        Library::$ffi->wh_timer_cancel($handle);
        return true;
    }

    public static function delAll(): void
    {
        array_map(self::del(...), array_keys(array_filter(self::$timers, static fn (array $timer): bool => !$timer[4])));
    }

    /** Waits so many seconds in the middle of a handler, while the process goes on with others. */
    public static function sleep(float $delay): void
    {
        if (!Process::$isWorker || !Tasks::canWait()) {
            usleep(max(0, (int) ($delay * 1e6)));
            return;
        }
        $token = Tasks::ask();
        try {
            self::own($delay, static fn () => Tasks::answer($token, null), false);
        } catch (RuntimeException $refused) {
            Tasks::forget($token);
            throw $refused;
        }
        Tasks::wait($token);
    }

    /** @internal */
    public static function fire(int $id): int
    {
        if (!isset(self::$timers[$id])) {
            return Abi::OK;
        }
        [$func, $args, $persistent] = self::$timers[$id];
        if (!$persistent) {
            unset(self::$timers[$id]);
        }
        return Tasks::run(null, $func, $args);
    }
}
