"""What an image must not be trusted with: identifiers, where one wrong character is wrong."""

import re

_PATTERNS = (
    r"https?://[^\s<>\"')\]]+",
    r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b",
    r"\b0x[0-9a-fA-F]+\b",
    r"\bv?\d+(?:[.,:/-]\d+)+(?:[-+.]?(?:rc|alpha|beta|dev|post|[ab])\.?\d+)?%?",
    r"\b(?=[A-Za-z0-9_-]*\d)(?=[A-Za-z0-9_-]*[A-Za-z])[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)*\b",
    r"\b\d+%?",
)
_ANY = re.compile("|".join(f"(?:{p})" for p in _PATTERNS))


def identifiers(text: str) -> list[str]:
    """Return the exact strings of a text: numbers, versions, dates, hex, ids, links, addresses.

    Each once, in the order of their first appearance. Words without a digit are not identifiers.
    """
    found = (match.group().rstrip(".,:;") for match in _ANY.finditer(text))
    return list(dict.fromkeys(x for x in found if x))
