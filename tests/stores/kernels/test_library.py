"""The native library is optional: it builds, it need not, and results do not depend on it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import attar
from attar.stores.kernels.library import LEVELS, best_level, levels, native_level, pointer

ROOT = Path(__file__).parents[3]
ROOMS = ("retrieval", "stores", "vision", "context")

PLAIN = """
import sys
sys.meta_path = [f for f in sys.meta_path if "editable" not in repr(f).lower()]
sys.path.insert(0, sys.argv[1])
import numpy as np
import attar
from attar.stores.kernels.library import best_level
assert attar.__file__.startswith(sys.argv[1]), attar.__file__
assert best_level() is None
with attar.open(sys.argv[2]) as store:
    queries = np.load(sys.argv[3])
    hits, near = store.search(queries, 10), store.search(queries, 10, exact=False)
    assert (near.ids == hits.ids).all()
np.savez(sys.argv[4], ids=hits.ids.astype(str), scores=hits.scores)
"""


def copy_of_the_package(folder: Path) -> Path:
    """The package as an installation without a compiler leaves it."""
    skip = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "attar", folder / "attar", ignore=skip)
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / "attar" / room, ignore=skip)
    return folder


def test_without_the_library_the_results_are_the_same_bits(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3000, 24)).astype(np.float32)
    np.save(tmp_path / "q.npy", x[:5])
    with attar.Store.create(tmp_path / "s", "int8") as store:
        store.add([f"d{i}" for i in range(len(x))], x)
        hits = store.search(x[:5], 10)
    files = [str(tmp_path / name) for name in ("s", "q.npy", "out.npz")]
    package = str(copy_of_the_package(tmp_path / "plain"))
    ran = subprocess.run(
        [sys.executable, "-c", PLAIN, package, *files], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    got = np.load(tmp_path / "out.npz")
    np.testing.assert_array_equal(got["ids"], hits.ids.astype(str))
    np.testing.assert_array_equal(got["scores"], hits.scores)


@pytest.mark.parametrize("compiler", ["", "/nonexistent/compiler"])
def test_the_build_succeeds_with_and_without_a_compiler(tmp_path, compiler):
    if not compiler and shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("no C++ compiler on this machine")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for room in (*ROOMS, "attar"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").touch()
    shutil.copytree(ROOT / "stores" / "kernels", tmp_path / "stores" / "kernels")
    environment = dict(os.environ)
    if compiler:
        environment |= {"CC": compiler, "CXX": compiler}
    ran = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert (tmp_path / "stores" / "_native.so").exists() == (not compiler)


def test_levels_and_names():
    assert list(levels()) == sorted(levels(), key=LEVELS.index)
    assert levels()[:1] == LEVELS[:1]
    assert best_level() == (levels()[-1] if levels() else None)
    assert native_level("numpy") is None
    for name in levels():
        assert native_level(name) == LEVELS.index(name)
    with pytest.raises(ValueError, match="impl is one of"):
        native_level("sse")
    for name in set(LEVELS) - set(levels()):
        with pytest.raises(ValueError, match="does not run here"):
            native_level(name)


REFUSED = """
import ctypes, os, resource, sys
libc = ctypes.CDLL(None, use_errno=True)
# What the kernel does for a process without the right to tiles: the request itself is forbidden.
class Filter(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8),
                ("k", ctypes.c_uint32)]
class Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_uint16), ("filter", ctypes.POINTER(Filter))]
ARCH_PRCTL, ERRNO, ALLOW = 158, 0x00050016, 0x7FFF0000
steps = (Filter * 6)(
    Filter(0x20, 0, 0, 0), Filter(0x15, 0, 3, ARCH_PRCTL),
    Filter(0x20, 0, 0, 16), Filter(0x15, 0, 1, 0x1023), Filter(0x06, 0, 0, ERRNO),
    Filter(0x06, 0, 0, ALLOW))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(6, steps)), 0, 0) == 0
from attar.stores.kernels.library import levels
print(*levels())
"""


@pytest.mark.skipif("amx" not in levels(), reason="no amx on this machine")
def test_without_the_kernels_permission_the_next_level_runs():
    ran = subprocess.run([sys.executable, "-c", REFUSED], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.split() == [name for name in levels() if name != "amx"]


def test_kernels_take_contiguous_arrays_only():
    with pytest.raises(ValueError, match="C-contiguous"):
        pointer(np.zeros((4, 4))[:, ::2])
