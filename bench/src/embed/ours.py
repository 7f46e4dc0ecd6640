"""Hello over HTTP, or an echo of WebSocket messages, on workhive."""

import sys

from workhive import Response, Worker, run

protocol, address = sys.argv[1:3]
worker = Worker(f"{protocol}://{address}", name="bench")

if protocol == "http":

    @worker.on_message
    def hello(connection, request):
        connection.send(Response("Hello, World!", headers={"Content-Type": "text/plain"}))

else:

    @worker.on_message
    def echo(connection, message):
        connection.send(message)


sys.exit(run(worker, argv=[sys.argv[0], "start"]))
