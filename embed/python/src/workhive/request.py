"""What clients ask by HTTP: copied once, taken apart when it is looked at."""

from __future__ import annotations

import json
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple
from urllib.parse import parse_qsl

from ._library import check, ffi, lib

__all__ = ["Headers", "Opening", "Parameters", "Request"]


class Headers(Mapping[str, str]):
    """The fields of a head. Case does not matter: `headers["content-type"]`.

    A field that came several times has its values joined by ", " as HTTP means it; `get_all` has them one by one.
    """

    __slots__ = ("_fields", "_raw")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._fields: Optional[Dict[str, List[str]]] = None

    def _parsed(self) -> Dict[str, List[str]]:
        if self._fields is None:
            self._fields = {}
            for line in self._raw.decode("latin-1").split("\n"):
                name, colon, value = line.partition(":")
                if colon:
                    self._fields.setdefault(name.lower(), []).append(value.strip(" \t\r"))
        return self._fields

    def __getitem__(self, name: str) -> str:
        return ", ".join(self._parsed()[name.lower()])

    def __iter__(self) -> Iterator[str]:
        return iter(self._parsed())

    def __len__(self) -> int:
        return len(self._parsed())

    def __repr__(self) -> str:
        return f"Headers({dict(self)!r})"

    def get_all(self, name: str) -> List[str]:
        """Every value of the fields of this name, in the order they came."""
        return list(self._parsed().get(name.lower(), ()))


class Parameters(Mapping[str, str]):
    """The parameters of a query or a form. One that came several times counts as it was said last; `get_all` has
    them all."""

    __slots__ = ("_pairs", "_values")

    def __init__(self, encoded: str) -> None:
        self._pairs: List[Tuple[str, str]] = parse_qsl(encoded, keep_blank_values=True)
        self._values: Dict[str, str] = dict(self._pairs)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Parameters({self._values!r})"

    def get_all(self, name: str) -> List[str]:
        """Every value of this name, in the order they came."""
        return [value for key, value in self._pairs if key == name]


class _Head:
    """Method, target, path, query and headers, which lie behind one another in `head`."""

    __slots__ = ("_ends", "_flags", "_head", "_headers", "_query")

    def __init__(self, head: bytes, ends: Tuple[int, int, int, int], flags: int) -> None:
        self._head = head
        self._ends = ends
        self._flags = flags
        self._headers: Optional[Headers] = None
        self._query: Optional[Parameters] = None

    @property
    def method(self) -> str:
        """`"GET"`, `"POST"`, as the client wrote it."""
        return self._head[: self._ends[0]].decode("latin-1")

    @property
    def target(self) -> str:
        """Path and query as they came: `"/find?q=a"`."""
        return self._head[self._ends[0] : self._ends[1]].decode("latin-1")

    @property
    def path(self) -> str:
        """The path as it came, percent signs and all: `"/find"`."""
        return self._head[self._ends[1] : self._ends[2]].decode("latin-1")

    @property
    def query_string(self) -> Optional[str]:
        """What follows the question mark; None if there is none."""
        end = self._ends[3]
        return None if end < 0 else self._head[self._ends[2] : end].decode("latin-1")

    @property
    def query(self) -> Parameters:
        """The parameters of the query."""
        if self._query is None:
            self._query = Parameters(self.query_string or "")
        return self._query

    @property
    def headers(self) -> Headers:
        """The fields of the head."""
        if self._headers is None:
            end = self._ends[3]
            self._headers = Headers(self._head[end if end >= 0 else self._ends[2] :])
        return self._headers

    @property
    def http_version(self) -> str:
        """`"1.1"` or `"1.0"`."""
        return f"{self._flags % 100 // 10}.{self._flags % 10}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.method} {self.target}>"


class Request(_Head):
    """A request. It may be kept as long as one likes."""

    __slots__ = ("body",)

    def __init__(self, head: bytes, ends: Tuple[int, int, int, int], flags: int, body: bytes) -> None:
        # Written out: there is one of these for each request.
        self._head = head
        self._ends = ends
        self._flags = flags
        self._headers = None
        self._query = None
        self.body = body

    @property
    def keep_alive(self) -> bool:
        """True if the connection stays for another request."""
        return self._flags >= 100

    @property
    def text(self) -> str:
        """The body as text in UTF-8."""
        return self.body.decode()

    def json(self) -> Any:
        """What the body says in JSON."""
        return json.loads(self.body)

    def form(self) -> Parameters:
        """The parameters of a form that was sent as `application/x-www-form-urlencoded`."""
        return Parameters(self.body.decode())


class Opening(_Head):
    """The request that a WebSocket begins with, in `on_websocket_connect`, which may refuse it."""

    __slots__ = ("_lent",)

    def __init__(self, head: bytes, ends: Tuple[int, int, int, int], flags: int, lent: int) -> None:
        super().__init__(head, ends, flags)
        self._lent = ffi.cast("wh_opening *", lent)

    def refuse(self, status: int = 403, body: str = "") -> None:
        """Answers with this HTTP status instead of a WebSocket."""
        said = body.encode()
        check(lib.wh_opening_refuse(self._lent, status, said, len(said)))

    def accept_subprotocol(self, name: str) -> None:
        """Chooses one of the subprotocols that the client speaks."""
        said = name.encode()
        check(lib.wh_opening_subprotocol(self._lent, said, len(said)))

    def add_header(self, name: str, value: str) -> None:
        """Adds a field to the answer, a cookie for example."""
        from .response import checked_name, checked_value

        field, said = checked_name(name), checked_value(name, value)
        check(lib.wh_opening_add_header(self._lent, field, len(field), said, len(said)))
