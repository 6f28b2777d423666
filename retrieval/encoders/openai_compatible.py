"""Texts to vectors through an HTTP endpoint that speaks the embeddings API of OpenAI."""

import os
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.encoders.fingerprint import fingerprint_of
from attar.retrieval.encoders.pace import Pace, backoff, retry_after
from attar.retrieval.encoders.texts import checked_texts, checked_vectors
from attar.retrieval.extras import require

DEFAULT_URL = "https://api.openai.com/v1"
_TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


@final
@dataclass(frozen=True)
class OpenAICompatible:
    """An endpoint with `POST {base_url}/embeddings`: OpenAI, vLLM, Ollama, TEI and others.

    Timeouts, dropped connections, 429 and 5xx are tried again with exponential back-off and jitter,
    never sooner than Retry-After says; other refusals are errors at once.

    model: as the endpoint names it.
    base_url: up to and without `/embeddings`.
    api_key: sent as a bearer token. None takes OPENAI_API_KEY, but only for api.openai.com and for
    the address in OPENAI_BASE_URL: a key must not go to whoever wrote an address into a file.
    dimensions: asked of models that can shorten their vectors; None asks for nothing.
    batch_size, batch_chars: most texts and most characters of one request.
    concurrency: requests under way at once; the order of the vectors does not depend on it.
    requests_per_minute: starts of requests, tries included; None is no limit.
    retries: further tries of one request. timeout: seconds for one try.
    query_prompt, document_prompt: put in front of every text.
    """

    model: str
    base_url: str = DEFAULT_URL
    api_key: str | None = field(default=None, kw_only=True, repr=False)
    dimensions: int | None = field(default=None, kw_only=True)
    batch_size: int = field(default=128, kw_only=True)
    batch_chars: int = field(default=200_000, kw_only=True)
    concurrency: int = field(default=4, kw_only=True)
    requests_per_minute: float | None = field(default=None, kw_only=True)
    retries: int = field(default=6, kw_only=True)
    timeout: float = field(default=60.0, kw_only=True)
    query_prompt: str = field(default="", kw_only=True)
    document_prompt: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("http://", "https://")):
            raise ValueError(
                f"base_url starts with http:// or https://, got {self.base_url!r}; "
                f"for example {DEFAULT_URL}."
            )
        for name in ("batch_size", "batch_chars", "concurrency", "timeout"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}.")
        if self.retries < 0 or (self.requests_per_minute or 1) <= 0 or (self.dimensions or 1) < 1:
            raise ValueError(
                "retries is at least 0, requests_per_minute positive and dimensions at least 1, got"
                f" {self.retries}, {self.requests_per_minute} and {self.dimensions}."
            )
        object.__setattr__(self, "base_url", self.base_url.rstrip("/"))

    def __getstate__(self) -> dict[str, Any]:
        # Connections, and the lock in the pace, belong to one process.
        return {k: v for k, v in self.__dict__.items() if k not in ("_client", "_pace")}

    @property
    def name(self) -> str:
        """What `make_encoder` takes to make this encoder again (with default settings)."""
        short = "" if self.dimensions is None else f"#dimensions={self.dimensions}"
        return f"openai:{self.model}@{self.base_url}{short}"

    @cached_property
    def dim(self) -> int:
        """Dimensions d of the vectors, found by embedding one word."""
        return int(self._request(["probe"]).shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """Hash of address, model, dimension of a probe, and prompts.

        The numbers of the probe are not in it: such services answer the same text with vectors that
        differ in the last digits, and a rounded hash of them would change by chance. A model that
        is swapped behind its name is what the probe vectors of a store find.
        """
        url = require("httpx", "http").URL(self.base_url)
        return fingerprint_of(
            [
                ("host", f"{url.netloc.decode()}{url.path}"),
                ("model", self.model),
                ("dimensions", str(self.dim)),
                ("query_prompt", self.query_prompt),
                ("document_prompt", self.document_prompt),
            ]
        )

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Documents to float32 [n d]."""
        return self._encode(texts, self.document_prompt)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Queries to float32 [m d]."""
        return self._encode(texts, self.query_prompt)

    @cached_property
    def _pace(self) -> Pace:
        return Pace(self.requests_per_minute)

    @cached_property
    def _client(self) -> Any:
        key = self.api_key
        if key is None and self.base_url in (
            DEFAULT_URL,
            os.environ.get("OPENAI_BASE_URL", "").rstrip("/"),
        ):
            key = os.environ.get("OPENAI_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return require("httpx", "http").Client(headers=headers, timeout=self.timeout)

    def _encode(self, texts: Sequence[str], prompt: str) -> NDArray[np.float32]:
        checked = checked_texts(texts, self.name)
        if not checked:
            return np.zeros((0, self.dim), np.float32)
        batches = list(self._batches([prompt + text for text in checked]))
        # The first use of the client and of the pace happens here, before there are threads.
        _ = self._client, self._pace
        with ThreadPoolExecutor(min(self.concurrency, len(batches))) as pool:
            futures = [pool.submit(self._request, batch) for batch in batches]
            try:
                parts = [future.result() for future in futures]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        if len({part.shape[1] for part in parts}) > 1:
            raise ValueError(
                f"Encoder {self.name!r} must keep its dimension, got "
                f"{sorted({part.shape[1] for part in parts})}; use one model for all texts."
            )
        return checked_vectors(np.concatenate(parts), len(checked), None, self.name)

    def _batches(self, texts: list[str]) -> Iterator[list[str]]:
        batch: list[str] = []
        size = 0
        for text in texts:
            if batch and (len(batch) == self.batch_size or size + len(text) > self.batch_chars):
                yield batch
                batch, size = [], 0
            batch.append(text)
            size += len(text)
        if batch:
            yield batch

    def _request(self, texts: list[str]) -> NDArray[np.float32]:
        """One batch to float32 [n d], tried again while the trouble may pass."""
        httpx = require("httpx", "http")
        body: dict[str, Any] = {"model": self.model, "input": texts, "encoding_format": "float"}
        if self.dimensions is not None:
            body["dimensions"] = self.dimensions
        # Jitter must differ between processes, or they all come back at the same moment.
        draw = random.Random()
        for attempt in range(self.retries + 1):
            self._pace.wait()
            wait = None
            try:
                answer = self._client.post(f"{self.base_url}/embeddings", json=body)
            except httpx.TransportError as error:
                trouble = f"{type(error).__name__}: {error}"
            else:
                if answer.is_success:
                    return self._vectors(answer, len(texts))
                trouble = f"status {answer.status_code}: {answer.text[:300]}"
                if answer.status_code not in _TRANSIENT:
                    self._refused(answer.status_code, trouble)
                wait = retry_after(answer.headers.get("retry-after"))
            if attempt < self.retries:
                self._pace.pause(max(wait or 0.0, backoff(attempt, draw)))
        raise ConnectionError(
            f"Encoder {self.name!r} gave no answer in {self.retries + 1} tries, the last was "
            f"{trouble}; try later, or lower requests_per_minute or concurrency."
        )

    def _refused(self, status: int, trouble: str) -> None:
        remedy = "look at the model's name and at its limits on length and dimensions"
        if status in (401, 403):
            remedy = (
                "pass api_key=…, or set OPENAI_API_KEY (and OPENAI_BASE_URL to this address when "
                "it is not api.openai.com)"
            )
        raise ValueError(f"Encoder {self.name!r} was refused with {trouble}; {remedy}.")

    def _vectors(self, answer: Any, rows: int) -> NDArray[np.float32]:
        try:
            data = answer.json()["data"]
            order = sorted(range(len(data)), key=lambda row: data[row]["index"])
            indices = [data[row]["index"] for row in order]
            vectors = np.array([data[row]["embedding"] for row in order], np.float32)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"Encoder {self.name!r} must answer as the OpenAI embeddings API does, got "
                f"{answer.text[:200]!r} ({error}); look at base_url, which ends before /embeddings."
            ) from error
        if indices != list(range(rows)):
            raise ValueError(
                f"Encoder {self.name!r} must answer every text once, got {len(indices)} vectors "
                f"for {rows} texts; lower batch_size."
            )
        return checked_vectors(vectors, rows, None, self.name)
