"""The changing half of a store: each verb is one atomic commit."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attar.stores import adoption, clustering, graphing, growth, inputs, recoding
from attar.stores.background import made
from attar.stores.disk.catalog import SegmentRow
from attar.stores.disk.change import Change, plain_json
from attar.stores.disk.documents import Revision
from attar.stores.disk.library import Library
from attar.stores.disk.lock import WriterLock
from attar.stores.errors import StoreError
from attar.stores.inputs import Batch, Metadata
from attar.stores.protocols import Codec, Encoder, Recipe
from attar.stores.reading import StoreReading
from attar.stores.recoding import OnProgress
from attar.stores.types import Float32


class StoreWriting(StoreReading):
    """What only writers can do; `attar.stores.store.Store` is the whole."""

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
        self._deriving: Future[int] | None = None

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
        return self._derive(lambda: clustering.cluster(library, count, seed, threads), background)

    def graph(
        self,
        links: int = 64,
        *,
        background: bool = False,
        seed: int = 0,
        threads: int | None = None,
    ) -> "Future[int]":
        """Link every vector to its neighbours, so that few queries at once meet few vectors.

        `search(exact=False)` of up to eight queries then walks this graph (HNSW's ground layer,
        arXiv 1603.09320, made by faiss over bytes of the leading coordinates) and refines what it
        meets by the codes. Larger batches, narrow filters, recalls that the graph does not reach,
        and stores opened with a budget use the sketch as before. Saved in the folder `index`:
        derived data, about dim / 4 + 4 `links` bytes per vector, all of them in memory for a
        search. Takes minutes for a million vectors. Vectors that come later are searched as
        before; call it again to link them: a segment's graph that fits stays.

        Parameters
        ----------
        links
            At most so many for each vector: 8 to 256, even.
        background, seed, threads
            As for `cluster`; only one thread gives the same graph again.
        """
        library = self._writable()
        most = graphing.check_links(links)
        return self._derive(lambda: graphing.graph(library, most, seed, threads), background)

    def _derive(self, work: Callable[[], int], background: bool) -> "Future[int]":
        if self._deriving is not None and not self._deriving.done():
            raise StoreError("An index of this store is being made. Wait for that call's future.")
        future = made(work, background)
        if background:
            self._deriving = future
        return future

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
