"""Codec files that somebody else wrote: refused with a sentence, or good for use; never a crash."""

import json
import pickle
import subprocess
import sys

import pytest

import attar
from tests.retrieval.codecs.methods import METHODS, documents
from tests.retrieval.codecs.mutants import joined, split

# Using these starts torch or numba, which is not what this is about.
SPECS = [m.spec for m in METHODS if not m.spec.startswith(("umap", "autoencoder"))]


def test_mutants_of_every_codec_are_refused_or_work():
    """In a process of its own, so that a crash of the interpreter is a failure of this test."""
    command = [sys.executable, "-m", "tests.retrieval.codecs.mutants", *SPECS]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
    assert run.returncode == 0, run.stderr[-3000:]
    rows = [line.rsplit(" ", 2) for line in run.stdout.splitlines()]
    assert [spec for spec, _, _ in rows] == SPECS
    # Both happen with every codec: some mutants change numbers only, or nothing that is read.
    assert all(int(refused) > 30 and int(used) > 0 for _, refused, used in rows), rows


def test_a_true_file_is_read(tmp_path):
    content = attar.codec("waterfill").fit(documents()).dump()
    assert attar.load_codec(content).dump() == content
    head, body = split(content)
    assert attar.load_codec(joined(head, body)).spec == "waterfill@8x"


@pytest.mark.parametrize("name", ["spec", "dim", "norm", "seed", "parts", "format"])
def test_what_is_wrong_is_named(name):
    head, body = split(attar.codec("int8").fit(documents()).dump())
    ours = json.loads(head["__metadata__"]["attar"])
    del ours[name]
    head["__metadata__"]["attar"] = json.dumps(ours)
    with pytest.raises(ValueError, match=name):
        attar.load_codec(joined(head, body))


class Bomb:
    def __reduce__(self):
        return (open, ("/dev/null/never", "w"))


def test_pickles_are_not_opened():
    for content in (
        pickle.dumps(Bomb()),
        b"\x80\x04" + pickle.dumps(Bomb()),
        b"PK\3\4" + bytes(60),
    ):
        with pytest.raises(ValueError, match="codec file"):
            attar.load_codec(content)
