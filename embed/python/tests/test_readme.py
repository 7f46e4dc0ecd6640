"""What the README says is true word for word."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import workhive

README = (Path(__file__).resolve().parent.parent / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.S | re.M)


def test_two_clients_chat_as_the_walkthrough_has_it(program, tmp_path):
    source = next(block for block in blocks("python") if "chat = Worker" in block)
    server = program("")
    server.path.write_text(source.replace("127.0.0.1:8081", f"127.0.0.1:{server.port}"))
    server.start()
    talk = next(block for block in blocks("sh") if "-m websockets" in block).split()
    assert talk[1:] == ["-m", "websockets", "ws://127.0.0.1:8081"]

    def client(name):
        words = [sys.executable, "-u", *talk[1:-1], f"ws://127.0.0.1:{server.port}"]
        started = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        server.clients.append(Terminal(started))
        say(started, name)
        hear(started, f"{name} has come")
        return started

    def say(terminal, line):
        terminal.stdin.write(line + "\n")
        terminal.stdin.flush()

    def hear(terminal, words):
        for line in terminal.stdout:
            if words in line:
                return
        raise AssertionError(f"the client has ended without {words!r}:\n{server.log}")

    ann, bob = client("ann"), client("bob")
    hear(ann, "bob has come")
    say(ann, "hello")
    hear(bob, "ann says: hello")
    say(bob, "@ann psst")
    hear(ann, "bob says to you alone: psst")
    say(ann, "@cid psst")
    hear(ann, "cid is not there")
    assert server.run("status").returncode == 0
    assert server.run("reload").returncode == 0
    assert server.run("stop").returncode == 0


class Terminal:
    """A client of the terminal, to be closed with the others."""

    def __init__(self, process):
        self.process = process

    def close(self):
        self.process.kill()
        self.process.communicate()


def test_the_site_answers_as_it_is_described(program):
    source = next(block for block in blocks("python") if "site = Worker" in block)
    server = program("")
    server.path.write_text(source.replace("127.0.0.1:8080", f"127.0.0.1:{server.port}"))
    server.start()
    assert server.get("/").body == b"<h1>Hello</h1>"
    assert server.get("/add", "POST", "[1, 2]").body == b'{"sum":3}'
    found = server.get("/find?q=what%20else", headers={"User-Agent": "me"})
    assert (found.body, found.headers["x-agent"]) == (b"what else", "me")
    assert server.get("/count").body == b"".join(b"%d\n" % number for number in range(10))
    assert server.get("/no").status == 404


@pytest.mark.parametrize("block", [block for block in blocks("python")])
def test_every_piece_of_python_is_python(block):
    compile(block, "README.md", "exec", flags=__import__("ast").PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_every_name_in_it_is_there():
    table = README[README.index("| exception | means |") : README.index("## Processes")]
    names = re.findall(r"`([A-Z]\w+)`", table)
    assert len(names) >= 8
    for name in names:
        assert name == "OSError" or name == "EADDRINUSE" or hasattr(workhive, name), name
