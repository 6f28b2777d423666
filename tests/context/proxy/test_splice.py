"""Splicing: the replaced strings change, no other byte does."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attar.context.proxy import splice

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda x: st.lists(x, max_size=4) | st.dictionaries(st.text(max_size=4), x, max_size=4),
    max_leaves=15,
)  # fmt: skip


def strings(value, path=()):
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict):
        for k, v in value.items():
            yield from strings(v, (*path, k))
    elif isinstance(value, list):
        for i, v in enumerate(value):
            yield from strings(v, (*path, i))


def put(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy


@settings(deadline=None, max_examples=150)
@given(
    value=VALUES, data=st.data(), indent=st.sampled_from([None, 0, 3]),
    ascii_only=st.booleans(), new=st.text(st.characters(blacklist_categories=()), max_size=6),
)  # fmt: skip
def test_it_equals_parsing_and_replacing(value, data, indent, ascii_only, new):
    body = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode("utf-8")
    paths = list(strings(value))
    assert splice(body, {}) == body
    if paths:
        chosen = data.draw(st.lists(st.sampled_from(paths), unique=True, max_size=3))
        expected = value
        for path in chosen:
            expected = put(expected, path, new)
        assert json.loads(splice(body, dict.fromkeys(chosen, new))) == expected


def test_numbers_escapes_and_spaces_are_kept():
    body = b' {"a" :1.00e5 ,"b":["\\u0041\\"]}", "x"] , "c": {"d":"\\\\"}}\n'
    got = splice(body, {("b", 1): 'new "text"', ("c", "d"): "é"})
    expected = ' {"a" :1.00e5 ,"b":["\\u0041\\"]}", "new \\"text\\""] , "c": {"d":"é"}}\n'
    assert got == expected.encode()


def test_half_a_character_is_escaped():
    assert splice(b'{"a": "b"}', {("a",): "\ud83d"}) == b'{"a": "\\ud83d"}'


def test_a_path_to_nothing_is_an_error():
    with pytest.raises(KeyError):
        splice(b'{"a": 1}', {("a",): "x"})
