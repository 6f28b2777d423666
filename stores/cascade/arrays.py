"""Named arrays in one file beside a store: written whole, checksummed, refused when unfit."""

import json
import logging
import math
import os
import zlib
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.stores.disk.durable import write_file

FORMAT = "1"
LOG = logging.getLogger(__name__)

DTYPES = {
    name: np.dtype(form).newbyteorder("<")
    for name, form in {
        "BOOL": "?",
        **{f"{kind}{8 * size}": f"{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)},
        **{f"F{8 * size}": f"f{size}" for size in (2, 4, 8)},
    }.items()
}
"""As safetensors calls them."""

Arrays = dict[str, NDArray[Any]]


def _crc(arrays: Arrays) -> str:
    crc = 0
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        crc = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), crc)
        crc = zlib.crc32(array.reshape(-1).view(np.uint8).data, crc)
    return f"{crc:08x}"


def write_arrays(path: Path, arrays: Arrays, about: dict[str, str]) -> str:
    """Write arrays and metadata, replacing an older file; returns the checksum of the arrays."""
    from safetensors.numpy import save

    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    crc = _crc(whole)
    write_file(path, save(whole, about | {"format": FORMAT, "crc": crc}))
    return crc


def read_arrays(
    path: Path, wanted: dict[str, str], maker: str
) -> tuple[Arrays, dict[str, str]] | None:
    """Arrays and metadata of a file that is whole and was made from what is wanted.

    None, with a warning that names its maker, when it is damaged. Read here, not by safetensors,
    which would have a map, a copy and our array in memory at a time.
    """
    if not path.exists():
        return None
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if length > size:
                raise ValueError("its header is longer than the file")
            head = json.loads(file.read(length))
            about = dict(head.pop("__metadata__"))
            expected = wanted | {"format": FORMAT}
            if any(about.get(name) != value for name, value in expected.items()):
                return None
            arrays = {name: _read(file, 8 + length, size, entry) for name, entry in head.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        LOG.warning("%s cannot be read (%s); make it again with %s.", path, error, maker)
        return None
    if _crc(arrays) != about.get("crc"):
        LOG.warning("%s is damaged; make it again with %s.", path, maker)
        return None
    return arrays, about


def _read(file: BufferedReader, start: int, size: int, entry: dict[str, Any]) -> NDArray[Any]:
    """One array, never larger than the file; fresh, since numpy asks for huge pages for it."""
    form, shape = DTYPES[entry["dtype"]], tuple(entry["shape"])
    first, last = entry["data_offsets"]
    if not all(type(n) is int and n >= 0 for n in (*shape, first, last)):
        raise ValueError("its header has other numbers than sizes")
    if math.prod(shape) * form.itemsize != last - first or start + last > size:
        raise ValueError("an array lies outside of it")
    array = np.empty(shape, form)
    file.seek(start + first)
    if file.readinto(array.reshape(-1).view(np.uint8).data) != array.nbytes:
        raise ValueError("it ends early")
    return array


def read_about(path: Path) -> dict[str, str] | None:
    """Metadata of a file, its arrays not looked at; None when it cannot be read."""
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        with safe_open(path, framework="np") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError, ValueError):
        return None
