<?php

declare(strict_types=1);

namespace Workhive;

/**
 * Lies at the bottom of every fiber, and so notices when a handler calls exit or die: nothing else unwinds it while the
 * process works. PHP cannot carry an exit through C. It would end with a fatal error that says something else, so that is
 * silenced, and the log has the truth. The process ends, as with Workerman, and the master starts another.
 *
 * @internal
 */
final class ExitGuard
{
    /** Set when the process ends in its own time. */
    public static bool $over = false;

    /** @var array<string, string> settings as they were before an exit in a handler; empty: there was none */
    private static array $settings = [];

    public function __destruct()
    {
        if (self::$over || self::$settings !== []) {
            return;
        }
        // Not error_reporting: each fiber has its own.
        foreach (['log_errors', 'display_errors'] as $setting) {
            self::$settings[$setting] = (string) ini_set($setting, '0');
        }
        Log::error('exit or die was called in a handler: this process ends with what it had not sent yet, and the master starts another');
    }

    /** The first of the functions that PHP runs at the end of a process that has called exit. */
    public static function atShutdown(): void
    {
        array_map(ini_set(...), array_keys(self::$settings), self::$settings);
        self::$over = true;
    }
}
