<?php

declare(strict_types=1);

namespace Workhive;

use Workerman\Worker;

/**
 * The log. As with Workerman, lines go to Worker::$logFile and, in the foreground, to standard error too. A daemon's is
 * written by the library, and so is one that is named on the command line (--log-file, --log-format); a program that has
 * called Hive::logWith gets the lines itself.
 *
 * @internal
 */
final class Log
{
    public const ERROR = 1;
    public const WARN = 2;
    public const INFO = 3;
    public const LEVELS = [1 => 'error', 2 => 'warn', 3 => 'info', 4 => 'debug', 5 => 'trace'];

    /** @var ?callable(string $level, string $text): void the program's own */
    public static mixed $own = null;

    /** Which process this is, and its pid: a process that has not said yet where it belongs is the router. */
    private static string $place = 'master';
    private static int $placed = 0;

    /** @var ?resource opened by the master, so that processes which have given up their rights can still write to it */
    private static $file = null;

    private static ?int $inode = null;

    public static function place(string $place): void
    {
        self::$place = $place;
        self::$placed = (int) getmypid();
    }

    public static function warn(string $text): void
    {
        self::say(self::WARN, $text);
    }

    public static function info(string $text): void
    {
        self::say(self::INFO, $text);
    }

    /** Into the log of the hive; where there is none yet, or no more, straight to where lines go. */
    public static function say(int $level, string $text): void
    {
        $text = rtrim($text, "\r\n");
        if (!isset(Library::$ffi) || !Process::$isUp || Library::$ffi->wh_log($level, $text, strlen($text)) !== Abi::OK) {
            self::take($level, $text);
        }
    }

    /** A line of the library's. */
    public static function take(int $level, string $text): void
    {
        if (self::$own !== null) {
            (self::$own)(self::LEVELS[$level] ?? (string) $level, $text);
            return;
        }
        // As the library writes them.
        $time = sprintf('%s.%03dZ', gmdate('Y-m-d\TH:i:s', (int) ($now = microtime(true))), fmod($now, 1) * 1000);
        $pid = getmypid();
        $place = $pid === self::$placed ? self::$place : (self::$place === 'master' ? 'router[0]' : self::$place);
        $level = strtoupper(self::LEVELS[$level] ?? (string) $level);
        $lines = '';
        foreach (explode("\n", $text) as $line) {
            $lines .= "$time $level $place $pid $line\n";
        }
        // A program may throw whatever PHP warns of, also where it is told not to.
        set_error_handler(static fn (): bool => true);
        try {
            self::show($lines);
            self::write($lines);
        } finally {
            restore_error_handler();
        }
    }

    /** To standard error. What a full pipe or a stopped terminal does not take is lost: the log never holds a process up. */
    private static function show(string $lines): void
    {
        // A pipe that can be written to takes so much at once.
        foreach (str_split($lines, 4096) as $piece) {
            $none = null;
            $ready = [STDERR];
            if (@stream_select($none, $ready, $none, 0) !== 1) {
                return;
            }
            @fwrite(STDERR, $piece);
        }
    }

    private static function write(string $lines): void
    {
        $path = Worker::$logFile;
        if ($path === '') {
            return;
        }
        clearstatcache(true, $path);
        $inode = @fileinode($path);
        if (self::$file === null || ($inode !== self::$inode && $path !== '/dev/null')) {
            // The first line, or the file was rotated. Who may not open it writes on to the one that he has.
            $file = @fopen($path, 'a');
            if ($file === false) {
                $inode = self::$inode;
            } else {
                self::$file = $file;
                clearstatcache(true, $path);
                $inode = @fileinode($path);
            }
            self::$inode = $inode === false ? null : $inode;
        }
        if (self::$file !== null) {
            @fwrite(self::$file, $lines);
        }
    }
}
