"""Processes: their start and end, and what Python has of its own there."""

import os
import signal
import subprocess
import sys

import pytest
from conftest import until

WHO = """
worker = Worker(f"text://{PORT}", name="who", count=2)

@worker.on_message
def on_message(connection, line):
    connection.send(f"{place().slot} {os.getpid()}")

"""


def test_the_program_is_its_own_command_line(program):
    server = program(WHO + "run(worker)").start()
    assert len(server.slots()) == 2
    pid = int(server.lines().ask(b"who").split()[1])
    assert server.run("reload").returncode == 0
    assert int(server.lines().ask(b"who").split()[1]) != pid
    assert server.run("stop").returncode == 0
    assert server.run("status").returncode == 3


def test_a_killed_process_is_replaced(program):
    server = program(WHO + "run(worker)").start()
    pid = int(server.lines().ask(b"who").split()[1])
    os.kill(pid, signal.SIGKILL)

    until(
        lambda: server.ready() and pid not in [slot["pid"] for slot in server.slots()],
        "both processes are ready, and the killed one is none of them",
    )
    assert server.lines().ask(b"who")


@pytest.mark.parametrize("signals", [True, False])
def test_ctrl_c_ends_it_without_a_traceback(program, signals):
    server = program(WHO + f"run(worker, signals={signals})").start_here()
    server.foreground.send_signal(signal.SIGINT)
    assert server.foreground.wait(30) == 0, server.log
    assert "Traceback" not in server.log and "KeyboardInterrupt" not in server.log


def test_atexit_runs_in_each_process_and_output_is_not_written_twice(program):
    server = program(
        WHO
        + """
# One write for each line, or those of the processes mix.
sys.stdout.write("once\\n")
atexit.register(lambda: sys.stdout.write(f"atexit of {os.getpid()}\\n"))

@worker.on_worker_stop
def stop(worker):
    sys.stdout.write(f"stop of {os.getpid()}\\n")

run(worker)
"""
    ).start_here()
    client = server.lines()
    pid = int(client.ask(b"who").split()[1])
    client.close()
    server.foreground.send_signal(signal.SIGTERM)
    assert server.foreground.wait(30) == 0, server.log
    log = server.logged(f"stop of {pid}", f"atexit of {pid}", f"atexit of {server.foreground.pid}")
    assert log.count("once\n") == 1


def test_sys_exit_in_a_handler_ends_that_process_when_all_have_been_served(program):
    server = program("""
        worker = Worker(f"text://{PORT}")

        @worker.on_message
        def on_message(connection, line):
            connection.send(str(os.getpid()))
            if line == "exit":
                atexit.register(lambda: logging.error("leaving %d", os.getpid()))
                sys.exit(3)

        run(worker)
    """).start()
    client = server.lines()
    pid = client.ask(b"exit")
    assert client.hear() == b""  # the drain closes it, after the answer
    until(lambda: not os.path.exists(f"/proc/{int(pid)}"), "the process has ended")
    assert server.lines().ask(b"x") not in (b"", pid)
    assert "Traceback" not in server.log


def test_handlers_of_signals_run_while_the_loop_waits(program):
    server = program("""
        worker = Worker(f"text://{PORT}")
        told = []

        @worker.on_worker_start
        def start(worker):
            signal.signal(signal.SIGALRM, lambda *_: logging.error("alarm in %d", os.getpid()))

        @worker.on_message
        def on_message(connection, line):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            connection.send(str(os.getpid()))

        run(worker)
    """).start()
    pid = server.lines().ask(b"x").decode()
    server.logged(f"alarm in {pid}")


def test_children_of_the_program_are_its_own(program):
    server = program("""
        worker = Worker(f"text://{PORT}")

        @worker.on_message
        def on_message(connection, line):
            done = subprocess.run(["sh", "-c", "echo out; exit 7"], capture_output=True, text=True)
            connection.send(f"{done.stdout.strip()} {done.returncode}")

        run(worker)
    """).start()
    assert server.lines().ask(b"x") == b"out 7"


@pytest.mark.parametrize("seconds", [0.5, 60])
def test_blocking_work_that_is_in_hand_at_the_end_does_no_harm(program, seconds):
    server = program(f"""
        class Slow:
            def __del__(self):
                time.sleep(0.3)  # while the interpreter ends

        worker = Worker(f"text://{{PORT}}")

        @worker.on_message
        def on_message(connection, line):
            worker.slow = Slow()
            atexit.register(lambda: sys.stdout.write("atexit\\n"))
            for _ in range(4):
                blocking(time.sleep, {seconds})
            connection.send("begun")

        run(worker)
    """).start_here()
    client = server.lines()
    assert client.ask(b"x") == b"begun"
    client.close()
    server.foreground.send_signal(signal.SIGTERM)
    assert server.foreground.wait(30) == 0, server.log
    assert "exited with code 0" in server.log and "atexit\n" in server.log and "FATAL" not in server.log, server.log


def test_a_copy_that_a_handler_forks_harms_nobody(program):
    server = program("""
        import multiprocessing
        worker = Worker(f"text://{PORT}")

        @worker.on_message
        def on_message(connection, line):
            if line == "multiprocessing":
                with multiprocessing.get_context("fork").Pool(2) as pool:
                    connection.send(str(pool.map(abs, [-1, -2])))
                ends = []
                for signo in signal.SIGTERM, signal.SIGUSR1:
                    child = os.fork()
                    if child == 0:
                        signal.pause()
                    os.kill(child, signo)
                    ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
                connection.send(str(ends))
            elif line == "fork":
                child = os.fork()
                if child == 0:
                    try:
                        connection.send("from the copy")
                    except NotNow:
                        sys.exit(7)
                connection.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
            else:
                connection.send(line)

        run(worker)
    """).start()
    client, other = server.lines(), server.lines()
    assert client.ask(b"multiprocessing") == b"[1, 2]"
    assert client.hear() == b"[-15, -10]"
    assert client.ask(b"fork") == b"7"
    assert (client.ask(b"x"), other.ask(b"y")) == (b"x", b"y")
    assert "Traceback" not in server.log


def test_a_program_with_threads_is_told_to_use_exec_and_runs_with_it(program):
    threads = """
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        worker = Worker(f"text://{PORT}", count=2)

        @worker.on_message
        def on_message(connection, line):
            connection.send(f"{len(threading.enumerate())} threads")

        run(worker, spawn=os.environ["SPAWN"])
    """
    refused = program(threads, SPAWN="fork").run("start")
    assert refused.returncode != 0
    assert "thread" in refused.stderr and "exec" in refused.stderr, refused.stderr
    server = program(threads, SPAWN="exec").start()
    assert server.lines().ask(b"x") == b"2 threads"


def test_reload_in_exec_mode_runs_the_text_as_it_is_then(program):
    server = program("""
        worker = Worker(f"http://{PORT}", count=2)
        worker.on_message(lambda connection, request: "old")
        run(worker, spawn="exec")
    """).start()
    assert server.get().body == b"old"
    server.path.write_text(server.path.read_text().replace('"old"', '"new"'))
    assert server.run("reload").returncode == 0
    assert server.get().body == b"new"


def test_a_process_that_cannot_start_says_why(program):
    server = program("""
        worker = Worker(f"text://{PORT}")

        @worker.on_worker_start
        def start(worker):
            raise RuntimeError("no database")

        run(worker)
    """)
    done = server.run("start")
    assert done.returncode == 1
    assert "RuntimeError: no database" in done.stderr


def test_sys_exit_in_on_worker_start_is_a_process_that_cannot_start(program):
    server = program("""
        worker = Worker(f"text://{PORT}")
        worker.on_worker_start(lambda worker: sys.exit("no licence"))
        run(worker)
    """)
    done = server.run("start")
    assert done.returncode == 1
    assert "on_worker_start has left by sys.exit('no licence')" in done.stderr


def test_a_process_knows_its_place_and_what_it_has_done(program):
    server = program("""
        worker = Worker(f"text://{PORT}", name="placed", count=2)

        @worker.on_message
        def on_message(connection, line):
            here, stats = place(), workhive.stats()
            assert here.pid == os.getpid() and here.slot in (0, 1) and stats.connections >= 1
            connection.send(f"{here.group} {here.count} {here.generation} {stats.accepted >= 1}")

        run(worker)
    """).start()
    assert server.lines().ask(b"x") == b"placed 2 0 True"


def test_nothing_is_kept_of_what_is_over(program):
    server = program("""
        from workhive import _live, connection as connections
        worker = Worker(f"text://{PORT}")

        @worker.on_message
        async def on_message(connection, line):
            if line == "use":
                Timer.after(0, lambda: None)
                Timer.every(60, print).cancel()
                await connection.bind_uid("u")
                await send_to_uid("u", "pushed", exclude=[connection])
                send_to_all("x", exclude=[connection.id], then=lambda outcome: None)
                post(lambda: None)
                await blocking(len, "abc")
            # Not counted: what each connection leaves behind only when on_close has been called.
            connection.send(f"{len(_live.objects)} {len(connections.connections)}")

        run(worker)
    """).start()

    def count(line):
        client = server.lines()
        said = client.ask(line)
        client.close()
        return said

    before = until(lambda: (said := count(b"look")).endswith(b" 1") and said, "only one connection is there")
    for _ in range(20):
        count(b"use")
    until(lambda: count(b"look") == before, "everything has been let go")


PROGRAM = os.environ.get("WORKHIVE_PROGRAM", "")


@pytest.mark.skipif(not PROGRAM, reason="WORKHIVE_PROGRAM does not name the program workhive")
def test_workhive_run_attach_starts_processes_that_take_their_places(program):
    server = program("""
        worker = Worker("text://127.0.0.1:1")
        worker.on_message(lambda connection, line: connection.send(f"{place().group} {place().count}"))
        attach(worker)
    """)
    alone = server.run()
    assert alone.returncode == 1 and "NotNow" in alone.stderr, alone.stderr
    address = f"tcp://127.0.0.1:{server.port}"
    words = [PROGRAM, "run", "--attach", "--count", "2", "--name", "attached", "--listen", address]
    with open(server.log_file, "w") as log:
        master = subprocess.Popen(
            [*words, "--", sys.executable, str(server.path)], env=server.env, stdout=log, stderr=log
        )
    try:
        server.logged("ready: 2 processes")
        assert server.lines().ask(b"x") == b"attached 2"
    finally:
        master.send_signal(signal.SIGTERM)
        assert master.wait(30) == 0, server.log


def test_the_log_of_the_program_is_that_of_the_hive(program):
    server = program("""
        worker = Worker(f"text://{PORT}", name="talker")

        @worker.on_message
        def on_message(connection, line):
            try:
                1 / 0
            except ZeroDivisionError:
                logging.getLogger("app").exception("saw %s", line)
            connection.send("ok")

        run(worker)
    """).start()
    assert server.lines().ask(b"a line") == b"ok"
    log = server.logged("app: saw a line", "ZeroDivisionError: division by zero")
    assert "talker[0]" in log


def test_a_log_function_gets_every_line(program):
    server = program("""
        worker = Worker(f"text://{PORT}")
        def log(level, text):
            print("mine", logging.getLevelName(level), text, file=sys.stderr, flush=True)
        worker.on_worker_start(lambda worker: logging.warning("from the worker"))
        run(worker, log=log)
    """).start_here()
    server.logged("mine WARNING root: from the worker")
