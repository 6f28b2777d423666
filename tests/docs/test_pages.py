"""Pages: Python blocks run, in order, in an empty folder; links lead somewhere; none is hidden."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
RUN = (
    "index",
    "build-index",
    "store",
    "scale",
    "langchain",
    "llamaindex",
    "haystack",
    "interchange",
    "engines",
)
"""Pages whose blocks need no model that has to be downloaded and no names from elsewhere."""
MADE = ("api.md",)
"""Pages that `make docs` writes."""
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


@pytest.mark.parametrize("name", RUN)
def test_blocks_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ROOT / "docs" / f"{name}.md"
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": name}
    blocks = [text for kind, text in BLOCK.findall(page.read_text()) if kind == "python"]
    assert blocks
    for number, text in enumerate(blocks, start=1):
        exec(compile(text, f"{page.name}, block {number}", "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(BLOCK.sub("", page.read_text())):
        if not target.startswith(("http://", "https://")):
            name = target.partition("#")[0]
            assert name in MADE or (page.parent / name).is_file(), target


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r"([\w-]+\.md)", (ROOT / "mkdocs.yml").read_text())
    assert {page.name for page in PAGES} <= set(listed)
