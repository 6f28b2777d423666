"""Concurrent searches become one: what waits while a search runs is searched together next.

No timer: a single request is answered at once, a crowd shares the passes over the codes.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from attar.stores.types import Float32, Hits

Search = Callable[..., Hits]


@dataclass(frozen=True)
class _Waiting:
    queries: Float32
    options: dict[str, Any]
    answer: "asyncio.Future[Hits]"


class Batcher:
    """Gathers searches [m d] with equal options; results are those of searching one by one."""

    def __init__(self, search: Search, largest: int) -> None:
        self._search, self._largest = search, largest
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def search(self, queries: Float32, options: dict[str, Any]) -> Hits:
        """Hits of queries [m d]."""
        answer: asyncio.Future[Hits] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(queries, options, answer))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return await answer

    async def _work(self) -> None:
        while self._waiting:
            batch = self._take()
            try:
                queries = np.concatenate([one.queries for one in batch])
                hits = await asyncio.to_thread(self._search, queries, **batch[0].options)
            except Exception as error:
                for one in batch:
                    if not one.answer.done():
                        one.answer.set_exception(error)
                continue
            at = 0
            for one in batch:
                rows = slice(at, at + len(one.queries))
                at = rows.stop
                if not one.answer.done():
                    one.answer.set_result(Hits(hits.ids[rows], hits.scores[rows]))

    def _take(self) -> list[_Waiting]:
        """The oldest request and those that can go with it."""
        first = self._waiting[0]
        batch: list[_Waiting] = []
        rest: list[_Waiting] = []
        size = 0
        for one in self._waiting:
            if one.answer.done():
                continue
            fits = size + len(one.queries) <= self._largest or not batch
            if one.options == first.options and fits:
                batch.append(one)
                size += len(one.queries)
            else:
                rest.append(one)
        self._waiting = rest
        return batch
