<?php

declare(strict_types=1);

namespace Workhive;

/**
 * The numbers of the C header, as of ABI version 1.
 *
 * @internal
 */
final class Abi
{
    public const ABI_VERSION = 1;
    public const OK = 0;
    public const PENDING = 1;
    public const ERR_NULL = 100;
    public const ERR_HANDLE = 101;
    public const ERR_THREAD = 102;
    public const ERR_STATE = 103;
    public const ERR_LENGTH = 104;
    public const ERR_VALUE = 105;
    public const ERR_OPTION = 106;
    public const ERR_PANIC = 107;
    public const ERR_ABI = 108;
    public const ERR_UTF8 = 109;
    public const ERR_CALLBACK = 110;
    public const ERR_GONE = 200;
    public const ERR_FULL = 201;
    public const ERR_TOO_LONG = 202;
    public const ERR_PROTOCOL = 203;
    public const ERR_ADDRESS = 300;
    public const ERR_SCHEME = 301;
    public const ERR_IN_USE = 302;
    public const ERR_ACCESS = 303;
    public const ERR_LISTEN = 304;
    public const ERR_NOT_LISTENING = 305;
    public const ERR_NAME = 400;
    public const ERR_TOO_MANY = 401;
    public const ERR_NOT_BOUND = 402;
    public const ERR_BUSY = 403;
    public const ERR_OTHER_HIVE = 404;
    public const ERR_CLOSE_CODE = 405;
    public const ERR_USAGE = 500;
    public const ERR_NO_SEAT = 501;
    public const ERR_FORK = 502;
    public const ERR_RUNNING = 503;
    public const ERR_SYSTEM = 504;
    public const COUNT = 1;
    public const REUSE_PORT = 2;
    public const SHARED = 3;
    public const RELOADABLE = 4;
    public const BACKLOG = 5;
    public const DRAIN = 6;
    public const BOOT_TIMEOUT = 7;
    public const STUCK_AFTER = 8;
    public const MAX_REQUESTS = 9;
    public const MAX_LIFETIME = 10;
    public const MAX_MEMORY = 11;
    public const NOFILE = 12;
    public const NICE = 13;
    public const OOM_SCORE_ADJ = 14;
    public const UMASK = 15;
    public const MAX_SEND_BUFFER = 16;
    public const ROUTED = 17;
    public const MAX_UIDS = 18;
    public const MAX_ROOMS = 19;
    public const IDLE_TIMEOUT = 20;
    public const MESSAGE_TIMEOUT = 21;
    public const SEND_TIMEOUT = 22;
    public const LINGER = 23;
    public const HALF_OPEN = 24;
    public const MAX_MESSAGE = 25;
    public const MAX_HEAD = 26;
    public const MAX_HEADERS = 27;
    public const HEADER_TIMEOUT = 28;
    public const BODY_TIMEOUT = 29;
    public const KEEP_ALIVE_TIMEOUT = 30;
    public const PING_INTERVAL = 31;
    public const PONG_TIMEOUT = 32;
    public const CLOSE_TIMEOUT = 33;
    public const HANDSHAKE_TIMEOUT = 34;
    public const MAX_FRAGMENTS = 35;
    public const SPAWN = 36;
    public const NAME = 100;
    public const USER = 101;
    public const GROUP = 102;
    public const CPU_AFFINITY = 103;
    public const CHDIR = 104;
    public const ONE_PROCESS = 105;
    public const HIVE_SIGNALS = 1;
    public const HIVE_SPAWN = 2;
    public const HIVE_NESTED = 3;
    public const HIVE_ABOUT = 100;
    public const ROLE_OVER = 0;
    public const ROLE_WORKER = 1;
    public const ROLE_MASTER = 2;
    public const TEXT = 0;
    public const BINARY = 1;
    public const ONLINE = 1;
    public const OFFLINE = 2;
    public const UNKNOWN = 3;
}
