"""The library: found, loaded, and of the version that this package was built for."""

from __future__ import annotations

import ctypes
import os
import re
from typing import Any

from .errors import Error, error_class

_named = os.environ.get("WORKHIVE_LIBRARY")
if _named:
    # The compiled module asks for the library by its SONAME, and the dynamic linker does not look for one that is
    # loaded already.
    ctypes.CDLL(_named)

from ._native import ffi, lib  # noqa: E402  (the library has to be there first)

_OPTION = re.compile(r"\bWH_(?!ERR_)([A-Z_]+)\b")

__all__ = ["ffi", "lib", "check", "error_of", "text_of", "unpack", "view_of"]

OK: int = lib.WH_OK
PENDING: int = lib.WH_PENDING
FAILED: int = lib.WH_ERR_CALLBACK
NULL: Any = ffi.NULL

unpack = ffi.unpack

if lib.wh_abi_version() != lib.WH_ABI_VERSION:
    raise ImportError(
        f"the library {_named or 'in the package'} has version {lib.wh_abi_version()} of the C interface, and this "
        f"package was built for version {lib.WH_ABI_VERSION}: take a library and a package of the same release"
    )


def error_of(code: int) -> Error:
    """The exception for a result code of the call that has just returned."""
    length = ffi.new("size_t *")
    text = ffi.string(lib.wh_last_error(length)).decode("utf-8", "replace")
    name = ffi.string(lib.wh_result_name(code)).decode()
    # Options have their Python names here.
    return error_class(name)(_OPTION.sub(lambda found: found[1].lower(), text) or name, code, name)


def callable_of(what: str, function: Any) -> None:
    """TypeError unless `function` can be called, so that the mistake is told where it was made."""
    if not callable(function):
        raise TypeError(f"{what} takes a function, not {function!r}")


def check(code: int) -> None:
    """Raises unless a call has succeeded."""
    if code != OK:
        raise error_of(code)


def text_of(lent: Any) -> str:
    """A lent `wh_bytes` as text. Bytes that are not UTF-8 survive the way back, as they do in names of files."""
    return bytes_of(lent).decode("utf-8", "surrogateescape")


def bytes_of(lent: Any) -> bytes:
    """A lent `wh_bytes`, copied."""
    return bytes(ffi.buffer(lent.data, lent.len)) if lent.len else b""


def view_of(data: Any) -> Any:
    """Bytes, or what is laid out like them (memoryview, bytearray, array), as the library takes them: not copied."""
    return data if type(data) is bytes else ffi.from_buffer(data)
