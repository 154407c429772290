"""Rows of numbers in text, parsed fast, checked, and honest about a last row that was cut.

Shared by the readers of text in which every field is a number; it knows no format: the
caller splits the file into lines, says where the numbers begin, and names the columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from operando_readers._reader import FormatError

Array = npt.NDArray[np.float64]
LONGEST_QUOTE = 40


def ends_mid_line(text: str) -> bool:
    """Whether the last line of `text` has no line end, as in a file that was cut."""
    return not text.endswith(("\n", "\r"))


def rows(
    lines: Sequence[str], *, first: int, mid_line: bool, delimiter: str | None = None
) -> tuple[Array, str | None]:
    """Parse lines that all hold the same number of numbers.

    Parameters
    ----------
    lines
        The lines from the first row of numbers to the end; blank lines are skipped.
    first
        Number of ``lines[0]`` in its file, counted from 1, for messages.
    mid_line
        Whether the last line has no line end (`ends_mid_line`): only then may it be left out.
    delimiter
        What stands between the numbers; None is any white space.

    Returns
    -------
    table : (rows, columns) array
    truncated : why the last row was left out, or None.

    Raises
    ------
    FormatError
        A row that is not numbers, or has another number of columns; names its line.
    """
    kept = list(lines)
    while kept and not kept[-1].strip():
        kept.pop()
    reason = None
    if mid_line and len(kept) > 1 and _is_cut(kept, delimiter=delimiter):
        reason = f"line {first + len(kept) - 1}: cut short ({_quote(kept.pop())})"
    if not any(line.strip() for line in kept):
        raise FormatError(f"line {first}: no numbers; expected rows of numbers from here on")
    try:
        return np.loadtxt(kept, delimiter=delimiter, comments=None, ndmin=2), reason
    except ValueError as error:
        raise FormatError(_describe(kept, first=first, delimiter=delimiter)) from error


def columns(
    lines: Sequence[str],
    names: Sequence[str],
    *,
    first: int,
    mid_line: bool,
    delimiter: str | None = None,
) -> tuple[dict[str, Array], str | None]:
    """Parse `rows` below the names of their columns.

    Returns
    -------
    columns : name -> (rows,) array
    truncated : why the last row was left out, or None.

    Raises
    ------
    FormatError
        As `rows`, or there are more or fewer columns than names.
    """
    table, truncated = rows(lines, first=first, mid_line=mid_line, delimiter=delimiter)
    if table.shape[1] != len(names):
        raise FormatError(f"line {first}: {table.shape[1]} columns under {len(names)} names")
    return dict(zip(names, table.T, strict=True)), truncated


def _is_cut(lines: Sequence[str], *, delimiter: str | None) -> bool:
    """Whether the last line is certainly a part of a row; a shorter number alone proves nothing."""
    *before, last = lines
    columns = next((len(line.split(delimiter)) for line in before if line.strip()), 0)
    fields = last.split(delimiter)
    if len(fields) < columns or not is_number(fields[-1]):
        return True
    if not last[-1].isspace() and all(line[-1:].isspace() for line in before if line):
        return True
    widths = {len(line) for line in before if line.strip()}
    return len(widths) == 1 and len(last) < widths.pop()


def is_number(field: str) -> bool:
    """Whether a field is a number as instruments write them: Python takes 1_000 for one too."""
    try:
        float(field)
    except ValueError:
        return False
    return field.isascii() and "_" not in field


def _describe(lines: Sequence[str], *, first: int, delimiter: str | None) -> str:
    """Say which line is not what the first one promises."""
    columns, model = None, first
    for number, line in enumerate(lines, first):
        if not line.strip():
            continue
        fields = line.split(delimiter)
        if not all(is_number(field) for field in fields):
            return f"line {number}: {_quote(line)}; expected numbers"
        if columns is None:
            columns, model = len(fields), number
        if len(fields) != columns:
            return f"line {number}: {len(fields)} numbers; expected {columns} as in line {model}"
    return f"line {first}: not a table of numbers"


def _quote(line: str) -> str:
    text = line.strip()
    return repr(text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + "...")
