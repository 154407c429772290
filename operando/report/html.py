"""Values as HTML: everything that comes from outside passes through `text`."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

NOTHING = "–"

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)
"""What the page may load: its own images and its own style, nothing from anywhere else."""

STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; --accent: #b34700; }
@media (prefers-color-scheme: dark) { :root { --accent: #ff9d5c; } }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto;
  padding: 0 1.2rem; }
h1 { font-size: 1.7rem; margin-bottom: 0.2rem; overflow-wrap: anywhere; }
h2 { margin-top: 2.4rem; border-bottom: 1px solid var(--line); padding-bottom: 0.2rem; }
h3 { margin: 1.4rem 0 0.4rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.86rem; margin: 0.4rem 0 1rem; }
th, td { text-align: left; vertical-align: top; padding: 0.25rem 0.7rem 0.25rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: break-word; max-width: 26rem; }
thead th { border-bottom: 2px solid var(--line); white-space: nowrap; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td table { margin: 0; font-size: 1em; }
td.detail { padding-left: 1.6rem; max-width: none; opacity: 0.85; }
code, pre { font: 0.82rem/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; background: var(--soft); padding: 0.8rem; }
figure { margin: 1rem 0 2rem; break-inside: avoid; }
figure img { width: min(100%, 1080px); height: auto; background: white; }
figcaption { font-size: 0.88rem; max-width: 54rem; }
.partial, .failed, .doubt { color: var(--accent); font-weight: 600; }
@media print { body { max-width: none; margin: 0; font-size: 10pt; } .wide { overflow: visible; } }
"""


def text(value: object) -> str:
    r"""Return a value as HTML text on one line; what could act or hide is written out.

    >>> text('<script>"a"')
    '&lt;script&gt;&quot;a&quot;'
    >>> print(text("row\nnext\u202e"))
    row\nnext\u202e
    """
    letters = (letter if letter.isprintable() else _escaped(letter) for letter in shown(value))
    return html.escape("".join(letters))


def shown(value: object) -> str:
    """Return a value as words: numbers to 8 figures, times in UTC, nothing as a dash."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        return f"{value:.8g}"
    if isinstance(value, np.datetime64):
        return np.datetime_as_string(value, unit="s").replace("T", " ")
    return str(value)


def with_sigma(value: float, sigma: float, units: str) -> str:
    """Return a number to the second figure of its sigma.

    >>> with_sigma(0.81234, 0.0512, "eV")
    '0.812 ± 0.051 eV'
    >>> with_sigma(1234.5, float("nan"), "1")
    '1234.5'
    """
    unit = "" if units in ("", "1") else f" {units}"
    if not (math.isfinite(sigma) and sigma > 0 and math.isfinite(value)):
        return f"{shown(float(value))}{unit}"
    places = 1 - math.floor(math.log10(sigma))
    if abs(places) > 6:
        return f"{value:.6g} ± {sigma:.2g}{unit}"
    digits = max(places, 0)
    return f"{round(value, places):.{digits}f} ± {round(sigma, places):.{digits}f}{unit}"


def nested(value: object) -> str:
    """Return a value of any depth as HTML: tables for mappings and rows, text for the rest."""
    if isinstance(value, Mapping):
        return facts(value) if value else NOTHING
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if value and all(isinstance(item, Mapping) for item in value):
            return rows(value)
        return ", ".join(nested(item) for item in value) or NOTHING
    return f"<bdi>{text(value)}</bdi>"


def facts(values: Mapping[str, Any]) -> str:
    """Return a mapping as a table of two columns."""
    lines = (
        f'<tr><th scope="row">{text(_words(key))}</th><td>{nested(value)}</td></tr>'
        for key, value in values.items()
    )
    return f"<table>{''.join(lines)}</table>"


def rows(values: Sequence[Mapping[str, Any]]) -> str:
    """Return mappings as a table with a column for every key that occurs."""
    columns = list(dict.fromkeys(key for value in values for key in value))
    return table(
        [_words(column) for column in columns],
        [[value.get(column) for column in columns] for value in values],
    )


def table(columns: Sequence[str], values: Sequence[Sequence[object]]) -> str:
    """Return a table that scrolls when it is wider than the page; numbers stand to the right."""
    head = "".join(f'<th scope="col">{text(column)}</th>' for column in columns)
    body = "".join(f"<tr>{''.join(_column(item) for item in row)}</tr>" for row in values)
    return framed(head, body)


def framed(head: str, body: str) -> str:
    """Return a table of a head row and body rows that are HTML already."""
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def page(title: str, body: str) -> str:
    """Return a whole document that asks nobody for anything."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n"
        "</html>\n"
    )


def put(path: Path, content: str) -> None:
    """Write a text file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(content, encoding="utf-8", errors="backslashreplace", newline="")
    os.replace(partial, path)


def _column(item: object) -> str:
    if isinstance(item, int | float | np.number) and not isinstance(item, bool):
        return f'<td class="number">{text(item)}</td>'
    return f"<td>{nested(item)}</td>"


def _words(key: object) -> str:
    return str(key).replace("_", " ")


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
