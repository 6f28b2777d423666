"""A store for a component of a framework: opened, made, or made in a folder that goes with it."""

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from attar.retrieval.codec import Codec, FittedCodec
from attar.stores.filters.dialect import check_filter
from attar.stores.protocols import Codec as AnyCodec
from attar.stores.protocols import Encoder, Recipe
from attar.stores.store import Store, StorePath

Coding = AnyCodec | Recipe | str | None


def open_store(path: StorePath, mode: str = "w", encoder: Encoder | None = None) -> Store:
    """Open a store that exists, with the codecs of this room."""
    return Store.open(
        path, mode, load_codec=FittedCodec.load, load_recipe=Codec.parse, encoder=encoder
    )


def house(
    owner: object,
    path: StorePath | None,
    codec: Coding,
    *,
    encoder: Encoder | None = None,
    metric: str | None = None,
    **settings: Any,
) -> Store:
    """Return a store open for writing, which is closed when `owner` is collected.

    path: of a store, or of a folder that does not exist yet; None makes a temporary folder that
    goes with the owner. codec: a spec string, a recipe or a fitted codec; None is what the store
    has, float32 for a new one. metric: None is what the store has, cosine for a new one. settings:
    for `Store.create` (`train_at`, `seed`, …); a store that exists keeps its own.
    Raises ValueError when the store exists with another codec or metric.
    """
    recipe = Codec.parse(codec) if isinstance(codec, str) else codec
    if path is None:
        folder = Path(tempfile.mkdtemp(prefix="attar-"))
        try:
            store = _make(folder / "store", recipe, encoder, metric, settings)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        weakref.finalize(owner, _leave, store, folder)
        return store
    exists = Path(path).exists()
    store = (
        open_store(path, "w", encoder) if exists else _make(path, recipe, encoder, metric, settings)
    )
    try:
        _check_same(store, recipe, metric)
    except BaseException:
        store.close()
        raise
    weakref.finalize(owner, store.close)
    return store


def matching_ids(store: Store, filter: Mapping[str, Any]) -> list[str]:
    """Ids of the documents that match a filter, sorted."""
    if store.dim is None or not len(store):
        check_filter(filter)
        return []
    # Any query ranks every match; what it scores does not matter.
    hits = store.search(np.ones(store.dim, np.float32), len(store), filter=filter)
    return sorted(hits.ids[0])


def _make(
    path: StorePath,
    recipe: AnyCodec | Recipe | None,
    encoder: Encoder | None,
    metric: str | None,
    settings: dict[str, Any],
) -> Store:
    chosen = Codec.parse("float32") if recipe is None else recipe
    return Store.create(path, chosen, encoder, metric or "cosine", **settings)


def _check_same(store: Store, recipe: AnyCodec | Recipe | None, metric: str | None) -> None:
    has = str(store.info()["spec"])
    if recipe is not None and recipe.spec != has:
        raise ValueError(
            f"{store.path} exists with the codec {has}, got {recipe.spec}. Leave codec= out to use "
            "the store as it is, or change its codec with Store.reencode."
        )
    if metric is not None and metric != store.metric:
        raise ValueError(
            f"{store.path} exists with the metric {store.metric}, got {metric}. Leave metric= out, "
            "or make another store."
        )


def _leave(store: Store, folder: Path) -> None:
    store.close()
    shutil.rmtree(folder, ignore_errors=True)
