"""What the library holds of ours: each callback is known to it by a number, and lives until the library lets go of
it."""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import sys
import traceback
from typing import Any, Callable, Dict, Optional

from ._library import FAILED, OK, ffi, lib
from .errors import ConnectionGone

#: By the number that the library gives back to us: functions, workers, protocols.
objects: Dict[int, Any] = {}

#: Called with SystemExit and KeyboardInterrupt that leave a handler; the hive of the process sets it.
on_quit: Optional[Callable[[BaseException], None]] = None

_numbers = itertools.count(1)

#: With which the process ends, if it cannot wait for the end of Python.
exit_code = 0


def _end() -> None:
    """The last thing in Python: what the program has registered with atexit since has run by now."""
    if lib.end_of_python(1000):
        # Work that takes longer is cut off; Python must not end around it.
        logging.shutdown()
        for stream in sys.stdout, sys.stderr:
            if stream is not None:
                stream.flush()
        os._exit(exit_code)


atexit.register(_end)
os.register_at_fork(after_in_child=lib.forget_threads)

DESTROY: Any = ffi.addressof(lib, "on_destroy")
#: The level of errors in the log.
ERROR = 1
CALL: Any = ffi.addressof(lib, "on_call")


def keep(value: Any) -> Any:
    """Keeps `value` until the library calls `on_destroy`, and gives the number of it as a C pointer."""
    number = next(_numbers)
    objects[number] = value
    return ffi.cast("void *", number)


@ffi.def_extern()  # type: ignore[untyped-decorator,unused-ignore]
def py_destroy(user: int) -> None:
    lost = getattr(objects.pop(user, None), "lost", None)
    if lost is not None:
        lost()


def story(error: BaseException) -> str:
    """The whole traceback, without the frames of this package that lead to the program's own code."""
    tb = error.__traceback__
    while tb is not None and tb.tb_next is not None and tb.tb_frame.f_globals.get("__package__") == "workhive":
        tb = tb.tb_next
    return "".join(traceback.format_exception(type(error), error, tb)).rstrip("\n")


def quits(error: BaseException) -> bool:
    """True if the error means the end of the process, which is under way then: sys.exit() in a handler lets everybody
    finish first."""
    if isinstance(error, (SystemExit, KeyboardInterrupt)) and on_quit is not None:
        on_quit(error)
        return True
    return False


def failed(error: BaseException, connection: Any = None) -> int:
    """What a callback returns after `error` has left a handler: the library has the traceback then, and ends the
    connection."""
    if quits(error):
        return OK
    if isinstance(error, ConnectionGone) and error.connection is connection is not None:
        return OK  # the peer left before its answer was there: nobody is at fault
    text = story(error).encode("utf-8", "backslashreplace")
    lib.wh_fail_text(text, len(text))
    return FAILED


def report(error: BaseException, where: str) -> None:
    """Logs what has left a function whose failure ends no connection."""
    if quits(error):
        return
    text = f"{where} has failed:\n{story(error)}".encode("utf-8", "backslashreplace")
    lib.wh_log(ERROR, text, len(text))


@ffi.def_extern(error=FAILED)  # type: ignore[untyped-decorator,unused-ignore]
def py_call(user: int) -> int:
    try:
        return objects[user]() or OK
    except BaseException as error:
        return failed(error)
