"""The store: documents and their codes in a folder, searched exactly.

    store = Store.create("index", codec=fitted, metric="cosine")
    store.add(ids, vectors=x, texts=texts)
    hits = store.search(q, k=10)

One writer, many readers, each call one atomic commit. `attar.Store` and `attar.open` are this class
with spec strings and encoder names.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from attar.stores import adoption, clustering, creation, growth, inputs, recoding
from attar.stores.disk.catalog import SegmentRow
from attar.stores.disk.change import Change, plain_json, remove_orphans, seal_catalog
from attar.stores.disk.documents import Revision
from attar.stores.disk.durable import explained
from attar.stores.disk.library import Library
from attar.stores.disk.lock import WriterLock
from attar.stores.disk.migrate import migrate
from attar.stores.errors import EncoderMismatchError, StoreError
from attar.stores.inputs import Batch, Metadata
from attar.stores.probes import check_encoder, check_not_next
from attar.stores.protocols import Codec, Encoder, Recipe
from attar.stores.reading import StoreReading
from attar.stores.recoding import OnProgress
from attar.stores.types import Float32

StorePath = str | os.PathLike[str]


class Store(StoreReading):
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
        super().__init__(library, encoder)
        self._lock = lock
        self._recipe = recipe
        self._clustering: Future[int] | None = None

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
        text_index: bool = False,
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
        text_index
            Also index the words of the texts, for hybrid search; `index_texts` does it later.
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
            text_index=False,
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
        store = cls(library, lock, recipe, encoder)
        if text_index:
            store.index_texts()
        return store

    @classmethod
    def open(
        cls,
        path: StorePath,
        mode: str = "r",
        budget: int | None = None,
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
        budget
            Bytes that codes and sketches may take of memory: sketches stay there, codes are read
            from disk page by page and let go. Results are the same. None leaves it to the system.
        load_codec, load_recipe
            Turn the bytes of a fitted codec, and a spec string, into objects.
        encoder, fingerprint
            Compared with the store's; another one is refused. A store of bare arrays has no
            fingerprint, there only the dimension is compared.
        timeout
            Seconds to wait for another writer (and for readers, when an older format is migrated).
        """
        if mode not in ("r", "w"):
            raise ValueError(f"mode is 'r' or 'w', got {mode!r}.")
        if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int)):
            raise TypeError(f"budget is a number of bytes, got {budget!r:.40}.")
        folder = Path(path)
        # Before the lock: it would make a file in a folder that is not a store.
        creation.check_is_store(folder)
        lock = WriterLock(folder, timeout) if mode == "w" else None
        library = None
        try:
            with explained("Opening a store", folder):
                if mode == "w":
                    migrate(folder, timeout)
                library = Library(folder, mode == "w", load_codec, budget)
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
                f"{fingerprint}. Use that model, or change the store's:"
                " `attar upgrade DIR --to NAME`."
            )
        if encoder is not None:
            dim = meta["dim"]
            check_not_next(encoder, meta.get("upgrade"))
            if dim is not None and encoder.dim != dim:
                raise EncoderMismatchError(
                    f"This store holds vectors of {dim} dimensions ({name or 'bare arrays'}), "
                    f"{encoder.name} gives {encoder.dim}. Attach the encoder that made it, or "
                    "change the store's model: `attar upgrade DIR --to NAME`."
                )
            check_encoder(encoder, own, name, creation.unpack_probes(meta["probes"]))
        self._encoder = encoder

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
            norms = inputs.check_vectors(x, batch.ids, library.meta["dim"], cosine)
            replaced = np.array(sorted(old.values()), np.int64)
            addition = growth.Addition(batch, x, norms, replaced, noted)
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

    def update(
        self,
        ids: Iterable[str],
        texts: Sequence[str | None] | None = None,
        metadata: Metadata | None = None,
    ) -> None:
        """Replace texts, metadata or both of documents that exist, in one atomic commit.

        Vectors stay as they are, also when the text changes: `upsert` embeds again.
        """
        library = self._writable()
        batch = inputs.check_revision(ids, texts, metadata)
        with library.writing:
            slots = library.slots(batch.ids)
            for name in batch.ids:
                if name not in slots:
                    raise ValueError(f"update takes ids that exist; {name!r:.80} does not.")
            with Change(library, "Updating documents") as change:
                change.revise(
                    Revision(
                        [slots[name] for name in batch.ids],
                        None if texts is None else batch.texts,
                        None if metadata is None else batch.metadata,
                    )
                )

    def reencode(
        self, codec: Codec | Recipe | None = None, *, on_progress: OnProgress | None = None
    ) -> int:
        """Change the codec in place, from kept originals or else from codes; returns rows done.

        Commits segment by segment and answers searches meanwhile; without `codec` it goes on with
        a change that was interrupted. on_progress: called with (rows done, rows to do).
        """
        library = self._writable()
        with library.writing:
            if codec is not None:
                recoding.choose(library, codec)
            return recoding.reencode(library, on_progress)

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

    def cluster(
        self,
        cells: int | None = None,
        *,
        background: bool = False,
        seed: int = 0,
        threads: int | None = None,
    ) -> "Future[int]":
        """Group the vectors into cells (IVF), so that `search(exact=False)` reads few of them.

        Saves centres, sketches and calibrated widths in the folder `index`: derived data, about
        64 bytes per vector, read by whoever opens the store next. Segments below 20,000 vectors
        are scanned whole. Vectors that come later go to the cells that there are; call it again
        when the store has grown several times, or with other `cells`.

        Parameters
        ----------
        cells
            2 to 16,384; None takes the power of two nearest to the square root of the vectors.
        background
            Return at once; the future gives the number of vectors grouped. Searches and changes go
            on, `close` waits.
        """
        library = self._writable()
        count = clustering.check_cells(cells)
        if self._clustering is not None and not self._clustering.done():
            raise StoreError("This store is being clustered. Wait for the future of that call.")
        if background:
            self._clustering = clustering.in_background(library, count, seed, threads)
            return self._clustering
        done: Future[int] = Future()
        done.set_result(clustering.cluster(library, count, seed, threads))
        return done

    def index_texts(self) -> None:
        """Index the words of all texts, once, for hybrid search; later changes keep it current."""
        library = self._writable()
        with library.writing:
            if not library.meta["text_index"]:
                with Change(library, "Indexing texts") as change:
                    change.index_texts()

    @property
    def form(self) -> adoption.Form:
        """What new segments of this store are like, for `stores.adoption.prepare`."""
        return adoption.form_of(self._library)

    def adopt(
        self,
        folder: Path,
        rows: Sequence[SegmentRow],
        documents: Iterable[Batch],
        progress: dict[str, Any] | None = None,
    ) -> None:
        """Register documents that others encoded, in one commit; see `stores.adoption`."""
        library = self._writable()
        with library.writing:
            adoption.adopt(library, folder, rows, documents, plain_json(progress, "progress"))

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

    @property
    def writable(self) -> bool:
        """Whether this store was opened to be changed."""
        return self._lock is not None

    def close(self) -> None:
        """Close the store; a writer folds its log into the catalog and seals it."""
        if self._library.inherited:
            return
        if self._clustering is not None:
            wait([self._clustering])
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
