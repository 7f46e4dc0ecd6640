"""The examples do what they say."""

import json

from conftest import free_port


def test_push_reaches_a_user_on_any_of_four_processes(program):
    ws, text = free_port(), free_port()
    server = program(example="push", PUSH_WS=f"127.0.0.1:{ws}", PUSH_TEXT=f"127.0.0.1:{text}").start()
    clients = {}
    for number in range(12):
        client = server.websocket(ws)
        client.send(f"uid{number}")
        clients[number] = client
    pushers = [server.lines(text) for _ in range(4)]
    for number, client in clients.items():
        line = json.dumps({"uid": f"uid{number}", "percent": "88%"})
        assert pushers[number % 4].ask(line.encode()) == b"ok"
        assert client.recv() == line
    assert pushers[0].ask(b'{"uid":"nobody"}') == b"fail"


def test_hello_says_hello(program):
    port = free_port()
    server = program(example="hello", HELLO=f"127.0.0.1:{port}").start()
    assert server.get(port=port).body == b"Hello, World!"
    about = json.loads(server.get("/about", port=port, headers={"User-Agent": "test"}).body)
    assert about["method"] == "GET" and about["agent"] == "test" and about["process"] in (0, 1)
    assert server.get("/no", port=port).status == 404


def test_chat_tells_everybody_in_the_room_and_one_alone(program):
    page, ws = free_port(), free_port()
    server = program(example="chat", CHAT_PAGE=f"127.0.0.1:{page}", CHAT_WS=f"127.0.0.1:{ws}").start()
    assert f"${{location.hostname}}:{ws}".encode() in server.get(port=page).body

    def enter(name):
        client = server.websocket(ws)
        client.send(json.dumps({"name": name, "room": "lobby"}))
        while "slot" not in (said := json.loads(client.recv())):
            assert "online" in said["line"]
        assert name in said["here"]
        return client

    def hear(client):
        """The next line that is not about who comes and goes."""
        while "says" not in (line := json.loads(client.recv())["line"]) and "not there" not in line:
            pass
        return line

    ann, bob = enter("ann"), enter("bob")
    ann.send('{"say":"hello"}')
    assert hear(bob) == hear(ann) == "ann says: hello"
    bob.send('{"to":"ann","say":"psst"}')
    assert hear(ann) == "bob says to you alone: psst"
    bob.send('{"to":"cid","say":"psst"}')
    assert hear(bob) == "cid is not there"
