"""Small integers in as few bytes as they need: pure functions, numpy only.

Bits: code j of a row takes the bits [j b, (j + 1) b) of the row's little-endian bit stream (bit i
of the stream is bit i mod 8 of byte i // 8), so that e codes of b bits take ceil(e b / 8) bytes:
two 4-bit codes a byte, four 6-bit codes in three. Trits: five a byte, digit j of byte k is code
5k + j, the first digit the most significant; e trits take ceil(e / 5) bytes.
"""

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

TRITS_PER_BYTE = 5
POWERS = np.array([81, 27, 9, 3, 1], np.uint8)


def packed_bytes(width: int, bits: int) -> int:
    """Bytes of `width` codes of `bits` bits: ceil(width bits / 8)."""
    return -(-width * bits // 8)


def pack_bits(codes: Bytes, bits: int) -> Bytes:
    """Codes uint8 [n e], all < 2^bits with bits in 1 … 8, to bytes uint8 [n ceil(e bits / 8)]."""
    n, width = codes.shape
    # Eight codes of b bits are exactly b bytes: gather them in one 64-bit word.
    groups = -(-width // 8)
    padded = np.zeros((n, groups * 8), np.uint8)
    padded[:, :width] = codes
    words = np.zeros((n, groups), "<u8")
    for place in range(8):
        words |= padded[:, place::8].astype("<u8") << np.uint64(place * bits)
    content = words.view(np.uint8).reshape(n, groups, 8)[:, :, :bits].reshape(n, groups * bits)
    return np.ascontiguousarray(content[:, : packed_bytes(width, bits)])


def unpack_bits(packed: Bytes, bits: int, width: int) -> Bytes:
    """Inverse of `pack_bits`: bytes uint8 [n w] to codes uint8 [n width]."""
    n = len(packed)
    groups = -(-width // 8)
    content = np.zeros((n, groups * bits), np.uint8)
    content[:, : packed.shape[1]] = packed
    wide = np.zeros((n, groups, 8), np.uint8)
    wide[:, :, :bits] = content.reshape(n, groups, bits)
    words = wide.view("<u8")[:, :, 0]
    codes = np.empty((n, groups * 8), np.uint8)
    mask = np.uint64(2**bits - 1)
    for place in range(8):
        codes[:, place::8] = (words >> np.uint64(place * bits)) & mask
    return codes[:, :width]


def pack_trits(codes: Bytes) -> Bytes:
    """Codes uint8 [n e] in 0 … 2 to bytes uint8 [n ceil(e / 5)], each at most 242."""
    n, width = codes.shape
    groups = -(-width // TRITS_PER_BYTE)
    padded = np.zeros((n, groups * TRITS_PER_BYTE), np.uint8)
    padded[:, :width] = codes
    packed: Bytes = (padded.reshape(n, groups, TRITS_PER_BYTE) * POWERS).sum(axis=2, dtype=np.uint8)
    return packed


def unpack_trits(packed: Bytes, width: int) -> Bytes:
    """Inverse of `pack_trits`: bytes uint8 [n w] to codes uint8 [n width]."""
    digits = (np.arange(256)[:, None] // POWERS % 3).astype(np.uint8)
    return digits[packed].reshape(len(packed), packed.shape[1] * TRITS_PER_BYTE)[:, :width]
