"""HTTP.

python hello.py
curl 127.0.0.1:8080
"""

import os

from workhive import Response, Worker, place, run

worker = Worker(f"http://{os.environ.get('HELLO', '127.0.0.1:8080')}", name="hello", count=2)


@worker.on_message
def on_message(connection, request):
    if request.path == "/":
        return "Hello, World!"
    if request.path == "/about":
        return {"process": place().slot, "method": request.method, "agent": request.headers.get("user-agent")}
    return Response("not here", 404)


if __name__ == "__main__":
    run(worker)
