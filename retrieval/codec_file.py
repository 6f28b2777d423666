"""The file of a fitted codec: safetensors, with one JSON header that names format and spec.

Tensors are called `<part>.<name>`: `0.basis` is the basis of the first part. The header is one
metadata entry, so that equal codecs give equal bytes (several entries have no fixed order).
"""

import json
from typing import Any

import numpy as np

from attar.retrieval.reducer import State

FORMAT = 2
"""2 has matrices of ten bits an entry (`attar.retrieval.basis`); codecs without one write 1."""
MOST_PARTS = 16
KEYS = {"spec": str, "dim": int, "norm": float, "seed": int, "parts": int}


def dump(head: dict[str, Any], states: list[State]) -> bytes:
    """Header and the states of all parts, as the bytes of one safetensors file."""
    from safetensors.numpy import save

    newest = any("." in name for state in states for name in state)
    content = {"format": FORMAT if newest else 1, **head, "parts": len(states)}
    tensors = {
        f"{place}.{name}": np.ascontiguousarray(array)
        for place, state in enumerate(states)
        for name, array in state.items()
    }
    return bytes(save(tensors, {"attar": json.dumps(content, sort_keys=True)}))


def load(content: bytes) -> tuple[dict[str, Any], list[State]]:
    """Header and states again. Raises ValueError for a file that is not ours or is newer."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as load_tensors

    try:
        tensors = load_tensors(content)
        size = int.from_bytes(content[:8], "little")
        head = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["attar"])
        if not isinstance(head, dict):
            raise TypeError(f"a header that is {type(head).__name__}")
    except (SafetensorError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(
            f"A codec file is a safetensors file with an 'attar' header, got {error!r:.200}; "
            "restore it from a backup or build the store again."
        ) from error
    if head.get("format") not in range(1, FORMAT + 1):
        raise ValueError(
            f"This version reads codec files of format 1 to {FORMAT}, got {head.get('format')!r}; "
            "open it with the version of attar that wrote it."
        )
    wrong = [key for key, kind in KEYS.items() if not isinstance(head.get(key), kind)]
    if wrong:
        raise ValueError(f"A codec file's header needs {sorted(KEYS)}, got a bad {wrong[0]!r}.")
    if not 1 <= head["parts"] <= MOST_PARTS:
        raise ValueError(f"A codec file has 1 to {MOST_PARTS} parts, got {head['parts']}.")
    states: list[State] = [{} for _ in range(head["parts"])]
    for name, array in tensors.items():
        place, _, key = name.partition(".")
        if place not in map(str, range(len(states))) or not key:
            raise ValueError(f"A codec file's tensors are called <part>.<name>, got {name!r:.80}.")
        states[int(place)][key] = array
    return head, states
