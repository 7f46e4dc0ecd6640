"""What pyproject.toml cannot say: the compiled module, the library beside it, and one wheel for every Python from 3.9
on."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).resolve().parent
PACKAGE = HERE / "src" / "workhive"


def soname(library: Path) -> str:
    """The name by which programs ask for the library, which its file has to bear in the package."""
    dynamic = subprocess.run(["objdump", "-p", library], check=True, capture_output=True, text=True).stdout
    for line in dynamic.splitlines():
        words = line.split()
        if words[:1] == ["SONAME"]:
            return words[1]
    return "libworkhive.so"


def bring_library() -> None:
    """Puts the library that WORKHIVE_LIBRARY names into the package, where the linker and the wheel find it."""
    named = os.environ.get("WORKHIVE_LIBRARY")
    linked = PACKAGE / "libworkhive.so"
    if not named:
        if not linked.exists():
            raise SystemExit("WORKHIVE_LIBRARY has to name libworkhive.so; ./build does that")
        return
    for old in PACKAGE.glob("libworkhive.so*"):
        old.unlink()
    packed = PACKAGE / soname(Path(named))
    shutil.copyfile(named, packed)
    if packed != linked:
        linked.symlink_to(packed.name)


bring_library()
packed = [path.name for path in PACKAGE.glob("libworkhive.so*") if not path.is_symlink()]
setup(
    cffi_modules=["native/module.py:ffibuilder"],
    package_data={"workhive": ["py.typed", *packed]},
    options={"bdist_wheel": {"py_limited_api": "cp39"}},
)
