"""Level NEON: the tests of the kernels once more, for 64-bit Arm in an emulator."""

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from attar.stores.kernels.library import LEVELS
from tests.stores.kernels.emulated import Emulated

ROOT = Path(__file__).parents[3]
COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
LIBRARIES = "/usr/aarch64-linux-gnu"
KERNELS = ("exact", "sketch", "near", "walk", "maxsim")
TESTS = (
    *(f"tests/stores/kernels/test_{name}.py" for name in KERNELS),
    "tests/retrieval/waterfill/test_trellis.py",
    "tests/stores/cascade",
)
BARE = [name for name in (COMPILER, EMULATOR) if shutil.which(name) is None]

pytestmark = [
    pytest.mark.skipif(
        platform.machine() in ("aarch64", "arm64"), reason="no emulation on this machine: it is Arm"
    ),
    pytest.mark.skipif(
        bool(BARE) and "ATTAR_CI" not in os.environ, reason=f"{' and '.join(BARE)} not here"
    ),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[str, str]:
    """What answers calls, and the library as setup.py builds it for Arm, without a warning."""
    folder = tmp_path_factory.mktemp("arm")
    answers = folder / "emulated"
    flags = ["-O1", "-std=c++17", "-Wall", "-Wextra", "-Werror"]
    here = Path(__file__).with_name("emulated.cpp")
    subprocess.run([COMPILER, *flags, str(here), "-o", str(answers), "-ldl"], check=True)
    links = f"{COMPILER} -shared"
    cross = {"CC": COMPILER, "CXX": COMPILER, "LDSHARED": links, "LDCXXSHARED": links}
    strict = {"ATTAR_NATIVE_FLAGS": "-Wall -Wextra -Werror"}
    places = ["--build-lib", str(folder), "--build-temp", str(folder / "objects")]
    ran = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", *places],
        cwd=ROOT,
        env=os.environ | cross | strict,
        capture_output=True,
        text=True,
    )
    library = folder / "attar" / "stores" / "_native.so"
    assert library.exists(), ran.stderr[-4000:]
    return str(answers), str(library)


def emulator(cpu: str, built: tuple[str, str]) -> list[str]:
    return [EMULATOR, "-cpu", cpu, "-L", LIBRARIES, *built]


@pytest.mark.parametrize(
    ("cpu", "wanted"),
    [
        ("max", ["portable", "neon"]),
        ("neoverse-n1", ["portable", "neon"]),
        ("cortex-a53", ["portable"]),
    ],
)
def test_the_level_runs_where_the_dot_product_is(built, cpu, wanted):
    bits = Emulated(emulator(cpu, built)).attar_levels()
    assert [name for number, name in enumerate(LEVELS) if bits >> number & 1] == wanted


@pytest.mark.parametrize(
    ("cpu", "chosen", "least"),
    [
        ("max", "not avx and not amx and not calibration", 600),
        ("cortex-a53", "portable and not cascade and not refined", 250),
    ],
    ids=["with-dot-product", "without"],
)
def test_the_tests_of_the_kernels_pass_on_arm(built, cpu, chosen, least):
    """Every level that this CPU has equals numpy on this machine, bit for bit."""
    plugin = ["-p", "tests.stores.kernels.emulated", "-p", "no:cacheprovider"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", *plugin, "-k", chosen, *TESTS],
        cwd=ROOT,
        env=os.environ | {"ATTAR_EMULATED": " ".join(emulator(cpu, built))},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-1000:]
    passed = re.search(r"(\d+) passed", ran.stdout)
    assert passed is not None and int(passed[1]) >= least, ran.stdout[-500:]
