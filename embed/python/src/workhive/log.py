"""Python's logging and the hive's log."""

from __future__ import annotations

import logging
from typing import Any, Callable

from . import _live
from ._library import ffi, lib, unpack

__all__ = ["LogHandler"]

#: Levels of the library, and those of `logging`.
LEVELS = {1: logging.ERROR, 2: logging.WARNING, 3: logging.INFO, 4: logging.DEBUG, 5: logging.DEBUG - 5}


def level_of(levelno: int) -> int:
    """A level of `logging` as the library has it."""
    for level, least in LEVELS.items():
        if levelno >= least:
            return level
    return 5


class LogHandler(logging.Handler):
    """Writes to the hive's log: with its time, process and format, in the daemon's file too.

    Workers have it by default if the program has not configured `logging` before they start. Tracebacks are there
    whole.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record."""
        try:
            text = self.format(record).encode("utf-8", "backslashreplace")
            lib.wh_log(level_of(record.levelno), text, len(text))
        except Exception:
            self.handleError(record)


def install() -> None:
    """Makes the hive's log the one of a program that has not configured any."""
    if not logging.root.handlers:
        handler = LogHandler()
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        logging.root.addHandler(handler)


LogFunction = Callable[[int, str], object]

ON_LOG: Any = ffi.addressof(lib, "on_log")


@ffi.def_extern()  # type: ignore[untyped-decorator,unused-ignore]
def py_log(user: int, level: int, text: Any, length: int) -> None:
    try:
        _live.objects[user](LEVELS.get(level, logging.INFO), unpack(text, length).decode("utf-8", "replace"))
    except Exception:
        logging.lastResort and logging.lastResort.handle(
            logging.LogRecord(
                "workhive", logging.ERROR, __file__, 0, "the log function of the hive has failed", (), None
            )
        )
