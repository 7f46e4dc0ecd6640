<?php

declare(strict_types=1);

namespace Workhive;

use FFI;
use FFI\CData;

/**
 * Lies at the bottom of every fiber, and so notices when a handler calls exit or die: nothing else unwinds it while the
 * process works. PHP cannot carry an exit through C. It would end with a fatal error that says something else and a code
 * of its own, so that is silenced, the log has the truth, and the code is the one that exit was given. What was registered
 * by register_shutdown_function runs as ever.
 *
 * @internal
 */
final class ExitGuard
{
    /** Set when the process ends in its own time. */
    public static bool $over = false;

    /** What exit was given; null: there was none. */
    private static ?int $code = null;

    /** @var array<string, string> settings that were changed for the fatal error */
    private static array $settings = [];

    /** The process in whose handlers exit means the end of a worker. What these fork ends by itself. */
    private static int $pid = 0;

    /** PHP's `EG(error_reporting)`, and behind it `EG(exit_status)`; null if this PHP has them elsewhere. */
    private static ?CData $globals = null;

    /** Where `EG(error_reporting)` is, in ints, in PHP 8 without threads. */
    private const AT = 106;

    private bool $hasLeft = false;

    /** The process that serves from now on. */
    public static function watch(): void
    {
        self::$pid = (int) getmypid();
        self::$globals = self::globals();
        register_shutdown_function(self::atShutdown(...));
    }

    /** Its fiber is no longer needed, and ends in its own time. */
    public function leave(): void
    {
        $this->hasLeft = true;
    }

    public function __destruct()
    {
        if ($this->hasLeft || self::$over || self::$code !== null) {
            return;
        }
        self::$code = self::$globals === null ? 255 : self::$globals[self::AT + 1];
        // Not error_reporting: each fiber has its own.
        foreach (['log_errors', 'display_errors'] as $setting) {
            self::$settings[$setting] = (string) ini_set($setting, '0');
        }
        if (getmypid() === self::$pid) {
            Log::warn('exit or die was called in a handler: this process ends with what it had not sent yet, and the master starts another');
        }
    }

    /** The first of the functions that PHP runs at the end of a process; it puts another one at the end of their line. */
    private static function atShutdown(): void
    {
        self::$over = true;
        if (self::$code !== null) {
            array_map(ini_set(...), array_keys(self::$settings), self::$settings);
            register_shutdown_function(static fn () => exit(self::$code));
        }
    }

    /** No function of PHP tells what exit was given, so it is read where PHP keeps it, if a look around says that it is there. */
    private static function globals(): ?CData
    {
        try {
            $ffi = FFI::cdef('extern unsigned char executor_globals[' . (self::AT + 2) * 4 . '];');
            $ints = $ffi->cast('int *', FFI::addr($ffi->executor_globals[0]));
            $before = error_reporting(0x1234);
            $found = $ints[self::AT] === 0x1234 && $ints[self::AT + 1] === 0;
            error_reporting($before);
            return $found && $ints[self::AT] === $before ? $ints : null;
        } catch (FFI\Exception) {
            return null;
        }
    }
}
