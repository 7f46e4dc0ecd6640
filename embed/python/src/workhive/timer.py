"""Timers of the process."""

from __future__ import annotations

import inspect
from typing import Any, Callable

from . import _live, aio
from ._library import OK, check, ffi, lib

__all__ = ["Timer"]


class Timer:
    """Something that is done later, or again and again. Made by `Timer.after` and `Timer.every`, in a running process.

    A timer does not end with the connection that has started it: cancel it in `on_close`.

    >>> def on_worker_start(worker):
    ...     Timer.every(60, lambda: send_to_all("a minute more"))
    """

    __slots__ = ("_arguments", "_busy", "_function", "_handle", "_once", "is_active")

    def __init__(self, seconds: float, function: Callable[..., object], arguments: Any, once: bool) -> None:
        self._function = function
        self._arguments = arguments
        self._once = once
        self._busy = False
        #: False once it is over.
        self.is_active = True
        out = ffi.new("wh_timer *")
        make = lib.wh_timer_after if once else lib.wh_timer_every
        check(make(milliseconds(seconds), _live.CALL, _live.keep(self._tick), _live.DESTROY, out))
        self._handle = out[0]

    @classmethod
    def after(cls, seconds: float, function: Callable[..., object], *arguments: Any) -> Timer:
        """Calls `function(*arguments)` once, in so many seconds. It may be `async def`."""
        return cls(seconds, function, arguments, True)

    @classmethod
    def every(cls, seconds: float, function: Callable[..., object], *arguments: Any) -> Timer:
        """Calls it again and again. While a coroutine of the last time is still at work, a time is left out. An
        exception is logged, and the timer goes on."""
        return cls(seconds, function, arguments, False)

    def cancel(self) -> None:
        """It is not called any more. Nothing happens if it is over already."""
        if self.is_active:
            self.is_active = False
            lib.wh_timer_cancel(self._handle)

    def _tick(self) -> int:
        if self._busy:
            return OK
        if self._once:
            self.is_active = False
        result = self._function(*self._arguments)
        if inspect.isawaitable(result):
            self._busy = True
            aio.go_on(self._finish(result), f"the timer {getattr(self._function, '__qualname__', self._function)}")
        return OK

    async def _finish(self, awaitable: Any) -> None:
        try:
            await awaitable
        finally:
            self._busy = False


def milliseconds(seconds: float) -> int:
    """Seconds as the library counts them; never 0 for a little time."""
    if seconds < 0:
        raise ValueError(f"{seconds} seconds is no time: it cannot be less than 0")
    return max(round(seconds * 1000), 1 if seconds else 0)
