<?php

declare(strict_types=1);

namespace Workhive\Tests;

use RuntimeException;

/** A program under test: real processes, which end with this object. */
final class Server
{
    private const DEADLINE = 20.0;

    /** @var ?resource */
    private $process;

    /** @var resource */
    private $output;

    public string $said = '';

    private readonly string $folder;

    /** Starts `php program start` in a folder of its own, and waits until it is ready. */
    public function __construct(private readonly string $program, private readonly array $environment = [], array $options = [])
    {
        $this->folder = sys_get_temp_dir() . '/workhive-php-' . getmypid() . '-' . bin2hex(random_bytes(4));
        mkdir($this->folder);
        $this->process = proc_open(
            [PHP_BINARY, $program, 'start', '--pid-file', "$this->folder/pid", ...$options],
            [['file', '/dev/null', 'r'], ['pipe', 'w'], ['redirect', 1]],
            $pipes,
            $this->folder,
            $environment + getenv(),
        );
        $this->output = $pipes[1];
        stream_set_blocking($this->output, false);
        $this->waitFor('ready: ');
    }

    public function __destruct()
    {
        if ($this->process === null) {
            return;
        }
        [$code, $text] = $this->command('stop');
        if ($code !== 0) {
            proc_terminate($this->process);
        }
        proc_close($this->process);
        $this->process = null;
        array_map(unlink(...), glob("$this->folder/*"));
        rmdir($this->folder);
        if ($code !== 0) {
            throw new RuntimeException("stop has failed: $text\n$this->said");
        }
    }

    /** Another command for the same hive: its exit code and what it says. @return array{int, string} */
    public function command(string ...$words): array
    {
        $process = proc_open(
            [PHP_BINARY, $this->program, ...$words, '--pid-file', "$this->folder/pid"],
            [['file', '/dev/null', 'r'], ['pipe', 'w'], ['redirect', 1]],
            $pipes,
            $this->folder,
            $this->environment + getenv(),
        );
        $text = stream_get_contents($pipes[1]);
        return [proc_close($process), $text];
    }

    /** Reads on until this was said, once or more often. */
    public function waitFor(string $text, int $times = 1): void
    {
        self::until("$text ($times)", function () use ($text, $times): bool {
            $this->said .= stream_get_contents($this->output);
            return substr_count($this->said, $text) >= $times;
        }, fn (): string => $this->said);
    }

    public function saysNow(string $text): bool
    {
        $this->said .= stream_get_contents($this->output);
        return str_contains($this->said, $text);
    }

    public static function until(string $what, callable $isSo, ?callable $more = null): void
    {
        $deadline = microtime(true) + self::DEADLINE;
        while (!$isSo()) {
            if (microtime(true) > $deadline) {
                throw new RuntimeException("20 s have passed without: $what\n" . ($more === null ? '' : $more()));
            }
            usleep(5000);
        }
    }

    /** An address of this machine that nobody uses. */
    public static function address(): string
    {
        static $given = [];
        do {
            $socket = stream_socket_server('tcp://127.0.0.1:0');
            $address = stream_socket_get_name($socket, false);
            fclose($socket);
        } while (isset($given[$address]));
        $given[$address] = true;
        return $address;
    }
}
