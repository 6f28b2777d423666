"""The routes of a store's server."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from attar.server import bodies
from attar.server.batching import Batcher
from attar.server.bodies import BadRequest
from attar.server.limits import Limits
from attar.server.metrics import Metrics
from attar.server.openapi import description
from attar.server.settings import Settings
from attar.stores.errors import StoreError
from attar.stores.inputs import check_queries
from attar.stores.shards.group import ShardGroup
from attar.stores.store import Store
from attar.stores.types import Hits

PAGE = Path(__file__).with_name("page.html")
Handler = Callable[[Request], Awaitable[Response]]


Served = Store | ShardGroup


def create_app(store: Served, settings: Settings | None = None) -> Starlette:
    """An ASGI application over an open store, which it does not close.

    A store opened with mode "w" can be changed, one opened with "r" answers 403 to changes.
    """
    return _Server(store, settings or Settings()).app()


class _Server:
    """Handlers over one store; everything that blocks runs in a thread."""

    def __init__(self, store: Served, settings: Settings) -> None:
        self.store, self.settings = store, settings
        self.metrics = Metrics()
        self.batcher = Batcher(store.search, settings.largest_batch)
        self._codecs = (-1, "")

    def app(self) -> Starlette:
        plan: list[tuple[str, str, Handler]] = [
            ("/", "GET", self.page),
            ("/health", "GET", self.health),
            ("/metrics", "GET", self.scrape),
            ("/openapi.json", "GET", self.openapi),
            ("/v1/info", "GET", self.info),
            ("/v1/search", "POST", self.search),
            ("/v1/documents", "POST", self.add),
            ("/v1/documents/get", "POST", self.get),
            ("/v1/documents/delete", "POST", self.delete),
        ]
        routes = [
            Route(path, self.counted(path, handler), methods=[method])
            for path, method, handler in plan
        ]
        return Starlette(
            routes=routes,
            middleware=[Middleware(Limits, settings=self.settings)],
            exception_handlers={HTTPException: _http_error},
            lifespan=self.lifespan,
        )

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(self.follow()) if not self.store.writable else None
        try:
            yield
        finally:
            if task is not None:
                task.cancel()

    async def follow(self) -> None:
        """A reader moves to new commits."""
        while True:
            await asyncio.sleep(self.settings.refresh_seconds)
            await asyncio.to_thread(self.store.refresh)

    def counted(self, path: str, handler: Handler) -> Handler:
        async def run(request: Request) -> Response:
            start = time.perf_counter()
            response = await _answered(handler, request)
            seconds = time.perf_counter() - start
            self.metrics.note(path, request.method, response.status_code, seconds)
            return response

        return run

    async def page(self, request: Request) -> Response:
        return FileResponse(PAGE, media_type="text/html; charset=utf-8", headers=_PAGE_HEADERS)

    async def health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok", "documents": len(self.store)})

    async def scrape(self, request: Request) -> Response:
        text = self.metrics.text(len(self.store), self.store.commit)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def openapi(self, request: Request) -> Response:
        return JSONResponse(description(self.settings, self.store.dim, self.store.metric))

    async def info(self, request: Request) -> Response:
        return JSONResponse(await asyncio.to_thread(self.store.info))

    async def search(self, request: Request) -> Response:
        body = await bodies.search_body(request)
        for name in ("k", "offset"):
            if body.options.get(name, 0) > self.settings.largest_k:
                raise BadRequest(f"{name} is at most {self.settings.largest_k} on this server.")
        hits = await self._hits(body)
        texts: dict[str, Any] = {}
        if body.documents:
            names = sorted({name for row in hits.ids for name in row if name is not None})
            texts = {r.id: r for r in await asyncio.to_thread(self.store.get, names)}
        return JSONResponse(
            {"hits": [_row(*pair, texts) for pair in zip(*_lists(hits), strict=True)]},
            headers={"X-Attar-Codecs": self.codecs()},
        )

    def codecs(self) -> str:
        """Hashes of the codecs of the commit that is served, for those who merge answers."""
        commit = self.store.commit
        if self._codecs[0] != commit:
            self._codecs = (commit, ",".join(self.store.info()["codecs"]))
        return self._codecs[1]

    async def _hits(self, body: bodies.SearchBody) -> Hits:
        plain = body.vectors is not None and body.texts is None and "alpha" not in body.options
        if not plain:
            search: Callable[..., Hits] = self.store.search
            return await asyncio.to_thread(search, body.vectors, text=body.texts, **body.options)
        # Checked here, so that one bad query does not spoil the batch that it would join.
        array = np.asarray(body.vectors)
        dim = self.store.dim if self.store.dim is not None else array.shape[-1]
        queries = check_queries(array, int(dim), self.store.metric == "cosine")
        return await self.batcher.search(queries, body.options)

    async def add(self, request: Request) -> Response:
        store = self._changeable()
        body = await bodies.add_body(request)
        verb = store.upsert if body.replace else store.add
        await asyncio.to_thread(verb, body.ids, body.vectors, body.texts, body.metadata)
        return JSONResponse({"added": len(body.ids), "documents": len(store)}, 201)

    async def get(self, request: Request) -> Response:
        ids = await bodies.ids_body(request)
        records = await asyncio.to_thread(self.store.get, ids)
        found = [{"id": r.id, "text": r.text, "metadata": r.metadata} for r in records]
        return JSONResponse({"documents": found})

    async def delete(self, request: Request) -> Response:
        store = self._changeable()
        ids = await bodies.ids_body(request)
        deleted = await asyncio.to_thread(store.delete, ids)
        return JSONResponse({"deleted": deleted, "documents": len(store)})

    def _changeable(self) -> Store:
        if not isinstance(self.store, Store) or not self.store.writable:
            raise HTTPException(403, "This server only reads. Start it with --writable.")
        return self.store


_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


async def _answered(handler: Handler, request: Request) -> Response:
    """What went wrong as a status and a sentence."""
    try:
        return await handler(request)
    except HTTPException as error:
        return JSONResponse({"error": error.detail}, error.status_code)
    except BadRequest as error:
        return JSONResponse({"error": str(error)}, 400)
    except (ValueError, TypeError) as error:
        # The body is what the route takes, but this store refuses it: ids that exist, another
        # dimension, no encoder, no index of words.
        return JSONResponse({"error": str(error)}, 409)
    except OSError as error:
        return JSONResponse({"error": str(error)}, 507)
    except StoreError as error:
        return JSONResponse({"error": str(error)}, 500)


async def _http_error(request: Request, error: Exception) -> Response:
    """404, 405 and the like as JSON too."""
    if not isinstance(error, HTTPException):
        return JSONResponse({"error": "internal error"}, 500)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def _lists(hits: Hits) -> tuple[list[Any], list[Any]]:
    return hits.ids.tolist(), hits.scores.tolist()


def _row(names: list[str | None], scores: list[float], texts: dict[str, Any]) -> list[Any]:
    row = []
    for name, score in zip(names, scores, strict=True):
        if name is None:
            break
        hit: dict[str, Any] = {"id": name, "score": score}
        if name in texts:
            hit |= {"text": texts[name].text, "metadata": texts[name].metadata}
        row.append(hit)
    return row
