"""`make docs`: the site builds without a warning, its links lead somewhere, nothing is left out."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "dev" / "docs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_site_builds_and_its_links_are_whole(docs: ModuleType, tmp_path: Path) -> None:
    page = ROOT / "docs" / "api.md"
    page.write_text(docs.reference())
    docs.picture(tmp_path / "rate.svg")
    assert (tmp_path / "rate.svg").read_text().startswith("<?xml")
    assert docs.build(tmp_path / "site") == []
    text = (tmp_path / "site" / "api" / "index.html").read_text()
    for name in ("RemoteStore", "PgVectorEngine", "RayEngine", "AttarIndex"):
        assert name in text
    # The check can fail.
    broken = tmp_path / "site" / "store" / "index.html"
    broken.write_text(broken.read_text() + '<a href="../nowhere/">x</a><a href="#none">y</a>')
    assert docs.broken_links(tmp_path / "site") == [
        "store/index.html: ../nowhere/",
        "store/index.html: #none",
    ]
