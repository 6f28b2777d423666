"""A store between two models: the old codes stay whole, the new ones come beside them.

1. `begin` notes the new model, its codec and the bridge, and marks the store's format, so that a
   release that knows nothing of upgrades refuses it instead of answering from half of it.
2. `add` commits vectors of the new model for some slots, in any order, as segments of kind `next`.
3. `commit` makes the new codes the store's, or `rollback` drops them: one transaction each,
   possible until the other has happened.

Documents may be added and deleted meanwhile: an added one gets the old model's vector and has none
of the new one yet; what a deleted one had is dead.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.stores.creation import unpack_probes
from attar.stores.disk import catalog
from attar.stores.disk.change import Change, plain_json
from attar.stores.disk.gathered import Gathered, from_parts, from_vectors
from attar.stores.disk.library import Library
from attar.stores.disk.merge import LARGEST, merge_count
from attar.stores.disk.pieces import Target
from attar.stores.errors import StoreError
from attar.stores.exact import EXACT, ExactCodec
from attar.stores.probes import LEAST_COSINE, row_cosines
from attar.stores.protocols import Codec
from attar.stores.snapshot import Part
from attar.stores.types import Float32

Slots = NDArray[np.int64]


@dataclass(frozen=True)
class Next:
    """The model that an upgrade leads to. codec: fitted for it, None keeps float32.

    probes: packed vectors of the probe texts, or None. notes: what the bridge needs to know, JSON.
    adapter: a fitted map with `dump`, `spec` and `side_bytes`, kept beside the codecs, or None.
    """

    encoder: str
    fingerprint: str
    dim: int
    codec: Codec | None
    probes: dict[str, Any] | None
    bridge: str
    notes: dict[str, Any]
    adapter: Any = None


def begin(library: Library, to: Next) -> None:
    """Note an upgrade, in one commit."""
    meta = library.meta
    if meta.get("upgrade"):
        raise StoreError(
            f"One upgrade at a time: {library.folder} is on its way to "
            f"{meta['upgrade']['encoder']}. Go on with `attar upgrade DIR`, or end it with "
            "--commit or --rollback."
        )
    if _is_same(to, meta):
        raise ValueError(
            f"An upgrade leads to another model; {to.encoder} gives the vectors that this store "
            "has already. There is nothing to do."
        )
    with Change(library, "Beginning an upgrade") as change:
        codec = EXACT if to.codec is None else change.add_codec(to.codec)
        adapter = None if to.adapter is None else change.add_codec(to.adapter)
        entry = {
            "encoder": to.encoder,
            "fingerprint": to.fingerprint,
            "dim": to.dim,
            "codec": codec,
            "spec": meta["spec"] if to.codec is None else to.codec.spec,
            "probes": to.probes,
            "bridge": to.bridge,
            "adapter": adapter,
            "notes": plain_json(to.notes, "notes"),
        }
        change.set_meta(upgrade=entry)
        change.set_format(catalog.UPGRADING)


def _is_same(to: Next, meta: Mapping[str, Any]) -> bool:
    """By fingerprint; where one has none, by the probe texts."""
    if to.fingerprint and meta["fingerprint"]:
        return bool(to.fingerprint == meta["fingerprint"])
    old, new = unpack_probes(meta["probes"]), unpack_probes(to.probes)
    if old is None or new is None or old.shape != new.shape:
        return False
    return bool((row_cosines(old, new) >= LEAST_COSINE).all())


def entry_of(library: Library) -> dict[str, Any]:
    """What `begin` noted; StoreError when no upgrade is under way."""
    entry: dict[str, Any] | None = library.meta.get("upgrade")
    if not entry:
        raise StoreError(
            f"No upgrade of {library.folder} is under way. Begin one with `attar upgrade DIR --to "
            "NAME`."
        )
    return entry


def next_codec(library: Library) -> Codec:
    """The codec of the new vectors."""
    entry = entry_of(library)
    if entry["codec"] == EXACT:
        return ExactCodec(int(entry["dim"]))
    return library.codec_of(entry["codec"])


def embedded(library: Library) -> Slots:
    """Live slots that have a vector of the new model, ascending."""
    parts = [p.slots_of(np.flatnonzero(p.live)) for p in library.snapshot.next]
    return np.sort(np.concatenate([np.zeros(0, np.int64), *parts]))


def add(library: Library, slots: Slots, vectors: Float32) -> None:
    """Commit vectors [n e] of the new model for live slots that have none; others are left out."""
    entry = entry_of(library)
    with library.writing:
        missing = np.setdiff1d(_live(library), embedded(library))
        keep = np.isin(slots, missing)
        unique, first = np.unique(slots[keep], return_index=True)
        if not len(unique):
            return
        x = np.ascontiguousarray(vectors[keep][first], np.float32)
        codec = next_codec(library)
        _write(library, entry, codec, unique, x)


def _live(library: Library) -> Slots:
    parts = [p.slots_of(np.flatnonzero(p.live)) for p in library.snapshot.parts]
    return np.concatenate([np.zeros(0, np.int64), *parts])


def _write(
    library: Library, entry: Mapping[str, Any], codec: Codec, slots: Slots, x: Float32
) -> None:
    """A new segment, together with as many small ones as are due for merging."""
    snapshot, metric = library.snapshot, str(library.meta["metric"])
    order = sorted(range(len(snapshot.next)), key=lambda i: -snapshot.next[i].row.rows)
    sizes = [snapshot.next[i].row.rows for i in order]
    taken = order[len(order) - merge_count(sizes, len(slots), codec.bytes_per_vector) :]
    with Change(library, "Keeping new vectors") as change:
        fresh = from_vectors(slots, x, codec, metric)
        merged = [snapshot.next[i] for i in taken]
        change.add_segment(_target(entry, codec, metric), [Gathered([*from_parts(merged), fresh])])
        if library.meta["keep_originals"]:
            raw = from_vectors(slots, x, ExactCodec(x.shape[1]), "")
            twins = [_twin(part, snapshot.next_originals) for part in merged]
            change.add_segment(_raw(entry, "next-originals"), [Gathered([*from_parts(twins), raw])])
            merged += twins
        for part in merged:
            change.remove_segment(part.row)


def _twin(part: Part, originals: tuple[Part, ...]) -> Part:
    """The originals of a segment: written with it, so of the same slots."""
    span = (part.row.first_row, part.row.last_row, part.row.rows)
    return next(p for p in originals if (p.row.first_row, p.row.last_row, p.row.rows) == span)


def _target(entry: Mapping[str, Any], codec: Codec, metric: str, kind: str = "next") -> Target:
    fields = codec.layout.fields
    return Target(kind, fields, entry["codec"], entry["fingerprint"], metric == "l2")


def _raw(entry: Mapping[str, Any], kind: str) -> Target:
    fields = ExactCodec(int(entry["dim"])).layout.fields
    return Target(kind, fields, EXACT, entry["fingerprint"], False)


def commit(library: Library) -> None:
    """Make the new vectors the store's, in one commit; every document must have one."""
    entry = entry_of(library)
    with library.writing:
        snapshot, metric = library.snapshot, str(library.meta["metric"])
        missing = snapshot.live - len(embedded(library))
        if missing:
            raise StoreError(
                f"An upgrade is committed when every document has its new vector; {missing:,} of "
                f"{snapshot.live:,} have none. Go on with `attar upgrade DIR`."
            )
        codec = next_codec(library)
        with Change(library, "Committing an upgrade") as change:
            target = _target(entry, codec, metric, "codes")
            for piece in _cut(from_parts(snapshot.next), codec.bytes_per_vector):
                change.add_segment(target, [piece])
            for piece in _cut(from_parts(snapshot.next_originals), codec.bytes_per_vector):
                change.add_segment(_raw(entry, "originals"), [piece])
            for part in snapshot.everything:
                change.remove_segment(part.row)
            _forget(library, change, {entry["codec"]})
            fitted = entry["codec"] if entry["codec"] != EXACT else None
            change.set_meta(codec=fitted, spec=entry["spec"], dim=entry["dim"], upgrade=None)
            names = {key: entry[key] for key in ("encoder", "fingerprint", "probes")}
            change.set_meta(**names)
            change.set_format(catalog.FORMAT)


def _cut(sources: list[Any], bytes_per_row: int) -> list[Gathered]:
    """Rows in slot order, in segments of at most `LARGEST` bytes of codes."""
    whole = Gathered(sources)
    step = max(1, LARGEST // max(1, bytes_per_row))
    return [whole.between(at, at + step) for at in range(0, len(whole.slots), step)]


def rollback(library: Library) -> None:
    """Drop the new vectors and all that was noted, in one commit: the store is as it was."""
    entry_of(library)
    with library.writing, Change(library, "Rolling back an upgrade") as change:
        snapshot = library.snapshot
        for part in (*snapshot.next, *snapshot.next_originals):
            change.remove_segment(part.row)
        used = {p.row.codec for p in snapshot.parts} | {library.meta["codec"]}
        _forget(library, change, used)
        change.set_meta(upgrade=None)
        change.set_format(catalog.FORMAT)


def _forget(library: Library, change: Change, used: set[str]) -> None:
    with library.reading() as connection:
        known = [name for (name,) in connection.execute("SELECT hash FROM codecs")]
    for name in known:
        if name not in used:
            change.remove_codec(name)
