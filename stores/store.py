"""The store: documents and their codes in a folder, searched exactly.

    store = Store.create("index", codec=fitted, metric="cosine")
    store.add(ids, vectors=x, texts=texts)
    hits = store.search(q, k=10)

One writer, many readers, each call one atomic commit. `attar.Store` and `attar.open` are this class
with spec strings and encoder names.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from attar.stores import creation, growth, inputs
from attar.stores.disk.change import Change, plain_json, remove_orphans, seal_catalog
from attar.stores.disk.library import Library
from attar.stores.disk.lock import WriterLock
from attar.stores.disk.verify import Report, verify
from attar.stores.errors import EncoderMismatchError, StoreError
from attar.stores.filters.dialect import check_filter
from attar.stores.information import describe
from attar.stores.inputs import Batch, Metadata
from attar.stores.probes import check_encoder
from attar.stores.protocols import Codec, Encoder, Recipe
from attar.stores.records import Record
from attar.stores.search import search
from attar.stores.types import Float32, Hits

StorePath = str | os.PathLike[str]


class Store:
    """An open store. Make one with `create`, open one with `open`; a context manager closes it.

    Threads may share a store; a forked process must open its own.
    """

    def __init__(
        self,
        library: Library,
        lock: WriterLock | None,
        recipe: Recipe | None,
        encoder: Encoder | None,
    ) -> None:
        self._library = library
        self._lock = lock
        self._recipe = recipe
        self._encoder = encoder

    @classmethod
    def create(
        cls,
        path: StorePath,
        codec: Codec | Recipe,
        encoder: Encoder | None = None,
        metric: str = "cosine",
        keep_originals: bool | None = None,
        overwrite: bool = False,
        *,
        fingerprint: str | None = None,
        train_at: int = 5000,
        seed: int = 0,
        manifest: dict[str, Any] | None = None,
    ) -> Self:
        """Make an empty store and open it for writing.

        Parameters
        ----------
        path
            A folder that does not exist yet.
        codec
            Fitted, or a recipe. A recipe that learns is fitted by the add that brings the store to
            `train_at` documents (and to what the recipe needs); before, it serves exact float32.
        encoder
            Embeds texts in `add` and `search`; its fingerprint and probe vectors are kept.
        metric
            "cosine" (zero vectors are refused), "ip" or "l2" (scores are negative squared
            distances, 4 bytes more per vector). Higher is always better.
        keep_originals
            Also keep the vectors as float32; None means no.
        overwrite
            Replace a store that is already there. Anything else that exists is refused.
        fingerprint
            Names the model of vectors that come without an encoder. Without it bare arrays are
            checked for their dimension only.
        train_at
            Documents to have before a recipe that learns is fitted, at least 1.
        seed
            Of the choice of documents to fit on and of the fit.
        manifest
            Any JSON object that says what the store was built from.
        """
        target = Path(path)
        inputs.check_metric(metric)
        if train_at < 1:
            raise ValueError(f"train_at is at least 1, got {train_at}.")
        meta = creation.initial_meta(
            codec,
            encoder,
            fingerprint,
            metric=metric,
            keep_originals=bool(keep_originals),
            train_at=int(train_at),
            seed=int(seed),
            manifest=plain_json(manifest, "manifest"),
        )
        creation.check_target(target, overwrite)
        fitted = codec if isinstance(codec, Codec) else None
        lock = creation.make_folder(target, meta, fitted, overwrite)
        try:
            library = Library(target, True, None)
        except BaseException:
            lock.release()
            raise
        if fitted is not None:
            library.remember(library.meta["codec"], fitted)
        recipe = codec if fitted is None and isinstance(codec, Recipe) else None
        return cls(library, lock, recipe, encoder)

    @classmethod
    def open(
        cls,
        path: StorePath,
        mode: str = "r",
        budget: int | str | None = None,
        *,
        load_codec: Callable[[bytes], Codec] | None = None,
        load_recipe: Callable[[str], Recipe] | None = None,
        encoder: Encoder | None = None,
        fingerprint: str | None = None,
        timeout: float = 0.0,
    ) -> Self:
        """Open a store: "r" for a snapshot to search, "w" to change it (one writer at a time).

        Parameters
        ----------
        load_codec, load_recipe
            Turn the bytes of a fitted codec, and a spec string, into objects.
        encoder, fingerprint
            Compared with the store's; another one is refused. A store of bare arrays has no
            fingerprint, there only the dimension is compared.
        timeout
            Seconds to wait for another writer.
        """
        if mode not in ("r", "w"):
            raise ValueError(f"mode is 'r' or 'w', got {mode!r}.")
        if budget is not None:
            raise ValueError(
                "budget= needs a nested code, which this store does not have. Leave it out; codes "
                "are memory-mapped, so the system keeps in memory what is used."
            )
        folder = Path(path)
        # Before the lock: it would make a file in a folder that is not a store.
        creation.check_is_store(folder)
        lock = WriterLock(folder, timeout) if mode == "w" else None
        library = None
        try:
            library = Library(folder, mode == "w", load_codec)
            if mode == "w":
                remove_orphans(library)
            recipe = None
            if library.meta["codec"] is None and load_recipe is not None:
                recipe = load_recipe(str(library.meta["spec"]))
            store = cls(library, lock, recipe, None)
            store._attach(encoder, fingerprint)
        except BaseException:
            if library is not None:
                library.close()
            if lock is not None:
                lock.release()
            raise
        return store

    def _attach(self, encoder: Encoder | None, fingerprint: str | None) -> None:
        meta = self._library.meta
        own, name = str(meta["fingerprint"]), str(meta["encoder"])
        if fingerprint is not None and own and fingerprint != own:
            raise EncoderMismatchError(
                f"This store holds vectors of {name or 'the model'} with fingerprint {own}, got "
                f"{fingerprint}. Use that model, or re-embed into a new store."
            )
        if encoder is not None:
            dim = meta["dim"]
            if dim is not None and encoder.dim != dim:
                raise EncoderMismatchError(
                    f"This store holds vectors of {dim} dimensions ({name or 'bare arrays'}), "
                    f"{encoder.name} gives {encoder.dim}. Attach the encoder that made it."
                )
            check_encoder(encoder, own, name, creation.unpack_probes(meta["probes"]))
        self._encoder = encoder

    # -- changing ---------------------------------------------------------------------------------

    def add(
        self,
        ids: Iterable[str],
        vectors: ArrayLike | None = None,
        texts: Sequence[str | None] | None = None,
        metadata: Metadata | None = None,
        *,
        progress: dict[str, Any] | None = None,
    ) -> None:
        """Add documents in one atomic commit; ids that exist are refused.

        Parameters
        ----------
        vectors
            [n d]; None lets the attached encoder embed the texts. Not changed, and read in blocks,
            so that a memory map of any size will do.
        texts
            [n] strings or None, kept beside the vectors.
        metadata
            [n] JSON objects or None, for filters.
        progress
            Any JSON object to be kept in the same commit (see `progress`): what a build needs to
            know to go on after an interruption.
        """
        self._put(ids, vectors, texts, metadata, progress, replace=False)

    def upsert(
        self,
        ids: Iterable[str],
        vectors: ArrayLike | None = None,
        texts: Sequence[str | None] | None = None,
        metadata: Metadata | None = None,
        *,
        progress: dict[str, Any] | None = None,
    ) -> None:
        """As `add`, but ids that exist are replaced whole: vector, text and metadata."""
        self._put(ids, vectors, texts, metadata, progress, replace=True)

    def _put(
        self,
        ids: Iterable[str],
        vectors: ArrayLike | None,
        texts: Sequence[str | None] | None,
        metadata: Metadata | None,
        progress: dict[str, Any] | None,
        replace: bool,
    ) -> None:
        library = self._writable()
        batch = inputs.check_batch(ids, texts, metadata)
        noted = plain_json(progress, "progress")
        with library.writing:
            old = library.slots(batch.ids)
            if old and not replace:
                raise ValueError(
                    f"add takes new ids; {len(old)} exist already, among them "
                    f"{next(iter(old))!r:.80}. Use upsert to replace them."
                )
            x = self._embed(batch) if vectors is None else inputs.as_vectors(vectors)
            cosine = library.meta["metric"] == "cosine"
            inputs.check_vectors(x, batch.ids, library.meta["dim"], cosine)
            replaced = np.array(sorted(old.values()), np.int64)
            addition = growth.Addition(batch, x, replaced, noted)
            growth.grow(library, self._recipe, addition)

    def _embed(self, batch: Batch) -> Float32:
        if self._encoder is None:
            raise ValueError(
                "Documents come with vectors, or with texts for the store's encoder; there are no "
                "vectors and no encoder. Pass vectors=, or attach an encoder when opening."
            )
        texts = [text for text in batch.texts if text is not None]
        if len(texts) < len(batch):
            missing = batch.ids[batch.texts.index(None)]
            raise ValueError(f"The encoder needs a text for every id; {missing!r:.80} has none.")
        return inputs.as_vectors(self._encoder.encode_documents(texts))

    def delete(self, ids: Iterable[str]) -> int:
        """Delete documents in one atomic commit; returns how many existed."""
        library = self._writable()
        names = inputs.check_ids(ids)
        with library.writing:
            slots = library.slots(names)
            if slots:
                growth.shrink(library, np.array(sorted(slots.values()), np.int64))
        return len(slots)

    def compact(self) -> None:
        """Give back the space of deleted documents and join segments, in one atomic commit."""
        library = self._writable()
        with library.writing:
            growth.compact(library)

    def set_progress(self, progress: dict[str, Any] | None) -> None:
        """Replace the progress record in a commit of its own."""
        noted = plain_json(progress, "progress")
        with Change(self._writable(), "Noting progress") as change:
            change.set_meta(progress=noted)

    def _writable(self) -> Library:
        if self._lock is None:
            raise StoreError(
                f"{self._library.folder} is open for reading. Open it with mode='w' to change it."
            )
        _ = self._library.connection
        return self._library

    # -- reading ----------------------------------------------------------------------------------

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
    ) -> Hits:
        """The k best documents per query, exactly, by the scores of their codes.

        Parameters
        ----------
        vector
            One query [d] or several [m d]; any real dtype and memory order.
        k
            Hits per query, at least 1; fewer come back when fewer documents match.
        text
            One question or several, embedded by the attached encoder; instead of `vector`.
        filter
            On metadata, see `stores.filters.dialect`.
        threads
            Threads over blocks of rows, the matrix products single-threaded; None leaves it to the
            matrix library. Never changes the result.

        Returns
        -------
        Hits
            ids [m k'] and float32 scores [m k'], k' = min(k, live matches), best first; ties by id.
        """
        _check_plain(exact, recall, alpha, threads, impl)
        k = inputs.check_k(k)
        _ = self._library.connection
        if filter is not None:
            check_filter(filter)
        queries = self._queries(vector, text)
        return search(self._library, queries, k, filter, threads)

    def _queries(self, vector: ArrayLike | None, text: str | Sequence[str] | None) -> Float32:
        meta = self._library.meta
        if (vector is None) == (text is None):
            raise ValueError("A search takes vector= or text=, exactly one of them.")
        if vector is None:
            if self._encoder is None:
                raise ValueError(
                    "A search by text needs the store's encoder, none is attached. Pass vector=, "
                    "or attach the encoder when opening."
                )
            texts = [text] if isinstance(text, str) else list(text or ())
            vector = np.zeros((0, self._encoder.dim), np.float32)
            if texts:
                vector = self._encoder.encode_queries(texts)
        array = np.asarray(vector)
        dim = meta["dim"] if meta["dim"] is not None else array.shape[-1]
        return inputs.check_queries(array, int(dim), meta["metric"] == "cosine")

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

    def vectors(self, ids: Iterable[str]) -> Float32:
        """Decoded vectors float32 [n d] in the order of `ids`, as the metric stores them.

        A cosine store gives them scaled to its codec's norm.
        """
        names = inputs.check_ids(ids)
        with self._library.guard:
            slots = self._library.slots(names)
            for name in names:
                if name not in slots:
                    raise ValueError(f"vectors takes ids that exist; {name!r:.80} does not.")
            return self._vectors([slots[name] for name in names])

    def _vectors(self, slots: list[int]) -> Float32:
        dim = int(self._library.meta["dim"] or 0)
        return self._library.snapshot.vectors(np.array(slots, np.int64), dim)

    def __len__(self) -> int:
        return self._library.snapshot.live

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self._library.slots([name]))

    def verify(self) -> Report:
        """Compare everything on disk with its checksums and cross-references; changes nothing."""
        return verify(self._library.folder)

    def info(self) -> dict[str, Any]:
        """What the store is and what it costs, as plain values."""
        return describe(self._library)

    @property
    def path(self) -> Path:
        """The folder."""
        return self._library.folder

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

    def close(self) -> None:
        """Close the store; a writer folds its log into the catalog and seals it."""
        if self._lock is not None:
            lock, self._lock = self._lock, None
            try:
                seal_catalog(self._library)
            finally:
                self._library.close()
                lock.release()
        self._library.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _check_plain(
    exact: bool, recall: float | None, alpha: float | None, threads: int | None, impl: str
) -> None:
    """Refuse what has no effect yet instead of ignoring it."""
    if not exact or recall is not None:
        raise ValueError("This store searches exactly; leave out exact= and recall=.")
    if alpha is not None:
        raise ValueError("alpha= weighs text against vector; this search has no text index.")
    if threads is not None and (isinstance(threads, bool) or threads < 1):
        raise ValueError(f"threads is at least 1, or None, got {threads!r}.")
    if impl not in ("auto", "reference"):
        raise ValueError(f"impl is 'auto' or 'reference', got {impl!r}.")
