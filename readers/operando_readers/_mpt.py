"""The header and the rows of an EC-Lab ASCII file (.mpt, or .txt of that layout).

File structure: "EC-Lab ASCII FILE", "Nb header lines : N", N - 3 lines of settings (Latin-1, LF or
CRLF), the column names on line N, then tab-separated rows. Three-line headers carry no settings.
Numbers follow the language of the computer (comma or point), `time/s` is elapsed or absolute
whatever the header says, columns come in any order and end with or without a tab.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from operando_readers import _eclab, _eclab_clock
from operando_readers._reader import File, FormatError, clock
from operando_readers._stamps import DateOrder, moments
from operando_readers._table import decimal_mark

MAGIC = (b"EC-Lab ASCII FILE", b"BT-Lab ASCII FILE")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SHORTEST_HEADER = 3
LONGEST_LIST = 1000
"""Of the names in a message: a damaged line may hold millions."""
MISSING = ["XXX", "XXXX", "NaN", "NAN", "nan"]
LOOP = r"^Loop \d+ from point number (\d{1,18})\b"
FIXED_WIDTH = re.compile(rb"-?(\d[.,]\d+)E[+-]\d{3}")


def recording(
    file: File,
    *,
    wanted: Callable[[str], bool],
    lacks: _eclab.Lacks,
    date_order: DateOrder | None,
) -> _eclab.Recording:
    """Read one technique.

    Parameters
    ----------
    wanted
        Which columns to read, by their names.
    lacks
        What is missing among all the names.
    date_order
        "mdy" or "dmy" for stamps with dots where both numbers are 12 or less.

    Raises
    ------
    FormatError
        Not such a file, a header cut short, a needed column missing, a row of another length (names
        the line), decimal commas and points in one file, a date that could be two.
    """
    header, names, block = _split(file.read_bytes().removeprefix(BYTE_ORDER_MARK))
    last_line = header.count("\n")
    if lacks(names):
        found = str(names)[:LONGEST_LIST]
        raise FormatError(f"line {last_line}: columns {found}; expected {lacks(names)}")
    block, truncated = _without_torn_row(block, last_line)
    columns, stamps = _parse(block, names, first_line=last_line + 1, wanted=wanted)
    sidecar = _eclab_clock.sidecar_text(file)
    start = _eclab_clock.acquisition_start(header, date_order=date_order)
    facts = _eclab_clock.clock_of(start, sidecar, date_order=date_order)
    if stamps is not None:
        columns["time/s"], facts = _since_start(stamps, header, facts, date_order)
    technique = technique_of(header)
    attrs: dict[str, Any] = {
        "clock": facts,
        "instrument": "BioLogic",
        "original_metadata": {"technique": technique, "header": header},
    }
    hint = _eclab_clock.hint_in_name(file)
    if facts["start"] is None and hint:
        attrs["clock_hint"] = hint
    interval = _eclab_clock.record_interval(header)
    if interval is not None:
        attrs["max_record_interval_s"] = interval
    if truncated:
        attrs["truncated"] = truncated
    return _eclab.Recording(
        columns=columns,
        elapsed=columns.get("time/s"),
        technique=technique,
        loop_starts=[int(row) for row in re.findall(LOOP, header, re.MULTILINE)],
        attrs=attrs,
    )


def technique_of(header: str) -> str:
    """Return EC-Lab's name of the technique; empty in a header without settings."""
    lines = header.splitlines()
    return lines[3].strip() if len(lines) > 4 else ""


def names_in(head: bytes) -> list[str]:
    """Return the names of the columns of a file that begins like this; empty where they are not."""
    try:
        return _split(head.removeprefix(BYTE_ORDER_MARK))[1]
    except FormatError:
        return []


def _split(raw: bytes) -> tuple[str, list[str], bytes]:
    """Split a file into its header (with the line of names), the names and the rows."""
    if not raw.startswith(MAGIC):
        raise FormatError(f"first line: {raw[:20]!r}; expected 'EC-Lab ASCII FILE'")
    count = re.match(rb"[^\n]*\n\s*Nb header lines\s*:\s*(\d+)\s*?\n", raw[:200])
    if count is None or int(count[1]) < SHORTEST_HEADER:
        raise FormatError("line 2: no 'Nb header lines : N' with N of 3 or more")
    end = 0
    for line in range(int(count[1])):
        end = raw.find(b"\n", end) + 1
        if end == 0:
            raise FormatError(f"header: ends in line {line + 1} of {int(count[1])}; cut short?")
    try:
        header = raw[:end].decode()
    except UnicodeDecodeError:
        header = raw[:end].decode("latin-1")
    header = header.replace("\r\n", "\n")
    names = header.splitlines()[-1].rstrip().split("\t")
    return header, names, raw[end:]


def _without_torn_row(block: bytes, header_lines: int) -> tuple[bytes, str]:
    """Drop zeros after the last row, and a last row that certainly lacks something."""
    kept = block.rstrip(b"\x00")
    if kept.endswith((b"\n\n", b"\n\r\n")):
        kept = kept.rstrip(b"\r\n") + b"\n"
    reason = "the file ends in zeros" if block.endswith(b"\x00") else ""
    if b"\x00" in kept:
        line = header_lines + 1 + kept.count(b"\n", 0, kept.find(b"\x00"))
        raise FormatError(f"line {line}: holds NUL bytes")
    end = kept.rfind(b"\n") + 1
    last = kept[end:]
    if last and (end == 0 or not _complete(last, like=kept[: end - 1].rpartition(b"\n")[2])):
        if end == 0 and not reason:
            return kept, reason
        kept = kept[:end]
        reason = f"the last row is cut short: {last[-40:]!r}"
    return kept, reason


def _complete(row: bytes, *, like: bytes) -> bool:
    """Whether a row without line end has the fields, and in the last the digits, of another."""
    fields, model = row.rstrip(b"\r").split(b"\t"), like.rstrip(b"\r").split(b"\t")
    if len(fields) != len(model):
        return False
    wanted, found = FIXED_WIDTH.fullmatch(model[-1]), FIXED_WIDTH.fullmatch(fields[-1])
    if wanted is None:
        return True
    return found is not None and len(found[1]) == len(wanted[1])


def _parse(
    block: bytes, names: list[str], *, first_line: int, wanted: Callable[[str], bool]
) -> tuple[dict[str, npt.NDArray[np.float64]], list[str] | None]:
    """Return the columns we want as numbers, and the stamps when `time/s` is absolute."""
    positions = {name: at for at, name in reversed(list(enumerate(names))) if wanted(name)}
    if not block.strip():
        return {name: np.empty(0) for name in positions}, None
    first = block[: block.find(b"\n") if b"\n" in block else None]
    separators = first.count(b"\t")
    if len(first.rstrip().split(b"\t")) != len(names):
        raise FormatError(
            f"line {first_line}: {separators + 1} fields under {len(names)} column names"
        )
    stamped = positions.get("time/s")
    absolute = stamped is not None and b":" in first.split(b"\t")[stamped]
    rows = block.count(b"\n") + (not block.endswith(b"\n"))
    if block.count(b"\t") != separators * rows:
        raise FormatError(_misfit(block, separators, first_line))
    types: dict[int, Any] = dict.fromkeys(positions.values(), np.float64)
    if absolute and stamped is not None:
        types[stamped] = str
    try:
        table = pd.read_csv(
            io.BytesIO(block),
            sep="\t",
            header=None,
            usecols=sorted(types),
            dtype=types,
            decimal=_decimal(block, first, stamped if absolute else None),
            na_values=MISSING,
            keep_default_na=False,
            skip_blank_lines=False,
            encoding="latin-1",
        )
    except (ValueError, pd.errors.ParserError) as error:
        reason = str(error).partition("\n")[0]
        raise FormatError(f"{_misfit(block, separators, first_line)} ({reason})") from error
    columns = {name: table[at].to_numpy() for name, at in positions.items()}
    stamps = [str(text) for text in columns.pop("time/s")] if absolute else None
    return columns, stamps


def _decimal(block: bytes, first: bytes, stamp_column: int | None) -> str:
    """Return the decimal mark; where stamps hold marks of their own, the first row decides.

    The parser refuses every number written with the other mark.
    """
    if stamp_column is not None:
        fields = first.split(b"\t")
        block = b"\t".join(fields[:stamp_column] + fields[stamp_column + 1 :])
    return decimal_mark([block.decode("latin-1")])


def _misfit(block: bytes, separators: int, first_line: int) -> str:
    for at, row in enumerate(block.splitlines()):
        if row.count(b"\t") != separators:
            found = row.count(b"\t") + 1
            return f"line {first_line + at}: {found} fields; expected {separators + 1}"
    return "a row holds something else than numbers"


def _since_start(
    stamps: list[str],
    header: str,
    facts: _eclab_clock.Clock,
    date_order: DateOrder | None,
) -> tuple[npt.NDArray[np.float64], _eclab_clock.Clock]:
    """Return seconds since the start (the first row when no start is known) and the clock."""
    declared = re.search(r"Time format : Absolute (MMDD|DDMM)YYYY", header)
    said: DateOrder | None = date_order
    if declared is not None:
        said = "mdy" if declared[1] == "MMDD" else "dmy"
    usual = _eclab_clock.usual_order(stamps[0])
    found = moments(stamps, what="time/s", date_order=said, usual=usual)
    if np.isnat(found.values).any() or found.zone is not None:
        raise FormatError("time/s: a row has no local time; expected one in every row")
    if facts["start"] is None:
        facts = clock(start=found.iso(0), zone=None, marks="instant", source="column")
    since = found.values - np.datetime64(str(facts["start"]), "ns")
    elapsed = since.astype(np.int64) / 1e9
    if elapsed[0] < -1.0:
        raise FormatError(
            f"time/s: {stamps[0]!r} is before the start {facts['start']}; pass date_order"
        )
    return elapsed, facts
