"""`make docs`: writes the reference and the pictures, builds the site, checks every link of it."""

import importlib
import inspect
import json
import logging
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[1]
PUBLIC: dict[str, tuple[str, ...]] = {
    "attar": (
        "open", "Store", "RemoteStore", "codec", "load_codec", "encoder", "build_index",
    ),
    "attar.stores.types": ("Hits",),
    "attar.stores.shards": ("ShardGroup", "split", "merge", "local_copy"),
    "attar.stores.engines": (
        "PgVectorEngine", "LanceEngine", "QdrantEngine", "QdrantEdgeEngine",
    ),
    "attar.retrieval.indexing.ray_engine": ("RayEngine",),
    "attar.retrieval.sources": ("read_source", "Source", "Document"),
    "attar.retrieval.interchange": ("open_collection", "shrink", "export_faiss"),
    "attar.retrieval.langchain": ("AttarVectorStore", "AttarRetriever", "AttarEmbeddings"),
    "attar.retrieval.llamaindex": ("AttarVectorStore", "AttarRetriever"),
    "attar.retrieval.haystack": ("AttarDocumentStore",),
    "attar.retrieval.mteb": ("AttarIndex", "beir_task"),
    "attar.context": ("compress",),
}  # fmt: skip
HREF = re.compile(r"""(?:href|src)=["']([^"'#]*)(?:#([^"']*))?["']""")


def reference() -> str:
    """Signature and docstring of every public name, as a page."""
    lines = ["# Reference", "", "Written from the docstrings by `make docs`.", ""]
    for name, members in PUBLIC.items():
        module = importlib.import_module(name)
        lines += [f"## `{name}`", ""]
        for member in members:
            lines += _entry(name, member, getattr(module, member))
    return "\n".join(lines) + "\n"


def _entry(module: str, name: str, value: Any) -> list[str]:
    lines = [f"### `{name}`", "", "```text", f"{name}{_signature(value)}", "```", ""]
    lines += ["```text", inspect.getdoc(value) or "", "```", ""]
    if not inspect.isclass(value):
        return lines
    for attribute, member in sorted(_methods(value).items()):
        doc = (inspect.getdoc(member) or "").split("\n\n")[0].replace("\n", " ")
        lines += [f"* `{attribute}{_signature(member)}`: {_plain(doc)}"]
    return [*lines, ""]


def _methods(value: type) -> dict[str, Any]:
    """Public methods and properties that have a docstring and are our own."""
    found = {}
    for attribute in dir(value):
        member = inspect.getattr_static(value, attribute)
        plain = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
        own = str(getattr(plain, "__module__", "")).startswith("attar")
        if not attribute.startswith("_") and own and inspect.getdoc(plain):
            found[attribute] = plain
    return found


def _signature(value: Any) -> str:
    try:
        text = str(inspect.signature(value))
    except (TypeError, ValueError):
        return ""
    return re.sub(r"(typing|collections\.abc|numpy|pathlib)\.", "", text)


def _plain(text: str) -> str:
    return text.replace("<", "&lt;").replace("|", "\\|")


def picture(target: Path) -> None:
    """Overlap against bytes per vector, from the result of `codecs/harness`."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    rows = json.loads((ROOT / "bench" / "results" / "demo.json").read_text())["rows"]
    with mpl.rc_context({"svg.hashsalt": "attar", "font.size": 9}):
        figure = Figure(figsize=(6.4, 3.4), layout="constrained")
        axes = figure.add_subplot()
        for row in rows:
            axes.plot(row["bytes_per_vector"], row["overlap@10"], "o", color="#3b6ea8")
            axes.annotate(
                row["codec"],
                (row["bytes_per_vector"], row["overlap@10"]),
                xytext=(5, -9),
                textcoords="offset points",
            )
        axes.set_xscale("log", base=2)
        axes.set_xlim(64, 4096)
        axes.set_xlabel("bytes per vector (all-MiniLM-L6-v2, SciFact)")
        axes.set_ylabel("overlap@10 with float32")
        axes.grid(alpha=0.3)
        target.parent.mkdir(exist_ok=True)
        figure.savefig(target, metadata={"Date": None})


def build(site: Path) -> list[str]:
    """Build the site and return what is wrong: warnings of mkdocs, links that lead nowhere."""
    from mkdocs.commands.build import build as mkdocs_build
    from mkdocs.config import load_config

    said: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger, ear = logging.getLogger("mkdocs"), Ear(logging.WARNING)
    logger.addHandler(ear)
    try:
        mkdocs_build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(site)))
    finally:
        logger.removeHandler(ear)
    return said + broken_links(site)


def broken_links(site: Path) -> list[str]:
    """Links of the built pages to files or anchors that are not there; the network is not asked."""
    wrong = []
    for page in sorted(site.rglob("*.html")):
        if page.name == "404.html":
            continue
        for target, anchor in HREF.findall(page.read_text()):
            if re.match(r"[a-z]+:", target) or target.startswith("//"):
                continue
            place = page if not target else (page.parent / unquote(target)).resolve()
            place = place / "index.html" if place.is_dir() else place
            if not place.is_file():
                wrong.append(f"{page.relative_to(site)}: {target}")
            elif anchor and place.suffix == ".html" and f'id="{anchor}"' not in place.read_text():
                wrong.append(f"{page.relative_to(site)}: {target}#{anchor}")
    return wrong


def main() -> int:
    """Write, build, check."""
    (ROOT / "docs" / "api.md").write_text(reference())
    picture(ROOT / "docs" / "pictures" / "rate.svg")
    wrong = build(ROOT / "build" / "site")
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"build/site: {'links are whole' if not wrong else f'{len(wrong)} problems'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
