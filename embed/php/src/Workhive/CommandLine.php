<?php

declare(strict_types=1);

namespace Workhive;

use Workerman\Worker;

/**
 * The command line as Workerman's users type it, in the library's words.
 *
 * @internal
 */
final class CommandLine
{
    /** Exit code for a command line that makes no sense, the library's own. */
    public const MISUSE = 2;

    private const VERBS = ['start', 'stop', 'restart', 'reload', 'upgrade', 'scale', 'status', 'connections', 'check', 'show-config'];

    /** Longest path of a pid file: the sockets beside it have longer names, which the system limits to 107 bytes. */
    private const MAX_PATH = 90;

    /** @param list<string> $options behind the verb, or alone */
    private function __construct(
        public readonly string $name,
        public readonly string $verb,
        public readonly array $options,
        public readonly bool $isDaemon,
        public readonly bool $ownsLog,
    ) {
    }

    /** Null if it does not say what to do. */
    public static function read(): ?self
    {
        $words = array_slice($_SERVER['argv'] ?? [], 1);
        if (Worker::$command !== '') {
            $words = [...$words, ...preg_split('/\s+/', trim(Worker::$command))];
        }
        $at = null;
        foreach ($words as $i => $word) {
            if (in_array($word, self::VERBS, true)) {
                $at = $i;
                break;
            }
        }
        // Words in front of the verb are the program's own; options alone (--help) are for the library.
        $verb = $at === null ? '' : $words[$at];
        $options = array_values(array_diff($at === null ? $words : array_slice($words, $at + 1), ['-q']));
        if ($verb === '' && !in_array('--help', $options, true) && !in_array('-h', $options, true)) {
            return null;
        }
        $isStart = $verb === 'start' || $verb === 'restart';
        if ($verb === 'reload') {
            // Every reload is graceful.
            $options = array_values(array_diff($options, ['-g']));
        }
        if ($verb === 'status') {
            $options = array_map(static fn (string $option): string => $option === '-d' ? '--watch' : $option, $options);
        }
        $isDaemon = $isStart && (in_array('-d', $options, true) || in_array('--daemon', $options, true));
        if ($isStart && Worker::$daemonize && !$isDaemon) {
            $options[] = '-d';
            $isDaemon = true;
        }
        $isLogged = self::has($options, '--log-file') || self::has($options, '--log-format') || self::has($options, '--config');
        if ($isStart && !$isLogged && Worker::$logFile === '') {
            Worker::$logFile = self::beside('workerman.log');
        }
        if ($isDaemon && !$isLogged) {
            // It prints into the log too, so that what PHP itself has to say at an end is not lost.
            array_push($options, '--log-file', Worker::$logFile);
        }
        // Without a file, standard error is all there is, and the library writes to that by itself.
        $ownsLog = $isStart && !$isDaemon && !$isLogged && Worker::$logFile !== '/dev/null';
        return new self(self::program(), $verb, $options, $isDaemon, $ownsLog);
    }

    /** What the library is given. @return list<string> */
    public function words(): array
    {
        $words = [$this->name];
        if ($this->verb !== '') {
            $words[] = $this->verb;
        }
        if (!self::has($this->options, '--pid-file') && !self::has($this->options, '--config') && $this->verb !== '') {
            array_push($words, '--pid-file', Worker::$pidFile === '' ? self::pidFile() : Worker::$pidFile);
        }
        return [...$words, ...$this->options];
    }

    public static function usage(): string
    {
        $file = basename((string) ($_SERVER['argv'][0] ?? 'program.php'));
        return <<<TEXT
            Usage: php $file <command> [options]

            start          run in this terminal
            start -d       run as a daemon
            stop [-g]      end at once; with -g let everybody finish
            restart [-d]   stop and start
            reload         replace every process, without a lost connection
            status [-d]    what runs; with -d again every second
            connections    every connection

            php $file start --help lists all commands and options.

            TEXT;
    }

    private static function program(): string
    {
        return pathinfo((string) ($_SERVER['argv'][0] ?? 'workhive'), PATHINFO_FILENAME);
    }

    private static function pidFile(): string
    {
        $script = basename((string) ($_SERVER['argv'][0] ?? 'program.php'));
        return self::beside("workerman.$script.pid");
    }

    /** Beside the program, as Workerman has it; where nothing can be written, or the path is too long, among what runs. */
    private static function beside(string $file): string
    {
        $script = realpath((string) ($_SERVER['argv'][0] ?? '.'));
        $folder = $script === false ? (string) getcwd() : dirname($script);
        $path = "$folder/$file";
        if (strlen($path) <= self::MAX_PATH && (is_file($path) ? is_writable($path) : is_writable($folder))) {
            return $path;
        }
        $runtime = getenv('XDG_RUNTIME_DIR');
        $runtime = is_string($runtime) && $runtime !== '' && is_writable($runtime) ? $runtime : (is_writable('/run') ? '/run' : sys_get_temp_dir());
        // Two programs of the same name in two folders are two hives.
        return $runtime . '/workhive-' . substr(sha1($folder), 0, 12) . "-$file";
    }

    private static function has(array $options, string $name): bool
    {
        foreach ($options as $option) {
            if ($option === $name || str_starts_with($option, "$name=")) {
                return true;
            }
        }
        return false;
    }
}
