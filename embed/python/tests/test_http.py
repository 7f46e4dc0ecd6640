"""HTTP as programs meet it."""

import http.client
import json

import pytest

from workhive import Headers, Response
from workhive.request import Request


def test_what_a_handler_returns_is_the_answer(program):
    server = program("""
        worker = Worker(f"http://{PORT}")

        @worker.on_message
        def on_message(connection, request):
            if request.path == "/str":
                return "grüße"
            if request.path == "/bytes":
                return b"\\x00\\xff"
            if request.path == "/dict":
                return {"grüße": [1, None]}
            if request.path == "/list":
                return [1, 2]
            if request.path == "/html":
                return Response.html("<p>ü", 201, {"X-One": "1"})
            if request.path == "/redirect":
                return Response.redirect("/str")
            if request.path == "/later":
                Timer.after(0.01, connection.send, "later")

        run(worker)
    """).start()
    text = server.get("/str")
    assert (text.status, text.body.decode(), text.headers["content-type"]) == (
        200,
        "grüße",
        "text/plain; charset=utf-8",
    )
    data = server.get("/bytes")
    assert (data.body, data.headers["content-type"]) == (b"\x00\xff", "application/octet-stream")
    value = server.get("/dict")
    assert (json.loads(value.body), value.headers["content-type"]) == ({"grüße": [1, None]}, "application/json")
    assert server.get("/list").body == b"[1,2]"
    page = server.get("/html")
    assert (page.status, page.headers["x-one"], page.headers["content-type"]) == (201, "1", "text/html; charset=utf-8")
    assert (server.get("/redirect").status, server.get("/redirect").headers["location"]) == (302, "/str")
    assert server.get("/later").body == b"later"


def test_everything_of_a_request_can_be_read_later_too(program):
    server = program("""
        worker = Worker(f"http://{PORT}")

        @worker.on_message
        async def on_message(connection, request):
            await asyncio.sleep(0.001)
            return {
                "method": request.method, "target": request.target, "path": request.path,
                "query_string": request.query_string, "a": request.query.get_all("a"), "b": request.query.get("b"),
                "x-case": request.headers["x-CASE"], "all": request.headers.get_all("X-Case"),
                "version": request.http_version, "keep": request.keep_alive, "body": request.form()["c"],
            }

        run(worker)
    """).start()
    client = server.lines()
    client.socket.sendall(
        b"POST /p%20q?a=1&a=%C3%BC&b= HTTP/1.1\r\nHost: x\r\nX-Case: one\r\nx-case:  two \r\n"
        b"Content-Length: 5\r\n\r\nc=d+e"
    )
    head = []
    while line := client.file.readline().strip():
        head.append(line.lower())
    length = next(int(line.split(b":")[1]) for line in head if line.startswith(b"content-length"))
    assert json.loads(client.file.read(length)) == {
        "method": "POST", "target": "/p%20q?a=1&a=%C3%BC&b=", "path": "/p%20q", "query_string": "a=1&a=%C3%BC&b=",
        "a": ["1", "ü"], "b": "", "x-case": "one, two", "all": ["one", "two"], "version": "1.1", "keep": True,
        "body": "d e",
    }  # fmt: skip


def test_an_answer_can_come_in_pieces(program):
    server = program("""
        worker = Worker(f"http://{PORT}")

        @worker.on_message
        async def on_message(connection, request):
            async with connection.stream(201, {"Content-Type": "text/csv"}) as stream:
                for number in range(3):
                    stream.write(f"{number}\\n")
                    await asyncio.sleep(0.001)
                if request.path == "/broken":
                    raise RuntimeError("in the middle")

        run(worker)
    """).start()
    whole = server.get()
    assert (whole.status, whole.body, whole.headers["transfer-encoding"]) == (201, b"0\n1\n2\n", "chunked")
    with pytest.raises(http.client.IncompleteRead):
        server.get("/broken")
    server.logged("RuntimeError: in the middle")


def test_pipelined_requests_are_answered_in_order_by_coroutines(program):
    server = program("""
        worker = Worker(f"http://{PORT}")

        @worker.on_message
        async def on_message(connection, request):
            await asyncio.sleep(0.02 if request.path == "/slow" else 0)
            return request.path

        run(worker)
    """).start()
    client = server.lines()
    client.socket.sendall(
        b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\nGET /fast HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    said = client.file.read()
    assert said.index(b"/slow") < said.index(b"/fast")


def test_a_failed_handler_is_answered_with_500_and_the_next_request_is_served(program):
    server = program("""
        worker = Worker(f"http://{PORT}")

        @worker.on_message
        def on_message(connection, request):
            return {"/": "fine"}[request.path]

        run(worker)
    """).start()
    assert server.get("/no").status == 500
    assert server.get("/").body == b"fine"
    server.logged("KeyError: '/no'", "Traceback (most recent call last)")


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\rb", "a\0b", "snow ☃"])
def test_a_header_value_that_could_break_out_is_refused(value):
    with pytest.raises(ValueError, match="header X-Name"):
        Response("", headers={"X-Name": value})
    with pytest.raises(ValueError, match="header X-Name"):
        Response.json({}, headers=[("X-Name", value)])


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "a\0", "ü"])
def test_a_header_name_that_is_none_is_refused(name):
    with pytest.raises(ValueError, match="name of a header"):
        Response("", headers={name: "x"})


def test_the_type_of_a_body_is_said_once():
    assert Response("x").lines == b"Content-Type: text/plain; charset=utf-8\n"
    assert Response("x", headers={"content-type": "text/css"}).lines == b"content-type: text/css\n"
    assert Response().lines == b""
    with pytest.raises(TypeError, match=r"Response\.json"):
        Response({"a": 1})


def test_headers_are_a_mapping_that_ignores_case():
    headers = Headers(b"Host: a\nX-One: 1\nx-one: 2\n")
    assert (headers["HOST"], headers["x-One"], headers.get("no"), len(headers)) == ("a", "1, 2", None, 2)
    assert "host" in headers and list(headers) == ["host", "x-one"]
    request = Request(b"GET/a/aHost: b", (3, 5, 7, -1), 11, b"")
    assert (request.method, request.target, request.path, request.query_string, request.headers["host"]) == (
        "GET", "/a", "/a", None, "b",
    )  # fmt: skip
