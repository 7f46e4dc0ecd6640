"""Connects to ws://127.0.0.1:PORT/ as a uid, says so, prints one message, ends."""

import sys

from websockets.sync.client import connect

port, uid = sys.argv[1:]
with connect(f"ws://127.0.0.1:{port}/") as websocket:
    websocket.send(uid)
    # The pong comes after the uid has been handled.
    websocket.ping().wait()
    print("connected", flush=True)
    print(websocket.recv(timeout=30), flush=True)
