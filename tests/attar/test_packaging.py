"""A built wheel holds the rooms under one namespace, and nothing else."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy of what git would ship, so that nothing lands in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in names:
        source = ROOT / name
        if source.is_file() and not name.startswith(("examples/data", "bench/results")):
            target = folder / "src" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "-w", str(folder), str(folder / "src")], check=True, timeout=280)
    return next(folder.glob("*.whl"))


def test_wheel_holds_every_package_and_no_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"attar"}
    for room in ("retrieval", "stores", "vision", "context"):
        built = wheel.parent / "src"
        for file in (built / room).rglob("*.py"):
            assert f"attar/{file.relative_to(built)}" in names, "a folder without __init__.py?"
        assert f"attar/{room}/py.typed" in names
    assert {"attar/py.typed", "attar/server/page.html"} <= names
    folders = {part for name in names for part in name.split("/")[:-1]}
    assert not folders & {"tests", "examples", "bench", "docs"}


def test_installed_wheel_imports_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as content:
        content.extractall(site)
    code = (
        "import attar, attar.stores, attar.retrieval.codec as c, attar.vision, attar.context;"
        "print(attar.__file__, c.__file__, attar.codec('pca50%+int8'))"
    )
    # -S keeps the development link tree out; the dependencies' folder is added by hand.
    deps = next(path for path in sys.path if path.endswith("site-packages"))
    run = subprocess.run(
        [
            sys.executable,
            "-S",
            "-c",
            f"import sys; sys.path[:0] = [{str(site)!r}, {deps!r}]; {code}",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert run.stdout.count(str(site)) == 2
