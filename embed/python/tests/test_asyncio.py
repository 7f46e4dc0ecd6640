"""Coroutines, and asyncio around our loop."""

import json
import os
import signal

import pytest
from conftest import until


def test_tasks_of_the_program_run_beside_connections(program):
    server = program("""
        worker = Worker(f"text://{PORT}", count=4)
        ticks = 0

        async def tick():
            global ticks
            while True:
                await asyncio.sleep(0.005)
                ticks += 1

        @worker.on_worker_start
        async def start(worker):
            worker.task = asyncio.create_task(tick())
            # An ordinary server of asyncio, in the same loop.
            if place().slot == 0:
                async def serve(reader, writer):
                    writer.write(b"asyncio: " + await reader.readline())
                    await writer.drain()
                    writer.close()
                worker.server = await asyncio.start_server(serve, *SECOND.split(":"))

        @worker.on_message
        async def on_message(connection, line):
            before = ticks
            while ticks < before + 3:
                await asyncio.sleep(0.001)
            connection.send("ticking")

        run(worker)
    """).start()
    clients = [server.lines() for _ in range(8)]
    for client in clients:
        client.say(b"x")
    assert server.lines(int(server.env["SECOND"])).ask(b"hello") == b"asyncio: hello"
    assert [client.hear() for client in clients] == [b"ticking"] * 8


def test_messages_of_one_connection_are_handled_in_order_and_others_do_not_wait(program):
    server = program("""
        worker = Worker(f"text://{PORT}")
        gate = None

        @worker.on_message
        async def on_message(connection, line):
            global gate
            if line == "wait":
                gate = asyncio.Event()
                await gate.wait()
            if line == "open":
                gate.set()
            connection.send(line)

        run(worker)
    """).start()
    slow, other = server.lines(), server.lines()
    slow.socket.sendall(b"wait\n" + b"".join(b"%d\n" % number for number in range(50)))
    assert other.ask(b"x") == b"x"
    until(lambda: other.ask(b"y") == b"y", "others are served meanwhile")
    assert other.ask(b"open") == b"open"
    assert [slow.hear() for _ in range(51)] == [b"wait"] + [b"%d" % number for number in range(50)]


def test_an_exception_in_a_coroutine_ends_its_connection_with_the_traceback(program):
    server = program("""
        worker = Worker(f"websocket://{PORT}")

        async def deep():
            await asyncio.sleep(0.001)
            raise LookupError("in a coroutine")

        @worker.on_message
        async def on_message(connection, message):
            if message == "fail":
                await deep()
            connection.send(message)

        @worker.on_close
        async def on_close(connection):
            await asyncio.sleep(0.001)
            logging.error("closed by %s", connection.close_info.reason)

        run(worker)
    """).start()
    other, client = server.websocket(), server.websocket()
    client.send("fail")
    client.send("never handled")
    with pytest.raises(Exception) as closed:
        client.recv()
    assert closed.value.rcvd.code == 1011
    other.send("x")
    assert other.recv() == "x"
    log = server.logged("LookupError: in a coroutine", "closed by error")
    assert "in deep" in log and "in on_message" in log


def test_a_process_is_ready_when_its_coroutine_has_returned(program):
    server = program("""
        worker = Worker(f"text://{PORT}")
        state = "no"

        @worker.on_worker_start
        async def start(worker):
            global state
            await asyncio.sleep(0.1)
            state = "yes"

        worker.on_message(lambda connection, line: connection.send(state))
        run(worker)
    """).start()
    assert server.lines().ask(b"ready?") == b"yes"


def test_a_coroutine_that_cannot_start_a_process_says_why(program):
    done = program("""
        worker = Worker(f"text://{PORT}")

        @worker.on_worker_start
        async def start(worker):
            await asyncio.sleep(0.001)
            raise RuntimeError("no database yet")

        run(worker)
    """).run("start")
    assert done.returncode == 1
    assert "attempts: RuntimeError: no database yet" in done.stderr
    assert "Traceback" in done.stderr


def test_a_client_that_has_said_all_still_gets_its_answer(program):
    server = program("""
        worker = Worker(f"text://{PORT}")

        @worker.on_message
        async def on_message(connection, line):
            await asyncio.sleep(0.05)
            connection.send("answer")

        run(worker)
    """).start()
    client = server.lines()
    client.say(b"x")
    client.socket.shutdown(1)
    assert client.hear() == b"answer"


def test_a_stop_waits_for_coroutines_and_for_on_worker_stop(program):
    server = program("""
        worker = Worker(f"text://{PORT}")

        @worker.on_message
        async def on_message(connection, line):
            connection.send("begun")
            await asyncio.sleep(0.2)
            connection.send("done")

        @worker.on_worker_stop
        async def stop(worker):
            await asyncio.sleep(0.01)
            print("stopped", flush=True)

        run(worker)
    """).start_here()
    client = server.lines()
    assert client.ask(b"x") == b"begun"
    server.foreground.send_signal(signal.SIGTERM)
    assert client.hear() == b"done"
    client.close()
    assert server.foreground.wait(30) == 0, server.log
    assert "stopped" in server.log
    assert "Task was destroyed" not in server.log and "never awaited" not in server.log


def test_outcomes_and_presence_can_be_awaited(program):
    server = program("""
        worker = Worker(f"text://{PORT}", count=2)

        @worker.on_message
        async def on_message(connection, line):
            if connection.uid is None:
                assert await connection.bind_uid(line)
                connection.send(f"bound {await is_uid_online(line)}")
                return
            outcome = await send_to_uid(line, f"from {connection.uid}")
            connection.send(f"{outcome.delivered} {bool(outcome)} {await is_uid_online(line)}")

        run(worker)
    """).start()
    ann, bob = server.lines(), server.lines()
    assert (ann.ask(b"ann"), bob.ask(b"bob")) == (b"bound True", b"bound True")
    assert ann.ask(b"bob") == b"1 True True"
    assert bob.hear() == b"from ann"
    assert ann.ask(b"cid") == b"0 False False"


def test_who_is_where_can_be_asked(program):
    server = program("""
        worker = Worker(f"text://{PORT}", count=2, max_uids=2)

        @worker.on_message
        async def on_message(connection, line):
            if line != "ask":
                connection.session = b"session of " + line.encode()
                await connection.bind_uid(line)
                await connection.bind_uid("all of " + line)
                await connection.join_room("lobby")
                connection.send(connection.id)
                return
            page = await members_of_room("lobby")
            first = await members_of_uid("ann")
            counts = await totals()
            said = {
                "room": sorted(sorted(member.uids) for member in page.members),
                "next": page.next,
                "session": (await session_of(first.members[0].id)).decode(),
                "nobody": (await members_of_uid("nobody")).members,
                "all": len((await members_of_all()).members),
                "size": (await room_size("lobby")).count,
                "online": (await online_count()).count,
                "totals": [counts.uids, counts.rooms, counts.processes, counts.partial],
                "uids": sorted((await uids()).names),
                "rooms": (await rooms()).names,
                "mine": sorted(connection.uids),
            }
            dismiss_room("lobby")
            while (await room_size("lobby")).count:
                pass
            join_connection(first.members[0].id, "other")
            while (await room_size("other")).count != 1:
                pass
            connection.send(json.dumps(said))

        run(worker)
    """).start()
    ann, bob = server.lines(), server.lines()
    ann.ask(b"ann")
    bob.ask(b"bob")
    assert json.loads(bob.ask(b"ask")) == {
        "room": [["all of ann", "ann"], ["all of bob", "bob"]],
        "next": None,
        "session": "session of ann",
        "nobody": [],
        "all": 2,
        "size": 2,
        "online": 2,
        "totals": [4, 1, 2, False],
        "uids": ["all of ann", "all of bob", "ann", "bob"],
        "rooms": ["lobby"],
        "mine": ["all of bob", "bob"],
    }


def test_without_asyncio_there_is_nothing_to_await_but_then(program):
    server = program("""
        worker = Worker(f"text://{PORT}")

        @worker.on_message
        def on_message(connection, line):
            answer = is_uid_online("x", then=lambda online: connection.send(f"online: {online}"))
            try:
                answer.__await__()
            except RuntimeError as error:
                logging.error("%s", error)

        run(worker)
    """).start()
    assert server.lines().ask(b"x") == b"online: False"
    server.logged("run(.., asyncio=True)")


def test_a_program_can_bring_its_own_main(program):
    server = program("""
        worker = Worker(f"text://{PORT}")
        worker.on_message(lambda connection, line: connection.send(str(len(asyncio.all_tasks()))))

        async def main():
            other = asyncio.create_task(asyncio.Event().wait())
            try:
                return await hive.serve()
            finally:
                other.cancel()

        hive = Hive(worker)
        code = hive.start()
        sys.exit(asyncio.run(main()) if code is None else code)
    """).start()
    assert server.lines().ask(b"x") == b"2"


def test_sys_exit_in_a_coroutine_ends_the_process_when_all_have_been_served(program):
    server = program("""
        worker = Worker(f"text://{PORT}")

        @worker.on_message
        async def on_message(connection, line):
            await asyncio.sleep(0.001)
            connection.send(str(os.getpid()))
            if line == "exit":
                sys.exit(0)

        run(worker)
    """).start()
    client = server.lines()
    pid = client.ask(b"exit")
    assert client.hear() == b""
    until(lambda: not os.path.exists(f"/proc/{int(pid)}"), "the process has ended")
    assert server.lines().ask(b"x") not in (b"", pid)


def test_timers_and_subscribers_may_be_coroutines(program):
    server = program("""
        worker = Worker(f"text://{PORT}", count=2)
        heard = []

        async def hear(message):
            await asyncio.sleep(0.001)
            heard.append(message)

        @worker.on_worker_start
        def start(worker):
            subscribe("news", hear)

        @worker.on_message
        async def on_message(connection, line):
            if line == "publish":
                publish("news", "text")
                publish("news", b"data")
            async def tell():
                while len(heard) < 2:
                    await asyncio.sleep(0.001)
                connection.send(repr(heard))
            Timer.after(0.001, tell)

        run(worker)
    """).start()
    client = server.lines()
    assert client.ask(b"publish") == b"['text', b'data']"
