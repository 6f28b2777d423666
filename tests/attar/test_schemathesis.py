"""The OpenAPI document is true: schemathesis asks a running server what it allows and forbids.

In processes of their own. Inside pytest schemathesis would keep its event loop's thread beyond the
last test (concurrent.futures waits for it before the handlers of atexit that would end it), and
every assertion in its modules would be rewritten first.
"""

import re
import subprocess
import sys

import attar
from attar.stores.store import Store
from tests.attar.test_server import running
from tests.stores.worlds import documents, names

OPERATIONS = 7


def ask(url, *options):
    """What schemathesis prints: all of its checks, the same requests every time."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"]
    # Without --max-time: with it, requests go on until the time is over, whatever --max-examples.
    command += ["--checks", "all", "--generation-deterministic", "--no-color"]
    run = subprocess.run(
        [*command, *options], capture_output=True, text=True, check=False, timeout=240
    )
    return run.returncode, run.stdout + run.stderr


def test_every_operation_keeps_what_the_document_says(tmp_path):
    texts, notes = [f"word{i}" for i in range(20)], [{"n": i} for i in range(20)]
    with Store.create(tmp_path / "s", attar.codec("float32"), text_index=True) as store:
        store.add(names(20), documents(20), texts, notes)
    with running(tmp_path / "s") as url:
        code, said = ask(url, "--phases", "fuzzing", "--max-examples", "20")
    assert code == 0, said
    assert f"{OPERATIONS} selected / {OPERATIONS} total" in said
    assert f"Tested: {OPERATIONS}" in said
    (count,) = re.findall(r"(\d+) generated, \1 passed", said)
    assert int(count) > 80, said
