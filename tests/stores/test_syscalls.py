"""A writer that is killed, or refused by the disk, at a chosen system call.

strace counts the calls that change the disk during a fixed sequence of operations; then the same
sequence runs again and again, killed at the n-th call, or told there that the disk is full. The
test takes a share of the points; `python -m tests.stores.torture` takes them all.
"""

import os
import shutil
import signal
import subprocess
import sys

import pytest

import attar
from attar.stores.disk.verify import verify
from attar.stores.store import Store
from tests.stores.test_crash import check, expected
from tests.stores.worlds import reopen

CALLS = ("pwrite64", "fsync", "fdatasync", "rename", "unlink", "ftruncate")
OPERATIONS = 13

WRITER = """
import sys
from tests.stores.test_crash import operations
from tests.stores.worlds import pack_early, reopen
pack_early()
try:
    store = reopen(sys.argv[1], "w")
except OSError as error:
    sys.exit(f"refused to open: {error}")
for number in range(int(sys.argv[2])):
    try:
        operations(store, number)
    except OSError as error:
        assert "Free space" in str(error), error
        print("refused", number, error.errno, flush=True)
        operations(store, number)  # the disk has room again
    print(number, flush=True)
store.close()
"""


def make(path):
    shutil.rmtree(path, ignore_errors=True)
    Store.create(path, attar.codec("int8"), keep_originals=True).close()


KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)


def run_traced(options, program, *arguments):
    """Run a program under strace; returns its exit status and what it printed.

    With --seccomp-bpf strace 6.1 injects errors but no signals: nobody would be killed.
    """
    command = ["strace", "-f", "-qqq", *options, sys.executable, "-c", program, *arguments]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert "Traceback" not in run.stderr, run.stderr
    return run.returncode, run.stdout.splitlines()


def traced(path, options, log):
    """Run the sequence of operations under strace."""
    return run_traced(["-o", str(log), *options], WRITER, str(path), str(OPERATIONS))


def points(path, log):
    """How often each call occurs: (call, count)."""
    make(path)
    _, lines = traced(path, ["--seccomp-bpf", "-e", f"trace={','.join(CALLS)}"], log)
    assert lines[-1] == str(OPERATIONS - 1)
    text = log.read_text()
    return [(call, text.count(f" {call}(")) for call in CALLS]


def _injected(call, what):
    return ["-e", f"trace={call}", "-e", f"inject={call}:{what}"]


def kill_at(path, log, call, count):
    """Kill at one call, then check that a prefix of the operations is there, and go on."""
    make(path)
    status, lines = traced(path, _injected(call, f"signal=SIGKILL:when={count}"), log)
    assert status in KILLED, (call, count, status)
    acknowledged = int(lines[-1]) + 1 if lines else 0
    check(path, acknowledged)
    assert verify(path).problems == (), (call, count)


def refuse_at(path, log, call, count):
    """Refuse one call for want of space: that operation fails whole, and works when repeated."""
    make(path)
    injected = ["--seccomp-bpf", *_injected(call, f"error=ENOSPC:when={count}")]
    _, lines = traced(path, injected, log)
    done = sum(line.isdigit() for line in lines)
    assert done in (0, OPERATIONS), (call, count, lines)
    with reopen(path, "w") as store:
        assert {r.id: r.text for r in store.iter()} == expected(done), (call, count)
        assert len(list((path / "segments").iterdir())) == 2 * store.info()["segments"]
    assert verify(path).problems == (), (call, count)


needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None and "ATTAR_CI" not in os.environ, reason="strace is not here"
)


@needs_strace
def test_killed_or_refused_at_system_calls(tmp_path):
    path, log = tmp_path / "s", tmp_path / "log"
    found = points(path, log)
    assert all(count > 0 for _, count in found), found
    for index, (call, count) in enumerate(found):
        kill_at(path, log, call, 1 + (7 * index + count // 2) % count)
        kill_at(path, log, call, count)
        if call in ("pwrite64", "fsync", "fdatasync"):
            refuse_at(path, log, call, 1 + (5 * index + count // 3) % count)
