"""The case server in Python: what embed/cases/README.md asks of it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys

import workhive
from workhive import BufferFull, ConnectionGone, Error, Hive, LogHandler, Protocol, Response, Timer, Worker, protocol

LARGEST = 17 * 1024 * 1024
LEVELS = {logging.ERROR: "error", logging.WARNING: "warn", logging.INFO: "info", logging.DEBUG: "debug"}

log = logging.getLogger("cases")
log.setLevel(logging.INFO)
log.propagate = False
log.addHandler(LogHandler())

kept = None
ticks = 0


def setting(name):
    return os.environ.get(f"WORKHIVE_CASE_{name}")


# -- every group ------------------------------------------------------------------------------------------------------


def worker_of(name, scheme):
    if not scheme:
        return Worker(name=name)
    # A stream of bytes has no messages, and so none that are too large.
    options = {} if scheme == "tcp" else {"max_message": LARGEST}
    return Worker(f"{scheme}://{setting(name.upper())}", name=name, **options)


def common(worker, start=None):
    """What every group and listener does."""

    @worker.on_close
    def on_close(connection):
        info = connection.close_info
        log.info("on_close %d %s", info.code or 0, info.peer_reason)

    @worker.on_error
    def on_error(connection, failure):
        log.info("on_error %s", failure.text.partition("\n")[0])

    @worker.on_buffer_full
    def on_buffer_full(connection):
        log.info("on_buffer_full")

    @worker.on_buffer_drain
    def on_buffer_drain(connection):
        log.info("on_buffer_drain")

    if start is None:
        return worker

    @worker.on_worker_start
    def on_worker_start(worker):
        if why := setting("FAIL_START"):
            raise RuntimeError(why)
        signal.signal(signal.SIGWINCH, lambda *_: log.info("saw SIGWINCH"))
        if setting("SIGNALS") == "host":
            signal.signal(signal.SIGTERM, host_saw)
        global task
        task = asyncio.get_running_loop().create_task(tick())
        start(worker)
        log.info("on_worker_start")

    @worker.on_worker_stop
    def on_worker_stop(worker):
        log.info("on_worker_stop")

    return worker


def host_saw(signo, _frame):
    log.info("host saw SIGTERM")
    hive.signal(signo)


async def tick():
    global ticks
    while True:
        await asyncio.sleep(0.01)
        ticks += 1


def nothing_more(_worker):
    pass


# -- orders -----------------------------------------------------------------------------------------------------------


def deep():
    deeper()


def deeper():
    raise ValueError("told to fail")


def who():
    place = workhive.place()
    return f"{place.slot} {os.getpid()}"


def on_message(connection, message):
    order = order_of(connection, message)
    if order is None:
        connection.send(message)
        return None
    return obey(connection, *order)


def order_of(connection, message):
    """The words of an order: its name and the rest. None for what is echoed."""
    if isinstance(message, bytes):
        if connection.protocol == "websocket" or not message.startswith(b"!"):
            return None
        message = message.decode("utf-8", "surrogateescape")
    if not message.startswith("!"):
        return None
    name, _, rest = message[1:].partition(" ")
    return name, rest


def obey(connection, name, rest):
    global kept
    send = connection.send
    if name == "who":
        send(who())
    elif name == "about":
        send(f"{connection.protocol} {connection.remote_addr} {connection.local_addr}")
    elif name == "fail":
        deep()
    elif name == "after":
        ms, _, text = rest.partition(" ")
        Timer.after(int(ms) / 1000, send, text)
    elif name == "every":
        every(connection, *map(int, rest.split()))
    elif name == "cancel":
        late = Timer.after(int(rest) / 1000, send, "late")
        Timer.after(int(rest) / 500, send, "done")
        late.cancel()
    elif name == "timer-fail":
        Timer.after(0.001, fail_in_timer)
        Timer.after(0.02, send, "still here")
    elif name == "close":
        code, _, reason = rest.partition(" ")
        connection.close(int(code) if code else None, reason)
    elif name == "destroy":
        connection.destroy()
    elif name == "pause":
        connection.pause()
        send("paused")
        Timer.after(int(rest) / 1000, resume, connection)
    elif name == "flood":
        flood(connection, "x" * int(rest))
    elif name == "set":
        connection.data = rest
        send("set")
    elif name == "get":
        send("none" if connection.data is None else connection.data)
    elif name == "keep":
        kept = connection
        send("kept")
    elif name == "kept":
        try:
            kept.send(rest)
            send("sent")
        except ConnectionGone:
            send("gone")
    elif name == "invalid":
        try:
            send("\ud800")
        except UnicodeEncodeError:
            send("refused")
    elif name == "stats":
        stats = workhive.stats()
        send(f"{stats.connections} {stats.accepted} {stats.messages_in}")
    elif name == "child":
        child = subprocess.run(["sh", "-c", "echo from the child; exit 7"], capture_output=True, text=True)
        send(f"{child.stdout.strip()} {child.returncode}")
    elif name == "stop":
        send("stopping")
        workhive.stop()
    elif name == "later":
        return later(connection, rest)
    elif name == "later-fail":
        return later_fail(connection)
    elif name == "task":
        send(str(ticks))
    else:
        send("what?")
    return None


def every(connection, ms, times):
    count = 0

    def tell():
        nonlocal count
        count += 1
        connection.send(str(count))
        if count == times:
            timer.cancel()

    timer = Timer.every(ms / 1000, tell)


def fail_in_timer():
    raise ValueError("timer told to fail")


def resume(connection):
    connection.resume()
    connection.send("resumed")


def flood(connection, message):
    taken = 0
    try:
        while True:
            connection.send(message)
            taken += 1
    except BufferFull:
        log.info("flooded %d", taken)


async def later(connection, text):
    await asyncio.sleep(0.01)
    connection.send(text)


async def later_fail(connection):
    await asyncio.sleep(0.01)
    deep()


# -- opening, pages ---------------------------------------------------------------------------------------------------


def on_websocket_connect(connection, opening):
    if opening.path == "/refuse":
        opening.refuse(403, "not here")
        return
    offered = [name.strip() for name in opening.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    if "case" in offered:
        opening.accept_subprotocol("case")
    opening.add_header("X-Case", opening.query_string or "")


def page(connection, request):
    path = request.path
    if path == "/read":
        query, field = request.query_string or "", request.headers.get("X-Case", "")
        lines = [request.method, path, query, field, request.http_version, str(len(request.body))]
        return "".join(f"{line}\n" for line in lines)
    if path.startswith("/status/"):
        return Response(f"status {path[8:]}", int(path[8:]), {"X-Case": "yes"})
    known = PAGES.get((request.method, path))
    return known(connection, request) if known else Response("nothing here", 404)


def after_page(connection, request):
    Timer.after(0.01, connection.send, "after")


def stream_page(connection, request):
    stream = connection.stream(headers={"Content-Type": "text/plain"})
    stream.write("one ")

    def two():
        stream.write("two ")
        Timer.after(0.001, stream.end, "three")

    Timer.after(0.001, two)


async def later_page(connection, request):
    await asyncio.sleep(0.01)
    return "later"


async def later_fail_page(connection, request):
    await asyncio.sleep(0.01)
    deep()


PAGES = {
    ("GET", "/"): lambda connection, request: "Hello, World!",
    ("POST", "/"): lambda connection, request: request.body,
    ("GET", "/who"): lambda connection, request: who(),
    ("POST", "/field"): lambda connection, request: Response("ok", 200, {"X-Case": request.text}),
    ("GET", "/stream"): stream_page,
    ("GET", "/after"): after_page,
    ("GET", "/later"): later_page,
    ("GET", "/later-fail"): later_fail_page,
    ("GET", "/fail"): lambda connection, request: deep(),
}


# -- push -------------------------------------------------------------------------------------------------------------


def start_push(worker):
    workhive.subscribe("case", lambda text: log.info("topic %s", text))
    port = common(Worker(f"text://{setting('PUSH_TEXT')}", reuse_port=True, max_message=LARGEST))

    @port.on_message
    def on_line(connection, line):
        if line == "!who":
            connection.send(who())
            return
        uid, _, text = line.partition(" ")
        workhive.send_to_uid(uid, text, then=lambda outcome: connection.send("ok" if outcome else "fail"))

    port.listen()


def on_push(connection, message):
    if connection.uid is None:
        connection.bind_uid(message, then=lambda bound: bound and connection.send(f"bound {message}"))
        return
    order = order_of(connection, message)
    known = ORDERS.get(order[0]) if order else None
    if known is None:
        connection.send("what?")
    else:
        known(connection, order[1])


def tell_delivered(connection):
    return lambda outcome: connection.send(f"delivered {outcome.delivered}")


def join(connection, room):
    connection.join_room(room, then=lambda joined: joined and connection.send(f"joined {room}"))


def leave(connection, room):
    connection.leave_room(room)
    connection.send(f"left {room}")


def tell_online(connection, uid):
    words = {True: "online", False: "offline", None: "unknown"}
    workhive.is_uid_online(uid, then=lambda online: connection.send(words[online]))


def send_to(connection, rest):
    uid, _, text = rest.partition(" ")
    workhive.send_to_uid(uid, text, then=tell_delivered(connection))


def say(connection, rest):
    room, _, text = rest.partition(" ")
    workhive.send_to_room(
        room, text, exclude=[connection], then=lambda outcome: connection.send(f"said {outcome.delivered}")
    )


def send_to_id(connection, rest):
    id, _, text = rest.partition(" ")
    workhive.send_to_connection(id, text, then=tell_delivered(connection))


def publish(connection, rest):
    topic, _, text = rest.partition(" ")
    workhive.publish(topic, text)


ORDERS = {
    "who": lambda connection, rest: connection.send(who()),
    "join": join,
    "leave": leave,
    "rooms": lambda connection, rest: connection.send(",".join(sorted(connection.rooms))),
    "size": lambda connection, room: workhive.room_size(room, then=lambda size: connection.send(str(size.count))),
    "uid": lambda connection, rest: connection.send(connection.uid),
    "id": lambda connection, rest: connection.send(connection.id),
    "online": tell_online,
    "to": send_to,
    "say": say,
    "all": lambda connection, text: workhive.send_to_all(text),
    "send": send_to_id,
    "kick": lambda connection, uid: workhive.close_uid(uid, 4001, "kicked"),
    "count": lambda connection, rest: workhive.online_count(then=lambda count: connection.send(str(count.count))),
    "publish": publish,
}


# -- the protocol of its own ------------------------------------------------------------------------------------------


@protocol("netstring")
class Netstring(Protocol):
    """`5:hello,`"""

    def input(self, data):
        digits, colon, _ = data[:9].partition(b":")
        if (digits and not digits.isdigit()) or len(digits) > 8 or (colon and not digits):
            raise ValueError(f"a netstring begins with its length, not with {data[:9]!r}")
        return len(digits) + 1 + int(digits) + 1 if colon else 0

    def decode(self, package):
        if not package.endswith(b","):
            raise ValueError("a netstring ends with a comma")
        return package[package.index(b":") + 1 : -1]

    def encode(self, message):
        message = super().encode(message)
        return b"%d:%s," % (len(message), message)


# -- the program ------------------------------------------------------------------------------------------------------


def start_inner(worker):
    how = setting("INNER_HOW") or "plain"
    options = {} if how == "plain" else {how: True}
    inner = common(Worker(f"text://{setting('INNER')}", max_message=LARGEST, **options))
    inner.on_message(on_message)
    try:
        inner.listen()
    except Error as error:
        if how != "plain":
            raise
        log.info("does without: %s", str(error).replace("\n", " "))


def workers():
    for name in ("text", "frame", "tcp", "websocket", "netstring"):
        if setting(name.upper()):
            worker = common(worker_of(name, name), nothing_more)
            worker.on_message(on_message)
            if name == "websocket":
                worker.on_websocket_connect(on_websocket_connect)
            yield worker
    if setting("HTTP"):
        worker = common(worker_of("http", "http"), nothing_more)
        worker.on_message(page)
        yield worker
    if setting("PUSH"):
        worker = common(worker_of("push", "websocket"), start_push)
        worker.on_message(on_push)
        worker.on_uid_online(lambda worker, uid: log.info("online %s", uid))
        worker.on_uid_offline(lambda worker, uid: log.info("offline %s", uid))
        yield worker
    if setting("INNER"):
        yield common(worker_of("inner", ""), start_inner)


def own_log(level, text):
    print(f"own: {LEVELS.get(level, 'trace')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    hive = Hive(
        *workers(),
        name="cases",
        signals=setting("SIGNALS") != "host",
        asyncio=True,
        log=own_log if setting("LOG") == "own" else None,
    )
    sys.exit(hive.run())
