"""Powder patterns of two-axis neutron diffractometers: ILL D1A, D1B, D2B, LLB (FullProf INSTRM 5).

File structure (FullProf manual, "General format for two axis instrument"): three lines of text, of
which the first of D1A begins with the wavelength (``D1A5 Title: 1.9114 A``); a line with the number
of points, the temperature of the sample and of its regulation, IVARI, and the monitor that
intensities are brought to; a line with first angle, step and last angle; intensities, ten a line in
8 columns each; and where IVARI is 1 their standard deviations in the same way.

There is no time in it. A temperature that is not above zero was not measured.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import xarray as xr

from operando_readers._diffraction import NO_CLOCK, kelvin, pattern, stepped
from operando_readers._fixed_width import MOST, floats, numbers, padded, steps
from operando_readers._numbers import ends_mid_line
from operando_readers._reader import File, FormatError, Reader

WIDTH = 8
PER_LINE = 10
DEEPEST = 8
"""Lines of text above the numbers, at most."""
WAVELENGTH = re.compile(r"D1A\w*\s+Title:\s*(\d\.\d{1,6})\s*A\b")


class _Head(NamedTuple):
    """The two lines of numbers above the pattern."""

    at: int
    """Lines above the first intensity."""
    points: int
    temperature: float
    with_sigma: bool
    monitor: float
    start: float
    step: float


def read(file: File) -> xr.Dataset:
    """Read one pattern.

    Returns
    -------
    `intensity` (time 1, two_theta in degree) in counts, and `intensity_sigma` where IVARI is 1.

    Raises
    ------
    FormatError
        The two lines of numbers are not there or contradict one another, or a field is no number.
    """
    text = file.read_text()
    lines = text.split("\n")
    head = _head(lines)
    if head is None:
        raise FormatError("no line with number of points, temperature and IVARI above the angles")
    mid_line = ends_mid_line(text)
    intensity, taken = numbers(
        lines[head.at :], width=WIDTH, first=head.at + 1, most=head.points, mid_line=mid_line
    )
    cut = f"{intensity.size} of {head.points} points" if intensity.size < head.points else ""
    sigma = None
    if head.with_sigma:
        below = head.at + taken
        sigma, _ = numbers(
            lines[below:], width=WIDTH, first=below + 1, most=head.points, mid_line=mid_line
        )
        if sigma.size < head.points:
            cut = cut or f"{sigma.size} of {head.points} standard deviations"
        sigma = padded(sigma, intensity.size)
    title = lines[0].strip()
    wavelength = WAVELENGTH.match(title)
    dataset = pattern(
        "two_theta",
        stepped(head.start, head.step, intensity.size),
        intensity,
        sigma=sigma,
        clock=NO_CLOCK,
        metadata={"header": "\n".join(line.rstrip() for line in lines[: head.at])},
        told=kelvin(head.temperature) if head.temperature > 0 else None,
        title=title,
        probe="neutron",
        wavelength_angstrom=float(wavelength[1]) if wavelength else None,
        monitor=head.monitor if head.monitor > 0 else None,
    )
    return dataset.assign_attrs(truncated=cut) if cut else dataset


def _head(lines: Sequence[str]) -> _Head | None:
    """Return the two lines of numbers, None where the first lines hold no such pair."""
    for at in range(1, min(DEEPEST, len(lines) - 1)):
        above, angles = floats(lines[at]), floats(lines[at + 1])
        if above is None or angles is None or not 4 <= len(above) <= 6 or len(angles) != 3:
            continue
        points, ivari = above[0], above[3]
        if not points.is_integer() or not 0 < points <= MOST or ivari not in (0.0, 1.0):
            continue
        start, step, stop = angles
        if steps(start, step, stop, what=f"line {at + 2}") != points:
            raise FormatError(
                f"line {at + 2}: {start:g} to {stop:g} by {step:g} are not the {points:g} points "
                f"of line {at + 1}"
            )
        monitor = above[4] if len(above) > 4 else 0.0
        return _Head(at + 2, int(points), above[1], ivari == 1.0, monitor, start, step)
    return None


def sniff(head: bytes, name: str) -> bool:
    """Whether the text has the two lines of numbers, and full lines of fields below."""
    lines = head.decode("latin-1").replace("\r\n", "\n").split("\n")[: DEEPEST + 4]
    try:
        found = _head(lines)
    except FormatError:
        return False
    if found is None or len(lines) <= found.at:
        return False
    first = lines[found.at].rstrip()
    return len(first) > (min(PER_LINE, found.points) - 1) * WIDTH and floats(lines[0]) is None


READER = Reader(
    technique="xrd",
    suffixes=(".dat",),
    sniff=sniff,
    read=read,
    description="two-axis neutron diffractometer (ILL D1A, FullProf INSTRM 5)",
)
