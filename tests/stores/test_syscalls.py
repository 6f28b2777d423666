"""A writer that is killed, or refused by the disk, at a chosen system call.

strace counts the calls that change the disk during a fixed sequence of operations; then the same
sequence runs again and again, killed at the n-th call, or told there that the disk is full. The
test takes a share of the points; `python -m tests.stores.torture` takes them all.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

import attar
from attar.stores.disk.verify import verify
from attar.stores.store import Store
from tests.stores.test_crash import CONTEXT, check, drained, expected, operations
from tests.stores.worlds import pack_early, reopen

CALLS = ("pwrite64", "fsync", "fdatasync", "rename", "unlink", "ftruncate")
OPERATIONS = 13


def write(path, count, pipe):
    """The sequence of operations; one that the disk refuses is done again."""
    pack_early()
    pipe.recv()
    try:
        store = reopen(path, "w")
    except OSError as error:
        assert "Free space" in str(error), error
        return
    for number in range(count):
        try:
            operations(store, number)
        except OSError as error:
            assert "Free space" in str(error), error
            operations(store, number)  # the disk has room again
        pipe.send(number)
    store.close()


def migrate(path, pipe):
    """Open a store of an older format for writing."""
    pack_early()
    pipe.recv()
    reopen(path, "w").close()


def make(path):
    shutil.rmtree(path, ignore_errors=True)
    Store.create(path, attar.codec("int8"), keep_originals=True).close()


def traced(target, arguments, options):
    """Run `target(*arguments, pipe)` in a process under strace; returns exit code and messages.

    With --seccomp-bpf strace 6.1 would inject errors but no signals: nobody would be killed.
    """
    here, there = CONTEXT.Pipe()
    process = CONTEXT.Process(target=target, args=(*arguments, there))
    process.start()
    there.close()
    command = ["strace", "-f", "-qqq", "-p", str(process.pid), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as tracer:
        while "TracerPid:\t0" in Path(f"/proc/{process.pid}/status").read_text():
            assert tracer.poll() is None, tracer.stderr.read()
            time.sleep(0.002)
        here.send("go")
        said = drained(here)
        process.join()
    return process.exitcode, said


def points(path, log):
    """How often each call occurs: (call, count)."""
    make(path)
    options = ["-o", str(log), "-e", f"trace={','.join(CALLS)}"]
    status, said = traced(write, (path, OPERATIONS), options)
    assert (status, said[-1]) == (0, OPERATIONS - 1)
    text = log.read_text()
    return [(call, text.count(f" {call}(")) for call in CALLS]


def injected(call, what):
    """Options that do something to one call."""
    return ["-o", os.devnull, "-e", f"trace={call}", "-e", f"inject={call}:{what}"]


def kill_at(path, call, count):
    """Kill at one call, then check that a prefix of the operations is there, and go on."""
    make(path)
    options = injected(call, f"signal=SIGKILL:when={count}")
    status, said = traced(write, (path, OPERATIONS), options)
    assert status == -signal.SIGKILL, (call, count, status)
    acknowledged = said[-1] + 1 if said else 0
    check(path, acknowledged)
    assert verify(path).problems == (), (call, count)


def refuse_at(path, call, count):
    """Refuse one call for want of space: that operation fails whole, and works when repeated."""
    make(path)
    options = injected(call, f"error=ENOSPC:when={count}")
    status, said = traced(write, (path, OPERATIONS), options)
    done = len(said)
    assert (status, done) in ((0, 0), (0, OPERATIONS)), (call, count, status, said)
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
        kill_at(path, call, 1 + (7 * index + count // 2) % count)
        kill_at(path, call, count)
        if call in ("pwrite64", "fsync", "fdatasync"):
            refuse_at(path, call, 1 + (5 * index + count // 3) % count)
