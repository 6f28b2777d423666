"""The proxy as an ASGI application."""

import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from attar.context.middleware.originals import Originals
from attar.context.proxy.rewriting import Rewritten, passed, rewrite, route_of
from attar.context.proxy.settings import ProxySettings
from attar.context.proxy.upstream import StreamedBody, Upstream

_LOG = logging.getLogger("attar.context")
_INLINE_BYTES = 64 << 10
KEYS = (b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key")


@dataclass
class Statistics:
    """What the proxy has done since it started; no texts, no keys."""

    requests: int = 0
    compressible: int = 0
    changed: int = 0
    passed_with_warning: int = 0
    original_tokens: int = 0
    tokens: int = 0
    cache_breaks: int = 0

    def add(self, done: Rewritten, changed: bool) -> None:
        """Count one compressible request."""
        self.compressible += 1
        self.changed += changed
        if done.report is None:
            self.passed_with_warning += bool(done.headers)
            return
        self.original_tokens += done.report.original_tokens
        self.tokens += done.report.tokens
        self.cache_breaks += done.report.cache_breaks


class Proxy:
    """Sends every request on; those that carry a conversation may be shortened first."""

    def __init__(self, settings: ProxySettings) -> None:
        self.settings = settings
        self.compactor = settings.compactor()
        self.originals = Originals(settings.originals, settings.ttl)
        self.originals.purge(expired=True)
        self.upstream = Upstream(settings.upstream, settings.connect, settings.stall)
        self.statistics = Statistics()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request; WebSockets are refused."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1003})
            return
        self.statistics.requests += 1
        route = route_of(scope["method"], scope["path"]) if self.settings.enabled else None
        request = Request(scope, receive)
        if route is None or not self._readable(request):
            await self.upstream.forward(scope, StreamedBody.of(request), receive, send)
            return
        body = await request.body()
        key = _key_of(scope)
        arguments = (self.compactor, route, body, key)
        if len(body) <= _INLINE_BYTES:
            done = rewrite(*arguments)
        else:
            done = await to_thread.run_sync(rewrite, *arguments)
        if done.body is not body:
            done = await to_thread.run_sync(self._keep, done, body, key)
        self.statistics.add(done, done.body is not body)
        await self.upstream.forward(scope, done.body, receive, send, done.headers)

    def _keep(self, done: Rewritten, body: bytes, key: str) -> Rewritten:
        """Keep the originals; what cannot be kept is not shortened."""
        try:
            self.originals.put(list(done.originals.values()), key, done.conversation)
        except sqlite3.Error as error:
            self.compactor.failures += 1
            _LOG.warning("let a request through uncompressed: %s", type(error).__name__)
            return passed(body, "the originals could not be kept")
        return done

    def _readable(self, request: Request) -> bool:
        """Say whether a body may be read: plain JSON of a size that fits."""
        if request.headers.get("content-encoding", "identity") != "identity":
            return False
        size = request.headers.get("content-length", "")
        return size.isdigit() and int(size) <= self.settings.max_body

    async def original(self, request: Request) -> Response:
        """GET /attar/originals/{id}: an original, to the key that sent it."""
        text = self.originals.get(request.path_params["id"], _key_of(request.scope))
        if text is None:
            return PlainTextResponse("no such original for this key\n", status_code=404)
        return PlainTextResponse(text)

    async def purge(self, request: Request) -> Response:
        """DELETE /attar/originals[?conversation=…]: forget all, or one conversation, of this key.

        What is remembered of the key's conversations goes with them.
        """
        key, conversation = _key_of(request.scope), request.query_params.get("conversation")
        purged = self.originals.purge(key, conversation)
        return JSONResponse({"purged": purged, "forgotten": self.compactor.memory.forget(key)})

    async def stats(self, request: Request) -> Response:
        """GET /attar/stats: counts since the start."""
        del request
        return JSONResponse(vars(self.statistics) | {"failures": self.compactor.failures})


def create_app(settings: ProxySettings) -> Starlette:
    """Build the application; `/attar/…` is its own, every other path goes upstream."""
    proxy = Proxy(settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        del app
        yield
        await proxy.upstream.close()
        proxy.originals.close()

    routes = [
        Route("/attar/originals/{id}", proxy.original, methods=["GET"]),
        Route("/attar/originals", proxy.purge, methods=["DELETE"]),
        Route("/attar/stats", proxy.stats, methods=["GET"]),
        Mount("/", app=proxy),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


def _key_of(scope: Any) -> str:
    """Identify the caller by a hash of the key headers; the keys themselves are not kept."""
    return caller(scope["headers"])


def caller_from(text: str, environment: Mapping[str, str]) -> str:
    """Return `caller` for HEADER=VARIABLE: the key is read from a variable, never from a command.

    Raises
    ------
    ValueError
        For a header that carries no key, or a variable that is not set.
    """
    header, _, variable = text.partition("=")
    name = header.strip().lower().encode()
    if name not in KEYS or not environment.get(variable):
        known = ", ".join(k.decode() for k in KEYS)
        raise ValueError(
            f"A caller is HEADER=VARIABLE, with one of {known} and an environment variable that "
            f"holds its value, got {text!r}."
        )
    return caller([(name, environment[variable].encode())])


def caller(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return what stands for a caller everywhere: a hash of the headers that carry keys.

    headers: with lower-case names; those that carry no key are ignored.
    """
    found = [k + b"=" + v for k, v in headers if k in KEYS]
    return blake2b(b"\n".join(sorted(found)), digest_size=16).hexdigest()
