"""The segment cache: embeddings by model, adapter and segment, in memory or in a shared folder.

Layout of a folder: `codes.bin` holds fixed slots of `slot_bytes = ceil(S / C) * bytes_per_vector`,
mapped into memory; `index.sqlite` holds key -> slot, number of vectors, checksum, last use, and the
format with everything that gives the bytes their meaning. Slots never grow beyond
`max_bytes // slot_bytes`: past that the least recently used are written over. Readers take no lock
on the codes: a slot that is rewritten under them, or damaged, fails its checksum and counts as a
miss, to be computed again.
"""

import contextlib
import mmap
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from attar.context.cache.codec import Codec, Float8, Floats
from attar.stores.disk.connections import connect
from attar.stores.disk.forking import no_fork

if TYPE_CHECKING:
    from torch import Tensor

_FORMAT = "attar-segments-1"
_BATCH = 500
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS segments (
  key BLOB PRIMARY KEY, slot INTEGER NOT NULL UNIQUE, vectors INTEGER NOT NULL,
  checksum BLOB NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_use ON segments (used);
"""


class SegmentCompressor(Protocol):
    """What fills the cache: `CompLLM`, or whatever turns segments of token ids into embeddings."""

    @property
    def llm(self) -> Any:
        """The model that reads the embeddings; they come back in its `dtype`."""

    @property
    def device(self) -> Any:
        """Where embeddings go."""

    def adapter_hash(self) -> str:
        """Identify all that decides the embeddings, besides the segment."""

    def size(self, tokens: int) -> int:
        """Return how many embeddings a segment of so many tokens becomes."""

    def compress_segments(self, segments: Sequence[Sequence[int]]) -> "Tensor":
        """Return the embeddings of the segments, [m d], in order."""


class SegmentCache:
    """Keeps compressed segments within `max_bytes`.

    path: a folder shared between processes, or None for memory. dim: width of an embedding.
    vectors: embeddings per segment at most, S / C. codec: how they are stored; what is served is
    always decoded from storage, so that cached and fresh are equal, byte for byte.
    `hits`, `misses`, `damaged` count segments since this object was made.
    """

    def __init__(
        self,
        dim: int,
        vectors: int = 10,
        path: Path | str | None = None,
        codec: Codec | None = None,
        max_bytes: int = 1 << 30,
    ) -> None:
        self.codec: Codec = codec or Float8()
        self.dim, self.vectors = dim, vectors
        if dim < 1 or vectors < 1:
            raise ValueError(f"dim and vectors are >= 1, got {dim} and {vectors}.")
        self.slot_bytes = vectors * self.codec.bytes_per_vector(dim)
        self.slots = max_bytes // self.slot_bytes
        if self.slots < 1:
            raise ValueError(
                f"max_bytes holds at least one segment of {self.slot_bytes} bytes, got {max_bytes}."
            )
        self.hits = self.misses = self.damaged = 0
        self._lock = threading.Lock()
        folder = None if path is None else Path(path)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Journals of SQLite take the mode of their database.
            os.close(os.open(folder / "index.sqlite", os.O_RDWR | os.O_CREAT, 0o600))
        name = ":memory:" if folder is None else str(folder / "index.sqlite")
        self._db = connect(name, check_same_thread=False, timeout=60, isolation_level=None)
        try:
            self._open(folder)
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise ValueError(
                f"{name} is not a readable index ({error}); delete the folder, it is only a cache."
            ) from error

    def _open(self, folder: Path | None) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)
        wanted = {
            "format": _FORMAT, "codec": self.codec.name,
            "dim": str(self.dim), "vectors": str(self.vectors), "slots": str(self.slots),
        }  # fmt: skip
        with self._transaction() as db:
            db.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", wanted.items())
            found = dict(db.execute("SELECT key, value FROM meta"))
        if found != wanted:
            raise ValueError(
                f"The cache was made with {found}, asked for {wanted}; use another folder."
            )
        size = self.slots * self.slot_bytes
        if folder is None:
            self._codes = mmap.mmap(-1, size)
            return
        file = os.open(folder / "codes.bin", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(file).st_size < size:
                os.ftruncate(file, size)
            self._codes = mmap.mmap(file, size)
        finally:
            os.close(file)

    def key(self, owner: str, segment: Sequence[int]) -> bytes:
        """Return the key of a segment under a model and adapter (`CompLLM.adapter_hash`)."""
        ids = np.asarray(segment, dtype="<i8").tobytes()
        return blake2b(ids, key=owner.encode()[:64], digest_size=16).digest()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Floats]:
        """Return what is stored for these keys, [m d] each; damaged entries are dropped."""
        found: dict[bytes, Floats] = {}
        bad: list[bytes] = []
        with self._lock:
            rows = self._rows(set(keys))
            for key, slot, vectors, checksum in rows:
                codes = self._read(slot, vectors)
                if _checksum(codes) == checksum:
                    found[key] = self.codec.decode(codes, self.dim)
                else:
                    bad.append(key)
            self._touch(list(found), bad)
        self.hits += len(found)
        self.damaged += len(bad)
        self.misses += len(set(keys)) - len(found)
        return found

    def put(self, entries: dict[bytes, Floats]) -> None:
        """Store embeddings [m d], m <= vectors; the least recently used make room.

        Raises
        ------
        ValueError
            For an array of another width, or with more vectors than a slot holds.
        """
        for value in entries.values():
            if value.ndim != 2 or value.shape[1] != self.dim or len(value) > self.vectors:
                raise ValueError(
                    f"A slot holds at most [{self.vectors} {self.dim}], got {list(value.shape)}."
                )
        newest = list(entries.items())[-self.slots :]
        for i in range(0, len(newest), _BATCH):
            self._put({k: self.codec.encode(v) for k, v in newest[i : i + _BATCH]})

    def _put(self, coded: dict[bytes, NDArray[np.uint8]]) -> None:
        with self._lock, self._transaction() as db:
            now = self._now(db)
            for slot, (key, codes) in zip(
                self._slots_for(db, list(coded)), coded.items(), strict=True
            ):
                self._write(slot, codes)
                db.execute(
                    "INSERT OR REPLACE INTO segments VALUES (?, ?, ?, ?, ?)",
                    (key, slot, len(codes), _checksum(codes), now),
                )

    def compress(
        self, compressor: SegmentCompressor, segments: Sequence[Sequence[int]]
    ) -> "Tensor":
        """Return the embeddings [m d] of segments in order, computing only what is missing."""
        import torch

        owner = compressor.adapter_hash()
        keys = [self.key(owner, s) for s in segments]
        ready = self.get(keys)
        missing = {k: s for k, s in zip(keys, segments, strict=True) if k not in ready}
        if missing:
            flat = compressor.compress_segments(list(missing.values())).float().cpu().numpy()
            sizes = [compressor.size(len(s)) for s in missing.values()]
            parts = np.split(flat, np.cumsum(sizes)[:-1])
            fresh = dict(zip(missing, parts, strict=True))
            self.put(fresh)
            ready |= {
                k: self.codec.decode(self.codec.encode(v), self.dim) for k, v in fresh.items()
            }
        if not keys:
            return compressor.compress_segments([])
        joined = torch.from_numpy(np.concatenate([ready[k] for k in keys]))
        return joined.to(device=compressor.device, dtype=compressor.llm.dtype)

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM segments").fetchone()[0])

    @property
    def nbytes(self) -> int:
        """Bytes of the slots in use; at most `max_bytes`."""
        return len(self) * self.slot_bytes

    def purge(self) -> None:
        """Forget everything."""
        with self._lock, self._transaction() as db:
            db.execute("DELETE FROM segments")

    def close(self) -> None:
        """Close the index and the mapped file."""
        self._db.close()
        self._codes.close()

    def _rows(self, keys: set[bytes]) -> list[tuple[bytes, int, int, bytes]]:
        rows: list[tuple[bytes, int, int, bytes]] = []
        wanted = sorted(keys)
        for i in range(0, len(wanted), _BATCH):
            part = wanted[i : i + _BATCH]
            marks = ",".join("?" * len(part))
            query = f"SELECT key, slot, vectors, checksum FROM segments WHERE key IN ({marks})"
            rows += self._db.execute(query, part).fetchall()
        return [r for r in rows if 0 <= r[1] < self.slots and 0 < r[2] <= self.vectors]

    def _touch(self, used: list[bytes], bad: list[bytes]) -> None:
        if not used and not bad:
            return
        with self._transaction() as db:
            now = self._now(db)
            db.executemany("UPDATE segments SET used = ? WHERE key = ?", [(now, k) for k in used])
            db.executemany("DELETE FROM segments WHERE key = ?", [(k,) for k in bad])

    def _slots_for(self, db: sqlite3.Connection, keys: list[bytes]) -> list[int]:
        """Choose a slot per key: its own, else a free one, else the least recently used."""
        marks = ",".join("?" * len(keys))
        own = dict(
            db.execute(f"SELECT key, slot FROM segments WHERE key IN ({marks})", keys).fetchall()
        )
        taken = {slot for (slot,) in db.execute("SELECT slot FROM segments")}
        free = (slot for slot in range(self.slots) if slot not in taken)
        oldest = db.execute("SELECT key, slot FROM segments ORDER BY used, slot").fetchall()
        victims = ((k, s) for k, s in oldest if k not in own)
        chosen = []
        for key in keys:
            slot = own.get(key, next(free, None) if key not in own else None)
            if slot is None:
                victim, slot = next(victims)
                db.execute("DELETE FROM segments WHERE key = ?", (victim,))
            chosen.append(slot)
        return chosen

    @staticmethod
    def _now(db: sqlite3.Connection) -> int:
        return int(db.execute("SELECT coalesce(max(used), 0) + 1 FROM segments").fetchone()[0])

    def _read(self, slot: int, vectors: int) -> NDArray[np.uint8]:
        width = self.codec.bytes_per_vector(self.dim)
        raw = self._codes[slot * self.slot_bytes : slot * self.slot_bytes + vectors * width]
        return np.frombuffer(raw, dtype=np.uint8).reshape(vectors, width)

    def _write(self, slot: int, codes: NDArray[np.uint8]) -> None:
        raw = codes.tobytes()
        self._codes[slot * self.slot_bytes : slot * self.slot_bytes + len(raw)] = raw

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """One writer at a time, also between processes.

        A fork waits for the end: another cache of this process may wait for it inside SQLite.
        """
        with no_fork:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


def _checksum(codes: NDArray[np.uint8]) -> bytes:
    return blake2b(codes.tobytes(), digest_size=8).digest()
