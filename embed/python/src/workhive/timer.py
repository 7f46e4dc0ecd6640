"""Timers of the process."""

from __future__ import annotations

import inspect
from typing import Any, Callable

from . import _live, aio
from ._library import OK, callable_of, check, ffi, lib

__all__ = ["Timer"]

#: A thousand years, in seconds.
LONGEST = 31_556_952_000


class Timer:
    """Something that is done later, or again and again. Made by `Timer.after` and `Timer.every`, in a running process.

    A timer does not end with the connection that has started it: cancel it in `on_close`.

    >>> def on_worker_start(worker):
    ...     Timer.every(60, lambda: send_to_all("a minute more"))
    """

    __slots__ = ("_arguments", "_busy", "_function", "_handle", "_once", "is_active")

    def __init__(self, seconds: float, function: Callable[..., object], arguments: Any, once: bool) -> None:
        callable_of("a timer", function)
        self._function = function
        self._arguments = arguments
        self._once = once
        self._busy = False
        #: False once it is over.
        self.is_active = True
        out = ffi.new("wh_timer *")
        make = lib.wh_timer_after if once else lib.wh_timer_every
        check(
            make(milliseconds("the time of a timer", seconds), _live.CALL, _live.keep(self._tick), _live.DESTROY, out)
        )
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


def milliseconds(what: str, seconds: float) -> int:
    """Seconds as the library counts them; never 0 for a little time."""
    if not isinstance(seconds, (int, float)):
        raise TypeError(f"{what} is a number of seconds, not {seconds!r}")
    if not 0 <= seconds < LONGEST:
        raise ValueError(f"{what} is a number of seconds from 0 to {LONGEST}, not {seconds!r}")
    return max(round(seconds * 1000), 1 if seconds else 0)
