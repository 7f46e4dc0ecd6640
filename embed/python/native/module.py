"""Builds workhive._native, the compiled part of the package, by cffi.

What it declares is read from workhive.h itself, so the package cannot disagree with the library that it is built for.
The library is linked, not loaded by name at run time: the dynamic linker finds it beside the module.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent


def header() -> Path:
    """workhive.h: the one that WORKHIVE_HEADER names, that of an unpacked source package, or that of the project."""
    places = [HERE / "workhive.h", HERE.parent.parent / "include" / "workhive.h"]
    if named := os.environ.get("WORKHIVE_HEADER"):
        places.insert(0, Path(named))
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(f"workhive.h is none of {', '.join(map(str, places))}; name it by WORKHIVE_HEADER")


def library_folder() -> Path:
    """Where `libworkhive.so` is to link against: setup.py has put it into the package."""
    return HERE.parent / "src" / "workhive"


def declarations(text: str) -> str:
    """The header as cffi can read it: no comments, no preprocessor lines but numbers, no braces of C++."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    text = re.sub(r"//[^\n]*", " ", text)
    text = text.replace("\\\n", " ")
    text = re.sub(r"#\s*ifdef\s+__cplusplus.*?#\s*endif[^\n]*", "", text, flags=re.S)
    numbers = re.findall(r"^\s*#\s*define\s+(WH_\w+)\s+\(?(-?\d+)\)?\s*$", text, flags=re.M)
    text = re.sub(r"^\s*#[^\n]*$", "", text, flags=re.M)
    return "\n".join(f"#define {name} {number}" for name, number in numbers) + "\n" + text


def forwards(glue: str) -> str:
    """What cffi defines behind our C code and that code calls."""
    functions = re.search(r'extern "Python" \{(.*?)\n\}', glue, flags=re.S)
    assert functions, "glue.h declares what Python defines"
    return re.sub(r"^    (?=[a-z])", "static ", functions.group(1), flags=re.M)


def without_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


ffibuilder = FFI()
glue_header = without_comments((HERE / "glue.h").read_text())
ffibuilder.cdef(declarations(header().read_text()))
ffibuilder.cdef(glue_header)
ffibuilder.set_source(
    "workhive._native",
    f'#include "{header()}"\n' + forwards(glue_header) + (HERE / "glue.c").read_text(),
    libraries=["workhive"],
    library_dirs=[str(library_folder())],
    extra_compile_args=["-O2", "-g0", "-fvisibility=hidden"],
    extra_link_args=["-Wl,-rpath,$ORIGIN", "-Wl,-z,now", "-Wl,-s"],
)
