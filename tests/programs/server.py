# Plain Python: HTTP on the socket that is there already. SIGTERM: answer what has come, then end.
import http.server
import json
import os
import signal
import socket
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"Hello, World!"
        if self.path == "/who":
            env = os.environ
            who = {
                "slot": env["WORKHIVE_SLOT"],
                "fds": env["LISTEN_FDS"],
                "pid": env["LISTEN_PID"],
                "own": os.getpid(),
            }
            body = json.dumps(who).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False


server = Server(None, Handler, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=3)
# Others accept from it too: one that comes too late must not wait.
server.socket.setblocking(False)
# shutdown() waits for the loop, which goes on only when the handler has returned.
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever(poll_interval=0.05)
server.server_close()
