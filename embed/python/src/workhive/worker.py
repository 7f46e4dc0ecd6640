"""A group of processes, or a listener inside a running one."""

from __future__ import annotations

import inspect
from typing import Any, Callable, Dict, List, Optional, Tuple, Type, TypeVar, Union

from . import _live, aio, events
from ._library import OK, PENDING, callable_of, check, error_of, ffi, lib
from .connection import Connection
from .protocols import protocols
from .timer import milliseconds

__all__ = ["Worker"]

H = TypeVar("H", bound=Callable[..., Any])

#: Options whose value is a number or yes and no: by name here, the number of each in the library.
_NUMBERS: Dict[str, int] = {
    name: getattr(lib, f"WH_{name.upper()}")
    for name in (
        "count", "reuse_port", "shared", "reloadable", "backlog", "max_requests", "max_memory", "nofile", "nice",
        "oom_score_adj", "umask", "max_send_buffer", "routed", "max_uids", "max_rooms", "half_open", "max_message",
        "max_head", "max_headers", "max_fragments",
    )
}  # fmt: skip
#: Options whose value is a time.
_TIMES: Dict[str, int] = {
    name: getattr(lib, f"WH_{name.upper()}")
    for name in (
        "drain", "boot_timeout", "stuck_after", "max_lifetime", "idle_timeout", "message_timeout", "send_timeout",
        "linger", "header_timeout", "body_timeout", "keep_alive_timeout", "ping_interval", "pong_timeout",
        "close_timeout", "handshake_timeout",
    )
}  # fmt: skip
#: Options whose value is a text.
_TEXTS: Dict[str, int] = {
    name: getattr(lib, f"WH_{name.upper()}")
    for name in ("name", "user", "group", "cpu_affinity", "chdir", "one_process")
}

_SPAWN = {"fork": 0, "exec": 1}

#: Handlers of connections that say nothing but which one: the functions of the library that take them.
_OF_CONNECTIONS: Dict[str, Any] = {
    "on_connect": lib.wh_on_connect,
    "on_buffer_full": lib.wh_on_buffer_full,
    "on_buffer_drain": lib.wh_on_buffer_drain,
    "on_goodbye": lib.wh_on_goodbye,
    "on_websocket_connected": lib.wh_on_websocket_connected,
}
_OF_USERS: Dict[str, Any] = {"on_uid_online": lib.wh_on_uid_online, "on_uid_offline": lib.wh_on_uid_offline}

_HANDLERS = {
    "on_worker_start", "on_worker_stop", "on_worker_reload", "on_message", "on_close", "on_error",
    "on_websocket_connect", *_OF_CONNECTIONS, *_OF_USERS,
}  # fmt: skip

_AT_ONCE = "on_websocket_connect"


class Worker:
    """What is listened to, by how many processes, and what they do. Given to `run` it is a group of processes;
    `listen` opens it inside a running one.

    The address names a protocol: `websocket://0.0.0.0:1234`, `http://`, `text://`, `frame://`, `tcp://`, or one that
    `protocol` has registered; `unix:/path` may stand for host and port. Without an address it listens nowhere.

    Options, times in seconds and sizes in bytes. Of a group of processes:

    - name, count: what it is called, how many processes (`--count` on the command line wins); one_process: why there
      must not be more than one
    - reloadable: False has a reload call `on_worker_reload` instead of replacing the process
    - drain, boot_timeout, stuck_after: how long it may take to finish, to start, and one turn of the loop
    - max_requests, max_lifetime, max_memory: after which it is replaced
    - user, group, umask, chdir, nofile, nice, oom_score_adj, cpu_affinity: what its processes have
    - spawn: "fork" or "exec"

    Of an address: reuse_port (each process has a socket of its own), shared (one for all; only with `listen`), backlog.

    Of its connections:

    - max_message, max_send_buffer; linger, idle_timeout, message_timeout, send_timeout; half_open: whether a peer that
      has said all is still sent to
    - routed: False keeps them out of the routing; max_uids, max_rooms: of one connection
    - http: max_head, max_headers, header_timeout, body_timeout, keep_alive_timeout
    - websocket: ping_interval (0: none), pong_timeout, close_timeout, handshake_timeout, max_fragments

    Handlers are given by decorators or by name; each may be `async def` but `on_websocket_connect`:

    >>> worker = Worker("text://127.0.0.1:0", count=2, name="echo")
    >>> @worker.on_message
    ... def on_message(connection, line):
    ...     connection.send(line)
    """

    #: What connections are objects of. A class of one's own may be put here.
    connection_class: Type[Connection] = Connection

    def __init__(
        self,
        address: str = "",
        *,
        name: Optional[str] = None,
        count: Optional[int] = None,
        reuse_port: Optional[bool] = None,
        shared: Optional[bool] = None,
        reloadable: Optional[bool] = None,
        backlog: Optional[int] = None,
        drain: Optional[float] = None,
        boot_timeout: Optional[float] = None,
        stuck_after: Optional[float] = None,
        max_requests: Optional[int] = None,
        max_lifetime: Optional[float] = None,
        max_memory: Optional[int] = None,
        nofile: Optional[int] = None,
        nice: Optional[int] = None,
        oom_score_adj: Optional[int] = None,
        umask: Optional[int] = None,
        max_send_buffer: Optional[int] = None,
        routed: Optional[bool] = None,
        max_uids: Optional[int] = None,
        max_rooms: Optional[int] = None,
        idle_timeout: Optional[float] = None,
        message_timeout: Optional[float] = None,
        send_timeout: Optional[float] = None,
        linger: Optional[float] = None,
        half_open: Optional[bool] = None,
        max_message: Optional[int] = None,
        max_head: Optional[int] = None,
        max_headers: Optional[int] = None,
        header_timeout: Optional[float] = None,
        body_timeout: Optional[float] = None,
        keep_alive_timeout: Optional[float] = None,
        ping_interval: Optional[float] = None,
        pong_timeout: Optional[float] = None,
        close_timeout: Optional[float] = None,
        handshake_timeout: Optional[float] = None,
        max_fragments: Optional[int] = None,
        spawn: Optional[str] = None,
        user: Optional[str] = None,
        group: Optional[str] = None,
        cpu_affinity: Optional[str] = None,
        chdir: Optional[str] = None,
        one_process: Optional[str] = None,
        on_worker_start: Optional[Callable[[Worker], Any]] = None,
        on_worker_stop: Optional[Callable[[Worker], Any]] = None,
        on_worker_reload: Optional[Callable[[Worker], Any]] = None,
        on_connect: Optional[Callable[[Connection], Any]] = None,
        on_message: Optional[Callable[[Connection, Any], Any]] = None,
        on_close: Optional[Callable[[Connection], Any]] = None,
        on_error: Optional[Callable[[Connection, Any], Any]] = None,
        on_buffer_full: Optional[Callable[[Connection], Any]] = None,
        on_buffer_drain: Optional[Callable[[Connection], Any]] = None,
        on_goodbye: Optional[Callable[[Connection], Any]] = None,
        on_websocket_connect: Optional[Callable[[Connection, Any], Any]] = None,
        on_websocket_connected: Optional[Callable[[Connection], Any]] = None,
        on_uid_online: Optional[Callable[[Worker, str], Any]] = None,
        on_uid_offline: Optional[Callable[[Worker, str], Any]] = None,
    ) -> None:
        given = {key: value for key, value in locals().items() if value is not None and key not in ("self", "address")}
        if not isinstance(address, str):
            raise TypeError(f"the address of a worker is a str, not {address!r}")
        #: As it was given.
        self.address = address
        self._handle = 0
        self._given = False
        self._handlers: Dict[str, Callable[..., Any]] = {}
        self._message: Callable[..., Any] = _nothing
        self._settings: List[Tuple[Any, int, Union[int, bytes]]] = []
        scheme = address.partition("://")[0] if "://" in address else "tcp" if address else ""
        own = protocols.get(scheme)
        self._decode: Optional[Callable[[bytes], Any]] = own.protocol.decode if own else None
        self._lines = scheme == "text"
        self._http = scheme == "http"
        self._send: Callable[[Connection, Any], None] = (
            own.send if own else _send_line if self._lines else Connection.answer
        )
        #: Whether messages are sent in another way than as text and binary data.
        self._special = own is not None or self._lines or self._http
        for key, value in given.items():
            if key in _HANDLERS:
                self._set(key, value)
            else:
                self._settings.append(_setting(key, value))
        self._make()

    # -- handlers ------------------------------------------------------------------------------------------------

    def on_worker_start(self, handler: H) -> H:
        """Called in each process before it accepts: `handler(worker)`. If it is `async def`, the process accepts when
        it has returned. An exception means that the process could not start."""
        return self._set("on_worker_start", handler)

    def on_worker_stop(self, handler: H) -> H:
        """Called in each process when it has finished what it had in hand: `handler(worker)`."""
        return self._set("on_worker_stop", handler)

    def on_worker_reload(self, handler: H) -> H:
        """Called for a reload in groups that are not `reloadable`: `handler(worker)`."""
        return self._set("on_worker_reload", handler)

    def on_connect(self, handler: H) -> H:
        """Called for each connection: `handler(connection)`."""
        return self._set("on_connect", handler)

    def on_message(self, handler: H) -> H:
        """Called for each message: `handler(connection, message)`. A message is str if the peer has sent text and
        bytes if it has sent binary data; lines of `text://` are str always (bytes that are no UTF-8 survive in them,
        see `surrogateescape`), `frame://` and `tcp://` give bytes. With `http://` it is a `Request`, and what the
        handler returns is the answer, see `Connection.send`; a handler that returns None answers later."""
        return self._set("on_message", handler)

    def on_close(self, handler: H) -> H:
        """Called once when a connection has ended: `handler(connection)`; `connection.close_info` says why."""
        return self._set("on_close", handler)

    def on_error(self, handler: H) -> H:
        """Called when a connection cannot go on: `handler(connection, failure)`, see `ConnectionFailure`. `on_close`
        follows."""
        return self._set("on_error", handler)

    def on_buffer_full(self, handler: H) -> H:
        """Called when a send was refused because too much waits already: `handler(connection)`; once, until the
        buffer was empty again."""
        return self._set("on_buffer_full", handler)

    def on_buffer_drain(self, handler: H) -> H:
        """Called when the buffer has become empty after a refused send: `handler(connection)`."""
        return self._set("on_buffer_drain", handler)

    def on_goodbye(self, handler: H) -> H:
        """Called for each connection whose process goes away: `handler(connection)`; what it sends leaves before the
        protocol's own goodbye. That does not wait for a coroutine."""
        return self._set("on_goodbye", handler)

    def on_websocket_connect(self, handler: H) -> H:
        """Called before a WebSocket is accepted: `handler(connection, opening)`, see `Opening`. It decides at once,
        so it cannot be `async def`."""
        return self._set("on_websocket_connect", handler)

    def on_websocket_connected(self, handler: H) -> H:
        """Called when a WebSocket's handshake has been answered, so that messages can be sent:
        `handler(connection)`."""
        return self._set("on_websocket_connected", handler)

    def on_uid_online(self, handler: H) -> H:
        """Called in every process when the first connection of a user is bound, wherever that is: `handler(worker,
        uid)`."""
        return self._set("on_uid_online", handler)

    def on_uid_offline(self, handler: H) -> H:
        """Called in every process when a user has no connection any more: `handler(worker, uid)`."""
        return self._set("on_uid_offline", handler)

    # -- inside a running process -------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Opens it inside this process, in `on_worker_start` or later. Raises `AddressInUse` if somebody listens
        there already, a sibling for example: `reuse_port=True` gives each process a socket of its own, `shared=True`
        all the same one."""
        handle = self._give(group=False)
        code = lib.wh_listen(handle)
        self._given_over(code)

    def unlisten(self) -> None:
        """Accepts no more; connections stay."""
        self._by_address(lib.wh_unlisten)

    def pause_accept(self) -> None:
        """Leaves new clients in the queue."""
        self._by_address(lib.wh_pause_accept)

    def resume_accept(self) -> None:
        """Accepts again."""
        self._by_address(lib.wh_resume_accept)

    def __repr__(self) -> str:
        return f"<Worker {self.address or 'without an address'}>"

    # -- inside --------------------------------------------------------------------------------------------------

    def _set(self, event: str, handler: H) -> H:
        callable_of(event, handler)
        if event == _AT_ONCE and aio.is_async(handler):
            raise TypeError(f"{event} decides at once and cannot be async def: {handler!r}")
        if self._given and event not in self._handlers:
            raise RuntimeError(f"{event} has to be set before the worker runs or listens; it can only be replaced now")
        self._handlers[event] = handler
        if event == "on_message":
            self._message = handler
        return handler

    def _make(self) -> None:
        """Makes the library's half, which refuses what makes no sense where it is written."""
        out = ffi.new("wh_worker *")
        said = self.address.encode()
        check(lib.wh_worker_new(said, len(said), out))
        self._handle = out[0]
        for function, option, value in self._settings:
            more = (len(value),) if isinstance(value, bytes) else ()
            code = function(self._handle, option, value, *more)
            if code != OK:
                raise error_of(code)

    def _give(self, group: bool = True) -> int:
        """Tells the library which handlers there are, just before it takes the worker over."""
        if self._given:
            raise RuntimeError(f"{self!r} runs or listens already")
        if not self._handle:
            self._make()
        handle, handlers = self._handle, self._handlers
        destroy = _live.DESTROY
        if group or "on_worker_start" in handlers:
            check(lib.wh_on_worker_start(handle, _live.CALL, _live.keep(self._start), destroy))
        check(lib.wh_on_close(handle, events.function("on_close"), _live.keep(self), destroy))
        if "on_worker_stop" in handlers:
            check(lib.wh_on_worker_stop(handle, _live.CALL, _live.keep(self._stop), destroy))
        if "on_worker_reload" in handlers:
            check(lib.wh_on_worker_reload(handle, _live.CALL, _live.keep(self._reload), destroy))
        if "on_message" in handlers:
            if self._http:
                check(lib.wh_on_request(handle, events.function("on_request"), _live.keep(self), destroy))
            else:
                check(lib.wh_on_message(handle, events.function("on_message"), _live.keep(self), destroy))
        if "on_error" in handlers:
            check(lib.wh_on_error(handle, events.function("on_error"), _live.keep(self), destroy))
        if _AT_ONCE in handlers:
            check(lib.wh_on_websocket_connect(handle, events.function("on_opening"), _live.keep(self), destroy))
        for event, register in _OF_CONNECTIONS.items():
            if event in handlers or event == "on_buffer_drain":
                check(register(handle, events.function("on_conn"), _live.keep((self, event)), destroy))
        for event, register in _OF_USERS.items():
            if event in handlers:
                check(register(handle, events.function("on_name"), _live.keep((self, event)), destroy))
        return handle

    def _given_over(self, code: int) -> None:
        """The library has taken the worker over, or has not."""
        if code == OK:
            self._given = True
            self._handle = 0
            return
        error = error_of(code)
        self._free()  # with it go the references that the library has to us
        raise error

    def _free(self) -> None:
        handle, self._handle = self._handle, 0
        if handle:
            lib.wh_worker_free(handle)

    def __del__(self) -> None:
        if not self.__dict__.get("_given", True):
            self._free()

    def _by_address(self, function: Any) -> None:
        said = self.address.encode()
        check(function(said, len(said)))

    def _start(self) -> int:
        from . import hive

        hive.begin_process()
        handler = self._handlers.get("on_worker_start")
        try:
            result = handler(self) if handler else None
        except SystemExit as error:
            raise hive.left_early(error) from error
        if inspect.isawaitable(result):
            aio.begin(hive.become_ready(result))
            return PENDING
        return OK

    def _stop(self) -> int:
        from . import hive

        return hive.stop_handler(self._handlers["on_worker_stop"], self)

    def _reload(self) -> int:
        aio.go_on(self._handlers["on_worker_reload"](self), "on_worker_reload")
        return OK


def _nothing(connection: Connection, message: Any) -> None:
    """What is done with messages of a worker that has no on_message."""


def _send_line(connection: Connection, message: Any) -> None:
    """Lines are text, whatever bytes are in them."""
    data = message.encode("utf-8", "surrogateescape") if isinstance(message, str) else ffi.from_buffer(message)
    code = lib.wh_conn_send(connection._handle, lib.WH_BINARY, data, len(data))
    if code != OK:
        raise connection._error(code)


def _setting(key: str, value: Any) -> Tuple[Any, int, Union[int, bytes]]:
    """One option as the library takes it."""
    if key == "spawn":
        return lib.wh_worker_set_int, lib.WH_SPAWN, spawn_number(value)
    if key in _TEXTS:
        if not isinstance(value, str):
            raise TypeError(f"{key} is a str, not {value!r}")
        return lib.wh_worker_set_text, _TEXTS[key], value.encode()
    if key in _TIMES:
        return lib.wh_worker_set_int, _TIMES[key], milliseconds(key, value)
    if not isinstance(value, (int, float)):
        raise TypeError(f"{key} is a number, not {value!r}")
    if not abs(value) < 1 << 63 or value != int(value):
        raise ValueError(f"{key} is a whole number of at most 63 bits, not {value!r}")
    return lib.wh_worker_set_int, _NUMBERS[key], int(value)


def spawn_number(value: str) -> int:
    """`"fork"` or `"exec"` as the library takes it."""
    if value not in _SPAWN:
        raise ValueError(f"spawn is 'fork' or 'exec', not {value!r}")
    return _SPAWN[value]
