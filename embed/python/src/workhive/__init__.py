"""workhive: a multi-process runtime for network services.

A master process forks workers; each runs one loop and speaks WebSocket, HTTP, text lines, frames or plain TCP; any of
them reaches any user. Handlers are called one at a time, so they need no locks, and may be `async def`.

>>> from workhive import Worker, run
>>> worker = Worker("websocket://127.0.0.1:1234", count=4)
>>> @worker.on_message
... def on_message(connection, message):
...     connection.send(message)
>>> if __name__ == "__main__":
...     run(worker)
"""

from . import _library
from .connection import CloseInfo, Connection, ConnectionFailure, ConnectionStats, Message, Stream
from .errors import (
    AddressInUse,
    BufferFull,
    Busy,
    ConnectionGone,
    Error,
    InvalidValue,
    ListenFailed,
    NotBound,
    NotNow,
    UnsuitableMessage,
    WrongThread,
)
from .hive import Hive, Place, Stats, attach, blocking, place, post, reload_all, run, stats, stop, stop_all
from .log import LogHandler
from .presence import (
    Count,
    Member,
    Members,
    Names,
    Totals,
    is_uid_online,
    members_of_all,
    members_of_room,
    members_of_uid,
    online_count,
    room_size,
    rooms,
    session_of,
    totals,
    uids,
)
from .protocols import Protocol, protocol
from .request import Headers, Opening, Parameters, Request
from .response import Response
from .routing import (
    Outcome,
    close_connection,
    close_room,
    close_uid,
    dismiss_room,
    join_connection,
    join_uid,
    leave_connection,
    leave_uid,
    publish,
    send_to_all,
    send_to_connection,
    send_to_room,
    send_to_rooms,
    send_to_uid,
    send_to_uids,
    subscribe,
    unsubscribe,
)
from .timer import Timer
from .worker import Worker

__version__ = "0.1.0"

#: The version of the library inside.
LIBRARY_VERSION: str = _library.ffi.string(_library.lib.wh_version()).decode()

__all__ = [
    "AddressInUse",
    "BufferFull",
    "Busy",
    "CloseInfo",
    "Connection",
    "ConnectionFailure",
    "ConnectionGone",
    "ConnectionStats",
    "Count",
    "Error",
    "Headers",
    "Hive",
    "InvalidValue",
    "LIBRARY_VERSION",
    "ListenFailed",
    "LogHandler",
    "Member",
    "Members",
    "Message",
    "Names",
    "NotBound",
    "NotNow",
    "Opening",
    "Outcome",
    "Parameters",
    "Place",
    "Protocol",
    "Request",
    "Response",
    "Stats",
    "Stream",
    "Timer",
    "Totals",
    "UnsuitableMessage",
    "Worker",
    "WrongThread",
    "attach",
    "blocking",
    "close_connection",
    "close_room",
    "close_uid",
    "dismiss_room",
    "is_uid_online",
    "join_connection",
    "join_uid",
    "leave_connection",
    "leave_uid",
    "members_of_all",
    "members_of_room",
    "members_of_uid",
    "online_count",
    "place",
    "post",
    "protocol",
    "publish",
    "reload_all",
    "room_size",
    "rooms",
    "run",
    "send_to_all",
    "send_to_connection",
    "send_to_room",
    "send_to_rooms",
    "send_to_uid",
    "send_to_uids",
    "session_of",
    "stats",
    "stop",
    "stop_all",
    "subscribe",
    "totals",
    "uids",
    "unsubscribe",
]
