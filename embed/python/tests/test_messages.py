"""What is sent and received, and as what."""

import pytest

ECHO = """
worker = Worker(f"websocket://{PORT}", name="echo")

@worker.on_message
def on_message(connection, message):
    connection.send(message)

run(worker)
"""


def test_text_is_str_and_binary_data_are_bytes(program):
    server = program("""
        worker = Worker(f"websocket://{PORT}")

        @worker.on_message
        def on_message(connection, message):
            connection.send(type(message).__name__)
            connection.send(message)

        run(worker)
    """).start()
    client = server.websocket()
    client.send("grüße")
    assert (client.recv(), client.recv()) == ("str", "grüße")
    client.send(b"\x00\xff")
    assert (client.recv(), client.recv()) == ("bytes", b"\x00\xff")
    client.send("")
    assert (client.recv(), client.recv()) == ("str", "")


def test_a_message_of_16_mib_is_echoed(program):
    server = program(ECHO.replace('name="echo"', "max_message=17 << 20")).start()
    client = server.websocket()
    message = bytes(range(256)) * (16 << 12)
    client.send(message)
    assert client.recv() == message


def test_views_and_bytearrays_are_sent_as_they_are(program):
    server = program("""
        worker = Worker(f"websocket://{PORT}")

        @worker.on_message
        def on_message(connection, message):
            connection.send(memoryview(message)[1:3])
            connection.send(bytearray(message))
            try:
                connection.send(memoryview(message)[::2])
            except BufferError:
                connection.send("contiguous, please")
            try:
                connection.send(7)
            except TypeError:
                connection.send("no number, please")

        run(worker)
    """).start()
    client = server.websocket()
    client.send(b"abcd")
    said = [client.recv() for _ in range(4)]
    assert said == [b"bc", b"abcd", "contiguous, please", "no number, please"]


def test_lines_are_str_whatever_bytes_are_in_them(program):
    server = program("""
        worker = Worker(f"text://{PORT}")

        @worker.on_message
        def on_message(connection, line):
            assert type(line) is str
            connection.send(line)

        run(worker)
    """).start()
    client = server.lines()
    assert client.ask("grüße".encode()) == "grüße".encode()
    assert client.ask(b"\xff\xfe broken \xc3") == b"\xff\xfe broken \xc3"


def test_frames_and_streams_are_bytes(program):
    server = program("""
        frame, tcp = Worker(f"frame://{PORT}"), Worker(f"tcp://{SECOND}")

        def on_message(connection, data):
            assert type(data) is bytes
            connection.send(data.upper())

        frame.on_message(on_message)
        tcp.on_message(on_message)
        run(frame, tcp)
    """).start()
    frame = server.lines()
    frame.socket.sendall(b"\x00\x00\x00\x07abc")
    assert frame.file.read(7) == b"\x00\x00\x00\x07ABC"
    tcp = server.lines(int(server.env["SECOND"]))
    tcp.socket.sendall(b"abc")
    assert tcp.file.read(3) == b"ABC"


def test_a_lone_surrogate_is_refused_before_anything_is_sent(program):
    server = program("""
        worker = Worker(f"websocket://{PORT}")

        @worker.on_message
        def on_message(connection, message):
            try:
                connection.send("\\ud800")
            except UnicodeEncodeError:
                connection.send("refused")

        run(worker)
    """).start()
    client = server.websocket()
    client.send("x")
    assert client.recv() == "refused"


def test_a_peer_that_reads_nothing_is_told_of_once_and_heard_of_when_it_has_read(program):
    server = program("""
        worker = Worker(f"websocket://{PORT}", max_send_buffer=100_000)

        @worker.on_message
        async def on_message(connection, message):
            taken = 0
            while True:
                try:
                    connection.send("x" * 50_000)
                    taken += 1
                except BufferFull:
                    break
            await connection.drained()
            connection.send(f"drained after {taken}")

        run(worker)
    """).start()
    client = server.websocket()
    client.send("go")
    heard = []
    while not heard or not heard[-1].startswith("drained"):
        heard.append(client.recv())
    assert heard[-1] == f"drained after {len(heard) - 1}"


def test_a_connection_that_has_ended_raises_and_reaches_nobody_else(program):
    server = program("""
        worker = Worker(f"text://{PORT}")
        kept = []

        @worker.on_message
        def on_message(connection, line):
            if line == "keep":
                kept.append(connection)
                connection.send("kept")
            else:
                try:
                    kept[0].send("hello")
                except ConnectionGone as error:
                    first = kept[0]
                    connection.send(f"gone, {first.is_open}, {error.connection is first}, {first.close_info.reason}")

        run(worker)
    """).start()
    first = server.lines()
    assert first.ask(b"keep") == b"kept"
    first.close()
    second = server.lines()
    assert second.ask(b"use") == b"gone, False, True, peer"


def test_attributes_of_the_application_stay_with_a_connection(program):
    server = program("""
        worker = Worker(f"text://{PORT}")

        @worker.on_connect
        def on_connect(connection):
            connection.count = 0

        @worker.on_message
        def on_message(connection, line):
            connection.count += 1
            connection.data = (connection.data or "") + line
            connection.send(f"{connection.count} {connection.data}")

        run(worker)
    """).start()
    one, two = server.lines(), server.lines()
    assert one.ask(b"a") == b"1 a"
    assert two.ask(b"b") == b"1 b"
    assert one.ask(b"c") == b"2 ac"


def test_close_codes_come_and_go(program):
    server = program("""
        worker = Worker(f"websocket://{PORT}")

        @worker.on_message
        def on_message(connection, message):
            connection.close(4000, "enough")

        @worker.on_close
        def on_close(connection):
            logging.warning("closed: %s", tuple(connection.close_info[:3]))

        run(worker)
    """).start()
    client = server.websocket()
    client.send("x")
    with pytest.raises(Exception) as closed:
        client.recv()
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4000, "enough")
    other = server.websocket()
    other.close(4321, "bye")
    server.logged("closed: ('peer', 4321, 'bye')")


def test_a_protocol_of_ones_own_takes_and_gives_objects(program):
    server = program("""
        @protocol("jsonlines")
        class JsonLines(Protocol):
            def input(self, data):
                return data.find(b"\\n") + 1

            def decode(self, package):
                return json.loads(package)

            def encode(self, message):
                return message if isinstance(message, bytes) else json.dumps(message).encode() + b"\\n"

        worker = Worker(f"jsonlines://{PORT}")

        @worker.on_message
        def on_message(connection, message):
            message["seen"] = True
            connection.send(message)

        run(worker)
    """).start()
    client = server.lines()
    client.socket.sendall(b'{"a"')
    client.socket.sendall(b": 1}\n")
    assert client.hear() == b'{"a": 1, "seen": true}'
    client.say(b"no json")
    assert client.hear() == b""  # closed
    assert "JSONDecodeError" in server.logged("JSONDecodeError")
    assert server.lines().ask(b"{}") == b'{"seen": true}'


def test_what_encode_raises_is_raised_by_send(program):
    server = program("""
        @protocol("short")
        class Short(Protocol):
            def input(self, data):
                return data[0] + 1

            def decode(self, package):
                return package[1:]

            def encode(self, message):
                return bytes([len(message)]) + message

        worker = Worker(f"short://{PORT}")

        @worker.on_message
        def on_message(connection, message):
            try:
                connection.send(message * 100)
            except ValueError as error:
                connection.send(str(error).encode())

        run(worker)
    """).start()
    client = server.lines()
    client.socket.sendall(b"\x05hello")
    said = b"bytes must be in range(0, 256)"
    assert client.file.read(1 + len(said)) == bytes([len(said)]) + said
    client.socket.sendall(b"\x01x")
    assert client.file.read(101) == b"\x64" + b"x" * 100


def test_a_websocket_can_be_refused_and_told_things(program):
    server = program("""
        worker = Worker(f"websocket://{PORT}")

        @worker.on_websocket_connect
        def on_websocket_connect(connection, opening):
            if opening.query.get("token") != "secret":
                opening.refuse(401, "no token")
                return
            connection.data = opening.headers["HOST"]
            opening.add_header("X-Seen", opening.path)
            opening.accept_subprotocol("chat")

        @worker.on_websocket_connected
        def on_websocket_connected(connection):
            connection.send(connection.data)

        run(worker)
    """).start()
    with pytest.raises(Exception) as refused:
        server.websocket()
    assert refused.value.response.status_code == 401
    client = server.websocket(path="/in?token=secret", subprotocols=["chat"])
    assert client.response.headers["X-Seen"] == "/in"
    assert client.subprotocol == "chat"
    assert client.recv() == f"127.0.0.1:{server.port}"


def test_a_paused_connection_waits_and_a_pipe_carries_on(program):
    server = program("""
        worker = Worker(f"text://{PORT}")

        @worker.on_message
        def on_message(connection, line):
            if line == "pause":
                connection.pause()
                connection.send("paused")
                Timer.after(0.05, lambda: (connection.send("resumed"), connection.resume()))
            else:
                connection.send(line)

        run(worker)
    """).start()
    client = server.lines()
    client.socket.sendall(b"pause\nlater\n")
    assert [client.hear() for _ in range(3)] == [b"paused", b"resumed", b"later"]
