"""The GPU scan, interpreted on the CPU, equals the reference bit for bit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

SCRIPT = """
import numpy as np
from attar.stores.kernels.exact import exact_top, source
from attar.stores.kernels.exact import triton as gpu
from tests.stores.kernels.material import make, queries

CASES = [("int8", 1, 5, 1), ("int8", 63, 40, 3), ("float8_e4m3", 100, 33, 4),
         ("float8_e5m2:scaled", 70, 64, 3), ("float8_e3m4:scaled", 130, 16, 7),
         ("uint8", 65, 20, 70), ("waterfill", 100, 40, 5)]
for name, n, dim, k in CASES:
    layout, codes = make(name, n, dim, seed=n)
    norms = np.linspace(0, 9, n, dtype=np.float32) if name == "int8" else None
    held, query = source(layout, codes, norms), queries(2, dim, seed=dim)
    got = gpu.top(gpu.to_device(held, "cpu"), query, k)
    wanted = exact_top(held, query, k, impl="numpy")
    np.testing.assert_array_equal(got.rows, wanted.rows, err_msg=name)
    np.testing.assert_array_equal(got.scores.view(np.uint32), wanted.scores.view(np.uint32))

# Ties: every block is full of rows that reach the floor.
layout, codes = make("int8", 3, 16, seed=0)
held, query = source(layout, codes[np.arange(150) % 3]), queries(1, 16, seed=1)
got, wanted = gpu.top(gpu.to_device(held, "cpu"), query, 4), exact_top(held, query, 4, impl="numpy")
np.testing.assert_array_equal(got.rows, wanted.rows)
assert got.cut[0] and wanted.cut[0]

try:
    gpu.to_device(source(*make("float16", 3, 8, seed=0)), "cpu")
except ValueError as error:
    assert "int8, float8 and waterfill" in str(error)
else:
    raise AssertionError("float16 was taken")
"""


MAXSIM = """
import numpy as np
from attar.stores.kernels.exact import source
from attar.stores.kernels.exact import triton as exact
from attar.stores.kernels.maxsim import best_in_groups, sum_of_best
from attar.stores.kernels.maxsim import triton as gpu
from tests.stores.kernels.material import make, queries

CASES = [("int8", 1, 5, 1, 1), ("int8", 63, 40, 9, 3), ("float8_e4m3", 100, 33, 20, 4),
         ("float8_e3m4:scaled", 70, 16, 3, 3), ("waterfill", 60, 40, 30, 5)]
for name, n, dim, groups, k in CASES:
    layout, codes = make(name, n, dim, seed=n)
    norms = np.linspace(0, 9, n, dtype=np.float32) if name == "int8" else None
    held, query = source(layout, codes, norms), queries(5, dim, seed=dim)
    inner = np.random.default_rng(n).permutation(n - 1)[: groups - 1] + 1
    starts, asked = np.array([0, *np.sort(inner), n]), np.array([0, 2, 5])
    rows, scores = gpu.top(exact.to_device(held, "cpu"), query, starts, asked, k)
    wanted = sum_of_best(best_in_groups(held, query, starts, impl="numpy"), asked)
    for a in range(2):
        order = np.lexsort((np.arange(groups), -wanted[a]))[:k]
        np.testing.assert_array_equal(rows[a], order, err_msg=name)
        np.testing.assert_array_equal(scores[a], wanted[a][order])

# Equal documents: the lowest come first.
layout, codes = make("int8", 2, 16, seed=0)
held, query = source(layout, codes[np.arange(40) % 2]), queries(3, 16, seed=1)
starts = np.arange(0, 41, 2)
rows, _ = gpu.top(exact.to_device(held, "cpu"), query, starts, np.array([0, 3]), 4)
assert rows.tolist() == [[0, 1, 2, 3]]
"""


@pytest.mark.parametrize("script", [SCRIPT, MAXSIM], ids=["exact", "maxsim"])
def test_interpreted_kernel_equals_reference(script):
    # Triton reads TRITON_INTERPRET when it is imported: a process of its own.
    root = Path(__file__).parents[3]
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(root)}
    ran = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=root, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
