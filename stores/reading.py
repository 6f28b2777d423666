"""The reading half of a store: search, documents, vectors, what it costs."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attar.stores import inputs
from attar.stores.disk.library import Library
from attar.stores.disk.verify import Report, verify
from attar.stores.filters.dialect import check_filter
from attar.stores.hybrid import fuse, shape
from attar.stores.hybrid.mmr import maximal_marginal_relevance
from attar.stores.hybrid.retrieve import DEPTH, Wanted, dense_hits, hybrid_hits
from attar.stores.hybrid.shape import Ranking
from attar.stores.information import describe, sizes
from attar.stores.protocols import Codec, Encoder
from attar.stores.records import Record
from attar.stores.scan.how import How
from attar.stores.transfer.backup import backup
from attar.stores.types import Codes, Float32, Hits


class StoreReading:
    """What readers and writers can do; `attar.stores.store.Store` is the whole."""

    def __init__(self, library: Library, encoder: Encoder | None) -> None:
        self._library = library
        self._encoder = encoder

    def search(
        self,
        vector: ArrayLike | None = None,
        k: int = 10,
        *,
        text: str | Sequence[str] | None = None,
        filter: Mapping[str, Any] | None = None,
        exact: bool = True,
        recall: float | None = None,
        alpha: float | None = None,
        threads: int | None = None,
        impl: str = "auto",
        offset: int = 0,
        min_score: float | None = None,
        group_by: str | None = None,
        group_size: int = 1,
    ) -> Hits:
        """The k best documents per query by the scores of their codes.

        Parameters
        ----------
        vector
            One query [d] or several [m d]; any real dtype and memory order.
        k
            Hits per query, at least 1; fewer come back when fewer documents match.
        text
            One question or several. Alone it is embedded by the attached encoder. With `vector`, or
            with `alpha`, words count too (BM25 over the texts, see `index_texts`).
        filter
            On metadata, see `stores.filters.dialect`.
        alpha
            Share of the vectors' scores in a search by words and vectors, 0 (words only, no encoder
            needed) to 1, both scaled to [0, 1]; None fuses by reciprocal rank.
        exact
            True: exactly the best of the codes. False: about `recall` of them, from fewer bytes.
        recall
            With exact=False: share of the exact top-k that is wanted, .99 when None.
        threads
            Threads over blocks of rows; None takes the CPUs. Never changes an exact result.
        impl
            auto, numpy (the same results, slower), native, or a level of it: portable, avx2,
            avx512vnni, amx, and on 64-bit Arm neon (with dot products).
        offset
            Leave out that many best hits: the next page. On a reader's snapshot pages neither
            overlap nor miss anything.
        min_score
            Leave out what scores less.
        group_by, group_size
            Keep the `group_size` best of each value of this metadata field.

        Returns
        -------
        Hits
            ids [m k'] and float32 scores [m k'], k' = min(k, live matches), best first; ties by id.
            With words, thresholds or groups a row may be shorter: it ends with None and -inf.
        """
        how = How(threads, exact, recall, impl)
        k = inputs.check_k(k)
        wanted = Wanted(k, filter, how, offset, min_score, group_by, group_size, alpha)
        _ = self._library.connection
        if filter is not None:
            check_filter(filter)
        if alpha is None and (vector is None or text is None):
            return dense_hits(self._library, self._queries(vector, text), wanted)
        if text is None:
            raise ValueError("alpha= weighs words against vectors; give the words with text=.")
        texts = [text] if isinstance(text, str) else list(text)
        queries = None
        if alpha != 0:
            queries = self._queries(vector, None) if vector is not None else self._asked(texts)
            if len(queries) != len(texts):
                raise ValueError(
                    f"text and vector have one entry per query: {len(texts)} texts, "
                    f"{len(queries)} vectors."
                )
        return hybrid_hits(self._library, queries, texts, wanted)

    def search_fused(self, vectors: ArrayLike, k: int = 10, **options: Any) -> Ranking:
        """One ranking for several queries [m d] that mean the same, by reciprocal rank.

        Returns at most k pairs (id, fused score). options: as for `search`.
        """
        k = inputs.check_k(k)
        hits = self.search(vectors, DEPTH, **options)
        names = [[name for name, _ in ranking] for ranking in shape.as_rankings(hits)]
        return fuse.best(fuse.reciprocal_rank(names), k)

    def search_diverse(
        self,
        vector: ArrayLike,
        k: int = 10,
        *,
        fetch_k: int = 50,
        lambda_mult: float = 0.5,
        **options: Any,
    ) -> Hits:
        """The k hits of one query [d] by maximal marginal relevance among its `fetch_k` best.

        lambda_mult: 1 is relevance only, 0 diversity only. Scores are those of `search`.
        """
        k = inputs.check_k(k)
        query = self._queries(vector, None)
        if len(query) != 1:
            raise ValueError(f"search_diverse takes one query, got {len(query)}.")
        with self._library.guard:
            hits = self.search(query, max(k, inputs.check_k(fetch_k)), **options)
            names = [str(name) for name in hits.ids[0]]
            cosines = hits.scores[0] if self._library.meta["metric"] == "cosine" else None
            vectors = self.vectors(names)
            chosen = maximal_marginal_relevance(query[0], vectors, k, lambda_mult, cosines)
        return Hits(hits.ids[:, chosen], hits.scores[:, chosen])

    def _queries(self, vector: ArrayLike | None, text: str | Sequence[str] | None) -> Float32:
        meta = self._library.meta
        if vector is None and text is None:
            raise ValueError("A search takes vector= or text=, got neither.")
        if vector is None:
            return self._asked([text] if isinstance(text, str) else list(text or ()))
        array = np.asarray(vector)
        dim = meta["dim"] if meta["dim"] is not None else array.shape[-1]
        return inputs.check_queries(array, int(dim), meta["metric"] == "cosine")

    def _asked(self, texts: list[str]) -> Float32:
        """Vectors of questions, by the attached encoder."""
        if self._encoder is None:
            raise ValueError(
                "A search by text needs the store's encoder, none is attached. Pass vector=, "
                "attach the encoder when opening, or search by words alone with alpha=0."
            )
        if not texts:
            return np.zeros((0, self._encoder.dim), np.float32)
        return self._queries(self._encoder.encode_queries(texts), None)

    def get(self, ids: Iterable[str]) -> list[Record]:
        """Documents by id, in the order of `ids`; those that do not exist are left out."""
        return [record for _, record in self._library.records(inputs.check_ids(ids))]

    def iter(self, batch: int = 1000, *, vectors: bool = False) -> Iterator[Record]:
        """All documents in the order in which they were added, `batch` in memory at a time."""
        if batch < 1:
            raise ValueError(f"batch is at least 1, got {batch}.")
        slot = -1
        while True:
            with self._library.guard:
                rows = self._library.after(slot, batch)
                if vectors and rows:
                    x = self._vectors([one for one, _ in rows])
            if not rows:
                return
            slot = rows[-1][0]
            for index, (_, record) in enumerate(rows):
                vector = x[index] if vectors else None
                yield Record(record.id, record.text, record.metadata, vector)

    def vectors(self, ids: Iterable[str], *, originals: bool = False) -> Float32:
        """Vectors float32 [n d] in the order of `ids`: decoded, or the kept originals.

        Decoded ones come as the metric stores them: a cosine store gives them scaled to its
        codec's norm. originals=True needs a store made with keep_originals=True.
        """
        if originals and not self._library.meta["keep_originals"]:
            raise ValueError(
                "originals=True needs a store made with keep_originals=True; this one keeps codes "
                "only. Leave it out to get decoded vectors."
            )
        names = inputs.check_ids(ids)
        with self._library.guard:
            slots = self._library.slots(names)
            for name in names:
                if name not in slots:
                    raise ValueError(f"vectors takes ids that exist; {name!r:.80} does not.")
            return self._vectors([slots[name] for name in names], originals)

    def codes(self, ids: Iterable[str]) -> Codes:
        """Codes in the order of `ids`, which one codec must have made (see `info`)."""
        names = inputs.check_ids(ids)
        with self._library.guard:
            slots = self._library.slots(names)
            for name in names:
                if name not in slots:
                    raise ValueError(f"codes takes ids that exist; {name!r:.80} does not.")
            return self._library.snapshot.codes(np.array([slots[n] for n in names], np.int64))

    @property
    def codec(self) -> Codec:
        """The fitted codec of new documents; ValueError before it is fitted."""
        name = self._library.meta["codec"]
        if name is None:
            raise ValueError("The codec of this store is not fitted yet; add documents first.")
        return self._library.codec_of(name)

    def _vectors(self, slots: list[int], originals: bool = False) -> Float32:
        dim = int(self._library.meta["dim"] or 0)
        return self._library.snapshot.vectors(np.array(slots, np.int64), dim, originals)

    def __len__(self) -> int:
        return self._library.snapshot.live

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self._library.slots([name]))

    def verify(self) -> Report:
        """Compare everything on disk with its checksums and cross-references; changes nothing."""
        return verify(self._library.folder)

    def backup(self, path: str | os.PathLike[str]) -> int:
        """Copy this store's commit into a new folder while it is in use; returns its bytes."""
        return backup(self._library, Path(path))

    def info(self) -> dict[str, Any]:
        """What the store is and what it costs, as plain values."""
        return describe(self._library)

    def sizes(self) -> dict[str, int]:
        """Bytes of texts, metadata, ids, filters and the full-text index; reads all of them."""
        return sizes(self._library)

    @property
    def path(self) -> Path:
        """The folder."""
        return self._library.folder

    @property
    def commit(self) -> int:
        """Number of the commit that is read."""
        return self._library.snapshot.counter

    @property
    def metric(self) -> str:
        """cosine, ip or l2."""
        return str(self._library.meta["metric"])

    @property
    def dim(self) -> int | None:
        """Dimensions of the vectors; None before the first one came."""
        dim = self._library.meta["dim"]
        return None if dim is None else int(dim)

    @property
    def library(self) -> Library:
        """The folder's reading side, for rooms that build on stores."""
        return self._library

    @property
    def encoder(self) -> Encoder | None:
        """The attached encoder."""
        return self._encoder

    @property
    def manifest(self) -> dict[str, Any] | None:
        """What the store was built from, as given to `create`."""
        manifest: dict[str, Any] | None = self._library.meta["manifest"]
        return manifest

    @property
    def progress(self) -> dict[str, Any] | None:
        """The progress record of the last commit that carried one."""
        progress: dict[str, Any] | None = self._library.meta["progress"]
        return progress

    def refresh(self) -> None:
        """Move a reader to the newest commit."""
        self._library.refresh()
