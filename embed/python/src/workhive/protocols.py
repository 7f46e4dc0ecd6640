"""Protocols of one's own."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Type, TypeVar, Union

from . import _live
from ._library import FAILED, check, ffi, lib, unpack

__all__ = ["Protocol", "protocol"]


class Protocol:
    """How messages lie in a stream of bytes; Workerman's `input`, `encode` and `decode`. One object of the class serves
    all connections of a process, so it keeps nothing of any of them.

    >>> @protocol("short")
    ... class Short(Protocol):
    ...     def input(self, data):
    ...         return data[0] + 1
    ...     def decode(self, package):
    ...         return package[1:]
    ...     def encode(self, message):
    ...         return bytes([len(message)]) + message
    """

    def input(self, data: bytes) -> int:
        """How long the first package in `data` is, which is never empty. It may be longer than `data`: the rest is
        waited for. 0 if more has to be seen to tell. ValueError, or a negative number, if it is broken: that ends the
        connection."""
        raise NotImplementedError

    def decode(self, package: bytes) -> Any:
        """The message in a package; any object."""
        return package

    def encode(self, message: Any) -> bytes:
        """The package for a message. What is pushed by `send_to_uid` and the like comes as bytes, what
        `connection.send` is given as it is."""
        if isinstance(message, str):
            return message.encode()
        return bytes(message)


_INPUT: Any = ffi.addressof(lib, "on_input")
_ENCODE: Any = ffi.addressof(lib, "on_encode")

#: The protocols of this program, by scheme.
protocols: Dict[str, "_Registered"] = {}

P = TypeVar("P", bound=Type[Protocol])

_NOTHING = object()


class _Registered:
    """A protocol as the library knows it."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        #: What `connection.send` was given: the library carries bytes alone, and asks for its encoding meanwhile.
        self.sending: Any = _NOTHING
        #: What `encode` has raised meanwhile, for whoever called `send`.
        self.failure: Optional[BaseException] = None

    def send(self, connection: Any, message: Any) -> None:
        self.sending, self.failure = message, None
        try:
            code = lib.wh_conn_send(connection._handle, lib.WH_BINARY, b"", 0)
            if self.failure is not None:
                raise self.failure
            connection._check(code)
        finally:
            self.sending, self.failure = _NOTHING, None


def protocol(scheme: str) -> Callable[[P], P]:
    """Makes a class the protocol of addresses that begin with `scheme://`."""

    def register(made: P) -> P:
        registered = _Registered(made())
        name = scheme.encode()
        user = _live.keep(registered)
        check(lib.wh_protocol_register(name, len(name), _INPUT, ffi.NULL, _ENCODE, user, _live.DESTROY))
        protocols[scheme] = registered
        return made

    return register


def _wrong(error: BaseException) -> int:
    if not isinstance(error, ValueError):
        _live.quits(error)
    text = _live.story(error).encode("utf-8", "backslashreplace")
    lib.wh_fail_text(text, len(text))
    return FAILED


@ffi.def_extern(error=-1)  # type: ignore[untyped-decorator,unused-ignore]
def py_input(user: int, data: Any, length: int) -> int:
    try:
        return int(_live.objects[user].protocol.input(unpack(data, length)))
    except BaseException as error:
        _wrong(error)
        return -1


@ffi.def_extern(error=FAILED)  # type: ignore[untyped-decorator,unused-ignore]
def py_encode(user: int, data: Any, length: int, sink: int) -> int:
    registered = _live.objects[user]
    try:
        message = registered.sending
        if message is _NOTHING:
            message = unpack(data, length)
        package: Union[bytes, bytearray, memoryview] = registered.protocol.encode(message)
        check(lib.wh_sink_write(ffi.cast("void *", sink), ffi.from_buffer(package), len(package)))
    except BaseException as error:
        if registered.sending is not _NOTHING:
            registered.failure = error
            return FAILED
        return _wrong(error)
    return 0
