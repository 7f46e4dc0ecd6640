"""Reaching users and rooms, whichever process their connections are in."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Iterable, NamedTuple, Optional, Tuple, Union

from . import _live, aio
from ._library import callable_of, check, ffi, lib, unpack, view_of
from .connection import BINARY, TEXT, Connection, Message, ids_of, name_of, names_array

__all__ = [
    "Outcome",
    "close_connection",
    "close_room",
    "close_uid",
    "dismiss_room",
    "join_connection",
    "join_uid",
    "leave_connection",
    "leave_uid",
    "publish",
    "send_to_all",
    "send_to_connection",
    "send_to_room",
    "send_to_rooms",
    "send_to_uid",
    "send_to_uids",
    "subscribe",
    "unsubscribe",
]

Name = Union[str, bytes]
Excluded = Iterable[Union[Connection, str]]

NULL: Any = ffi.NULL


class Outcome(NamedTuple):
    """What became of a push. True in a condition if somebody has it."""

    #: How many connections took it.
    delivered: int
    #: How many could not: their buffers are full.
    refused: int
    #: 1 if a process died or did not answer in time: more connections may have it.
    unknown: int
    is_delivered: bool
    #: Nobody was asked, and nobody has it: the router was away. It can be sent again.
    is_unrouted: bool

    def __bool__(self) -> bool:
        return self.is_delivered


Then = Optional[Callable[[Outcome], object]]


def asked(then: Any, function: Any) -> Tuple[aio.Answer[Any], Any, Any, Any]:
    """Function, user and destructor for the library, if anybody wants to know."""
    answer: aio.Answer[Any] = aio.Answer(then)
    if answer.wanted:
        return answer, function, _live.keep(answer), _live.DESTROY
    return answer, NULL, NULL, NULL


def _payload(message: Message) -> Tuple[int, Any]:
    if isinstance(message, str):
        return TEXT, message.encode()
    return BINARY, view_of(message)


def send_to_uid(uid: Name, message: Message, *, exclude: Excluded = (), then: Then = None) -> Awaitable[Outcome]:
    """Sends to every connection of a user, in whichever processes they are; not to those in `exclude`. `then`, or
    `await`, tells what became of it."""
    kind, data = _payload(message)
    name, (left_out, count, _kept) = name_of(uid), ids_of(exclude)
    answer, *told = asked(then, _OUTCOME)
    check(lib.wh_send_to_uid(name, len(name), kind, data, len(data), left_out, count, *told))
    return answer.awaitable


def send_to_uids(
    uids: Iterable[Name], message: Message, *, exclude: Excluded = (), then: Then = None
) -> Awaitable[Outcome]:
    """Sends to several users; to each connection once."""
    kind, data = _payload(message)
    names, (left_out, count, _kept) = names_array(uids), ids_of(exclude)
    answer, *told = asked(then, _OUTCOME)
    check(lib.wh_send_to_uids(names[0], names[1], kind, data, len(data), left_out, count, *told))
    return answer.awaitable


def send_to_room(room: Name, message: Message, *, exclude: Excluded = (), then: Then = None) -> Awaitable[Outcome]:
    """Sends to everybody in a room."""
    kind, data = _payload(message)
    name, (left_out, count, _kept) = name_of(room), ids_of(exclude)
    answer, *told = asked(then, _OUTCOME)
    check(lib.wh_send_to_room(name, len(name), kind, data, len(data), left_out, count, *told))
    return answer.awaitable


def send_to_rooms(
    rooms: Iterable[Name], message: Message, *, exclude: Excluded = (), then: Then = None
) -> Awaitable[Outcome]:
    """Sends to everybody in several rooms; to each connection once."""
    kind, data = _payload(message)
    names, (left_out, count, _kept) = names_array(rooms), ids_of(exclude)
    answer, *told = asked(then, _OUTCOME)
    check(lib.wh_send_to_rooms(names[0], names[1], kind, data, len(data), left_out, count, *told))
    return answer.awaitable


def send_to_all(message: Message, *, exclude: Excluded = (), then: Then = None) -> Awaitable[Outcome]:
    """Sends to every connection of the hive."""
    kind, data = _payload(message)
    left_out, count, _kept = ids_of(exclude)
    answer, *told = asked(then, _OUTCOME)
    check(lib.wh_send_to_all(kind, data, len(data), left_out, count, *told))
    return answer.awaitable


def send_to_connection(id: str, message: Message, *, then: Then = None) -> Awaitable[Outcome]:
    """Sends to the connection that has this `Connection.id`."""
    kind, data = _payload(message)
    said = id.encode()
    answer, *told = asked(then, _OUTCOME)
    check(lib.wh_send_to_connection(said, len(said), kind, data, len(data), *told))
    return answer.awaitable


def close_uid(uid: Name, code: int = 1000, reason: str = "") -> None:
    """Closes every connection of a user."""
    name, said = name_of(uid), reason.encode()
    check(lib.wh_close_uid(name, len(name), code, said, len(said)))


def close_connection(id: str, code: int = 1000, reason: str = "") -> None:
    """Closes the connection that has this `Connection.id`."""
    name, said = id.encode(), reason.encode()
    check(lib.wh_close_connection(name, len(name), code, said, len(said)))


def close_room(room: Name, code: int = 1000, reason: str = "") -> None:
    """Closes every connection in a room."""
    name, said = name_of(room), reason.encode()
    check(lib.wh_close_room(name, len(name), code, said, len(said)))


def join_uid(uid: Name, room: Name) -> None:
    """Puts every connection of a user into a room."""
    user, name = name_of(uid), name_of(room)
    check(lib.wh_join_uid(user, len(user), name, len(name)))


def leave_uid(uid: Name, room: Name) -> None:
    """Takes every connection of a user out of a room."""
    user, name = name_of(uid), name_of(room)
    check(lib.wh_leave_uid(user, len(user), name, len(name)))


def join_connection(id: str, room: Name) -> None:
    """Puts the connection that has this `Connection.id` into a room."""
    said, name = id.encode(), name_of(room)
    check(lib.wh_join_connection(said, len(said), name, len(name)))


def leave_connection(id: str, room: Name) -> None:
    """Takes the connection that has this `Connection.id` out of a room."""
    said, name = id.encode(), name_of(room)
    check(lib.wh_leave_connection(said, len(said), name, len(name)))


def dismiss_room(room: Name) -> None:
    """Ends a room: everybody leaves it. The connections stay."""
    name = name_of(room)
    check(lib.wh_dismiss_room(name, len(name)))


def subscribe(topic: Name, function: Callable[[Union[str, bytes]], object]) -> None:
    """Calls `function(message)` for what any process publishes to this topic. It may be `async def`."""
    callable_of("subscribe", function)
    name = name_of(topic)
    check(lib.wh_subscribe(name, len(name), _TOPIC, _live.keep((topic, function)), _live.DESTROY))


def unsubscribe(topic: Name) -> None:
    """Ends the subscription of this process."""
    name = name_of(topic)
    check(lib.wh_unsubscribe(name, len(name)))


def publish(topic: Name, message: Message) -> None:
    """Tells every process of the hive that has subscribed to the topic, this one too."""
    kind, data = _payload(message)
    name = name_of(topic)
    check(lib.wh_publish(name, len(name), kind, data, len(data)))


_OUTCOME: Any = ffi.addressof(lib, "on_outcome")
_TOPIC: Any = ffi.addressof(lib, "on_topic")


def give(user: int, value: Any) -> None:
    try:
        _live.objects[user].give(value)
    except BaseException as error:
        _live.report(error, "the function that an answer was given to")


@ffi.def_extern()  # type: ignore[untyped-decorator,unused-ignore]
def py_outcome(user: int, delivered: int, refused: int, unknown: int, flags: int) -> None:
    give(user, Outcome(delivered, refused, unknown, bool(flags & 1), bool(flags & 2)))


@ffi.def_extern()  # type: ignore[untyped-decorator,unused-ignore]
def py_topic(user: int, data: Any, length: int, is_text: int) -> None:
    topic = None
    try:
        topic, function = _live.objects[user]
        message = unpack(data, length)
        aio.go_on(function(message.decode() if is_text else message), f"the subscriber of {topic!r}")
    except BaseException as error:
        _live.report(error, f"the subscriber of {topic!r}")
