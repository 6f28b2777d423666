"""What takes minutes to make at a million vectors, made once and kept in the bench's folder."""

import os
import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(os.environ.get("ATTAR_BENCH", tempfile.gettempdir())) / "attar_bench"


def kept(name: str, make: Callable[[], Any]) -> tuple[Any, float]:
    """What `make` gave when it was first called under this name, and its CPU seconds."""
    path = FOLDER / f"{name}.pickle"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        start = time.process_time()
        made = make()
        seconds = time.process_time() - start
        half = path.with_suffix(".part")
        with half.open("wb") as file:
            pickle.dump((made, seconds), file, protocol=5)
        half.rename(path)
    with path.open("rb") as file:
        made, seconds = pickle.load(file)
    return made, seconds


def fresh(array: np.ndarray) -> np.ndarray:
    """A copy for which numpy asks for huge pages, as for arrays that were never pickled."""
    copy = np.empty(array.shape, array.dtype)
    copy[...] = array
    return copy
