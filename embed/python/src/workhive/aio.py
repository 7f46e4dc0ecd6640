"""Coroutines: how handlers that are `async def` get their turn, and what can be awaited.

A handler is called as any function is. If it returns a coroutine, that becomes a task of asyncio, and whatever else
happens to the same connection waits behind it, in order.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections import deque
from types import CoroutineType
from typing import (
    TYPE_CHECKING,
    Any,
    Awaitable,
    Callable,
    Coroutine,
    Deque,
    Generator,
    Generic,
    List,
    NamedTuple,
    Optional,
    Set,
    Tuple,
    TypeVar,
)

from . import _live
from ._library import callable_of, lib
from .errors import ConnectionGone

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Answer", "Event", "begin", "drained", "is_async"]

T = TypeVar("T")

#: asyncio's loop, if this process runs ours inside it.
loop: Optional[asyncio.AbstractEventLoop] = None

#: Coroutines that wait until asyncio runs: the first one makes the hive change over.
_early: List[Coroutine[Any, Any, Any]] = []

#: asyncio itself holds tasks weakly.
_tasks: Set["asyncio.Task[Any]"] = set()

_EAGER = sys.version_info >= (3, 12)


def is_async(function: Any) -> bool:
    """True if calling it gives a coroutine."""
    if inspect.isfunction(function) or inspect.ismethod(function):
        return inspect.iscoroutinefunction(function)
    return inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004 (callable() does not give it)


def wanted() -> bool:
    """True if coroutines wait for asyncio to run."""
    return bool(_early)


def attach() -> None:
    """Called inside asyncio: from now on coroutines begin at once."""
    global loop
    loop = asyncio.get_running_loop()
    waiting = _early[:]
    _early.clear()
    for coroutine in waiting:
        begin(coroutine)


def detach() -> None:
    """asyncio's loop is about to end."""
    global loop
    loop = None


def begin(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Runs a coroutine as a task, whose exceptions are its own business."""
    if loop is None:
        _early.append(coroutine)
        return
    if _EAGER:
        task = asyncio.Task(coroutine, loop=loop, eager_start=True)  # type: ignore[call-arg,unused-ignore]
        if task.done():
            return
    else:
        task = loop.create_task(coroutine)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


def go_on(result: Any, where: str) -> None:
    """What a function has returned that belongs to no connection: a coroutine is run, and its failure logged."""
    if inspect.isawaitable(result):
        begin(_alone(result, where))


async def _alone(awaitable: Awaitable[Any], where: str) -> None:
    try:
        await awaitable
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        _live.report(error, where)


_wh_conn_hold = lib.wh_conn_hold
_wh_conn_release = lib.wh_conn_release

#: What `Connection._turns` is while a coroutine is at work and nothing waits for it.
_NONE_WAIT: Tuple[()] = ()


# -- one connection, one thing after another ------------------------------------------------------------------------


class Event(NamedTuple):
    """Something that waits for the coroutine that is at work for its connection."""

    handler: Callable[..., Any]
    arguments: Any
    #: What the handler returns is the answer to a request.
    answers: bool
    #: A message or request. These are dropped once the connection has failed; others, as `on_close`, are not.
    incoming: bool


def after(connection: Connection, result: Any, answers: bool) -> None:
    """What a handler of a connection has returned: a coroutine is run, and an answer given."""
    if type(result) is CoroutineType or inspect.isawaitable(result):
        connection._turns = _NONE_WAIT
        _wh_conn_hold(connection._handle)
        begin(_work(connection, result, answers))
    elif answers:
        connection.answer(result)


def wait(connection: Connection, event: Event) -> None:
    """Puts an event behind the coroutine that is at work, and lets no more messages come."""
    if connection._turns is _NONE_WAIT:
        connection._turns = deque()
    turns: Deque[Event] = connection._turns
    if event.incoming and not any(other.incoming for other in turns):
        lib.wh_conn_pause(connection._handle)
    turns.append(event)


async def _work(connection: Connection, awaitable: Awaitable[Any], answers: bool) -> None:
    failed = held_back = False
    try:
        try:
            result = await awaitable
            if answers and result is not None:
                connection.answer(result)
        except BaseException as error:
            _fail(connection, error)
            failed = True
        while connection._turns:
            event = connection._turns.popleft()
            held_back = held_back or event.incoming
            if failed and event.incoming:
                continue
            try:
                result = event.handler(*event.arguments)
                if inspect.isawaitable(result):
                    result = await result
                if event.answers and result is not None:
                    connection.answer(result)
            except BaseException as error:
                _fail(connection, error)
                failed = True
    finally:
        connection._turns = None
        _wh_conn_release(connection._handle)
        if held_back and not connection._paused:
            lib.wh_conn_resume(connection._handle)


def _fail(connection: Connection, error: BaseException) -> None:
    """What has left a handler ends the connection."""
    if isinstance(error, asyncio.CancelledError) and loop is None:
        raise error  # the process ends
    if _live.quits(error) or (isinstance(error, ConnectionGone) and error.connection is connection):
        return
    text = _live.story(error).encode("utf-8", "backslashreplace")
    if lib.wh_conn_fail(connection._handle, text, len(text)) != lib.WH_OK:
        _live.report(error, "a coroutine of a connection that has ended")


# -- what can be awaited --------------------------------------------------------------------------------------------


class _NotAsked(Awaitable[Any]):
    def __await__(self) -> Generator[Any, None, Any]:
        raise RuntimeError(
            "there is nothing to await here: the process ran without asyncio when this was asked. Give it `then=`, or "
            "let the program run under asyncio: run(.., asyncio=True)"
        )


_NOT_ASKED = _NotAsked()


class Answer(Generic[T]):
    """What comes back later: to the function `then`, and, under asyncio, to whoever awaits it."""

    __slots__ = ("_future", "_then")

    def __init__(self, then: Optional[Callable[[T], object]]) -> None:
        if then is not None:
            callable_of("then", then)
        self._then = then
        self._future: Optional["asyncio.Future[T]"] = None if loop is None else loop.create_future()

    @property
    def wanted(self) -> bool:
        """False if nobody could learn of it, so that it need not be asked for."""
        return self._then is not None or self._future is not None

    @property
    def awaitable(self) -> Awaitable[T]:
        """For whoever wants to await it."""
        return self._future if self._future is not None else _NOT_ASKED

    def give(self, value: T) -> None:
        """It has come."""
        if self._future is not None and not self._future.done():
            self._future.set_result(value)
        if self._then is not None:
            go_on(self._then(value), f"{getattr(self._then, '__qualname__', self._then)}")

    def give_error(self, error: BaseException) -> bool:
        """It has failed. False if there is nobody to raise it to."""
        if self._future is None or self._then is not None:
            return False
        if not self._future.done():
            self._future.set_exception(error)
        return True

    def lost(self) -> None:
        """The library has let go of it. If it had not come yet, it never will: nobody is to wait for it."""
        if self._future is not None and not self._future.done():
            self._future.cancel()


async def drained(connection: Connection) -> None:
    """Waits for `on_buffer_drain`, if a send has been refused since the last one."""
    if not connection._refused:
        return
    if connection._drain is None or connection._drain.done():
        connection._drain = asyncio.get_running_loop().create_future()
    await asyncio.shield(connection._drain)


def tell_drained(connection: Connection, gone: bool) -> None:
    """There is room again, or the connection has ended."""
    connection._refused = False
    waiting, connection._drain = connection._drain, None
    if waiting is None or waiting.done():
        return
    if gone:
        error = ConnectionGone("the connection has ended", lib.WH_ERR_GONE, "WH_ERR_GONE")
        error.connection = connection
        waiting.set_exception(error)
    else:
        waiting.set_result(None)
