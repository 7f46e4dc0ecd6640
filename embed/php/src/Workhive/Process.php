<?php

declare(strict_types=1);

namespace Workhive;

use FFI;
use RuntimeException;
use Throwable;
use Workerman\Worker;

/**
 * The hive of this program, and this process's part in it.
 *
 * @internal
 */
final class Process
{
    /** The library's number of the hive; 0: none. */
    public static int $hive = 0;

    /** Whether this process serves. */
    public static bool $isWorker = false;

    /** Whether the hive has begun, so that its log can be written to. */
    public static bool $isUp = false;

    /** The worker whose process this is. */
    public static ?Worker $worker = null;

    /** Which process of its group this is. */
    public static int $slot = 0;

    /** What Worker::stopAll wants this process to end with. */
    public static int $exitCode = 0;

    /**
     * Does what the command line says, and returns the exit code; in the master when the hive is over, in a worker when
     * that is to end.
     *
     * @param list<Worker> $workers
     */
    public static function run(array $workers): int
    {
        if (PHP_SAPI !== 'cli') {
            throw new RuntimeException('workhive runs on the command line only, not under ' . PHP_SAPI);
        }
        if (!function_exists('pcntl_fork')) {
            throw new RuntimeException('workhive needs the extension pcntl: enable extension=pcntl in php.ini');
        }
        $line = CommandLine::read();
        if ($line === null) {
            echo CommandLine::usage();
            return CommandLine::MISUSE;
        }
        try {
            return self::start($workers, $line);
        } catch (Error | RuntimeException $error) {
            fwrite(STDERR, "{$line->name}: {$error->getMessage()}\n");
            return $error instanceof Error && $error->getCode() !== Abi::ERR_USAGE ? 1 : CommandLine::MISUSE;
        } finally {
            ExitGuard::$over = true;
        }
    }

    /** What makes a process of the master, for the library. */
    public static function fork(): int
    {
        return pcntl_fork();
    }

    /** This process has begun to serve: it is that of this worker. */
    public static function entered(Worker $worker): void
    {
        self::$worker = $worker;
        $worker->id = self::$slot;
        mt_srand();
        if (Worker::$daemonize && Worker::$stdoutFile !== '' && Worker::$stdoutFile !== '/dev/null') {
            self::printTo(Worker::$stdoutFile);
        }
    }

    /** @param list<Worker> $workers */
    private static function start(array $workers, CommandLine $line): int
    {
        Callbacks::make();
        Log::place('master');
        Worker::$daemonize = Worker::$daemonize || $line->isDaemon;
        $ffi = Library::$ffi;
        Library::check($ffi->wh_hive_new($line->name, strlen($line->name), Library::$handle));
        self::$hive = Library::$handle[0];
        if ($line->ownsLog || Log::$own !== null) {
            Library::check($ffi->wh_hive_log_with(self::$hive, Callbacks::$table->log, 0, null));
        }
        if (Hive::$ownSignals) {
            Library::check($ffi->wh_hive_set_int(self::$hive, Abi::HIVE_SIGNALS, 1));
        }
        Library::check($ffi->wh_hive_fork_with(self::$hive, Callbacks::$table->fork, 0, null));
        foreach ($workers as $worker) {
            Definition::add($worker, self::$hive);
        }
        self::quietSignals();
        $words = $line->words();
        $argv = self::cStrings($words);
        Library::check($ffi->wh_hive_start(self::$hive, count($words), $argv, Library::$flag, Library::$code));
        return Library::$flag[0] === Abi::ROLE_WORKER ? self::serve() : Library::$code[0];
    }

    /**
     * PHP has a handler of its own for these, which the library's calls after itself: for a signal that the program has
     * not asked for it would end the process. With a handler that does nothing, it does nothing.
     */
    private static function quietSignals(): void
    {
        foreach ([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGTTIN, SIGTTOU] as $signal) {
            if (pcntl_signal_get_handler($signal) === SIG_DFL) {
                pcntl_signal($signal, static function (): void {
                });
            }
        }
    }

    /** A process's life. */
    private static function serve(): int
    {
        self::$isWorker = self::$isUp = true;
        ExitGuard::watch();
        $ffi = Library::$ffi;
        $hive = self::$hive;
        $over = Library::$flag;
        $place = $ffi->new('wh_place');
        Library::check($ffi->wh_place_of($hive, FFI::addr($place)));
        self::$slot = $place->slot;
        Log::place(Library::copy($place->group) . "[$place->slot]");
        do {
            Library::check($ffi->wh_run_once($hive, -1, $over));
            // Signals whose handlers the program has installed by pcntl_signal.
            $isOver = $over[0] !== 0;
            try {
                pcntl_signal_dispatch();
            } catch (Throwable $thrown) {
                Failures::log($thrown);
            }
        } while (!$isOver);
        self::$isWorker = false;
        Library::check($ffi->wh_finish($hive, Library::$code));
        self::$isUp = false;
        return self::$exitCode !== 0 ? self::$exitCode : Library::$code[0];
    }

    /** @param list<string> $words */
    private static function cStrings(array $words): FFI\CData
    {
        $list = Library::$ffi->new('char *[' . (count($words) + 1) . ']', false);
        foreach ($words as $i => $word) {
            $text = Library::$ffi->new('char[' . (strlen($word) + 1) . ']', false);
            FFI::memcpy($text, $word, strlen($word));
            $list[$i] = Library::$ffi->cast('char *', $text);
        }
        return Library::$ffi->cast('char **', $list);
    }

    private static function printTo(string $path): void
    {
        try {
            $libc = FFI::cdef('int dup2(int from, int to); int open(const char *path, int flags, int mode);');
            // O_WRONLY, O_CREAT, O_APPEND, as on every Linux.
            $fd = $libc->open($path, 0o1 | 0o100 | 0o2000, 0o644);
            if ($fd < 0 || $libc->dup2($fd, 1) < 0) {
                Log::warn("cannot print to $path (Worker::\$stdoutFile): what the program prints goes to the log");
            }
        } catch (Throwable $thrown) {
            Failures::log($thrown);
        }
    }
}
