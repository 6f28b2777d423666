"""Who may ask, how much and how often: one ASGI middleware in front of the routes."""

import asyncio
import hmac
import math
import time
from collections import OrderedDict
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from attar.server.settings import Settings

OPEN_PATHS = ("/health",)
_MOST_BUCKETS = 10_000


class TooLarge(Exception):
    """A body went over the limit while it came in."""


class Buckets:
    """Token buckets: `rate` tokens a second up to `burst`, one per client."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate, self._burst = rate, burst
        self._state: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str, now: float) -> float:
        """Take a token; returns 0, or the seconds until there is one."""
        tokens, then = self._state.pop(client, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - then) * self._rate)
        enough = tokens >= 1
        self._state[client] = (tokens - 1 if enough else tokens, now)
        if len(self._state) > _MOST_BUCKETS:
            self._state.popitem(last=False)
        return 0.0 if enough else (1 - tokens) / self._rate


class Limits:
    """Keys, rates, body sizes and timeouts."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._keys = [key.encode() for key in settings.api_keys]
        rate = settings.requests_per_second
        self._buckets = Buckets(rate, settings.burst) if rate else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self._limited(scope, receive, send)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if self._settings.hosts and _host(headers) not in self._settings.hosts:
            return _error(400, f"This server is called {' or '.join(self._settings.hosts)}.")
        if self._keys and scope["path"] not in OPEN_PATHS and not self._known(headers):
            return _error(401, "This server asks for a key: Authorization: Bearer KEY.")
        if self._buckets is not None and scope["path"] not in OPEN_PATHS:
            client = (scope.get("client") or ("unknown", 0))[0]
            name = headers.get(b"authorization", b"").decode("latin-1") if self._keys else client
            wait = self._buckets.wait(name, time.monotonic())
            if wait:
                later = {"Retry-After": str(math.ceil(wait))}
                return _error(429, "Too many requests; try again later.", later)
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._settings.body_bytes:
            return self._too_large()
        return None

    def _known(self, headers: dict[bytes, bytes]) -> bool:
        """Compare with every key in constant time, without stopping at the right one."""
        given = headers.get(b"authorization", b"")
        given = given[7:] if given[:7].lower() == b"bearer " else b""
        return any([hmac.compare_digest(given, key) for key in self._keys])

    def _too_large(self) -> JSONResponse:
        return _error(413, f"Bodies have at most {self._settings.body_bytes} bytes.")

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        size, started = 0, False

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._settings.body_bytes:
                raise TooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            async with asyncio.timeout(self._settings.timeout):
                await self._app(scope, counted, noted)
        except (TooLarge, TimeoutError) as error:
            if started:
                raise
            late = _error(503, f"No answer within {self._settings.timeout:g} s; try again.")
            await (self._too_large() if isinstance(error, TooLarge) else late)(scope, receive, send)


def _host(headers: dict[bytes, bytes]) -> str:
    """The Host header without its port."""
    host = headers.get(b"host", b"").decode("latin-1").lower()
    return (
        host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.split(":")[0]
    )


def _error(status: int, says: str, headers: dict[str, str] | None = None) -> JSONResponse:
    body: dict[str, Any] = {"error": says}
    return JSONResponse(body, status, headers)
