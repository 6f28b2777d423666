"""Requests sent on, responses streamed back, byte for byte and event by event."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any
from urllib.parse import urlsplit

import httpx
from starlette.requests import Request

Headers = list[tuple[bytes, bytes]]

_HOP_BY_HOP = {
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te",
    b"trailer", b"transfer-encoding", b"upgrade", b"host",
}  # fmt: skip


class StreamedBody:
    """A request body that is read while it is sent on; `finished` once all of it is read."""

    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self.finished = False
        self._stream = stream

    @staticmethod
    def of(request: Request) -> "bytes | StreamedBody":
        """Return the body of a request, or no bytes where there is none."""
        headers = request.headers
        if "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
            return StreamedBody(request.stream())
        return b""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            if chunk:
                yield chunk
        self.finished = True


class Upstream:
    """One pool of connections to one endpoint.

    A response passes through unchanged: status, headers (those of one hop excepted), and body as it
    arrives, still encoded. A failure before the response is a 502, or a 504 after `stall` seconds;
    a failure in the middle closes the client's connection without ending the body, so that nobody
    takes a part for the whole.
    """

    def __init__(self, url: str, connect: float, stall: float) -> None:
        parts = urlsplit(url)
        self._prefix = parts.path.rstrip("/").encode()
        self._origin = httpx.URL(f"{parts.scheme}://{parts.netloc}")
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(stall, connect=connect, pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
            follow_redirects=False,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def forward(
        self,
        scope: dict[str, Any],
        body: bytes | StreamedBody,
        receive: Any,
        send: Any,
        extra: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Send the request of an ASGI scope on with this body, and its response back."""
        request = self._request(scope, body)
        try:
            response = await self._client.send(request, stream=True)
        except httpx.TimeoutException:
            await _refuse(send, 504, "the upstream did not answer in time", extra)
            return
        except httpx.HTTPError as error:
            await _refuse(send, 502, f"the upstream failed ({type(error).__name__})", extra)
            return
        try:
            await self._answer(response, receive, send, extra, body)
        finally:
            await response.aclose()

    def _request(self, scope: dict[str, Any], body: bytes | StreamedBody) -> httpx.Request:
        size = len(body) if isinstance(body, bytes) else None
        drop = _HOP_BY_HOP | _named_by_connection(scope["headers"])
        headers = [
            (k, v)
            for k, v in scope["headers"]
            if k not in drop and not (size is not None and k == b"content-length")
        ]
        path = self._prefix + (scope.get("raw_path") or scope["path"].encode())
        if scope.get("query_string"):
            path += b"?" + scope["query_string"]
        if size or (size == 0 and scope["method"] in ("POST", "PUT", "PATCH")):
            headers.append((b"content-length", str(size).encode()))
        # As the target, not as part of the URL: URLs are normalised, `a/../b` would become `b`.
        target = {"target": path}
        method = scope["method"]
        return httpx.Request(method, self._origin, headers=headers, content=body, extensions=target)

    async def _answer(
        self,
        response: httpx.Response,
        receive: Any,
        send: Any,
        extra: Iterable[tuple[str, str]],
        body: bytes | StreamedBody,
    ) -> None:
        raw = [(k.lower(), v) for k, v in response.headers.raw]
        drop = _HOP_BY_HOP | _named_by_connection(raw)
        headers = [(k, v) for k, v in raw if k not in drop]
        headers += [(k.encode(), v.encode("latin-1", "replace")) for k, v in extra]
        await send(
            {"type": "http.response.start", "status": response.status_code, "headers": headers}
        )
        # Only once the request's body is read does `receive` mean that the client has gone.
        read = isinstance(body, bytes) or body.finished
        gone = asyncio.ensure_future(_disconnected(receive)) if read else None
        copy = asyncio.ensure_future(_copy(response, send))
        try:
            await asyncio.wait([t for t in (copy, gone) if t], return_when=asyncio.FIRST_COMPLETED)
            if copy.done():
                copy.result()
        finally:
            for task in (copy, gone):
                if task is not None and not task.done():
                    task.cancel()


async def _copy(response: httpx.Response, send: Any) -> None:
    try:
        async for chunk in response.aiter_raw():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except httpx.HTTPError:
        # No last chunk: the server closes the connection and the client sees that it was cut.
        return
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse(send: Any, status: int, reason: str, extra: Iterable[tuple[str, str]]) -> None:
    error = {"error": {"type": "attar_proxy_error", "message": f"attar: {reason}."}}
    body = json.dumps(error).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(k.encode(), v.encode("latin-1", "replace")) for k, v in extra]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _named_by_connection(headers: Headers) -> set[bytes]:
    """Return the headers that `Connection` declares to be of this hop."""
    return {
        name.strip().lower() for k, v in headers if k == b"connection" for name in v.split(b",")
    }
