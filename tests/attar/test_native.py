"""The native library is there wherever a compiler is."""

import os
import shutil

import pytest

from attar.stores.kernels.library import library


@pytest.mark.skipif(
    shutil.which("g++") is None and "ATTAR_CI" not in os.environ, reason="no C++ compiler"
)
def test_a_compiler_means_native_kernels() -> None:
    assert library() is not None, "built by `make setup`; look at what the compiler said"
