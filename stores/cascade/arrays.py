"""Named arrays in one file beside a store: written whole, checksummed, refused when unfit."""

import logging
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.stores.disk.durable import write_file

FORMAT = "1"
LOG = logging.getLogger(__name__)

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

    None, with a warning that names its maker, when it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        with safe_open(path, framework="np") as file:
            about = file.metadata() or {}
            expected = wanted | {"format": FORMAT}
            if any(about.get(name) != value for name, value in expected.items()):
                return None
            arrays = {}
            for name in file.keys():  # noqa: SIM118 - not a mapping
                array = file.get_tensor(name)
                # A fresh array: numpy asks for huge pages for it.
                arrays[name] = np.empty(array.shape, array.dtype)
                arrays[name][...] = array
    except (SafetensorError, OSError, ValueError) as error:
        LOG.warning("%s cannot be read (%s); make it again with %s.", path, error, maker)
        return None
    if _crc(arrays) != about.get("crc"):
        LOG.warning("%s is damaged; make it again with %s.", path, maker)
        return None
    return arrays, about


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
