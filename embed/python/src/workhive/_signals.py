"""Signals of a process that the library has handlers in."""

from __future__ import annotations

import os
import signal
import threading
from typing import Optional, Set, Union

#: What the hive handles.
OF_THE_HIVE = [getattr(signal, f"SIG{name}") for name in ("INT", "TERM", "QUIT", "HUP", "USR1", "USR2", "TTIN", "TTOU")]

#: The worker process whose signals are the hive's; 0 if this is none.
_worker = 0
_mask_before_fork: Optional[Set[Union[int, signal.Signals]]] = None


def _nothing(signo: int, frame: object) -> None:
    """Ctrl-C, which the hive has heard too."""


def hear_interrupts() -> None:
    """The program's own handlers are called beside the hive's. Python's for Ctrl-C would raise KeyboardInterrupt
    somewhere, when the hive has seen to it already."""
    if _is_main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _nothing)


def give_back() -> None:
    """The hive is over."""
    global _worker
    _worker = 0
    if _is_main_thread() and signal.getsignal(signal.SIGINT) is _nothing:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def of_worker(pid: int) -> None:
    """This process is a worker, whose signals are the hive's."""
    global _worker
    _worker = pid


# A child that the program forks off a worker, as multiprocessing does, has the worker's handlers, and could not be
# ended by SIGTERM. In it signals mean what they meant before. What the master forks is seen to by the library.


def _before_fork() -> None:
    global _mask_before_fork
    if _worker == os.getpid() and _is_main_thread():
        _mask_before_fork = signal.pthread_sigmask(signal.SIG_BLOCK, OF_THE_HIVE)


def _after_fork() -> None:
    global _mask_before_fork
    mask, _mask_before_fork = _mask_before_fork, None
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _after_fork_in_child() -> None:
    if _mask_before_fork is None:
        return
    for signo in OF_THE_HIVE:
        handler = signal.getsignal(signo)
        if handler is _nothing:
            handler = signal.default_int_handler
        signal.signal(signo, signal.SIG_DFL if handler is None else handler)
    _after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
