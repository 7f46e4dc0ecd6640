"""One client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Awaitable, Callable, Dict, Iterable, NamedTuple, Optional, Tuple, Union

from . import _live, aio
from ._library import OK, bytes_of, check, error_of, ffi, lib, text_of, view_of
from .errors import BufferFull, ConnectionGone
from .response import BYTES_LINE, TEXT_LINE, HeaderFields, Response, lines_of

if TYPE_CHECKING:
    from .worker import Worker

__all__ = ["CloseInfo", "Connection", "ConnectionFailure", "ConnectionStats", "Message", "Stream"]

#: What is sent: str as text (in UTF-8), bytes and what is laid out like them as binary data, without a copy of ours.
Message = Union[str, bytes, bytearray, memoryview]

TEXT: int = lib.WH_TEXT
BINARY: int = lib.WH_BINARY

_wh_conn_send = lib.wh_conn_send
_wh_conn_respond = lib.wh_conn_respond
_DONE: Any = ffi.addressof(lib, "on_done")

#: The connections of this process that have been heard of, by handle.
connections: Dict[int, "Connection"] = {}


class CloseInfo(NamedTuple):
    """Why a connection has ended."""

    #: `"peer"`, `"local"`, `"destroyed"`, `"protocol"`, `"error"` or `"drained"`.
    reason: str
    #: The close code that the peer of a WebSocket has said; None if none.
    code: Optional[int]
    #: What the peer has said to it.
    peer_reason: str
    #: All of it in words, for a log.
    text: str


class ConnectionFailure(NamedTuple):
    """Why a connection cannot go on."""

    #: `"protocol"`, `"io"`, `"idle"`, `"callback"`, `"panic"` or `"slow"`.
    kind: str
    #: In words.
    text: str


class ConnectionStats(NamedTuple):
    """Counters of a connection."""

    bytes_in: int
    bytes_out: int
    messages_in: int
    #: Bytes that wait to be sent.
    queued: int


def name_of(name: Union[str, bytes]) -> bytes:
    """A uid, room or topic as bytes."""
    if isinstance(name, str):
        return name.encode("utf-8", "surrogateescape")
    if isinstance(name, bytes):
        return name
    raise TypeError(f"names of users, rooms and topics are str or bytes, not {type(name).__name__}")


class Connection:
    """A connection, the same object in every call about it. It may be kept: when the connection has ended, sending
    raises `ConnectionGone`, and never reaches anybody else.

    Besides `data`, which is the application's, any attribute may be set.
    """

    #: The application's own; None at first.
    data: Any = None
    #: Why it has ended; None until then.
    close_info: Optional[CloseInfo] = None
    #: What waits for a coroutine that is at work for this connection; None when there is none.
    _turns: Any = None
    _paused = False
    #: A send was refused since the buffer was last empty, and the future of who waits for that.
    _refused = False
    _drain: Any = None

    def __init__(self, worker: Worker, handle: int) -> None:
        self._handle = handle
        #: The worker that has accepted it.
        self.worker = worker

    # -- sending -------------------------------------------------------------------------------------------------

    def send(self, message: Any) -> None:
        """Sends one message: str as text, bytes as binary data. To a client of HTTP it is the answer to its request,
        and may be a `Response`, str, bytes, or a dict or list, which is sent as JSON. Protocols of one's own take
        what their `encode` takes.

        Raises `ConnectionGone` if it has ended, `BufferFull` if the peer is too slow to take more.
        """
        if self.worker._special:
            self.worker._send(self, message)
            return
        if type(message) is str:
            message = message.encode()
            code = _wh_conn_send(self._handle, TEXT, message, len(message))
        else:
            view = view_of(message)
            code = _wh_conn_send(self._handle, BINARY, view, len(view))
        if code != OK:
            raise self._error(code)

    def answer(self, what: Any) -> None:
        """As `send` to a client of HTTP."""
        kind = type(what)
        if kind is str:
            body: Any = what.encode()
            status, lines = 200, TEXT_LINE
        elif kind is bytes:
            status, lines, body = 200, BYTES_LINE, what
        else:
            if not isinstance(what, Response):
                what = Response.json(what) if isinstance(what, (dict, list)) else Response(what)
            status, lines, body = what.status, what.lines, view_of(what.body)
        code = _wh_conn_respond(self._handle, status, lines, len(lines), body, len(body))
        if code != OK:
            raise self._error(code)

    def stream(self, status: int = 200, headers: Optional[HeaderFields] = None) -> Stream:
        """Begins an answer whose body comes in pieces.

        >>> def on_message(connection, request):
        ...     with connection.stream(headers={"Content-Type": "text/csv"}) as stream:
        ...         for row in range(10):
        ...             stream.write(f"{row}\\n")
        """
        lines = lines_of(headers)
        self._check(lib.wh_conn_respond_stream(self._handle, status, lines, len(lines)))
        return Stream(self)

    async def drained(self) -> None:
        """For coroutines: waits until there is room again after a `BufferFull`; returns at once if none was refused."""
        await aio.drained(self)

    # -- ending --------------------------------------------------------------------------------------------------

    def close(self, code: Optional[int] = None, reason: str = "") -> None:
        """Says goodbye as the protocol does it, after what waits to be sent. WebSockets take a code (1000, 3000 to
        4999) and a reason. Nothing happens if it has ended already."""
        if code is None and not reason:
            self._quietly(lib.wh_conn_close(self._handle))
        else:
            said = reason.encode()
            self._quietly(lib.wh_conn_close_with(self._handle, 1000 if code is None else code, said, len(said)))

    def end(self) -> None:
        """Ends it without words, after what waits to be sent."""
        self._quietly(lib.wh_conn_end(self._handle))

    def destroy(self) -> None:
        """Ends it now; what waits to be sent is lost."""
        self._quietly(lib.wh_conn_destroy(self._handle))

    @property
    def is_open(self) -> bool:
        """True while messages can be sent to it."""
        out = ffi.new("int32_t *")
        return bool(lib.wh_conn_is_open(self._handle, out) == OK and out[0])

    # -- receiving -----------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Takes no more messages until `resume`; a peer that goes on is slowed down."""
        self._paused = True
        self._quietly(lib.wh_conn_pause(self._handle))

    def resume(self) -> None:
        """Takes messages again."""
        self._paused = False
        self._quietly(lib.wh_conn_resume(self._handle))

    def pipe(self, target: Connection) -> None:
        """Sends everything that comes on to `target`, no faster than that takes it."""
        if not isinstance(target, Connection):
            raise TypeError(f"pipe takes a connection, not {target!r}")
        self._check(lib.wh_conn_pipe(self._handle, target._handle))

    # -- who it is -----------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Names this connection in the whole hive, and never another one: for `send_to_connection`."""
        return self._text(lib.wh_conn_id)

    @property
    def remote_addr(self) -> str:
        """The other side: `"127.0.0.1:5000"`, `"[::1]:5000"`, `"unix:"`."""
        return self._text(lib.wh_conn_remote_addr)

    @property
    def local_addr(self) -> str:
        """Our side."""
        return self._text(lib.wh_conn_local_addr)

    @property
    def protocol(self) -> str:
        """What is spoken: `"websocket"`, `"http"`, `"text"`, ..."""
        return self._text(lib.wh_conn_protocol)

    @property
    def send_queue(self) -> int:
        """Bytes that wait to be sent."""
        out = ffi.new("uint64_t *")
        self._check(lib.wh_conn_send_queue(self._handle, out))
        return int(out[0])

    @property
    def stats(self) -> ConnectionStats:
        """What has gone through it."""
        out = ffi.new("wh_conn_stats *")
        self._check(lib.wh_conn_stats_of(self._handle, out, ffi.sizeof("wh_conn_stats")))
        return ConnectionStats(out.bytes_in, out.bytes_out, out.messages_in, out.queued)

    def __repr__(self) -> str:
        state = f"closed: {self.close_info.text}" if self.close_info else "open" if self.is_open else "ending"
        return f"<Connection of {self.worker.address or 'nowhere'}, {state}>"

    # -- routing -------------------------------------------------------------------------------------------------

    def bind_uid(self, uid: Union[str, bytes], then: Optional[Callable[[bool], object]] = None) -> Awaitable[bool]:
        """Binds it to a user: from now on `send_to_uid` reaches it, from every process. A user may have any number of
        connections. `then`, or `await`, tells when every push that is sent from then on arrives: True, or False if the
        connection ended first."""
        said = name_of(uid)
        return self._later(lib.wh_conn_bind_uid, said, then)

    def claim_uid(self, uid: Union[str, bytes]) -> None:
        """As `bind_uid`, and all other connections of the user are closed."""
        said = name_of(uid)
        self._check(lib.wh_conn_claim_uid(self._handle, said, len(said)))

    def unbind_uid(self, uid: Union[str, bytes]) -> None:
        """Takes it from the user."""
        said = name_of(uid)
        self._check(lib.wh_conn_unbind_uid(self._handle, said, len(said)))

    @property
    def uid(self) -> Optional[str]:
        """The user that it is bound to; None if to none. Still known in `on_close`. With `max_uids` there may be more,
        see `uids`."""
        out = ffi.new("wh_bytes *")
        self._check(lib.wh_conn_uid(self._handle, out))
        return None if out.data == ffi.NULL else text_of(out)

    @property
    def uids(self) -> Tuple[str, ...]:
        """All users that it is bound to."""
        return self._names(lib.wh_conn_uids)

    def join_room(self, room: Union[str, bytes], then: Optional[Callable[[bool], object]] = None) -> Awaitable[bool]:
        """Puts it into a room: from now on `send_to_room` reaches it. `then` and `await` as with `bind_uid`."""
        said = name_of(room)
        return self._later(lib.wh_conn_join_room, said, then)

    def leave_room(self, room: Union[str, bytes]) -> None:
        """Takes it out of a room."""
        said = name_of(room)
        self._check(lib.wh_conn_leave_room(self._handle, said, len(said)))

    @property
    def rooms(self) -> Tuple[str, ...]:
        """The rooms that it is in."""
        return self._names(lib.wh_conn_rooms)

    @property
    def session(self) -> bytes:
        """A few bytes that other processes see with the members of a room."""
        out = ffi.new("wh_bytes *")
        self._check(lib.wh_conn_session(self._handle, out))
        return bytes_of(out)

    @session.setter
    def session(self, data: bytes) -> None:
        self._check(lib.wh_conn_set_session(self._handle, data, len(data)))

    # -- inside --------------------------------------------------------------------------------------------------

    def _later(self, function: Any, name: bytes, then: Optional[Callable[[bool], object]]) -> Awaitable[bool]:
        answer: aio.Answer[bool] = aio.Answer(then)
        user = _live.keep(answer) if answer.wanted else ffi.NULL
        self._check(
            function(self._handle, name, len(name), _DONE, user, _live.DESTROY)
            if answer.wanted
            else function(self._handle, name, len(name), ffi.NULL, ffi.NULL, ffi.NULL)
        )
        return answer.awaitable

    def _text(self, function: Any) -> str:
        out = ffi.new("wh_bytes *")
        self._check(function(self._handle, out))
        return text_of(out)

    def _names(self, function: Any) -> Tuple[str, ...]:
        out, count = ffi.new("wh_bytes const **"), ffi.new("size_t *")
        self._check(function(self._handle, out, count))
        return tuple(text_of(out[0][index]) for index in range(count[0]))

    def _check(self, code: int) -> None:
        if code != OK:
            raise self._error(code)

    def _quietly(self, code: int) -> None:
        """For what makes no difference to a connection that has ended."""
        if code != OK and code != lib.WH_ERR_GONE:
            check(code)

    def _error(self, code: int) -> Exception:
        error = error_of(code)
        if isinstance(error, ConnectionGone):
            error.connection = self
        elif isinstance(error, BufferFull):
            self._refused = True
        return error


class Stream:
    """The body of an answer that comes in pieces. As a context manager it ends the body, or, after an exception, the
    connection: the client sees that something is missing."""

    __slots__ = ("_over", "connection")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._over = False

    def write(self, piece: Message) -> None:
        """Sends a piece. Raises `BufferFull` as `send` does."""
        self._chunk(piece, 0)

    def end(self, piece: Message = b"") -> None:
        """Sends the last piece."""
        if not self._over:
            self._chunk(piece, 1)
            self._over = True

    def _chunk(self, piece: Message, last: int) -> None:
        data = piece.encode() if isinstance(piece, str) else view_of(piece)
        self.connection._check(lib.wh_conn_chunk(self.connection._handle, data, len(data), last))

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self.end()
        elif not self._over:
            self.connection.destroy()

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self.__exit__(kind, error, trace)


@ffi.def_extern()  # type: ignore[untyped-decorator,unused-ignore]
def py_done(user: int, result: int) -> None:
    try:
        _live.objects[user].give(result == OK)
    except BaseException as error:
        _live.report(error, "the function behind bind_uid or join_room")


def ids_of(connections: Iterable[Union[Connection, str]]) -> Tuple[Any, int, Any]:
    """Ids of connections as the library takes them; the third thing has to be kept until the call is over."""
    ids = []
    for one in connections:
        if not isinstance(one, (str, Connection)):
            raise TypeError(f"connections and their ids are excluded, not {one!r}")
        ids.append(one if isinstance(one, str) else one.id)
    return names_array(ids)


def names_array(names: Iterable[Union[str, bytes]]) -> Tuple[Any, int, Any]:
    """Names as an array of `wh_bytes`; the third thing has to be kept until the call is over."""
    kept = [ffi.from_buffer("uint8_t[]", name_of(name)) for name in names]
    if not kept:
        return ffi.NULL, 0, None
    array = ffi.new("wh_bytes[]", [(data, len(data)) for data in kept])
    return array, len(kept), kept
