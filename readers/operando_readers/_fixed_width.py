"""Numbers in fields of fixed width, as Fortran programs write them: they may touch one another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from operando_readers._numbers import is_number
from operando_readers._reader import FormatError

Array = npt.NDArray[np.float64]

MOST = 10_000_000
"""Points of a pattern."""


def fields(
    lines: Sequence[str], *, width: int, first: int, most: int, mid_line: bool
) -> tuple[list[str], int]:
    """Return the fields of the first lines, at most `most` of them, and how many lines they took.

    Parameters
    ----------
    first
        Number of ``lines[0]`` in its file, counted from 1, for messages.
    mid_line
        Whether the last line has no line end: its last field, if it is short, is a part of one and
        is left out.

    Raises
    ------
    FormatError
        An empty field between others; names its line.
    """
    found: list[str] = []
    for at, line in enumerate(lines):
        if len(found) >= most:
            return found[:most], at
        text = line.rstrip()
        parts = [text[start : start + width] for start in range(0, len(text), width)]
        if mid_line and at == len(lines) - 1 and parts and len(parts[-1]) < width:
            parts.pop()
        if not all(part.strip() for part in parts):
            raise FormatError(f"line {first + at}: an empty field; expected {width} columns each")
        found += parts
    return found[:most], len(lines)


def numbers(
    lines: Sequence[str], *, width: int, first: int, most: int, mid_line: bool
) -> tuple[Array, int]:
    """Return the numbers of the first lines as `fields` takes them, and how many lines they took.

    Raises
    ------
    FormatError
        A field that is no number; names its line.
    """
    texts, taken = fields(lines, width=width, first=first, most=most, mid_line=mid_line)
    try:
        values = np.array(texts, dtype=np.float64)
    except ValueError as error:
        wrong = next(text for text in texts if not is_number(text.strip()))
        at = next(at for at, line in enumerate(lines) if wrong in line)
        raise FormatError(f"line {first + at}: {wrong.strip()!r}; expected a number") from error
    return values, taken


def padded(values: Array, size: int) -> Array:
    """Return numbers with NaN for those at the end that a cut file has lost."""
    return np.concatenate([values, np.full(max(size - values.size, 0), np.nan)])


def floats(text: str) -> list[float] | None:
    """Return the numbers of a line of nothing else, None for any other line."""
    words = text.split()
    return [float(word) for word in words] if words and all(map(is_number, words)) else None


def steps(start: float, step: float, stop: float, *, what: str) -> int:
    """Return how many points lie from start to stop, the last within half a step of it.

    Raises
    ------
    FormatError
        They are no range of angles.
    """
    if not (-180 <= start < stop <= 180 and 0 < step <= stop - start) or stop - start > MOST * step:
        raise FormatError(f"{what}: {start:g} to {stop:g} by {step:g}; expected ascending degrees")
    return round((stop - start) / step) + 1
