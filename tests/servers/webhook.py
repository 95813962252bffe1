"""A webhook on loopback: keeps what it was told, and answers as it is told to."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Webhook:
    """`statuses`: of the next answers, in order; then 200. `messages`: the bodies that came, with their headers."""

    def __init__(self, server, statuses):
        self.url = f"http://127.0.0.1:{server.server_port}/hooks/runs"
        self.statuses = list(statuses)
        self.messages = []


@contextlib.contextmanager
def webhook(*statuses):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            hook.messages.append((body, dict(self.headers)))
            self.send_response(hook.statuses.pop(0) if hook.statuses else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *line):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hook = Webhook(server, statuses)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hook
        finally:
            server.shutdown()
            thread.join()
