"""Who is there: questions that the processes and the router answer, later.

Each answer is given to `then`, and to whoever awaits it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Awaitable, Callable, NamedTuple, Optional, Tuple, Union

from ._library import check, ffi, lib, text_of, unpack
from .connection import name_of
from .routing import asked, give

__all__ = [
    "Count",
    "Member",
    "Members",
    "Names",
    "Totals",
    "is_uid_online",
    "members_of_all",
    "members_of_room",
    "members_of_uid",
    "online_count",
    "room_size",
    "rooms",
    "session_of",
    "totals",
    "uids",
]

Name = Union[str, bytes]


@dataclass(frozen=True)
class Count:
    """A number, and whether some process did not say what it knows."""

    count: int
    partial: bool


class Names(NamedTuple):
    """Some names of a longer list, and where it goes on."""

    names: Tuple[str, ...]
    #: To be given to the next call; None at the end.
    next: Optional[int]
    partial: bool


class Member(NamedTuple):
    """A connection, wherever it is."""

    #: Its `Connection.id`.
    id: str
    #: The users that it is bound to.
    uids: Tuple[str, ...]


class Members(NamedTuple):
    """Some connections of a longer list."""

    members: Tuple[Member, ...]
    #: To be given to the next call; None at the end.
    next: Optional[str]
    partial: bool


class Totals(NamedTuple):
    """How much there is in the hive."""

    uids: int
    rooms: int
    topics: int
    processes: int
    partial: bool


def is_uid_online(uid: Name, then: Optional[Callable[[Optional[bool]], object]] = None) -> Awaitable[Optional[bool]]:
    """Whether a user has a connection anywhere; None if that is not known."""
    name = name_of(uid)
    answer, *told = asked(then, _PRESENCE)
    check(lib.wh_is_uid_online(name, len(name), *told))
    return answer.awaitable


def room_size(room: Name, then: Optional[Callable[[Count], object]] = None) -> Awaitable[Count]:
    """How many connections are in a room."""
    name = name_of(room)
    answer, *told = asked(then, _COUNT)
    check(lib.wh_room_size(name, len(name), *told))
    return answer.awaitable


def online_count(then: Optional[Callable[[Count], object]] = None) -> Awaitable[Count]:
    """How many connections `send_to_all` reaches."""
    answer, *told = asked(then, _COUNT)
    check(lib.wh_online_count(*told))
    return answer.awaitable


def uids(start: Optional[int] = None, then: Optional[Callable[[Names], object]] = None) -> Awaitable[Names]:
    """The users that are online, a page at a time: `start` is the `next` of the page before."""
    answer, *told = asked(then, _NAMES)
    check(lib.wh_uids(-1 if start is None else start, *told))
    return answer.awaitable


def rooms(start: Optional[int] = None, then: Optional[Callable[[Names], object]] = None) -> Awaitable[Names]:
    """The rooms that somebody is in, as `uids`."""
    answer, *told = asked(then, _NAMES)
    check(lib.wh_rooms(-1 if start is None else start, *told))
    return answer.awaitable


def members_of_uid(
    uid: Name, after: Optional[str] = None, then: Optional[Callable[[Members], object]] = None
) -> Awaitable[Members]:
    """The connections of a user, a page at a time: `after` is the `next` of the page before."""
    name, last = name_of(uid), (after or "").encode()
    answer, *told = asked(then, _MEMBERS)
    check(lib.wh_members_of_uid(name, len(name), last, len(last), *told))
    return answer.awaitable


def members_of_room(
    room: Name, after: Optional[str] = None, then: Optional[Callable[[Members], object]] = None
) -> Awaitable[Members]:
    """The connections in a room, as `members_of_uid`."""
    name, last = name_of(room), (after or "").encode()
    answer, *told = asked(then, _MEMBERS)
    check(lib.wh_members_of_room(name, len(name), last, len(last), *told))
    return answer.awaitable


def members_of_all(
    after: Optional[str] = None, then: Optional[Callable[[Members], object]] = None
) -> Awaitable[Members]:
    """All connections that `send_to_all` reaches, as `members_of_uid`."""
    last = (after or "").encode()
    answer, *told = asked(then, _MEMBERS)
    check(lib.wh_members_of_all(last, len(last), *told))
    return answer.awaitable


def session_of(id: str, then: Optional[Callable[[Optional[bytes]], object]] = None) -> Awaitable[Optional[bytes]]:
    """The `Connection.session` of the connection that has this `Connection.id`; None if there is none to be found."""
    said = id.encode()
    answer, *told = asked(then, _SESSION)
    check(lib.wh_session_of(said, len(said), *told))
    return answer.awaitable


def totals(then: Optional[Callable[[Totals], object]] = None) -> Awaitable[Totals]:
    """How many users, rooms, topics and processes there are."""
    answer, *told = asked(then, _TOTALS)
    check(lib.wh_totals_of_hive(*told))
    return answer.awaitable


_PRESENCE: Any = ffi.addressof(lib, "on_presence")
_COUNT: Any = ffi.addressof(lib, "on_count")
_NAMES: Any = ffi.addressof(lib, "on_names")
_MEMBERS: Any = ffi.addressof(lib, "on_members")
_SESSION: Any = ffi.addressof(lib, "on_session")
_TOTALS: Any = ffi.addressof(lib, "on_totals")


@ffi.def_extern()  # type: ignore[untyped-decorator,unused-ignore]
def py_presence(user: int, presence: int) -> None:
    give(user, {lib.WH_ONLINE: True, lib.WH_OFFLINE: False}.get(presence))


@ffi.def_extern()  # type: ignore[untyped-decorator,unused-ignore]
def py_count(user: int, count: int, partial: int) -> None:
    give(user, Count(count, bool(partial)))


@ffi.def_extern()  # type: ignore[untyped-decorator,unused-ignore]
def py_names(user: int, names: Any, count: int, following: int, partial: int) -> None:
    listed = tuple(text_of(names[index]) for index in range(count))
    give(user, Names(listed, None if following < 0 else following, bool(partial)))


@ffi.def_extern()  # type: ignore[untyped-decorator,unused-ignore]
def py_members(user: int, members: Any, count: int, more: int, partial: int) -> None:
    listed = []
    for index in range(count):
        member = members[index]
        uids = tuple(text_of(member.uids[number]) for number in range(member.uid_count))
        listed.append(Member(text_of(member.id), uids))
    give(user, Members(tuple(listed), listed[-1].id if more and listed else None, bool(partial)))


@ffi.def_extern()  # type: ignore[untyped-decorator,unused-ignore]
def py_session(user: int, data: Any, length: int, partial: int) -> None:
    give(user, unpack(data, length) if length >= 0 else None)


@ffi.def_extern()  # type: ignore[untyped-decorator,unused-ignore]
def py_totals(user: int, uids: int, rooms: int, topics: int, processes: int, partial: int) -> None:
    give(user, Totals(uids, rooms, topics, processes, bool(partial)))
