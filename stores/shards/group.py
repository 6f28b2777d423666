"""Several open stores searched as one, in one process."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from numpy.typing import ArrayLike

from attar.stores.errors import StoreError
from attar.stores.records import Record
from attar.stores.shards.merge import merge
from attar.stores.store import Store
from attar.stores.types import Hits

ALIKE = ("metric", "dim", "fingerprint", "serving", "codecs")


def check_alike(facts: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse shards whose scores do not compare. facts: name of a shard -> its `Store.info`."""
    some = {name: info for name, info in facts.items() if info["n"]}
    first = next(iter(some), None)
    for name, info in some.items():
        for key in ALIKE:
            if first is not None and info[key] != some[first][key]:
                raise StoreError(
                    f"Shards have one {key}, or their scores would not compare; {first} has "
                    f"{some[first][key]!r}, {name} has {info[key]!r}. Build them with one codec, "
                    "or cut one store with `attar shard`."
                )


class ShardGroup:
    """Stores with one codec as one that is read; ids are unique over all of them.

    Has what a server needs: `search`, `get`, `info`, `refresh`, `len`. Law: it answers what one
    store with all documents answers, bit for bit.
    """

    writable = False

    def __init__(self, stores: Sequence[Store]) -> None:
        if not stores:
            raise ValueError("A group has at least one store, got none.")
        check_alike({str(store.path): store.info() for store in stores})
        self._stores = tuple(stores)

    def search(
        self,
        vector: ArrayLike | None = None,
        k: int = 10,
        *,
        text: str | Sequence[str] | None = None,
        filter: Mapping[str, Any] | None = None,
        offset: int = 0,
        min_score: float | None = None,
        **options: Any,
    ) -> Hits:
        """The k best documents of all stores; the arguments are those of `Store.search`.

        Words and groups are refused: each store would weigh and count them by itself.
        """
        refuse_apart(options | ({"text with vector": 1} if vector is not None and text else {}))
        answers = [
            store.search(
                vector, k + offset, text=text, filter=filter, min_score=min_score, **options
            )
            for store in self._stores
        ]
        return merge(answers, k, offset)

    def get(self, ids: Iterable[str]) -> list[Record]:
        """Documents by id, in the order of `ids`."""
        names = list(ids)
        found = {record.id: record for store in self._stores for record in store.get(names)}
        return [found[name] for name in names if name in found]

    def info(self) -> dict[str, Any]:
        """`Store.info` of the first store that has documents, with the numbers of all of them."""
        facts = [store.info() for store in self._stores]
        best = next((one for one in facts if one["n"]), facts[0])
        sums = {key: sum(one[key] for one in facts) for key in ("n", "deleted", "segments")}
        disk = {key: sum(one["disk"][key] for one in facts) for key in facts[0]["disk"]}
        return best | sums | {"disk": disk, "shards": len(facts), "commit": self.commit}

    def refresh(self) -> None:
        """Move to the newest commits."""
        for store in self._stores:
            store.refresh()

    @property
    def commit(self) -> int:
        """Sum of the stores' commits: it grows with every change."""
        return sum(store.commit for store in self._stores)

    @property
    def metric(self) -> str:
        """cosine, ip or l2."""
        return self._stores[0].metric

    @property
    def dim(self) -> int | None:
        """Dimensions of the vectors."""
        return next((store.dim for store in self._stores if store.dim is not None), None)

    def __len__(self) -> int:
        return sum(map(len, self._stores))

    def close(self) -> None:
        """Close all stores."""
        for store in self._stores:
            store.close()

    def __enter__(self) -> "ShardGroup":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def refuse_apart(options: Mapping[str, Any]) -> None:
    """Refuse what shards cannot answer each by itself."""
    for name in ("alpha", "text with vector", "group_by"):
        if options.get(name) is not None:
            raise ValueError(
                f"{name} is answered by one store only: shards count words and groups each by "
                "itself. Leave it out, or search one store."
            )
