"""How every experiment of a batch ended: one page and one table."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from operando.report.html import framed, page, put, text

COLUMNS = (
    "name",
    "status",
    "frames",
    "flagged",
    "outside_coverage",
    "events",
    "candidates",
    "message",
)


def write_summary(path_html: Path, path_csv: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write one row an experiment, as a page with links to the reports and as CSV.

    Parameters
    ----------
    rows
        name, status, frames, flagged, outside_coverage, events, candidates, message, and `report`:
        the path of its report relative to the page, empty when there is none.
    """
    head = "".join(f'<th scope="col">{text(name.replace("_", " "))}</th>' for name in COLUMNS)
    body = "".join(f"<tr>{''.join(_cells(row))}</tr>" for row in rows)
    failed = sum(row.get("status") == "failed" for row in rows)
    put(
        path_html,
        page(
            "Summary",
            f"<h1>Summary</h1><p>{len(rows)} experiments, {failed} failed.</p>{framed(head, body)}",
        ),
    )
    stream = io.StringIO()
    writer = csv.DictWriter(
        stream, [*COLUMNS, "report"], extrasaction="ignore", lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    put(path_csv, stream.getvalue())


def _cells(row: Mapping[str, Any]) -> list[str]:
    cells = [f"<td>{text(row.get(name))}</td>" for name in COLUMNS]
    if row.get("report"):
        # "./" and the quoting of ":" keep a name from becoming a scheme.
        link = text(f"./{quote(str(row['report']), safe='/', errors='surrogateescape')}")
        cells[0] = f'<td><a href="{link}">{text(row.get("name"))}</a></td>'
    if row.get("status") != "complete":
        cells[1] = f'<td><span class="partial">{text(row.get("status"))}</span></td>'
    return cells
