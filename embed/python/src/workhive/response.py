"""What is answered by HTTP."""

from __future__ import annotations

import functools
import json
import re
from typing import Any, Iterable, Mapping, Optional, Tuple, Union

__all__ = ["Response"]

HeaderFields = Union[Mapping[str, str], Iterable[Tuple[str, str]]]
Body = Union[str, bytes, bytearray, memoryview]

TEXT = "text/plain; charset=utf-8"
TEXT_LINE = f"Content-Type: {TEXT}\n".encode()
BYTES_LINE = b"Content-Type: application/octet-stream\n"
JSON_LINE = b"Content-Type: application/json\n"

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BREAKS_OUT = re.compile("[\r\n\0]")


def checked_name(name: str) -> bytes:
    """The name of a field as bytes. ValueError if it is none: whoever could put a line end there could write fields, or
    whole answers, of his own."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a header: letters, digits and !#$%&'*+-.^_`|~ are")
    return name.encode()


def checked_value(name: str, value: str) -> bytes:
    """The value of a field as bytes. ValueError for CR, LF and NUL, for the same reason."""
    if _BREAKS_OUT.search(value):
        raise ValueError(f"the value of header {name} has a line end or NUL in it: {value!r}")
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"the value of header {name} is not Latin-1, which headers are in: {value!r}") from None


def lines_of(headers: Optional[HeaderFields]) -> bytes:
    """Fields as lines."""
    if not headers:
        return b""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return b"".join([line_of(name, value) for name, value in pairs])


@functools.lru_cache(maxsize=256)
def line_of(name: str, value: str) -> bytes:
    """One field. Most programs send the same few again and again."""
    return checked_name(name) + b": " + checked_value(name, value) + b"\n"


class Response:
    """An answer: a body, a status, and headers. Content-Length, Date and Connection are added on the way.

    A text is sent as `text/plain`, bytes as `application/octet-stream`, unless the headers say otherwise. One that is
    made beforehand can be sent any number of times.

    >>> Response("not here", 404).status
    404
    >>> Response("", headers={"Location": "/ \\r\\nSet-Cookie: a=b"})
    Traceback (most recent call last):
        ...
    ValueError: the value of header Location has a line end or NUL in it: '/ \\r\\nSet-Cookie: a=b'
    """

    __slots__ = ("body", "lines", "status")

    def __init__(self, body: Body = b"", status: int = 200, headers: Optional[HeaderFields] = None) -> None:
        self.status = status
        #: The headers as they are sent, one a line.
        self.lines = lines_of(headers)
        #: The body as bytes.
        self.body: Union[bytes, bytearray, memoryview]
        if isinstance(body, str):
            self.body = body.encode()
            kind = TEXT_LINE
        elif isinstance(body, (bytes, bytearray, memoryview)):
            self.body = body
            kind = BYTES_LINE
        else:
            raise TypeError(
                f"the body of a response is str or bytes, not {type(body).__name__}; Response.json takes the rest"
            )
        if body and (not self.lines or b"content-type:" not in self.lines.lower()):
            self.lines = kind + self.lines

    @classmethod
    def html(cls, text: str, status: int = 200, headers: Optional[HeaderFields] = None) -> Response:
        """A page."""
        return cls._of_kind(b"Content-Type: text/html; charset=utf-8\n", text.encode(), status, headers)

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: Optional[HeaderFields] = None) -> Response:
        """Anything that `json.dumps` takes."""
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return cls._of_kind(JSON_LINE, text.encode(), status, headers)

    @classmethod
    def redirect(cls, location: str, status: int = 302) -> Response:
        """Sends the client to another place."""
        return cls(b"", status, {"Location": location})

    @classmethod
    def _of_kind(cls, line: bytes, body: bytes, status: int, headers: Optional[HeaderFields]) -> Response:
        response = cls(b"", status, headers)
        response.body = body
        response.lines = line + response.lines
        return response

    def __repr__(self) -> str:
        return f"<Response {self.status}, {len(self.body)} bytes>"
