# A program that knows nothing of workhive and does what its arguments say, one after the other: WHAT or WHAT=HOW.
import array
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time


def notify(text, descriptors=()):
    speaker = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    speaker.sendmsg([text.encode()], rights, 0, os.environ["NOTIFY_SOCKET"])


def barrier(_):
    # sd_notify_barrier(3): the other end is closed when all before it has been heard.
    here, there = os.pipe()
    notify("BARRIER=1", [there])
    os.close(there)
    poll = select.poll()
    poll.register(here, 0)
    poll.poll(30_000)
    print("the barrier is open", flush=True)


def notify_with_descriptors(text):
    files = [os.open("/dev/null", os.O_RDONLY) for _ in range(8)]
    notify(text, files)


def notify_by_child(text):
    # One that is gone by the time that anybody could look for it; it waits until it was heard, as systemd-notify does.
    if os.fork() == 0:
        notify(text)
        barrier(None)
        os._exit(0)
    os.wait()


def flood(text):
    speaker = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    speaker.connect(os.environ["NOTIFY_SOCKET"])
    while True:
        speaker.send(text.encode())


def long(size):
    print("x" * int(size), flush=True)


def loud(_):
    while True:
        os.write(1, b"y\n" * 500)


def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.01)


def unless_exists(path):
    if os.path.exists(path):
        sys.exit(f"{path} is there")


def catch(how):
    name, _, text = how.partition(":")

    def caught(*_):
        print(text, flush=True)
        os._exit(0)

    signal.signal(getattr(signal, "SIG" + name), caught)


def ignore(name):
    signal.signal(getattr(signal, "SIG" + name), signal.SIG_IGN)


def record(path):
    fds = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            fds[fd] = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            pass  # The directory itself.
    row = {"pid": os.getpid(), "args": sys.argv, "env": dict(os.environ), "fds": fds, "cwd": os.getcwd()}
    row["uid"] = os.getuid()
    row["group"] = os.getpgid(0)
    row["blocking"] = [os.get_blocking(3 + n) for n in range(int(os.environ.get("LISTEN_FDS", "0")))]
    with open(path, "a") as file:
        file.write(json.dumps(row) + "\n")


def serve(_):
    def accept(fd):
        listener = socket.socket(fileno=fd)
        while True:
            connection, _ = listener.accept()
            connection.sendall(f"{fd} {os.environ['WORKHIVE_SLOT']} {os.getpid()}\n".encode())
            connection.close()

    for number in range(int(os.environ["LISTEN_FDS"])):
        threading.Thread(target=accept, args=[3 + number], daemon=True).start()


def set_nonblocking(_):
    os.set_blocking(3, False)


DOES = {
    "say": lambda text: print(text, flush=True),
    "complain": lambda text: print(text, file=sys.stderr, flush=True),
    "write": lambda text: os.write(1, text.encode()),
    "bytes": lambda text: os.write(1, bytes.fromhex(text)),
    "long": long,
    "loud": loud,
    "notify": notify,
    "notify_by_child": notify_by_child,
    "notify_with_descriptors": notify_with_descriptors,
    "barrier": barrier,
    "flood": flood,
    "wait_for": wait_for,
    "unless_exists": unless_exists,
    "catch": catch,
    "ignore": ignore,
    "record": record,
    "serve": serve,
    "set_nonblocking": set_nonblocking,
    "child": lambda _: subprocess.Popen(["sleep", "1000"]),
    "exit": lambda code: os._exit(int(code)),
}

for argument in sys.argv[1:]:
    what, _, how = argument.partition("=")
    DOES[what](how)
while True:
    signal.pause()
