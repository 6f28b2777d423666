"""Maps the rooms at the top of the repository to packages of the one namespace `attar`.

`retrieval/encoders/` is the package `attar.retrieval.encoders`, and so on. The packages are found,
not listed, so that a new folder with an `__init__.py` is shipped without being named anywhere.

The native library `attar/stores/_native.so` is plain C ABI, loaded by ctypes: one file for every
Python. It is optional: without a C++ compiler the install goes through, and numpy gives the same
results, slower. No -march: functions name their instruction set and are chosen at run time.
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # setuptools < 70.1
    from wheel.bdist_wheel import bdist_wheel

ROOMS = ("retrieval", "stores", "vision", "context")
NATIVE = "attar.stores._native"
KERNELS = Path("stores/kernels")

package_dir = {"attar": "attar"} | {f"attar.{room}": room for room in ROOMS}
packages = ["attar", *(f"attar.{name}" for name in find_packages("attar"))]
for room in ROOMS:
    packages += [f"attar.{room}", *(f"attar.{room}.{name}" for name in find_packages(room))]


class BuildNative(build_ext):
    """A shared library instead of a Python module: no PyInit, no ABI tag in the file's name."""

    def get_ext_filename(self, fullname: str) -> str:
        return os.path.join(*fullname.split(".")) + ".so"

    def get_export_symbols(self, ext: Extension) -> list[str]:
        return []


class TagWheel(bdist_wheel):
    """py3-none-PLATFORM with the library inside, py3-none-any when it could not be built."""

    def get_tag(self) -> tuple[str, str, str]:
        build = self.get_finalized_command("build_ext")
        built = Path(build.build_lib, "attar", "stores", "_native.so").exists()
        return ("py3", "none", super().get_tag()[2] if built else "any")


if sys.platform == "win32":
    flags, links = ["/O2", "/std:c++17", "/fp:precise", "/EHsc"], []
else:
    flags = ["-O3", "-ffp-contract=off", "-std=c++17", "-fvisibility=hidden", "-pthread", "-g0"]
    # gcc 12 takes the undefined operand inside its own AVX-512 intrinsics for a mistake of ours.
    flags += ["-Wno-maybe-uninitialized", "-Wno-uninitialized"]
    links = ["-pthread"]

native = Extension(
    NATIVE,
    sources=sorted(str(path) for path in KERNELS.rglob("*.cpp")),
    depends=sorted(str(path) for path in KERNELS.rglob("*.h")),
    extra_compile_args=flags + os.environ.get("ATTAR_NATIVE_FLAGS", "").split(),
    extra_link_args=links + os.environ.get("ATTAR_NATIVE_FLAGS", "").split(),
    optional=True,
)

setup(
    packages=packages,
    package_dir=package_dir,
    ext_modules=[native],
    cmdclass={"build_ext": BuildNative, "bdist_wheel": TagWheel},
)
