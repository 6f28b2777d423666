"""Rendering: deterministic, any Unicode, nothing lost in the patches; identifiers."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attar.context.vist2 import Renderer, identifiers

ANY = st.text(st.characters(blacklist_categories=["Cs"]), max_size=120)


@settings(deadline=None, max_examples=60)
@given(text=ANY)
def test_any_text_renders_and_its_patches_hold_all_ink(text):
    renderer = Renderer()
    image = renderer.render(text)
    assert np.array_equal(image, renderer.render(text))
    assert image.dtype == np.uint8 and image.shape[1] == renderer.columns * renderer.cell[1]
    patches = renderer.patches(text)
    placed, _, used = renderer.layout(text)
    drawn = "".join(c for *_, c in placed)
    assert len(patches) == used and "".join(drawn.split()) == "".join(text.split())
    rows = image.reshape(-1, renderer.patch[0], 4, renderer.patch[1]).transpose(0, 2, 1, 3)
    rows = rows.reshape(-1, patches.shape[1])
    assert np.array_equal(patches, rows[:used])


def test_the_bytes_are_the_same_everywhere_for_boxes():
    """Without a font in play the image depends on this code alone."""
    image = Renderer().render("\U000f0000\U000f0001")
    assert hashlib.sha256(image.tobytes()).hexdigest()[:16] == "b2e729af2e1bd171"
    assert not np.array_equal(image[:, :6], image[:, 6:12])


def test_characters_without_a_glyph_look_different_from_each_other():
    renderer = Renderer()
    seen = {renderer.render(c)[:, :12].tobytes() for c in "世界語言漢字кл🙂🙃नम"}
    assert len(seen) == len("世界語言漢字кл🙂🙃नम")


def test_letters_are_drawn_and_lines_wrap():
    renderer = Renderer(columns=8, patch_columns=4)
    assert (renderer.render("iW") < 128).any()
    assert renderer.render("x" * 9).shape[0] == 2 * renderer.cell[0]
    assert renderer.render("a\nb\n\nc").shape[0] == 4 * renderer.cell[0]
    assert len(renderer.patches("x" * 8)) == 2 and len(renderer.patches("xxxx    ")) == 1
    assert len(renderer.patches("")) == len(renderer.patches("  \n ")) == 0
    assert len(renderer.patches("abc\nd")) == 3
    assert renderer.layout("世界")[0] == [(0, 0, "世"), (0, 2, "界")]
    assert renderer.layout("e\u0301a")[0] == [(0, 0, "e\u0301"), (0, 1, "a")]
    assert renderer.layout("a\tb")[0][1][1] == 4


def test_flowing_text_leaves_no_patch_half_empty():
    flowing = Renderer(columns=8, patch_columns=4, flow=True)
    assert flowing.layout("ab\ncd")[0] == [(0, i, c) for i, c in enumerate("ab¶cd")]
    assert (
        len(flowing.patches("ab\ncd"))
        == 2
        < len(Renderer(None, (), 10, 72, 1.2, 8, 4).patches("ab\ncd"))
    )
    assert flowing.places("ab\ncd") == [0, 0, 0, 0, 1]


def test_parameters_change_the_image_as_they_say():
    assert Renderer(dpi=144).cell == Renderer(size=20).cell == (24, 12)
    assert Renderer(line_height=2.0).cell == (20, 6)
    assert Renderer().patch == (12, 108)


def test_parameters_are_validated(tmp_path):
    for bad in ({"columns": 70}, {"size": 0}, {"dpi": 10}, {"patch_columns": 0}):
        with pytest.raises(ValueError, match="got"):
            Renderer(**bad)
    with pytest.raises(FileNotFoundError, match="no font file"):
        Renderer(fallbacks=(str(tmp_path / "x.ttf"),))


def test_identifiers_are_found_verbatim():
    text = (
        "Build 4f2a91 of v3.11.7-rc.1 at 2026-11-23 used 98.6% of 0xDEADBEEF, see QX-4471 and "
        "https://a.example/x?y=1, mail a.b@c.example, id 123e4567-e89b-12d3-a456-426614174000."
    )
    expected = [
        "4f2a91", "v3.11.7-rc.1", "2026-11-23", "98.6%", "0xDEADBEEF", "QX-4471",
        "https://a.example/x?y=1", "a.b@c.example", "123e4567-e89b-12d3-a456-426614174000",
    ]  # fmt: skip
    assert identifiers(text) == expected
    assert identifiers("No numbers here, well-known words only.") == []
    assert identifiers("7 and 7 and 8") == ["7", "8"]


@settings(deadline=None, max_examples=60)
@given(text=ANY)
def test_identifiers_are_substrings(text):
    assert all(x in text for x in identifiers(text))
