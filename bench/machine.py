"""What a result must say about where it was measured, and the clocks to measure with."""

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("ATTAR_DATA", Path(__file__).parents[2] / "shared" / "data"))
"""Collections that do not belong to the repository; every benchmark says what it needs of them."""


def machine() -> dict[str, Any]:
    """CPU, cores, Python and the versions of the libraries that decide a timing."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    model = next((x.split(":")[1].strip() for x in text.splitlines() if "model name" in x), "")
    flags = next((x for x in text.splitlines() if x.startswith(("flags", "Features"))), "")
    wanted = ("avx2", "avx512f", "avx512_vnni", "amx_int8", "asimddp")
    return {
        "cpu": model or platform.processor() or platform.machine(),
        "isa": [flag for flag in wanted if f" {flag}" in flags],
        "cores": os.cpu_count(),
        "caches": caches(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in ("numpy", "faiss-cpu")},
    }


def caches() -> dict[str, str]:
    """Sizes of the second and third level's caches as Linux tells them; virtual machines share."""
    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, size = (index.joinpath(name).read_text().strip() for name in ("level", "size"))
        if level in ("2", "3"):
            found[f"L{level}"] = size
    return found


def memory_of(pid: int | str = "self") -> dict[str, int]:
    """Bytes of a process as Linux tells them: VmRSS, VmHWM (its most), RssAnon, RssFile."""
    found = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if value.endswith("kB"):
            found[name] = 1024 * int(value.split()[0])
    return found


def commit() -> str:
    """Short hash of HEAD, with a plus sign when tracked files but results differ from it."""
    git = ["git", "-C", str(Path(__file__).parent)]
    head = subprocess.run(
        [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    dirty = subprocess.run(
        [*git, "status", "--porcelain", "-uno", ":/", ":!results"],
        capture_output=True,
        text=True,
        check=False,
    )
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")


def interleaved(
    arms: dict[str, Callable[[], object]], rounds: int = 7, cpu: bool = True
) -> dict[str, dict[str, float]]:
    """Time the arms in turn, A B C A B C …, after one warm-up round.

    Returns per arm the median, minimum and maximum seconds: CPU seconds of this process by default
    (shared machines make wall time meaningless), wall seconds with `cpu=False`.
    """
    clock = time.process_time if cpu else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(rounds + 1):
        for name, run in arms.items():
            start = clock()
            run()
            if turn:
                seconds[name].append(clock() - start)
    return {
        name: {"median": statistics.median(s), "min": min(s), "max": max(s)}
        for name, s in seconds.items()
    }
