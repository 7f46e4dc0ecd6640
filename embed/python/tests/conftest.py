"""Programs that run, and clients of theirs. Nothing is waited for by the clock: conditions have deadlines."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional

import pytest
from websockets.sync.client import ClientConnection, connect

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
DEADLINE = 30.0


def until(condition: Callable[[], Any], what: str) -> Any:
    """The first true value of `condition`."""
    end = time.monotonic() + DEADLINE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"in {DEADLINE} s it did not come to this: {what}")
        time.sleep(0.01)


_taken: List[int] = []


def free_port() -> int:
    """A port that nobody has, and that the kernel gives to no client meanwhile."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        # Ports that clients are given are above 32768; a listener there could be taken before it is opened.
        port = 20000 + port % 12000
        if port in _taken:
            continue
        _taken.append(port)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


class Lines:
    """A client of `text://`."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self.file = self.socket.makefile("rb")

    def say(self, line: bytes) -> None:
        self.socket.sendall(line + b"\n")

    def hear(self) -> bytes:
        """The next line without its end; b"" if the server has closed."""
        return self.file.readline().rstrip(b"\n")

    def ask(self, line: bytes) -> bytes:
        self.say(line)
        return self.hear()

    def close(self) -> None:
        self.file.close()
        self.socket.close()


class Program:
    """A program of workhive with files of its own."""

    def __init__(self, path: Path, folder: Path, env: Dict[str, str]) -> None:
        self.path = path
        self.pid_file = folder / f"{path.stem}.pid"
        self.log_file = folder / f"{path.stem}.log"
        self.env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **env}
        self.foreground: Optional[subprocess.Popen[str]] = None
        self.port = int(env.get("PORT", 0))
        self.clients: List[Any] = []

    def command(self, *words: str) -> List[str]:
        return [sys.executable, str(self.path), *words, "--pid-file", str(self.pid_file)]

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Runs a verb to its end."""
        command = self.command(*words)
        return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=2 * DEADLINE)

    def start(self, *options: str) -> Program:
        """Starts it as a daemon: it is ready then."""
        # A daemon keeps what it inherits open, so its output goes to files.
        with open(f"{self.log_file}.out", "w+") as out:
            command = self.command("start", "-d", "--log-file", str(self.log_file), *options)
            code = subprocess.run(command, env=self.env, stdout=out, stderr=out, timeout=2 * DEADLINE).returncode
            out.seek(0)
            assert code == 0, f"start -d ended with {code}:\n{out.read()}\n{self.log}"
        return self

    def start_here(self, *options: str) -> Program:
        """Starts it in the foreground, with its output in the log file."""
        with open(self.log_file, "a") as log:
            self.foreground = subprocess.Popen(
                self.command("start", *options), env=self.env, stdout=log, stderr=log, text=True
            )
        until(lambda: self.ready() or self.foreground.poll() is not None, "the program is ready")
        assert self.foreground.poll() is None, f"the program has ended:\n{self.log}"
        return self

    def slots(self) -> List[Dict[str, Any]]:
        """The processes of workers, as the status has them; none if it does not run."""
        state = self.run("status", "--json")
        if state.returncode != 0:
            return []
        status, _ = json.JSONDecoder().raw_decode(state.stdout[state.stdout.index("{") :])
        return [slot for slot in status["workers"] if slot["group"] != "router"]

    def ready(self) -> bool:
        slots = self.slots()
        return bool(slots) and all(slot["state"] == "ready" for slot in slots)

    def stop(self) -> None:
        for client in self.clients:
            client.close()
        self.run("stop", "-g")
        if self.foreground and self.foreground.poll() is None:
            self.foreground.send_signal(signal.SIGKILL)
            self.foreground.wait()

    @property
    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def logged(self, *words: str) -> str:
        """The log, once it has all these words in it."""
        until(lambda: all(word in self.log for word in words), f"the log has {words}:\n{self.log}")
        return self.log

    # -- clients -------------------------------------------------------------------------------------------------

    def websocket(self, port: int = 0, path: str = "/", **options: Any) -> ClientConnection:
        client = connect(f"ws://127.0.0.1:{port or self.port}{path}", open_timeout=DEADLINE, max_size=None, **options)
        self.clients.append(client)
        return client

    def lines(self, port: int = 0) -> Lines:
        client = Lines(port or self.port)
        self.clients.append(client)
        return client

    def get(
        self, path: str = "/", method: str = "GET", body: Any = None, headers: Any = None, port: int = 0
    ) -> "Answer":
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=DEADLINE)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()


class Answer:
    """What HTTP has answered."""

    def __init__(self, status: int, headers: Dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Makes a program of source text, whose workers listen at `PORT` and `SECOND`, or of an example."""
    made: List[Program] = []

    def make(source: str = "", example: str = "", **env: str) -> Program:
        if example:
            path = EXAMPLES / f"{example}.py"
        else:
            path = tmp_path / f"program{len(made)}.py"
            path.write_text(PREAMBLE + textwrap.dedent(source))
        ports = {"PORT": str(free_port()), "SECOND": str(free_port())}
        program = Program(path, tmp_path, {**ports, **env})
        made.append(program)
        return program

    yield make
    for one in made:
        one.stop()


PREAMBLE = """\
import asyncio, atexit, json, logging, os, signal, subprocess, sys, threading, time
import workhive
from workhive import *
PORT, SECOND = (f"127.0.0.1:{os.environ[name]}" for name in ("PORT", "SECOND"))
"""
