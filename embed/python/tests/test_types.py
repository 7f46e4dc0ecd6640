"""Type checkers know the package (PEP 561)."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import workhive

RIGHT = """
import asyncio
from typing import Any
from workhive import Connection, Hive, Opening, Outcome, Request, Response, Timer, Worker, place, run, send_to_uid

worker = Worker("websocket://127.0.0.1:1", count=2, drain=1.5)
site = Worker("http://127.0.0.1:1")

@worker.on_message
async def on_message(connection: Connection, message: str) -> None:
    if await connection.bind_uid(message):
        outcome: Outcome = await send_to_uid("u", b"x", exclude=[connection])
        connection.send(f"{outcome.delivered} {place().slot}")
    timer: Timer = Timer.every(1, connection.send, "tick")
    timer.cancel()

@worker.on_websocket_connect
def on_websocket_connect(connection: Connection, opening: Opening) -> None:
    opening.refuse(401)

@site.on_message
def answer(connection: Connection, request: Request) -> Any:
    with connection.stream(headers={"a": "b"}) as stream:
        stream.write(request.headers["x"])
    return Response(request.query.get("q") or "", headers=[("a", "b")])

hive = Hive(worker)
code = hive.start()
if code is None:
    asyncio.run(hive.serve())
run(worker, asyncio=True)
"""

WRONG = {
    'Worker("text://x", count="two")': 'Argument "count" to "Worker"',
    "send_to_uid(7, 'x')": 'Argument 1 to "send_to_uid"',
    "Response({})": 'Argument 1 to "Response"',
    "place().slots": '"Place" has no attribute "slots"',
}


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")
def test_right_programs_pass_and_wrong_ones_do_not(tmp_path):
    package = Path(workhive.__file__).parent
    assert (package / "py.typed").is_file()

    def check(source):
        (tmp_path / "program.py").write_text(source)
        words = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "program.py"]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True).stdout

    assert check(RIGHT).startswith("Success"), check(RIGHT)
    found = check("from workhive import *\n" + "\n".join(WRONG))
    for words in WRONG.values():
        assert words in found, found
