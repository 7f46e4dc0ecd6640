"""An echo of WebSocket messages with the package websockets."""

import asyncio
import signal
import sys

from websockets.asyncio.server import serve


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def main():
    host, port = sys.argv[2].rsplit(":", 1)
    ended = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set_result, None)
    async with serve(echo, host, int(port), compression=None):
        await ended


asyncio.run(main())
