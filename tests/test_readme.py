"""The README says what is true: its table of formats is that of the conformance suite."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from operando.reading import formats

ROOT = Path(__file__).resolve().parents[1]
ORIGINS = {"shared": "real", "examples": "simulated"}


def tried(name: str) -> str:
    """Count the files whose numbers the conformance suite checks; it fails when one does not pass.

    Files of `examples` are simulated, those of `shared` were written by instruments.
    """
    path = ROOT / "tests" / "expected" / f"{name}.json"
    entries = json.loads(path.read_text(encoding="utf-8"))["files"]
    counts = Counter(entry["root"] for entry in entries)
    return ", ".join(f"{counts[root]} {kind}" for root, kind in ORIGINS.items() if counts[root])


def formats_table() -> str:
    """Return the table of formats as the README has it."""
    lines = [
        "| format | technique | suffixes | what it is | files tried, all pass |",
        "|---|---|---|---|---|",
    ]
    for name, reader in sorted(formats().items()):
        suffixes = " ".join(reader.suffixes)
        cells = (name, reader.technique, suffixes, reader.description, tried(name))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def test_table_of_formats() -> None:
    table = formats_table()
    assert table in (ROOT / "README.md").read_text(encoding="utf-8"), f"put this in:\n{table}"
