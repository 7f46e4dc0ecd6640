"""What calls of the package raise."""

from __future__ import annotations

import errno
from typing import Any, Dict, Type

__all__ = [
    "AddressInUse",
    "BufferFull",
    "Busy",
    "ConnectionGone",
    "Error",
    "InvalidValue",
    "ListenFailed",
    "NotBound",
    "NotNow",
    "UnsuitableMessage",
    "WrongThread",
]


class Error(Exception):
    """Something that the library refused, with its reason as text. `name` and `code` are those of the C interface."""

    def __init__(self, text: str, code: int = 0, name: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.name = name

    def __str__(self) -> str:
        # OSError would show an errno first.
        return str(self.args[0])


class ConnectionGone(Error, ConnectionError):
    """The connection has ended, or is ending: nothing more can be sent. A handler need not catch this one for the
    connection that it is called for."""

    connection: Any = None


class BufferFull(Error):
    """The peer reads more slowly than we send, and its send buffer cannot take this message: nothing of it is sent.
    Drop it, or send it again in `on_buffer_drain` or after `await connection.drained()`."""


class UnsuitableMessage(Error, ValueError):
    """The protocol cannot say that: it is too long, it is not UTF-8, or it answers a request that nobody has made."""


class InvalidValue(Error, ValueError):
    """An address, option, name, length or number that makes no sense."""


class NotBound(Error, KeyError):
    """The connection has no such uid, or is not in that room."""


class ListenFailed(Error, OSError):
    """The system does not let us listen there."""


class AddressInUse(ListenFailed):
    """Somebody listens there already; the text says who, and what can be done about it."""

    def __init__(self, text: str, code: int = 0, name: str = "") -> None:
        super().__init__(text, code, name)
        self.errno = errno.EADDRINUSE


class Busy(Error):
    """The queue for this is full for the moment."""


class NotNow(Error, RuntimeError):
    """The call makes no sense at this time, or in this process."""


class WrongThread(NotNow):
    """Everything but `post` and logging belongs on the thread that runs the loop. Use `post` on the others."""


_CLASSES: Dict[str, Type[Error]] = {
    "WH_ERR_THREAD": WrongThread,
    "WH_ERR_STATE": NotNow,
    "WH_ERR_HANDLE": NotNow,
    "WH_ERR_RUNNING": NotNow,
    "WH_ERR_NO_SEAT": NotNow,
    "WH_ERR_FORK": NotNow,
    "WH_ERR_LENGTH": InvalidValue,
    "WH_ERR_VALUE": InvalidValue,
    "WH_ERR_OPTION": InvalidValue,
    "WH_ERR_USAGE": InvalidValue,
    "WH_ERR_UTF8": UnsuitableMessage,
    "WH_ERR_GONE": ConnectionGone,
    "WH_ERR_FULL": BufferFull,
    "WH_ERR_TOO_LONG": UnsuitableMessage,
    "WH_ERR_PROTOCOL": UnsuitableMessage,
    "WH_ERR_ADDRESS": InvalidValue,
    "WH_ERR_SCHEME": InvalidValue,
    "WH_ERR_IN_USE": AddressInUse,
    "WH_ERR_ACCESS": ListenFailed,
    "WH_ERR_LISTEN": ListenFailed,
    "WH_ERR_NOT_LISTENING": InvalidValue,
    "WH_ERR_NAME": InvalidValue,
    "WH_ERR_TOO_MANY": InvalidValue,
    "WH_ERR_NOT_BOUND": NotBound,
    "WH_ERR_BUSY": Busy,
    "WH_ERR_CLOSE_CODE": InvalidValue,
}


def error_class(name: str) -> Type[Error]:
    """The exception for a result code, by the code's name."""
    return _CLASSES.get(name, Error)
