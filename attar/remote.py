"""Stores behind `attar serve`, on any number of machines, searched as one.

    store = RemoteStore(["http://10.0.0.1:8600", "http://10.0.0.2:8600"])
    hits = store.search(q, k=10)

Every server is asked at once and the answers are merged by score, then id: exactly what one store
with all documents would answer. Replicas of a shard are balanced by a proxy in front of them, whose
URL is given here.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attar.encoders import encoder as make_encoder
from attar.retrieval.extras import require
from attar.stores.closing import Closing
from attar.stores.errors import StoreError
from attar.stores.inputs import check_k, check_queries
from attar.stores.probes import check_encoder
from attar.stores.records import Record
from attar.stores.shards.group import check_alike, refuse_apart
from attar.stores.shards.merge import merge
from attar.stores.types import Hits

CODECS = "x-attar-codecs"
"""Header of an answer: hashes of the codecs that scored it."""


class ShardError(StoreError):
    """A shard does not answer, or answers what it may not."""


@dataclass(frozen=True)
class RemoteHits(Hits):
    """Hits, and the URLs of shards that did not answer (only where partial answers are allowed)."""

    missing: tuple[str, ...] = ()


class RemoteStore(Closing):
    """The shards at `urls` as one store for reading; a context manager closes it.

    urls: of servers, `http(s)://host:port`, each a shard or a group of them; ids are unique over
    all. partial: answer without shards that are dead, saying which in `RemoteHits.missing`, instead
    of raising ShardError. api_key: sent to every server. encoder: embeds texts here, once; without
    it every server embeds them with its own. timeout: seconds for one answer.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        partial: bool = False,
        api_key: str | None = None,
        encoder: Any = None,
        timeout: float = 10.0,
    ) -> None:
        if isinstance(urls, str) or not urls or len(set(urls)) < len(urls):
            raise ValueError(f"urls is a list of different servers, at least one; got {urls!r}.")
        self._httpx = require("httpx", "http")
        head = {} if api_key is None else {"authorization": f"Bearer {api_key}"}
        self._urls = tuple(url.rstrip("/") for url in urls)
        self._partial = partial
        self._client = self._httpx.Client(headers=head, timeout=timeout)
        self._pool = ThreadPoolExecutor(len(urls), thread_name_prefix="attar-shard")
        try:
            self._facts = self._asked("GET", "/v1/info")[0]
            check_alike(self._facts)
            self._encoder = None if encoder is None else make_encoder(encoder)
            if self._encoder is not None:
                facts = self.info()
                check_encoder(self._encoder, facts["fingerprint"], facts["encoder"], None)
        except BaseException:
            self.close()
            raise

    def search(
        self,
        vector: ArrayLike | None = None,
        k: int = 10,
        *,
        text: str | Sequence[str] | None = None,
        filter: Mapping[str, Any] | None = None,
        offset: int = 0,
        min_score: float | None = None,
        **options: Any,
    ) -> RemoteHits:
        """The k best documents of all shards; the arguments are those of `Store.search`.

        What each shard would count by itself (words, groups) is refused.
        """
        k = check_k(k)
        refuse_apart(options)
        if options:
            raise ValueError(f"A remote search does not know {sorted(options)[0]}; leave it out.")
        if (vector is None) == (text is None):
            raise ValueError("A remote search takes vector or text, one of them.")
        body: dict[str, Any] = {"k": k + offset}
        if filter is not None:
            body["filter"] = dict(filter)
        if min_score is not None:
            body["min_score"] = min_score
        body |= self._question(vector, text)
        answers, missing = self._asked("POST", "/v1/search", body)
        return RemoteHits(*self._merged(answers, k, offset), missing)

    def _question(self, vector: ArrayLike | None, text: Any) -> dict[str, Any]:
        texts = [text] if isinstance(text, str) else text
        if texts is not None and self._encoder is None:
            return {"text": list(texts)}
        if texts is not None and self._encoder is not None:
            vector = self._encoder.encode_queries(list(texts))
        facts = self.info()
        array = np.asarray(vector)
        dim = facts["dim"] if facts["dim"] is not None else array.shape[-1]
        return {"vector": check_queries(array, int(dim), facts["metric"] == "cosine").tolist()}

    def _merged(self, answers: Mapping[str, Any], k: int, offset: int) -> tuple[Any, Any]:
        parts = []
        for answer in answers.values():
            rows = answer["hits"]
            width = max(map(len, rows), default=0)
            ids = np.full((len(rows), width), None, object)
            scores = np.full((len(rows), width), -np.inf, np.float32)
            for q, row in enumerate(rows):
                for column, hit in enumerate(row):
                    ids[q, column], scores[q, column] = hit["id"], hit["score"]
            parts.append(Hits(ids, scores))
        hits = merge(parts, k, offset)
        return hits.ids, hits.scores

    def get(self, ids: Iterable[str]) -> list[Record]:
        """Documents by id, in the order of `ids`; those that no shard has are left out."""
        names = list(ids)
        answers, _ = self._asked("POST", "/v1/documents/get", {"ids": names})
        found = {
            one["id"]: Record(one["id"], one["text"], one["metadata"])
            for answer in answers.values()
            for one in answer["documents"]
        }
        return [found[name] for name in names if name in found]

    def info(self) -> dict[str, Any]:
        """`Store.info` of the first shard that has documents, at the start, with n of all."""
        facts = list(self._facts.values())
        best: dict[str, Any] = next((one for one in facts if one["n"]), facts[0])
        return best | {"n": sum(one["n"] for one in facts), "shards": len(facts)}

    def __len__(self) -> int:
        answers, _ = self._asked("GET", "/v1/info")
        return sum(int(facts["n"]) for facts in answers.values())

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _asked(
        self, method: str, path: str, body: Any = None
    ) -> tuple[dict[str, dict[str, Any]], tuple[str, ...]]:
        """Answers of all shards by URL, and those that are missing."""
        tasks = {url: self._pool.submit(self._ask, method, url, path, body) for url in self._urls}
        answers, missing = {}, []
        for url, task in tasks.items():
            try:
                answers[url] = task.result()
            except ShardError:
                if not self._partial:
                    raise
                missing.append(url)
        if not answers:
            raise ShardError(f"None of the {len(self._urls)} shards answers; start them.")
        return answers, tuple(missing)

    def _ask(self, method: str, url: str, path: str, body: Any) -> dict[str, Any]:
        try:
            response = self._client.request(method, url + path, json=body)
        except self._httpx.HTTPError as error:
            raise ShardError(
                f"The shard {url} does not answer ({error or type(error).__name__}). Start it, or "
                "pass partial=True for answers without it."
            ) from error
        if response.status_code >= 500:
            raise ShardError(f"The shard {url} fails: {_said(response)}")
        if response.status_code in (401, 403):
            raise PermissionError(f"The shard {url} refuses: {_said(response)} Look at api_key.")
        if response.status_code >= 400:
            raise ValueError(f"The shard {url} refuses: {_said(response)}")
        self._check_codec(url, response)
        answer: dict[str, Any] = response.json()
        return answer

    def _check_codec(self, url: str, response: Any) -> None:
        """A shard that changed its codec since the start gives scores that do not compare."""
        now = response.headers.get(CODECS)
        known = getattr(self, "_facts", {})
        if now is None or not known:
            return
        expected = ",".join(self.info()["codecs"])
        if now != expected:
            raise StoreError(
                f"The shard {url} now has the codec {now or 'float32'}, the others had {expected}. "
                "Bring all shards to one codec and make a new RemoteStore."
            )


def _said(response: Any) -> str:
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"status {response.status_code}"
