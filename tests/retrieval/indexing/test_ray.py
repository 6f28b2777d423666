"""`attar build-index --engine ray` on a real local Ray: workers and drivers are killed."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import psutil
import pytest

import attar
from attar.retrieval.indexing.ray_engine import RayEngine, parts_of
from tests.attar.commands import attar_command
from tests.retrieval.indexing.worlds import BATCH, COUNT, ENCODER, contents

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Ray of four logical CPUs, whose workers are slow and note what they embed."""
    import ray

    file = tmp_path_factory.mktemp("ray") / "trace"
    file.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATTAR_TEST_SLOW", "0.2")
        patch.setenv("ATTAR_TEST_TRACE", str(file))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(ROOT))
        ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield file
    ray.shutdown()


def workers() -> list[psutil.Process]:
    """Actors of the Ray of this process."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if child.name().startswith("ray::MapWorker") or "ray::MapWorker" in child.cmdline()[:1]:
                found.append(child)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def test_a_killed_worker_costs_its_block_and_changes_nothing(
    corpus: Path, tmp_path: Path, trace: Path
) -> None:
    attar.build_index(corpus, tmp_path / "alone", ENCODER, "waterfill@8x").close()
    before = len(trace.read_text().splitlines())
    killed: list[int] = []

    def kill() -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not killed:
            done = len(trace.read_text().splitlines()) - before
            if done >= 3 * BATCH and (some := workers()):
                some[0].send_signal(signal.SIGKILL)
                killed.append(some[0].pid)
            time.sleep(0.02)

    killer = Thread(target=kill)
    killer.start()
    attar.build_index(
        corpus, tmp_path / "many", ENCODER, "waterfill@8x", engine=RayEngine(2)
    ).close()
    killer.join()
    assert killed
    assert contents(tmp_path / "many") == contents(tmp_path / "alone")
    embedded = len(trace.read_text().splitlines()) - before
    assert COUNT <= embedded <= COUNT + BATCH, "a killed worker costs its block"


def test_what_a_worker_raises_is_what_the_build_raises(
    corpus: Path, tmp_path: Path, trace: Path
) -> None:
    done = attar_command(
        "build-index", corpus, "--out", tmp_path / "o", "--encoder", "tests.attar.hashed:broken",
        "--codec", "int8", "--engine", "ray", "--workers", "1",
    )  # fmt: skip
    assert done.code == 2, done.err
    assert "finite" in done.err


DRIVER = """
import sys, attar
from attar.retrieval.indexing import build
from attar.retrieval.indexing.ray_engine import RayEngine
build.BATCH = {batch}
attar.build_index(sys.argv[1], sys.argv[2], {encoder!r}, "int8", engine=RayEngine(2)).close()
"""


def test_a_killed_driver_goes_on_from_finished_blocks(
    corpus: Path, tmp_path: Path, trace: Path
) -> None:
    out, before = tmp_path / "many", Counter(trace.read_text().splitlines())
    code = DRIVER.format(batch=BATCH, encoder=ENCODER)
    env = os.environ | {
        "PYTHONPATH": str(ROOT),
        "ATTAR_TEST_SLOW": "0.2",
        "ATTAR_TEST_TRACE": str(trace),
    }
    driver = subprocess.Popen([sys.executable, "-c", code, str(corpus), str(out)], env=env)

    def finished() -> int:
        return len([p for p in parts_of(out).glob("*.json") if p.name != "manifest.json"])

    deadline = time.monotonic() + 200
    while driver.poll() is None and finished() < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert driver.poll() is None
    family = psutil.Process(driver.pid).children(recursive=True)
    driver.kill()
    driver.wait()
    # Ray's workers end with their driver; some of its agents take a minute.
    _, left = psutil.wait_procs(family, timeout=10)
    assert not any("MapWorker" in process.name() for process in left if process.is_running())
    for process in left:
        process.kill()
    attar.build_index(corpus, out, ENCODER, "int8", engine=RayEngine(2)).close()
    counts = Counter(trace.read_text().splitlines()) - before
    attar.build_index(corpus, tmp_path / "alone", ENCODER, "int8").close()
    assert contents(out) == contents(tmp_path / "alone")
    assert COUNT <= sum(counts.values()) <= COUNT + 2 * BATCH, "what two were at comes again"


def test_without_ray_the_error_names_the_command(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    done = attar_command(
        "build-index", corpus, "--out", tmp_path / "o", "--encoder", ENCODER, "--engine", "ray"
    )
    assert done.code != 0
    assert "pip install 'attar[ray]'" in done.err
