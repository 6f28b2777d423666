"""Changing the model of a store that is in use.

    with attar.open("index", mode="w") as store:
        upgrade = Upgrade.begin(store, old, new)     # the bridge answers from here on
        upgrade.run()                                # may be killed and run again
        upgrade.commit()                             # or upgrade.rollback()

Until the commit the store can be opened with its old encoder as ever, by releases that know of
upgrades; `Upgrade` searches both models' vectors.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.compat.beginning import (
    check_bridge,
    check_texts,
    codec_for,
    metric_scores,
    present,
    scale_of,
    some_slots,
    stored_adapter,
    texts_of,
)
from attar.retrieval.compat.choosing import DOCUMENT, MOST_PAIRS, QUERY, SIDES, choose_bridge
from attar.retrieval.compat.made_questions import made_questions
from attar.retrieval.compat.options import BRIDGE, RESCORE
from attar.retrieval.compat.pay_first import (
    JOURNAL,
    cycle_residual,
    note_missing,
    pay_first,
    read_missing,
)
from attar.retrieval.compat.rescoring import CANDIDATES, Rescoring, Scale
from attar.stores import metric as metrics
from attar.stores import upgrading
from attar.stores.both import Candidates, both_scores
from attar.stores.creation import pack_probes, unpack_probes
from attar.stores.errors import EncoderMismatchError, StoreError
from attar.stores.inputs import check_k
from attar.stores.probes import check_encoder, probe_vectors
from attar.stores.protocols import Encoder
from attar.stores.scan.exact import Found
from attar.stores.scan.order import ordered
from attar.stores.score import scores
from attar.stores.store import Store
from attar.stores.types import Float32, Hits, Levels, Query

LAZY_MS = 200.0
BATCH = 64
FIRST = 1000
"""Documents that are embedded before the upgrade begins: for the codec, the scale, the bridge."""

MOST_KEPT = 10_000
HEALING = 0.98
"""How fast the estimated price of a document falls while there is no time to embed one."""

WIDER = 4
"""Candidates of a document-side bridge: mapped documents differ in length, which no scan sees."""

Slots = NDArray[np.int64]


class Upgrade:
    """An upgrade that is under way. Make one with `begin`, go on with one with `Upgrade(...)`.

    old: the store's encoder; None where the bridge is an adapter, which asks in its stead.
    """

    def __init__(self, store: Store, old: Encoder | None, new: Encoder) -> None:
        self.store, self._old, self._new = store, old, new
        library = self._library = store.library
        entry = self._entry = upgrading.entry_of(library)
        check_encoder(new, entry["fingerprint"], entry["encoder"], unpack_probes(entry["probes"]))
        self._adapter = stored_adapter(store, entry["adapter"])
        if old is not None:
            probes = unpack_probes(library.meta["probes"])
            check_encoder(old, library.meta["fingerprint"], library.meta["encoder"], probes)
        elif self._adapter is None:
            raise EncoderMismatchError(
                f"Rescoring asks the old codes with the old model ({library.meta['encoder']}), "
                "none was given. Pass it, or begin again with an adapter as bridge."
            )
        notes = entry["notes"]
        self._side = str(notes.get("side", QUERY))
        self._scale = Scale(*notes["scale"])
        self._rescoring = Rescoring(int(notes["candidates"]), float(notes["weight"]))
        self._ms = float(notes["ms_per_document"])
        self._codec = upgrading.next_codec(library)
        self._kept: dict[int, tuple[Float32, np.float32, np.float32]] = {}

    @classmethod
    def begin(
        cls,
        store: Store,
        old: Encoder | None,
        new: Encoder,
        *,
        bridge: str = RESCORE,
        side: str | None = None,
        spec: str | None = None,
        questions: Sequence[str] | None = None,
        candidates: int = CANDIDATES,
        weight: float = 0.5,
        first: int = FIRST,
        seed: int = 0,
    ) -> Self:
        """Install the bridge in one commit; from then on the store answers with both models.

        Parameters
        ----------
        bridge
            "rescore", or "bridge": an adapter, chosen by held-out retrieval, fitted on
            min(4000, n/2) documents; no old model is needed then.
        side
            Of an adapter: "query" maps new queries into the old space, "document" maps the old
            codes that a query meets into the new space; None takes the better of both.
        spec
            Codec of the new vectors; None keeps the store's.
        questions
            Sample questions, for the scale between both models' scores; None makes some from the
            texts.
        candidates, weight
            See `Rescoring`.
        first
            Documents to embed before; they are kept.
        """
        library = store.library
        if not store.writable:
            raise StoreError(f"{store.path} is open for reading. Open it with mode='w'.")
        check_texts(store)
        check_bridge(bridge, side, old)
        wanted = min(MOST_PAIRS, max(store.library.snapshot.live // 2, 1))
        count = max(first, wanted) if bridge == BRIDGE else first
        slots = some_slots(store, count, seed)
        # The first call loads the model; it must not count as the price of a document.
        probes = pack_probes(probe_vectors(new))
        started = time.perf_counter()
        x = new.encode_documents(texts_of(store, slots))
        ms = 1000 * (time.perf_counter() - started) / len(slots)
        before = library.snapshot.vectors(slots, int(library.meta["dim"]))
        chosen = None
        if bridge == BRIDGE:
            sides = SIDES if side is None else (side,)
            chosen, _ = choose_bridge(before[:wanted], x[:wanted], sides=sides, seed=seed)
        asked = list(questions or made_questions(texts_of(store, slots[:200]), seed)[1])
        metric, b = str(library.meta["metric"]), new.encode_queries(asked)
        if chosen is not None:
            said = chosen.scores(b, before)
        else:
            said = metric_scores(present(old).encode_queries(asked), before, metric)
        scale = scale_of(said, metric_scores(b, x, metric))
        notes = {
            "scale": [scale.gain, scale.shift],
            "candidates": candidates,
            "weight": 1.0 if chosen else weight,
            "ms_per_document": ms,
            "seed": seed,
            "how": chosen.name if chosen else "",
            "side": chosen.side if chosen else QUERY,
        }
        codec = codec_for(library.meta, spec, x, seed)
        to = upgrading.Next(
            new.name,
            new.fingerprint,
            x.shape[1],
            codec,
            probes,
            bridge,
            notes,
            chosen.adapter if chosen else None,
        )
        upgrading.begin(library, to)
        upgrading.add(library, slots, x)
        return cls(store, old, new)

    @property
    def how(self) -> str:
        """The bridge in words, such as "rescore" or "query-side ridge"."""
        notes = self._entry["notes"]
        return f"{self._side}-side {notes['how']}" if notes["how"] else RESCORE

    def progress(self) -> tuple[int, int]:
        """Documents with a new vector, and all documents."""
        return len(upgrading.embedded(self._library)), len(self.store)

    def run(
        self,
        on_progress: Callable[[int, int], None] | None = None,
        *,
        batch: int = BATCH,
        most: int | None = None,
    ) -> int:
        """Embed what is missing, in the order that pays first; returns how many were embedded.

        Every batch is one commit. most: stop after so many documents, None goes to the end.
        """
        done, place = 0, 0
        queue = self._ordered()
        while place < len(queue) and (most is None or done < most):
            some = queue[place : place + batch]
            some = some[: None if most is None else most - done]
            place += len(some)
            alive = self._library.names_of_live(some)
            some = np.array([slot for slot in some.tolist() if slot in alive], np.int64)
            if len(some):
                x = self._new.encode_documents(texts_of(self.store, some))
                upgrading.add(self._library, some, x)
                done += len(some)
            if on_progress is not None:
                on_progress(*self.progress())
            if place == len(queue) or place % (16 * batch) == 0:
                queue, place = self._ordered(), 0
        return done

    def _missing(self) -> Slots:
        parts = self._library.snapshot.parts
        alive = [p.slots_of(np.flatnonzero(p.live)) for p in parts]
        live = np.concatenate([np.zeros(0, np.int64), *alive])
        return np.setdiff1d(live, upgrading.embedded(self._library))

    def _ordered(self) -> Slots:
        """What is missing: most missed by searches first, then where a bridge is least certain."""
        missing = self._missing()
        snapshot, dim = self._library.snapshot, int(self._library.meta["dim"])
        some = upgrading.embedded(self._library)[:MOST_PAIRS]
        pairs = (np.zeros((0, 1), np.float32),) * 2
        if len(some):
            pairs = (snapshot.vectors(some, dim), self._next_vectors(some))
        blocks = [
            cycle_residual(*pairs, snapshot.vectors(missing[at : at + 4096], dim))
            for at in range(0, len(missing), 4096)
        ]
        residual = np.concatenate([np.zeros(0, np.float32), *blocks])
        return pay_first(missing, read_missing(self.store.path), residual)

    def _next_vectors(self, slots: Slots) -> Float32:
        x = np.zeros((len(slots), self._codec.dim), np.float32)
        for part in self._library.snapshot.next:
            rows = part.rows_of(slots)
            here = np.flatnonzero(rows >= 0)
            x[here] = part.decoded(rows[here])
        return x

    def search(
        self,
        text: str | Sequence[str],
        k: int = 10,
        *,
        filter: Mapping[str, Any] | None = None,
        lazy_ms: float = LAZY_MS,
    ) -> Hits:
        """The k best of both models' candidates; the rule of the scores is `Rescoring`'s.

        lazy_ms: candidates without a new vector are embedded, best first, as long as a query has
        time left, and kept: by a writer in the store, by a reader in memory. The others are noted
        for `run`, and compete with their old score on the new one's scale.
        """
        k = check_k(k)
        texts = [text] if isinstance(text, str) else list(text)
        new = self._new.encode_queries(texts)
        old = self._old_queries(texts, new)
        return self.search_vectors(old, new, k, filter=filter, lazy_ms=lazy_ms)

    def _old_queries(self, texts: list[str], new: Float32) -> Float32:
        if self._adapter is None:
            return present(self._old).encode_queries(texts)
        return self._adapter.apply(new) if self._side == QUERY else self._adapter.back(new)

    def search_vectors(
        self,
        old: Float32,
        new: Float32,
        k: int = 10,
        *,
        filter: Mapping[str, Any] | None = None,
        lazy_ms: float = 0.0,
    ) -> Hits:
        """As `search`, for queries that are embedded: old [m d], new [m e]."""
        width = max(self._rescoring.candidates, k)
        new = np.asarray(new, np.float32)
        # What an adapter misses, the new vectors find; the old model misses next to nothing.
        scan_new = self._adapter is not None
        if self._side == DOCUMENT:
            width *= WIDER
        found = []
        some = both_scores(self._library, old, new, width, filter, scan_new=scan_new)
        for q, one in enumerate(some):
            said = self._mapped(one.slots, new[q : q + 1]) if self._side == DOCUMENT else one.old
            fresh = self._lazily(one, said, lazy_ms)
            found.append(Found(one.slots, self._rescoring.fused(said, fresh, self._scale)))
        width = min(k, max((len(f.slots) for f in found), default=0))
        return ordered(found, width, self._library.names)

    def _mapped(self, slots: Slots, query: Float32) -> Float32:
        """Scores [c] of old codes in the new space, each mapped there."""
        dim = int(self._library.meta["dim"])
        documents = present(self._adapter).apply(self._library.snapshot.vectors(slots, dim))
        scores = metric_scores(query, documents, str(self._library.meta["metric"]))
        return np.asarray(scores[0])

    def _lazily(self, one: Candidates, said: Float32, lazy_ms: float) -> NDArray[np.float32]:
        """The new scores, with those that could be had within the time."""
        fresh, query = one.new.copy(), one.query
        self._from_memory(one.slots, query, fresh)
        missing = np.flatnonzero(np.isnan(fresh))
        if not len(missing):
            return fresh
        missing = missing[np.argsort(-said[missing], kind="stable")]
        end, at = time.perf_counter() + lazy_ms / 1000, 0
        while at < len(missing):
            count = int((end - time.perf_counter()) * 1000 / max(self._ms, 1e-3))
            if count < 1:
                # An estimate that was too high once would otherwise never be corrected.
                self._ms *= HEALING
                break
            some = missing[at : at + min(count, 16)]
            self._embed(one.slots[some])
            at += len(some)
            self._from_memory(one.slots, query, fresh)
        if at < len(missing):
            note_missing(self.store.path, one.slots[missing[at:]].tolist())
        return fresh

    def _embed(self, slots: Slots) -> None:
        """Embed now; what it took corrects the estimate of the next time."""
        started = time.perf_counter()
        x = np.asarray(self._new.encode_documents(texts_of(self.store, slots)), np.float32)
        took = 1000 * (time.perf_counter() - started) / len(slots)
        self._ms += 0.3 * (took - self._ms)
        metric = str(self._library.meta["metric"])
        codes = self._codec.encode(metrics.documents(x, metric, self._codec.norm))
        levels, norms = self._codec.layout.unpack(codes), metrics.sqnorms(x)
        if self.store.writable:
            upgrading.add(self._library, slots, x)
        if len(self._kept) > MOST_KEPT:
            self._kept.clear()
        for row, slot in enumerate(slots.tolist()):
            self._kept[slot] = (levels.y[row], levels.factor[row], norms[row])

    def _from_memory(self, slots: Slots, query: Query, fresh: NDArray[np.float32]) -> None:
        rows = [r for r in np.flatnonzero(np.isnan(fresh)) if int(slots[r]) in self._kept]
        if not rows:
            return
        y, factor, norms = zip(*(self._kept[int(slots[r])] for r in rows), strict=True)
        l2 = np.asarray(norms, np.float32) if self._library.meta["metric"] == "l2" else None
        levels = Levels(np.stack(y), np.asarray(factor, np.float32))
        fresh[rows] = scores(query.coords[0], query.const[0], levels, l2)

    def commit(self) -> None:
        """End the upgrade: the new model is the store's, the old codes go. One transaction."""
        upgrading.commit(self._library)
        (self.store.path / JOURNAL).unlink(missing_ok=True)

    def rollback(self) -> None:
        """End the upgrade: the store is as it was before. One transaction."""
        roll_back(self.store)


def roll_back(store: Store) -> None:
    """Undo an upgrade without loading any model."""
    upgrading.rollback(store.library)
    (store.path / JOURNAL).unlink(missing_ok=True)
