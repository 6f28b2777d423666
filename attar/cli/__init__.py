"""The command line: `attar build-index`, `search`, `info`, `evaluate`, and what other rooms add."""

from attar.cli.app import main as main
