"""What goes wrong harms one connection, and can be read."""

import pytest

import workhive
from workhive import AddressInUse, InvalidValue, Worker


def test_an_exception_ends_one_connection_with_its_traceback_in_the_log(program):
    server = program("""
        worker = Worker(f"websocket://{PORT}")

        def deep():
            raise ValueError("told to fail\\nin two lines")

        @worker.on_message
        def on_message(connection, message):
            if message == "fail":
                deep()
            connection.send(message)

        run(worker)
    """).start()
    other, client = server.websocket(), server.websocket()
    client.send("fail")
    with pytest.raises(Exception) as closed:
        client.recv()
    assert closed.value.rcvd.code == 1011
    other.send("still here")
    assert other.recv() == "still here"
    log = server.logged("in two lines")
    assert "Traceback (most recent call last)" in log and "in deep" in log and "in on_message" in log
    assert "/workhive/" not in log, "frames of the package are nobody's business"


def test_an_exception_in_a_timer_is_logged_and_nothing_else_happens(program):
    server = program("""
        worker = Worker(f"text://{PORT}")

        @worker.on_message
        def on_message(connection, line):
            Timer.after(0.001, lambda: 1 / 0)
            Timer.after(0.02, connection.send, "still here")

        run(worker)
    """).start()
    assert server.lines().ask(b"x") == b"still here"
    server.logged("ZeroDivisionError")


def test_an_outcome_whose_function_fails_is_logged(program):
    server = program("""
        worker = Worker(f"text://{PORT}")

        @worker.on_message
        def on_message(connection, line):
            send_to_uid("nobody", "x", then=lambda outcome: outcome.no_such_thing)
            send_to_uid("nobody", "x", then=lambda outcome: connection.send(f"{outcome.delivered} {bool(outcome)}"))

        run(worker)
    """).start()
    assert server.lines().ask(b"x") == b"0 False"
    server.logged("AttributeError", "no_such_thing")


def test_a_second_process_is_told_who_has_the_address_and_what_to_do(program):
    server = program("""
        worker = Worker("", name="twice", count=2)

        @worker.on_worker_start
        def start(worker):
            inner = Worker(f"text://{PORT}")
            inner.on_message(lambda connection, line: connection.send("served"))
            try:
                inner.listen()
            except AddressInUse as error:
                logging.error("%d %s", error.errno, error)

        run(worker)
    """).start()
    assert server.lines().ask(b"x") == b"served"
    log = server.logged("98 Address already in use")
    assert "twice" in log and "reuse_port" in log


def test_another_thread_is_refused_but_may_post(program):
    server = program("""
        worker = Worker(f"text://{PORT}")

        @worker.on_message
        def on_message(connection, line):
            def work():
                try:
                    connection.send("from a thread")
                except WrongThread as error:
                    post(connection.send, f"posted: {type(error).__name__}")
            threading.Thread(target=work).start()

        run(worker)
    """).start()
    assert server.lines().ask(b"x") == b"posted: WrongThread"


def test_blocking_work_gives_its_result_or_its_exception(program):
    server = program("""
        worker = Worker(f"text://{PORT}")

        @worker.on_message
        async def on_message(connection, line):
            def work(number):
                assert threading.current_thread() is not threading.main_thread()
                return 10 // number
            blocking(work, 2, then=lambda result: connection.send(f"then {result}"))
            connection.send(f"await {await blocking(work, 5)}")
            try:
                await blocking(work, 0)
            except ZeroDivisionError as error:
                connection.send(str(error))

        run(worker)
    """).start()
    client = server.lines()
    client.say(b"x")
    said = {client.hear() for _ in range(3)}
    assert said == {b"then 5", b"await 2", b"integer division or modulo by zero"}


def test_what_makes_no_sense_is_refused_where_it_is_written():
    with pytest.raises(InvalidValue):
        Worker("nonsense://127.0.0.1:1")
    with pytest.raises(InvalidValue):
        Worker("text://no port")
    with pytest.raises(InvalidValue, match=r"max_message is no option of tcp"):
        Worker("tcp://127.0.0.1:1", max_message=1)
    with pytest.raises(TypeError, match="count is a number"):
        Worker("text://127.0.0.1:1", count="four")
    with pytest.raises(ValueError, match="whole number"):
        Worker("text://127.0.0.1:1", count=1.5)
    with pytest.raises(ValueError, match="'fork' or 'exec'"):
        Worker("text://127.0.0.1:1", spawn="thread")
    for seconds in -1, float("nan"), float("inf"), 1e300:
        with pytest.raises(ValueError, match="drain is a number of seconds from 0"):
            Worker("text://127.0.0.1:1", drain=seconds)
    with pytest.raises(ValueError, match="max_message is a whole number of at most 63 bits"):
        Worker("text://127.0.0.1:1", max_message=10**30)
    with pytest.raises(TypeError, match="drain is a number of seconds, not '1'"):
        Worker("text://127.0.0.1:1", drain="1")
    for make in workhive.Hive, workhive.run:
        with pytest.raises(TypeError, match="a hive is made of workers, not of 5"):
            make(5)
    with pytest.raises(TypeError, match="the address of a worker is a str, not None"):
        Worker(None)
    with pytest.raises(InvalidValue, match=r"^count is 1 to"):
        Worker("text://127.0.0.1:1", count=-1)
    for call in (
        lambda: workhive.Timer.after(1, 5),
        lambda: workhive.subscribe("x", None),
        lambda: workhive.blocking(None),
        lambda: workhive.post("x"),
        lambda: workhive.send_to_uid("x", "y", then=5),
    ):
        with pytest.raises(TypeError, match="takes a function, not"):
            call()
    with pytest.raises(TypeError, match="excluded, not 5"):
        workhive.send_to_all("x", exclude=[5])
    with pytest.raises(TypeError, match="on_message takes a function"):
        Worker("text://127.0.0.1:1", on_message="echo")

    async def late(connection, opening):
        pass

    with pytest.raises(TypeError, match="cannot be async"):
        Worker("websocket://127.0.0.1:1", on_websocket_connect=late)


def test_what_needs_a_running_process_says_so():
    for call in (workhive.place, workhive.stats, workhive.stop, lambda: workhive.post(print)):
        with pytest.raises(workhive.NotNow):
            call()
    with pytest.raises(workhive.Error):
        workhive.send_to_uid("u", "x")
    with pytest.raises(workhive.Error):
        workhive.Timer.after(1, print)


def test_an_address_in_use_is_an_oserror():
    error = AddressInUse("somebody is there", 302, "WH_ERR_IN_USE")
    assert isinstance(error, OSError) and error.errno == 98 and str(error) == "somebody is there"
