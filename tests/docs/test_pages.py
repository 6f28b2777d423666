"""Pages: code runs, in order, in an empty folder; commands exist; links lead somewhere."""

import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import typer

from attar.cli.app import app
from tests.attar.commands import attar_command
from tests.docs import given

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
MADE = ("api.md",)
"""Pages that `make docs` writes."""
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
COMMAND = re.compile(r"^ *(attar [a-z-]+ .*?)(?: +#.*)?$", re.MULTILINE)
INDENTED = re.compile(r"^    \S.*$", re.MULTILINE)
ENDLESS = "serve("
"""A block with this call is a server: it runs in a process of its own, and must answer."""
RUN = [page.stem for page in PAGES if page.name not in MADE and "```python" in page.read_text()]


def commands(page: Path) -> list[list[str]]:
    """The words of every command of ours in the blocks for a shell, without `attar`."""
    text = page.read_text()
    code = [block for kind, block in BLOCK.findall(text) if kind != "python"]
    code += INDENTED.findall(BLOCK.sub("", text))
    return [shlex.split(line)[1:] for line in COMMAND.findall("\n".join(code))]


def blocks(name: str) -> list[str]:
    """The Python blocks of a page."""
    page = ROOT / "docs" / f"{name}.md"
    return [text for kind, text in BLOCK.findall(page.read_text()) if kind == "python"]


@pytest.mark.parametrize("name", RUN)
def test_blocks_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make = getattr(given, name.replace("-", "_"), None)
    names = {"__name__": name} | ({} if make is None else make(tmp_path, monkeypatch))
    for number, text in enumerate(blocks(name), start=1):
        if ENDLESS in text:
            answers(text)
        else:
            exec(compile(text, f"{name}.md, block {number}", "exec"), names)
    if name == "context":
        assert names["sent"][0]["messages"] == names["result"].messages


def answers(text: str) -> None:
    """Run a block that serves, at a free port, until it has answered once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "port=8788" in text
    server = subprocess.Popen([sys.executable, "-c", text.replace("port=8788", f"port={port}")])
    try:
        until = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/attar/stats") as answer:
                    assert answer.status == 200
                return
            except OSError:
                assert server.poll() is None and time.monotonic() < until
                time.sleep(0.2)
    finally:
        server.kill()
        server.wait()


def test_the_commands_of_the_planner_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given.planner(tmp_path, monkeypatch)
    found = commands(ROOT / "docs" / "planner.md")
    assert len(found) == 3
    for words in found:
        done = attar_command(*words, "--sample", "100", "--encoder", "tests.attar.hashed:embed")
        assert done.code == 0, done.err
        assert "waterfill@" in done.out
    assert (tmp_path / "plan.svg").is_file()


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.stem)
def test_commands_exist_and_know_their_options(page: Path) -> None:
    for words in commands(page):
        parse(typer.main.get_command(app), words)


def parse(command: Any, words: list[str]) -> None:
    """Read a command line as the shell would, without running it."""
    while (known := getattr(command, "commands", None)) is not None:
        assert words[0] in known, words[0]
        command, words = known[words[0]], words[1:]
    command.make_context(command.name, words)


def test_a_command_that_does_not_exist_is_noticed() -> None:
    with pytest.raises(Exception, match="No such option: --keeps"):
        parse(typer.main.get_command(app), ["plan", "corpus.jsonl", "--keeps", "1"])
    with pytest.raises(AssertionError):
        parse(typer.main.get_command(app), ["plans", "corpus.jsonl"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(BLOCK.sub("", page.read_text())):
        if not target.startswith(("http://", "https://")):
            name = target.partition("#")[0]
            assert name in MADE or (page.parent / name).is_file(), target


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r"([\w-]+\.md)", (ROOT / "mkdocs.yml").read_text())
    assert {page.name for page in PAGES} <= set(listed)
