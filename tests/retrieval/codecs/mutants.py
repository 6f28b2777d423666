"""Codec files as nobody wrote them: cut, with flipped bits, with headers and tensors that lie.

`python -m tests.retrieval.codecs.mutants SPEC...` tries them in a process of its own: a crash of
the interpreter is seen.
"""

import json
import random
import struct
import sys
from collections.abc import Iterator

import numpy as np

import attar
from tests.retrieval.codecs.methods import DIM, documents

VALUES = [None, True, 0, -1, 1, 2, 7, DIM - 1, DIM + 1, 1 << 16, 1 << 40, 1 << 70, 1.5, 1e999]
VALUES += ["", "x", "int8", "pca50%+int8", "waterfill@8x", "sq8", [], {}, [[]]]
PER_SPEC = 60


def split(content: bytes) -> tuple[dict, bytes]:
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def joined(head: dict, body: bytes) -> bytes:
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def mutant(content: bytes, draw: random.Random) -> bytes:
    """One file that is not what was written."""
    kind = draw.randrange(8)
    some = bytearray(content)
    head, body = split(content)
    ours = json.loads(head["__metadata__"]["attar"])
    tensors = sorted(set(head) - {"__metadata__"})
    if kind == 0:
        return content[: draw.randrange(len(content))]
    if kind == 1:
        place = draw.randrange(len(content) * 8)
        some[place // 8] ^= 1 << place % 8
        return bytes(some)
    if kind == 2:
        ours[draw.choice(["spec", "dim", "norm", "seed", "parts", "format"])] = draw.choice(VALUES)
    elif kind == 3:
        ours = draw.choice([None, [], "x", 3, [[[]]], {"spec": {}}])
    elif kind == 4:
        head["__metadata__"] = draw.choice([{}, {"attar": "[" * 100_000}, {"attar": "nul"}, {}])
        return joined(head, body)
    elif kind == 5 and tensors:
        about = head[draw.choice(tensors)]
        about["shape"] = draw.choice([about["shape"][::-1], [int(np.prod(about["shape"]))], []])
    elif kind == 6 and tensors:
        head[draw.choice(["0.mean", "9.basis", "-1.x", "x", ".", "0.", "1.unit"])] = head.pop(
            draw.choice(tensors)
        )
    elif tensors:
        first, last = head[draw.choice(tensors)]["data_offsets"]
        size = max(1, min(16, last - first))
        noise = draw.choice([bytes(size), b"\xff" * size, draw.randbytes(size)])
        place = draw.randrange(first, max(first + 1, last - size + 1))
        body = body[:place] + noise + body[place + size :]
    head["__metadata__"]["attar"] = json.dumps(ours)
    return joined(head, body)


def mutants(spec: str, count: int = PER_SPEC) -> Iterator[bytes]:
    """Files of one codec, the same every time."""
    draw = random.Random(spec)
    content = attar.codec(spec).fit(documents(), queries=None, seed=0).dump()
    for _ in range(count):
        yield mutant(content, draw)


def outcome(content: bytes) -> str:
    """`refused` with a sentence, or `used`; anything else is raised."""
    try:
        codec = attar.load_codec(content)
    except ValueError as error:
        assert len(str(error)) > 20, error
        return "refused"
    x = np.random.default_rng(0).standard_normal((3, codec.dim), np.float32)
    try:
        codes = codec.encode(x)
    except ValueError as error:  # what a document's factor does not fit, for example
        assert len(str(error)) > 20, error
        return "used"
    assert len(codes) == 3
    assert codec.decode(codes).shape == (3, codec.dim)
    assert codec.prepare(x).coords.shape == (3, codec.layout.dim)
    return "used"


def main() -> None:
    for spec in sys.argv[1:]:
        found = [outcome(content) for content in mutants(spec)]
        print(spec, found.count("refused"), found.count("used"), flush=True)


if __name__ == "__main__":
    main()
