"""What an upgrade needs before it begins: checks, a sample, a codec, a scale."""

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.codec import Codec
from attar.retrieval.compat.adapter import FittedAdapter, load_adapter, unit_rows
from attar.retrieval.compat.choosing import SIDES
from attar.retrieval.compat.graded import best_rows
from attar.retrieval.compat.options import BRIDGE, RESCORE
from attar.retrieval.compat.rescoring import CANDIDATES, Scale
from attar.stores import metric as metrics
from attar.stores.errors import StoreError
from attar.stores.protocols import Encoder
from attar.stores.store import Store
from attar.stores.types import Float32

Slots = NDArray[np.int64]
T = TypeVar("T")


def texts_of(store: Store, slots: Slots) -> list[str]:
    """Texts of live slots, in their order."""
    names = store.library.names(slots)
    found = store.library.records([names[slot] for slot in slots.tolist()])
    return [record.text or "" for _, record in found]


def check_texts(store: Store) -> None:
    """Refuse a store that holds documents without text."""
    with store.library.reading() as connection:
        (without,) = connection.execute(
            "SELECT count(*) FROM documents WHERE text IS NULL"
        ).fetchone()
    if without or not len(store):
        raise ValueError(
            f"An upgrade embeds the stored texts again; {without:,} of {len(store):,} documents "
            "have none. What remains: stay, or ask through a query-side adapter that is fitted on "
            "other texts of the same kind (attar upgrade DIR --to NAME --dry-run --pairs FILE "
            "measures that), or `Store.update` the texts and begin again."
        )


def some_slots(store: Store, count: int, seed: int) -> Slots:
    """At most so many slots, drawn, ascending."""
    with store.library.reading() as connection:
        rows = connection.execute("SELECT row FROM documents ORDER BY row").fetchall()
    slots = np.array([row for (row,) in rows], np.int64)
    return np.sort(np.random.default_rng(seed).permutation(slots)[:count])


def codec_for(meta: Mapping[str, Any], spec: str | None, x: Float32, seed: int) -> Any:
    """The codec of the new vectors, fitted on x [n e]; None keeps float32."""
    recipe = Codec.parse(spec or str(meta["spec"]))
    enough = len(x) >= recipe.min_rows(x.shape[1])
    if not enough and (spec is not None or meta["codec"] is not None):
        raise ValueError(
            f"{recipe.spec} is fitted on at least {recipe.min_rows(x.shape[1])} documents of the "
            f"new model, this store has {len(x)}. Name a codec that learns nothing: spec='int8'."
        )
    if not enough:
        return None
    return recipe.fit(metrics.documents(x, str(meta["metric"]), 1.0), seed=seed)


def metric_scores(queries: Float32, documents: Float32, metric: str) -> Float32:
    """Scores [m n] as a store with this metric gives them, but for what is constant in a query."""
    if metric == "cosine":
        queries, documents = unit_rows(queries), unit_rows(documents)
    scores = np.asarray(queries @ documents.T)
    return np.asarray(2 * scores - (documents**2).sum(axis=1)) if metric == "l2" else scores


def scale_of(one: Float32, two: Float32) -> Scale:
    """From the best candidates by the old model's scores [m n] and the new one's."""
    rows = best_rows(one, CANDIDATES)
    return Scale.of(*(np.take_along_axis(s, rows, axis=1).ravel() for s in (one, two)))


def check_bridge(bridge: str, side: str | None, old: Encoder | None) -> None:
    """Refuse a bridge that there is not, or that lacks what it needs."""
    if bridge not in (RESCORE, BRIDGE) or side not in (None, *SIDES):
        raise ValueError(
            f"A bridge is {RESCORE} or {BRIDGE}, its side {' or '.join(SIDES)}, got {bridge!r} and "
            f"{side!r}."
        )
    if bridge == RESCORE and side is not None:
        raise ValueError("A side is an adapter's; give bridge='bridge' with it.")
    if bridge == RESCORE and old is None:
        raise ValueError("Rescoring needs the old encoder; pass it, or bridge='bridge'.")


def present(thing: T | None) -> T:
    """What the rules above guarantee to be there."""
    if thing is None:
        raise StoreError("This upgrade asks the old model, and none was given; pass it.")
    return thing


def stored_adapter(store: Store, name: str | None) -> FittedAdapter | None:
    """The adapter that an upgrade put beside the codecs."""
    if name is None:
        return None
    return load_adapter(store.library.codec_path(name).read_bytes())
