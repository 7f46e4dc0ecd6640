"""The program: its workers, its processes, and the loop of each."""

from __future__ import annotations

import asyncio as _asyncio
import inspect
import os
import signal as _signal
import sys
from dataclasses import dataclass
from typing import (
    Any,
    Awaitable,
    Callable,
    Coroutine,
    List,
    NamedTuple,
    NoReturn,
    Optional,
    Sequence,
    TypeVar,
    Union,
)

from . import _live, _signals, aio
from . import log as _log
from ._library import OK, callable_of, check, error_of, ffi, lib, text_of
from .errors import Error, NotNow
from .worker import Worker, spawn_number

__all__ = [
    "Hive",
    "Place",
    "Stats",
    "attach",
    "blocking",
    "place",
    "post",
    "reload_all",
    "run",
    "stats",
    "stop",
    "stop_all",
]

T = TypeVar("T")

#: Runs a coroutine to its end, as `asyncio.run` does.
Runner = Callable[[Coroutine[Any, Any, int]], int]

_FORK: Any = ffi.addressof(lib, "on_fork")
_WORK: Any = ffi.addressof(lib, "on_work")

_current: Optional["Hive"] = None


@dataclass(frozen=True)
class Place:
    """Which process this is."""

    #: The name of its worker.
    group: str
    #: 0 to count - 1.
    slot: int
    count: int
    #: How many processes have sat in this slot before.
    generation: int
    pid: int


class Stats(NamedTuple):
    """Counters of this process."""

    connections: int
    accepted: int
    messages_in: int
    bytes_in: int
    bytes_out: int
    #: Sends that were refused: no room, or nobody there.
    send_failures: int
    timers: int


class Hive:
    """Workers that are run together, by one master.

    `name` stands in titles of processes and names of files, and is that of the program's file unless given.
    `spawn="exec"` starts the program anew for each process instead of forking, which works with threads, and picks up
    a changed program at a reload. With `signals=False` the signals are the program's, which calls `signal`.
    `asyncio=True` has every process run inside asyncio, which otherwise begins with the first coroutine; a function
    that runs a coroutine, such as `uvloop.run`, may stand there too. `log` is given each line of the log, with its
    level as `logging` counts: `log(level, text)`.
    """

    def __init__(
        self,
        *workers: Worker,
        name: Optional[str] = None,
        spawn: Optional[str] = None,
        signals: bool = True,
        about: str = "",
        asyncio: Union[bool, Runner] = False,
        log: Optional[_log.LogFunction] = None,
    ) -> None:
        self.name = name if name is not None else _program_name()
        self._handle = 0
        self._runner: Runner = asyncio if callable(asyncio) else _asyncio.run
        self._inside_asyncio = bool(asyncio)
        self._quit_with: Optional[int] = None
        self._process = 0
        self._signals = signals
        self._mailbox = 0
        self._over = ffi.new("int32_t *")
        self._stoppers: List[Callable[[], Any]] = []
        out = ffi.new("wh_hive *")
        said = self.name.encode()
        check(lib.wh_hive_new(said, len(said), out))
        self._handle = out[0]
        self._number(lib.WH_HIVE_SIGNALS, 0 if signals else 1)
        if spawn is not None:
            self._number(lib.WH_HIVE_SPAWN, spawn_number(spawn))
        if about:
            text = about.encode()
            check(lib.wh_hive_set_text(self._handle, lib.WH_HIVE_ABOUT, text, len(text)))
        check(lib.wh_hive_fork_with(self._handle, _FORK, _live.keep(self), _live.DESTROY))
        if log is not None:
            check(lib.wh_hive_log_with(self._handle, _log.ON_LOG, _live.keep(log), _live.DESTROY))
        for worker in workers:
            self.add(worker)

    def add(self, worker: Worker) -> None:
        """Adds a worker, before the start."""
        if not isinstance(worker, Worker):
            raise TypeError(f"a hive is made of workers, not of {worker!r}")
        handle = worker._give()
        worker._given_over(lib.wh_hive_add(self._handle, handle))

    # -- running -------------------------------------------------------------------------------------------------

    def run(self, argv: Optional[Sequence[str]] = None) -> int:
        """Does what the command line says (`sys.argv` unless given) and returns, in every process, the code to exit
        with."""
        code = self.start(argv)
        return self.loop() if code is None else code

    def start(self, argv: Optional[Sequence[str]] = None) -> Optional[int]:
        """As `run`, but returns None in a worker before it has begun its work, for programs that run `loop` or `serve`
        themselves; else the code to exit with."""
        words = [ffi.new("char[]", os.fsencode(word)) for word in (sys.argv if argv is None else argv)]
        role, code = ffi.new("int32_t *"), ffi.new("int32_t *")
        self._take_over()
        _flush()
        done = lib.wh_hive_start(self._handle, len(words), ffi.new("char *[]", words), role, code)
        return self._entered(done, role, code)

    def attach(self) -> Optional[int]:
        """As `start`, for a program that `workhive run --attach` has started: the hive's only worker takes its
        place."""
        role, code = ffi.new("int32_t *"), ffi.new("int32_t *")
        self._take_over()
        return self._entered(lib.wh_worker_attach(self._handle, role, code), role, code)

    def loop(self) -> int:
        """Runs this process, and returns the code to exit with."""
        over, turn = self._over, lib.wh_run_once
        while not self._inside_asyncio:
            # A turn ends when a signal comes, so that Python can call the handlers of `signal.signal` here.
            code = turn(self._handle, -1, over)
            if code != OK:
                raise error_of(code)
            if over[0]:
                return self._finish()
            self._inside_asyncio = aio.wanted()
        return self._runner(self.serve())

    async def serve(self) -> int:
        """As `loop`, inside asyncio, beside the program's own tasks."""
        loop = _asyncio.get_running_loop()
        done: "_asyncio.Future[None]" = loop.create_future()
        descriptor = ffi.new("int32_t *")
        check(lib.wh_poll_fd(self._handle, descriptor))
        handle, over, run_once = self._handle, self._over, lib.wh_run_once

        def turn() -> None:
            code = run_once(handle, 0, over)
            if (code != OK or over[0]) and not done.done():
                loop.remove_reader(descriptor[0])
                if code != OK:
                    done.set_exception(error_of(code))
                else:
                    done.set_result(None)

        self._inside_asyncio = True
        aio.attach()
        loop.add_reader(descriptor[0], turn)
        try:
            turn()
            await done
            for stopper in self._stoppers:
                await self._stopped(stopper)
        finally:
            loop.remove_reader(descriptor[0])
            aio.detach()
        return self._finish()

    # -- from inside ---------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ends this process when everybody has been served; the master starts another one."""
        check(lib.wh_stop(self._handle))

    def stop_all(self) -> None:
        """Stops all processes, gracefully."""
        check(lib.wh_stop_all(self._handle))

    def reload_all(self) -> None:
        """Replaces every process, one after another."""
        check(lib.wh_reload_all(self._handle))

    def signal(self, signo: int) -> None:
        """Does what the signal would do, for programs that have signals of their own."""
        check(lib.wh_signal(self._handle, signo))

    # -- inside --------------------------------------------------------------------------------------------------

    def _number(self, option: int, value: int) -> None:
        check(lib.wh_hive_set_int(self._handle, option, value))

    def _take_over(self) -> None:
        global _current
        _current = self
        _live.on_quit = self._quit
        _signals.hear_interrupts()  # a master that waits in start() has its signals from the library in any case

    def _give_back(self) -> None:
        """It is over: what was taken from the program is its own again, and what the library has of ours is let go."""
        global _current
        _current = None
        _signals.give_back()
        handle, self._handle = self._handle, 0
        lib.wh_hive_free(handle)

    def _entered(self, code: int, role: Any, exit_code: Any) -> Optional[int]:
        if code == OK and role[0] == lib.WH_ROLE_WORKER:
            if not self._signals:
                _signals.give_back()
            return None
        error = None if code == OK else error_of(code)
        self._give_back()
        if error is not None:
            raise error
        return int(exit_code[0])

    def _quit(self, error: BaseException) -> None:
        """sys.exit() in a handler: the process ends, but not in the middle of what it does for others."""
        code = getattr(error, "code", None)
        if isinstance(error, KeyboardInterrupt):
            self._quit_with = 128 + _signal.SIGINT
        elif code is None:
            self._quit_with = 0
        elif isinstance(code, int):
            self._quit_with = code
        else:
            text = str(code).encode("utf-8", "backslashreplace")
            lib.wh_log(_live.ERROR, text, len(text))
            self._quit_with = 1
        if os.getpid() != self._process:
            # A copy of the process that a handler has forked: it ends here, and must not go back into the loop.
            _flush()
            os._exit(self._quit_with)
        lib.wh_stop(self._handle)

    def _finish(self) -> int:
        code = ffi.new("int32_t *")
        done = lib.wh_finish(self._handle, code)
        error = None if done == OK else error_of(done)
        self._give_back()
        if error is not None:
            raise error
        _live.exit_code = int(code[0]) if self._quit_with is None else self._quit_with
        return _live.exit_code

    async def _stopped(self, stopper: Callable[[], Any]) -> None:
        try:
            result = stopper()
            if inspect.isawaitable(result):
                await result
        except BaseException as error:
            _live.report(error, "on_worker_stop")


def run(
    *workers: Worker,
    argv: Optional[Sequence[str]] = None,
    name: Optional[str] = None,
    spawn: Optional[str] = None,
    signals: bool = True,
    about: str = "",
    asyncio: Union[bool, Runner] = False,
    log: Optional[_log.LogFunction] = None,
) -> NoReturn:
    """Makes the program its own command line: `program.py start -d`, `status`, `reload`, `stop`. It ends here, in every
    process, by `sys.exit`; see `Hive` for the options.

    >>> if __name__ == "__main__":
    ...     run(worker)
    """
    hive = Hive(*workers, name=name, spawn=spawn, signals=signals, about=about, asyncio=asyncio, log=log)
    sys.exit(hive.run(argv))


def attach(
    worker: Worker,
    *,
    signals: bool = True,
    asyncio: Union[bool, Runner] = False,
    log: Optional[_log.LogFunction] = None,
) -> NoReturn:
    """In place of `run`, takes the place that the command `workhive run --attach` has for this process: the worker
    listens where that says, whatever its own address is, and the process is one of that hive. `NotNow` if the program
    was started in another way."""
    hive = Hive(worker, signals=signals, asyncio=asyncio, log=log)
    code = hive.attach()
    sys.exit(hive.loop() if code is None else code)


def current() -> Hive:
    """The hive of this process."""
    if _current is None:
        raise NotNow("no hive runs in this process: that is for handlers, which run() calls")
    return _current


def stop() -> None:
    """Ends this process when everybody has been served; the master starts another one. So does `sys.exit()` in a
    handler."""
    current().stop()


def stop_all() -> None:
    """Stops all processes, gracefully."""
    current().stop_all()


def reload_all() -> None:
    """Replaces every process, one after another."""
    current().reload_all()


def place() -> Place:
    """Which process this is."""
    out = ffi.new("wh_place *")
    check(lib.wh_place_of(current()._handle, out))
    return Place(text_of(out.group), out.slot, out.count, out.generation, out.pid)


def stats() -> Stats:
    """Counters of this process."""
    out = ffi.new("wh_stats *")
    check(lib.wh_stats_of(current()._handle, out, ffi.sizeof("wh_stats")))
    return Stats(*(int(getattr(out, name)) for name in Stats._fields))


def post(function: Callable[..., object], *arguments: Any) -> None:
    """Calls `function(*arguments)` on the loop's thread. This may be called on any thread."""
    callable_of("post", function)
    mailbox = current()._mailbox
    if not mailbox:
        raise NotNow("post() delivers to a running worker: this process has not started as one")
    name = getattr(function, "__qualname__", repr(function))

    def deliver() -> None:
        try:
            aio.go_on(function(*arguments), name)
        except BaseException as error:
            _live.report(error, name)

    code = lib.wh_mailbox_post(mailbox, _live.CALL, _live.keep(deliver), _live.DESTROY)
    if code == lib.WH_ERR_GONE:
        raise NotNow("post() delivers to a running worker: this one has ended", code, "WH_ERR_GONE")
    check(code)


class _Work:
    """A function that runs on a thread of the pool, and what becomes of its result."""

    def __init__(self, function: Callable[..., Any], arguments: Any, answer: aio.Answer[Any]) -> None:
        self.function = function
        self.arguments = arguments
        self.answer = answer
        self.result: Any = None
        self.error: Optional[BaseException] = None

    def work(self) -> None:
        try:
            self.result = self.function(*self.arguments)
        except BaseException as error:
            self.error = error

    def __call__(self) -> None:
        if self.error is None:
            self.answer.give(self.result)
        elif isinstance(self.error, SystemExit) or not self.answer.give_error(self.error):
            _live.report(self.error, getattr(self.function, "__qualname__", repr(self.function)))


def blocking(function: Callable[..., T], *arguments: Any, then: Optional[Callable[[T], object]] = None) -> Awaitable[T]:
    """Runs `function(*arguments)` on a thread of the pool, for what would hold up the loop. Its result is awaited, or
    given to `then` on the loop. The function must not touch connections; `post` is for that. An exception is raised
    where it is awaited, and logged otherwise."""
    callable_of("blocking", function)
    answer: aio.Answer[T] = aio.Answer(then)
    work = _Work(function, arguments, answer)
    check(lib.wh_blocking(_WORK, _live.CALL, _live.keep(work), _live.DESTROY))
    return answer.awaitable


def begin_process() -> None:
    """The first thing in a worker."""
    hive = current()
    hive._process = os.getpid()
    if hive._signals:
        _signals.of_worker(hive._process)
    _log.install()
    if not hive._mailbox:
        out = ffi.new("wh_mailbox *")
        check(lib.wh_mailbox_new(out))
        hive._mailbox = out[0]


def left_early(error: SystemExit) -> Error:
    """sys.exit() where nobody is served yet: the process could not start, whatever the code."""
    return NotNow(f"on_worker_start has left by sys.exit({error.code!r})")


async def become_ready(starting: Awaitable[Any]) -> None:
    """Says that the process is ready when its on_worker_start is, or why it is not."""
    handle = current()._handle
    try:
        await starting
    except BaseException as error:
        if isinstance(error, SystemExit):
            error = left_early(error)
        text = _live.story(error).encode("utf-8", "backslashreplace")
        lib.wh_log(_live.ERROR, text, len(text))
        reason = text.rpartition(b"\n")[2]
        lib.wh_ready(handle, reason, len(reason))
    else:
        lib.wh_ready(handle, ffi.NULL, 0)


def stop_handler(handler: Callable[[Worker], Any], worker: Worker) -> int:
    """on_worker_stop, as the library calls it. Coroutines have had their turn in `serve`."""
    if not aio.is_async(handler):
        handler(worker)
    return OK


def _program_name() -> str:
    name = os.path.basename(sys.argv[0] if sys.argv else "") or "workhive"
    if name == "__main__.py":
        name = os.path.basename(os.path.dirname(os.path.abspath(sys.argv[0])))
    return name[:-3] if name.endswith(".py") else name


def _flush() -> None:
    """What is still in Python's buffers would be written by each process."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except (OSError, ValueError):
                pass


@ffi.def_extern(error=-1)  # type: ignore[untyped-decorator,unused-ignore]
def py_fork(user: int) -> int:
    try:
        _flush()
        return os.fork()
    except BaseException as error:
        _live.failed(error)
        return -1


@ffi.def_extern()  # type: ignore[untyped-decorator,unused-ignore]
def py_work(user: int) -> None:
    _live.objects[user].work()
