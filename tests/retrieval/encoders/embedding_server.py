"""A real HTTP server that speaks the embeddings API, and fails when it is told to."""

import hashlib
import json
import threading
import time
from collections import deque
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

DIM = 6


def vector_of(text, dim=DIM):
    """What the server answers for a text."""
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest())
    return np.random.default_rng(seed).standard_normal(dim).astype(np.float32)


class EmbeddingServer:
    """What happened (`requests`, `most_at_once`), and what shall happen (`troubles`, `delay`).

    A trouble is one of: a status; (status, headers); "hang up"; "hang"; bytes (a body for 200); a
    function from the list of answers to another one. Each is used once, in order.
    """

    def __init__(self):
        self.requests = []
        self.troubles = deque()
        self.delay = 0.0
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.url = ""

    def answer(self, handler):
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self.lock:
            self.requests.append((time.monotonic(), handler.path, dict(handler.headers), body))
            trouble = self.troubles.popleft() if self.troubles else None
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(self.delay)
        with self.lock:
            self.at_once -= 1
        self.reply(handler, trouble, body)

    @staticmethod
    def reply(handler, trouble, body):
        status, headers, content = 200, {}, None
        if trouble == "hang up":
            handler.connection.close()
            return
        if trouble == "hang":
            time.sleep(4.0)
        elif isinstance(trouble, int):
            status, content = trouble, b'{"error": {"message": "on purpose"}}'
        elif isinstance(trouble, tuple):
            (status, headers), content = trouble, b"slow down"
        elif isinstance(trouble, bytes):
            content = trouble
        if content is None:
            dim = body.get("dimensions", DIM)
            data = [
                {"object": "embedding", "index": row, "embedding": vector_of(text, dim).tolist()}
                for row, text in enumerate(body["input"])
            ]
            data = trouble(data) if callable(trouble) else data
            content = json.dumps({"object": "list", "data": data}).encode()
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)


@contextmanager
def running():
    """A server on a free port of this machine, stopped at the end."""
    state = EmbeddingServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            try:
                state.answer(self)
            except (BrokenPipeError, ConnectionResetError, OSError):
                self.close_connection = True

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
