"""A scripted HTTP/1.1 upstream on loopback: it records every byte and answers as its path says."""

import asyncio
import contextlib
import gzip
import json
import threading
import time


class ScriptedUpstream:
    """Runs in a thread of its own; `requests` holds (head, body) of everything received, raw.

    Paths: /stall never answers, /die breaks off in the middle, /status/N answers N, /gzip is
    encoded, a body with "stream" gives that many events, anything else echoes its body.
    """

    def __init__(self):
        self.requests = []
        self.closed = 0
        self.pause = 0.0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self._thread.start()
        self._ready.wait(10)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def _main(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._ready.set()
        await self._stop.wait()
        server.close()

    def close(self):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)

    async def _serve(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await self._body(reader, head)
                self.requests.append((head, body))
                if not await self._answer(head.split(b" ")[1].decode(), body, reader, writer):
                    break
        writer.close()

    async def _body(self, reader, head):
        lines = [x.lower() for x in head.split(b"\r\n")]
        if b"transfer-encoding: chunked" in lines:
            body = b""
            while size := int(await reader.readline(), 16):
                body += await reader.readexactly(size)
                await reader.readline()
            await reader.readline()
            return body
        length = next((int(x.split(b":")[1]) for x in lines if x.startswith(b"content-length")), 0)
        return await reader.readexactly(length)

    async def _answer(self, target, body, reader, writer):
        if target.startswith("/stall"):
            await reader.read(1)  # until the other side gives up
            self.closed += 1
            return False
        if target.startswith("/die"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf of it")
            await writer.drain()
            return False
        if target.startswith("/status/"):
            code = target.split("/")[2]
            error = b'{"error": {"message":  "slow down"}}\n'
            writer.write(
                f"HTTP/1.1 {code} Because\r\nRetry-After: 7\r\nX-Up: a\r\nx-up: b\r\n"
                f"Content-Length: {len(error)}\r\n\r\n".encode()
                + error
            )
            return True
        if target.startswith("/gzip"):
            packed = gzip.compress(b"text " * 99, mtime=0)
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: text/plain\r\n"
                b"Content-Length: %d\r\n\r\n" % len(packed) + packed
            )
            return True
        return await self._reply(target, body, reader, writer)

    async def _reply(self, target, body, reader, writer):
        wanted = {}
        with contextlib.suppress(ValueError):
            wanted = json.loads(body) if b'"stream"' in body else {}
        if not wanted.get("stream"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
            return True
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for i in range(int(wanted["stream"])):
            event = event_of(wanted.get("user", "x"), i)
            writer.write(b"%x\r\n%s\r\n" % (len(event), event))
            await writer.drain()
            if target.startswith("/cut") and i == 2:
                return False
            if target.startswith("/hang") and i == 2:
                await reader.read(1)
                self.closed += 1
                return False
            if self.pause:
                await asyncio.sleep(self.pause)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


def event_of(user, i):
    return f"event: delta\ndata: {json.dumps({'user': user, 'i': i})}\n\n".encode()


class Server:
    """An ASGI application under uvicorn in a thread."""

    def __init__(self, app):
        import uvicorn

        config = uvicorn.Config(
            app, host="127.0.0.1", port=0, log_level="critical", server_header=False,
            date_header=False, access_log=False, backlog=1024,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def close(self):
        self._server.should_exit = True
        self._thread.join(10)
