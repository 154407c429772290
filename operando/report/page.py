"""The report of one experiment: what was found, how it looks, and what it rests on."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from operando.detect.event import Event
from operando.report.html import facts, framed, nested, page, put, rows, table, text
from operando.report.tables import (
    EVENT_COLUMNS,
    Table,
    clock_rows,
    count_rows,
    event_detail,
    event_row,
)

MEDIA = {".png": "image/png", ".svg": "image/svg+xml"}


class Describable(Protocol):
    """What can say itself in JSON: a candidate, an event."""

    def to_json(self) -> str:
        """Return one JSON object."""


@dataclass(frozen=True, kw_only=True)
class FigureEntry:
    """A figure on disk and what it shows."""

    title: str
    caption: str
    path: Path
    """A .png or .svg; its bytes are put into the page."""


def write(
    path: Path,
    *,
    title: str,
    cell: Mapping[str, Any],
    events: Sequence[Event] = (),
    candidates: Sequence[Describable | Mapping[str, Any]] = (),
    detectors: Sequence[str] = (),
    figures: Sequence[FigureEntry] = (),
    tables: Sequence[Table] = (),
    clocks: Mapping[str, Mapping[str, Any]],
    counts: Mapping[str, Mapping[str, Any]],
    problems: Sequence[Mapping[str, str]] = (),
    provenance: Mapping[str, Any],
) -> None:
    """Write one HTML page that needs nothing else: images inside, no script, no request.

    Every value is escaped, whatever a file or a recipe calls itself. The page is written in one
    step.

    Parameters
    ----------
    path
        Where the page goes.
    cell
        Free facts about the cell.
    candidates
        Interphase candidates; whatever fields they have are shown.
    detectors
        What each detector said of itself.
    tables
        Summaries of observables (`observables_table`).
    clocks
        Source -> its `clock` attribute: source, zone, marks, sigma_s, offset_s, drift_ppm.
    counts
        Measurement -> frames, faulty, outside_coverage, flags.
    problems
        Inputs that could not be used as they were: file and reason.
    provenance
        The record of the run: `inputs`, `recipe`, `versions`, `status`, `finished`,
        `fingerprint`.

    Raises
    ------
    OSError
        A figure cannot be read or the page not written.
    """
    body = [
        _heading(title, cell, provenance),
        _section("What was found", _found(events, candidates, detectors)),
        _section("Figures", "".join(map(_figure, figures)) or "<p>None was drawn.</p>"),
        _section("Observables", _observables(tables)),
        _section("Clocks", _clocks(clocks)),
        _section("Coverage and flags", _coverage(counts, problems)),
        _section("Inputs and checksums", _inputs(provenance.get("inputs", []))),
        _section("Recipe as resolved", _json(provenance.get("recipe", {}))),
        _section("Versions", facts(provenance.get("versions", {}))),
    ]
    put(path, page(title, "\n".join(body)))


def _heading(title: str, cell: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    status = str(provenance.get("status", "unknown"))
    run = {key: provenance[key] for key in ("finished", "fingerprint") if key in provenance}
    mark = ' class="partial"' if status != "complete" else ""
    return (
        f"<h1><bdi>{text(title)}</bdi></h1><p>Status: <span{mark}>{text(status)}</span></p>"
        + facts({**cell, **run})
    )


def _section(title: str, content: str) -> str:
    name = title.lower().replace(" ", "-")
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2>\n{content}</section>'


def _found(
    events: Sequence[Event],
    candidates: Sequence[Describable | Mapping[str, Any]],
    detectors: Sequence[str],
) -> str:
    parts = [f"<h3>Interphase candidates: {len(candidates)}</h3>"]
    parts += [nested(_fields(candidate)) for candidate in candidates]
    parts += [f"<h3>Events: {len(events)}</h3>"]
    parts += [_events(events)] if events else []
    if detectors:
        said = "".join(f"<li><bdi>{text(line)}</bdi></li>" for line in detectors)
        parts += [f"<h3>Growth, and what the detectors say of themselves</h3><ul>{said}</ul>"]
    return "".join(parts)


def _fields(candidate: Describable | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(candidate, Mapping):
        return candidate
    content: dict[str, Any] = json.loads(candidate.to_json())
    return content


def _events(events: Sequence[Event]) -> str:
    head = "".join(f'<th scope="col">{text(column)}</th>' for column in EVENT_COLUMNS)
    body = []
    for event in events:
        columns = "".join(f"<td>{nested(item)}</td>" for item in event_row(event))
        detail = nested(event_detail(event))
        body.append(
            f"<tr>{columns}</tr>"
            f'<tr><td class="detail" colspan="{len(EVENT_COLUMNS)}">{detail}</td></tr>'
        )
    return framed(head, "".join(body))


def _figure(entry: FigureEntry) -> str:
    media = MEDIA[entry.path.suffix.lower()]
    data = base64.b64encode(entry.path.read_bytes()).decode("ascii")
    return (
        f"<figure><h3><bdi>{text(entry.title)}</bdi></h3>"
        f'<img src="data:{media};base64,{data}" alt="{text(f"{entry.title}. {entry.caption}")}">'
        f"<figcaption><bdi>{text(entry.caption)}</bdi></figcaption></figure>"
    )


def _observables(tables: Sequence[Table]) -> str:
    if not any(entry.rows for entry in tables):
        return "<p>No number was tracked.</p>"
    return "".join(
        f"<h3>{text(entry.title)}</h3>{table(entry.columns, entry.rows)}" for entry in tables
    )


def _clocks(clocks: Mapping[str, Mapping[str, Any]]) -> str:
    return (
        "<p>All times are UTC. Offset and drift are what the recipe declares; none is estimated."
        f"</p>{rows(clock_rows(clocks))}"
    )


def _coverage(
    counts: Mapping[str, Mapping[str, Any]], problems: Sequence[Mapping[str, str]]
) -> str:
    told = (
        f'<h3 class="doubt">Inputs with problems: {len(problems)}</h3>{rows(problems)}'
        if problems
        else "<p>Every input could be used as it was.</p>"
    )
    return f"{rows(count_rows(counts))}{told}"


def _inputs(inputs: Sequence[Mapping[str, Any]]) -> str:
    if not inputs:
        return "<p>None recorded.</p>"
    return rows(inputs)


def _json(value: object) -> str:
    lines = json.dumps(value, indent=1, ensure_ascii=False, default=str).split("\n")
    return "<pre>" + "\n".join(text(line) for line in lines) + "</pre>"
