"""The store: documents and their codes in a folder, searched exactly.

    store = Store.create("index", codec=fitted, metric="cosine")
    store.add(ids, vectors=x, texts=texts)
    hits = store.search(q, k=10)

One writer, many readers, each call one atomic commit. `attar.Store` and `attar.open` are this class
with spec strings and encoder names.
"""

import os
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path
from typing import Any, Self

from attar.stores import creation, inputs
from attar.stores.closing import Closing
from attar.stores.disk.change import plain_json, remove_orphans, seal_catalog
from attar.stores.disk.durable import explained
from attar.stores.disk.library import Library
from attar.stores.disk.lock import WriterLock
from attar.stores.disk.migrate import migrate
from attar.stores.errors import EncoderMismatchError
from attar.stores.probes import check_encoder, check_not_next
from attar.stores.protocols import Codec, Encoder, Recipe
from attar.stores.writing import StoreWriting

StorePath = str | os.PathLike[str]


class Store(StoreWriting, Closing):
    """An open store. Make one with `create`, open one with `open`; a context manager closes it.

    Threads may share a store; a forked process must open its own.
    """

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

    def close(self) -> None:
        """Close the store; a writer folds its log into the catalog and seals it."""
        if self._library.inherited:
            return
        if self._deriving is not None:
            wait([self._deriving])
        if self._lock is not None:
            lock, self._lock = self._lock, None
            try:
                seal_catalog(self._library)
            finally:
                self._library.close()
                lock.release()
        self._library.close()
