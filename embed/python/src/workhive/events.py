"""What happens to connections, as the library tells it: found, turned into objects, and given to the handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Tuple

from . import _live, aio
from ._library import FAILED, OK, ffi, lib, unpack
from .connection import CloseInfo, Connection, ConnectionFailure, connections
from .request import Opening, Request

if TYPE_CHECKING:
    from .worker import Worker

objects = _live.objects

REASONS = {1: "peer", 2: "local", 3: "destroyed", 4: "protocol", 5: "error", 6: "drained"}
KINDS = {1: "protocol", 2: "io", 3: "idle", 4: "callback", 5: "panic", 6: "slow"}


def function(name: str) -> Any:
    """A function below as the library takes it."""
    return ffi.addressof(lib, name)


def meet(worker: Worker, handle: int) -> Connection:
    """The connection of this handle, when it is heard of for the first time."""
    connection = worker.connection_class(worker, handle)
    connections[handle] = connection
    return connection


def tell(connection: Connection, handler: Any, *arguments: Any) -> None:
    """Calls a handler about a connection, or lets it wait behind a coroutine."""
    if connection._turns is not None:
        aio.wait(connection, aio.Event(handler, (connection, *arguments), False, False))
        return
    result = handler(connection, *arguments)
    if result is not None:
        aio.after(connection, result, False)


@ffi.def_extern(error=FAILED)  # type: ignore[untyped-decorator,unused-ignore]
def py_message(user: int, handle: int, data: Any, length: int, is_text: int) -> int:
    connection = None
    try:
        worker = objects[user]
        connection = connections.get(handle) or meet(worker, handle)
        message = unpack(data, length)
        if worker._decode is not None:
            message = worker._decode(message)
        elif is_text:
            message = message.decode()
        elif worker._lines:
            message = message.decode("utf-8", "surrogateescape")
        if connection._turns is None:
            result = worker._message(connection, message)
            if result is not None:
                aio.after(connection, result, False)
        else:
            aio.wait(connection, aio.Event(worker._message, (connection, message), False, True))
    except BaseException as error:
        return _live.failed(error, connection)
    return OK


def ends(method: int, target: int, path: int, query: int) -> Tuple[int, int, int, int]:
    """Where the parts of a head end that lie behind one another."""
    target += method
    path += target
    return method, target, path, -1 if query < 0 else path + query


@ffi.def_extern(error=FAILED)  # type: ignore[untyped-decorator,unused-ignore]
def py_request(
    user: int, handle: int, head: Any, method: int, target: int, path: int, query: int, headers: int, body: Any,
    body_len: int, flags: int,
) -> int:  # fmt: skip
    connection = None
    try:
        worker = objects[user]
        connection = connections.get(handle) or meet(worker, handle)
        total = method + target + path + headers + (query if query > 0 else 0)
        request = Request(
            unpack(head, total),
            ends(method, target, path, query),
            flags,
            unpack(body, body_len) if body_len else b"",
        )
        if connection._turns is None:
            result = worker._message(connection, request)
            if result is not None:
                aio.after(connection, result, True)
        else:
            aio.wait(connection, aio.Event(worker._message, (connection, request), True, True))
    except BaseException as error:
        return _live.failed(error, connection)
    return OK


@ffi.def_extern(error=FAILED)  # type: ignore[untyped-decorator,unused-ignore]
def py_opening(
    user: int, handle: int, lent: int, head: Any, method: int, target: int, path: int, query: int, headers: int,
    flags: int
) -> int:  # fmt: skip
    connection = None
    try:
        worker = objects[user]
        connection = connections.get(handle) or meet(worker, handle)
        total = method + target + path + headers + (query if query > 0 else 0)
        opening = Opening(unpack(head, total), ends(method, target, path, query), flags, lent)
        worker._handlers["on_websocket_connect"](connection, opening)
    except BaseException as error:
        return _live.failed(error, connection)
    return OK


@ffi.def_extern(error=FAILED)  # type: ignore[untyped-decorator,unused-ignore]
def py_conn(user: int, handle: int) -> int:
    connection = None
    try:
        worker, event = objects[user]
        connection = connections.get(handle) or meet(worker, handle)
        if event == "on_buffer_drain":
            aio.tell_drained(connection, gone=False)
        handler = worker._handlers.get(event)
        if handler is not None:
            tell(connection, handler)
    except BaseException as error:
        return _live.failed(error, connection)
    return OK


@ffi.def_extern(error=FAILED)  # type: ignore[untyped-decorator,unused-ignore]
def py_close(
    user: int, handle: int, reason: int, code: int, peer_reason: Any, peer_reason_len: int, text: Any, text_len: int
) -> int:  # fmt: skip
    connection = None
    try:
        worker = objects[user]
        handler = worker._handlers.get("on_close")
        connection = connections.pop(handle, None)
        if connection is None:
            if handler is None:
                return OK
            connection = worker.connection_class(worker, handle)
        connection.close_info = CloseInfo(
            REASONS.get(reason, "error"),
            code or None,
            unpack(peer_reason, peer_reason_len).decode("utf-8", "replace"),
            unpack(text, text_len).decode("utf-8", "replace"),
        )
        aio.tell_drained(connection, gone=True)
        if handler is not None:
            tell(connection, handler)
    except BaseException as error:
        return _live.failed(error, connection)
    return OK


@ffi.def_extern(error=FAILED)  # type: ignore[untyped-decorator,unused-ignore]
def py_error(user: int, handle: int, kind: int, text: Any, length: int) -> int:
    connection = None
    try:
        worker = objects[user]
        connection = connections.get(handle) or meet(worker, handle)
        failure = ConnectionFailure(KINDS.get(kind, "io"), unpack(text, length).decode("utf-8", "replace"))
        tell(connection, worker._handlers["on_error"], failure)
    except BaseException as error:
        return _live.failed(error, connection)
    return OK


@ffi.def_extern(error=FAILED)  # type: ignore[untyped-decorator,unused-ignore]
def py_name(user: int, name: Any, length: int) -> int:
    try:
        worker, event = objects[user]
        handler = worker._handlers[event]
        aio.go_on(handler(worker, unpack(name, length).decode("utf-8", "surrogateescape")), event)
    except BaseException as error:
        return _live.failed(error)
    return OK
