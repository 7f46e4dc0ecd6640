"""Push to a user by name, from any process to any other.

python push.py
# in a browser:  ws = new WebSocket("ws://127.0.0.1:1234"); ws.onopen = () => ws.send("uid1");
#                ws.onmessage = event => console.log(event.data);
printf '{"uid":"uid1","percent":"88%%"}\\n' | nc -N 127.0.0.1 5678
"""

import json
import os

from workhive import Worker, run, send_to_uid

WEBSOCKET = os.environ.get("PUSH_WS", "127.0.0.1:1234")  # where browsers connect
TEXT = os.environ.get("PUSH_TEXT", "127.0.0.1:5678")  # where lines to push come in

worker = Worker(f"websocket://{WEBSOCKET}", name="push", count=4)


@worker.on_worker_start
def start(worker):
    # Each process has a socket of its own at this address; without reuse_port the second one would not get it.
    text = Worker(f"text://{TEXT}", reuse_port=True)

    @text.on_message
    async def push(connection, line):
        outcome = await send_to_uid(json.loads(line)["uid"], line)
        connection.send("ok" if outcome else "fail")

    text.listen()


@worker.on_message
def on_message(connection, message):
    if connection.uid is None:
        connection.bind_uid(message)  # the first message is the user id


if __name__ == "__main__":
    run(worker)
