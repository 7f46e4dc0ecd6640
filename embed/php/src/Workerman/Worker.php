<?php

declare(strict_types=1);

namespace Workerman;

use AllowDynamicProperties;
use Workerman\Connection\TcpConnection;
use Workhive\Definition;
use Workhive\Hive;
use Workhive\Library;
use Workhive\Log;
use Workhive\Process;
use Workhive\UidConnections;

/**
 * A group of processes that listen at an address, or a listener inside a running process.
 *
 *     $worker = new Worker('websocket://0.0.0.0:1234');
 *     $worker->count = 4;
 *     $worker->onMessage = function (TcpConnection $connection, $data) {
 *         $connection->send($data);
 *     };
 *     Worker::runAll();
 *
 * An array that is assigned to the property `uidConnections` becomes one of all processes: see UidConnections.
 *
 * @property UidConnections $uidConnections
 */
#[AllowDynamicProperties]
class Worker
{
    public const VERSION = '5.2.2';

    public const STATUS_INITIAL = 0;
    public const STATUS_STARTING = 1;
    public const STATUS_RUNNING = 2;
    public const STATUS_SHUTDOWN = 4;
    public const STATUS_RELOADING = 8;

    public const DEFAULT_BACKLOG = 4096;

    /** Whether the hive leaves the terminal; `start -d` says so too. */
    public static bool $daemonize = false;

    /** Where a daemon's processes print to; standard error stays the log. */
    public static string $stdoutFile = '/dev/null';

    /** The master's pid; `workerman.NAME.pid` beside the program unless set. */
    public static string $pidFile = '';

    /** The log; `workerman.log` beside the program unless set, `/dev/null` for none. */
    public static string $logFile = '';

    /** More words for the command line, such as `start -d`. */
    public static string $command = '';

    /** Seconds that processes have to finish when they are stopped or replaced. 0: ten, as the library has it. */
    public static float|int $stopTimeout = 0;

    /** Which process of its group this is: 0 .. count - 1. */
    public int $id = 0;

    public string $name = 'none';

    /** How many processes. */
    public int $count = 1;

    public string $user = '';
    public string $group = '';

    /** False: a reload leaves the processes as they are and calls onWorkerReload. */
    public bool $reloadable = true;

    /** Every process has a listening socket of its own. */
    public bool $reusePort = false;

    /**
     * For a listener inside a process: all processes accept from one socket. Null: they do if the process's worker has
     * `uidConnections`, since then it does not matter which of them hears of a push; else a second one is refused, as ever.
     */
    public ?bool $shared = null;

    /** tcp or unix. */
    public string $transport = 'tcp';

    /** The class of the protocol, if it is not the scheme of the address that says it. */
    public ?string $protocol = null;

    /** @var array<int, TcpConnection> those of this process, by id */
    public array $connections = [];

    /** @var array<string, int|string> further options of the library, in its words: `['ping_interval' => 10000]` (times in ms) */
    public array $options = [];

    public bool $stopping = false;

    /** Handlers: functions of any kind, also names of such. They are looked up when they are due. */
    public $onWorkerStart = null;
    public $onWorkerStop = null;
    public $onWorkerReload = null;
    public $onConnect = null;
    public $onWebSocketConnect = null;
    public $onWebSocketConnected = null;
    public $onMessage = null;
    public $onClose = null;
    public $onError = null;
    public $onBufferFull = null;
    public $onBufferDrain = null;

    /** Called as ($worker, $uid) in one process of the hive when a user comes and goes. */
    public $onUidOnline = null;
    public $onUidOffline = null;

    /** @internal how its connections speak, see TcpConnection */
    public int $codec = TcpConnection::BYTES;

    /** @var array<int, Worker> */
    private static array $workers = [];

    private readonly int $number;
    private ?UidConnections $uids = null;
    private ?string $listensAt = null;
    private bool $isPaused = false;

    /**
     * @param ?string $socketName `websocket://0.0.0.0:1234`, also text, frame, tcp, http, unix or a protocol of one's own; null: none
     * @param array $socketContext of PHP's socket options, `backlog` counts
     */
    public function __construct(private readonly ?string $socketName = null, private readonly array $socketContext = [])
    {
        $this->number = count(self::$workers) + 1;
        self::$workers[$this->number] = $this;
    }

    /** Does what the command line says. It does not return: the process ends with the exit code of that. */
    public static function runAll(): void
    {
        exit(Process::run(array_values(self::$workers)));
    }

    /** Listens in this process, for a worker made inside it. */
    public function listen(bool $autoAccept = true): void
    {
        if (!Process::$isWorker || $this->listensAt !== null || $this->socketName === null) {
            return;
        }
        Definition::listen($this);
        if (!$autoAccept) {
            $this->pauseAccept();
        }
    }

    public function unlisten(): void
    {
        if ($this->listensAt !== null) {
            Library::check(Library::$ffi->wh_unlisten($this->listensAt, strlen($this->listensAt)));
            $this->listensAt = null;
        }
    }

    public function pauseAccept(): void
    {
        if ($this->listensAt !== null && !$this->isPaused) {
            Library::check(Library::$ffi->wh_pause_accept($this->listensAt, strlen($this->listensAt)));
            $this->isPaused = true;
        }
    }

    public function resumeAccept(): void
    {
        if ($this->listensAt !== null && $this->isPaused) {
            Library::check(Library::$ffi->wh_resume_accept($this->listensAt, strlen($this->listensAt)));
            $this->isPaused = false;
        }
    }

    /** In a process: ends it gracefully, the master starts another. */
    public static function stopAll(int $code = 0, mixed $log = ''): void
    {
        if ($log !== '') {
            self::log((string) $log);
        }
        if (Process::$isWorker) {
            Process::$exitCode = $code;
            Hive::stop();
        }
    }

    /** Replaces every process of the hive, one after another, without a lost connection. */
    public static function reloadAllWorkers(): void
    {
        Hive::reloadAll();
    }

    /** @return array<int, Worker> */
    public static function getAllWorkers(): array
    {
        return self::$workers;
    }

    public static function isRunning(): bool
    {
        return Process::$isUp;
    }

    public static function getStatus(): int
    {
        return Process::$isWorker ? self::STATUS_RUNNING : (Process::$isUp ? self::STATUS_STARTING : self::STATUS_INITIAL);
    }

    /** Into the log. */
    public static function log(\Stringable|string $msg, bool $decorated = false): void
    {
        Log::info((string) $msg);
    }

    /** Onto the terminal, if there is one. */
    public static function safeEcho(string $msg, bool $decorated = false): void
    {
        if (!self::$daemonize) {
            echo preg_replace('#</?[nwg]>#', '', $msg);
        }
    }

    public function getSocketName(): string
    {
        return $this->socketName === null ? 'none' : lcfirst($this->socketName);
    }

    /** @internal */
    public static function of(int $number): self
    {
        return self::$workers[$number];
    }

    /** @internal */
    public function number(): int
    {
        return $this->number;
    }

    /** @internal */
    public function address(): ?string
    {
        return $this->socketName;
    }

    /** @internal */
    public function socketOption(string $name): mixed
    {
        return $this->socketContext['socket'][$name] ?? null;
    }

    /** @internal */
    public function hasUidConnections(): bool
    {
        return $this->uids !== null;
    }

    /** @internal It accepts at this address of the library. */
    public function listensAt(string $address): void
    {
        $this->listensAt = $address;
    }

    public function __set(string $name, mixed $value): void
    {
        if ($name === 'uidConnections' && is_array($value)) {
            $this->uids = new UidConnections();
            foreach ($value as $uid => $connection) {
                $this->uids[$uid] = $connection;
            }
        } else {
            $this->{$name} = $value;
        }
    }

    public function &__get(string $name): mixed
    {
        if ($name === 'uidConnections' && $this->uids !== null) {
            $uids = $this->uids;
            return $uids;
        }
        // So that `$worker->rooms[] = 'lobby'` makes the property, as it does in an object without this function.
        $this->{$name} = null;
        return $this->{$name};
    }

    public function __isset(string $name): bool
    {
        return $name === 'uidConnections' && $this->uids !== null;
    }

    public function __unset(string $name): void
    {
        if ($name === 'uidConnections') {
            $this->uids = null;
        }
    }
}
