"""Scans by regions, as MRCAT and XDAC write them: settings, a line of dashes, names, rows.

Both descend from one program of NSLS. ``SRB=`` are the boundaries of the regions in eV from
``E0=``, or with ``k`` in 1/angstrom; ``SPP=`` the seconds per point, those with ``k`` times k;
``Settling time=`` the wait before each point.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from operando_readers._named_scan import Array, columns_of
from operando_readers._numbers import ends_mid_line
from operando_readers._reader import File, FormatError

DASHES = re.compile(r"\s*-{10,}\s*")
SETTING = re.compile(r"(E0|NUM_REGIONS|SRB|SRSS|SPP|Settling time)=\s*(.*)")
VALUE = re.compile(r"([-+]?\d{1,9}(?:\.\d*)?)(k?)")
EV_PER_K2 = 3.8099821
"""hbar^2 / 2m in eV angstrom^2 (CODATA 2018): E - E0 = 3.81 k^2."""
ON_BOUNDARY = 0.05
"""eV by which an encoder may miss the first energy of a region."""


@dataclass(frozen=True)
class RegionScan:
    """The parts of a file."""

    header: list[str]
    """Lines above the dashes."""
    columns: dict[str, Array]
    truncated: str | None
    settings: dict[str, str]

    @property
    def e0(self) -> float | None:
        """Edge energy in eV."""
        found = self._values("E0")
        return found[0][0] if found and found[0][0] > 0 else None

    @property
    def settling(self) -> float:
        """Seconds before each point."""
        found = self._values("Settling time")
        return found[0][0] if found else 0.0

    def dwell(self, energy: Array) -> Array | None:
        """Return the counting time in seconds of points at these energies in eV.

        None where the header does not tell: no ``SPP``, or not as many as there are regions.
        """
        times, bounds = self._values("SPP"), self._values("SRB")
        if len(times) == 1 and not times[0][1]:
            return np.full(energy.size, times[0][0])
        e0 = self.e0
        if not times or len(bounds) != len(times) + 1 or e0 is None:
            return None
        # Within a scan of E0 - 200 eV to E0 + 1 keV no distance is as large as an energy.
        inner = [
            e0 + EV_PER_K2 * value**2 if in_k else value if value > e0 / 2 else e0 + value
            for value, in_k in bounds[1:-1]
        ]
        region = np.searchsorted(np.array(inner) - ON_BOUNDARY, energy, side="right")
        k = np.sqrt(np.maximum(energy - e0, 0.0) / EV_PER_K2)
        of_region = np.array([value for value, _ in times])[region]
        return np.where(np.array([in_k for _, in_k in times])[region], of_region * k, of_region)

    def _values(self, key: str) -> list[tuple[float, bool]]:
        """Return the numbers of a setting, and which of them are in k; none if one is damaged."""
        found = [VALUE.fullmatch(word) for word in self.settings.get(key, "").split()]
        return [(float(m[1]), bool(m[2])) for m in found if m] if all(found) else []


def opened(file: File, *, first: re.Pattern[str], what: str) -> RegionScan:
    """Take a file apart.

    Raises
    ------
    FormatError
        Another first line than `first` (`what` in words), no dashes, or rows that are not numbers.
    """
    text = file.read_text()
    lines = text.split("\n")
    if first.match(lines[0]) is None:
        raise FormatError(f"line 1: {lines[0][:40]!r}; expected {what}")
    dashes = next((at for at, line in enumerate(lines) if DASHES.fullmatch(line)), None)
    if dashes is None or dashes + 2 >= len(lines):
        raise FormatError(f"line {len(lines)}: ends before the names of columns below dashes")
    names, at = lines[dashes + 1].split(), dashes + 2
    columns, truncated = columns_of(lines[at:], names, first=at + 1, mid_line=ends_mid_line(text))
    header = [line.rstrip() for line in lines[:dashes]]
    return RegionScan(header, columns, truncated, _settings(header))


def _settings(header: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in header:
        if match := SETTING.fullmatch(line):
            found.setdefault(match[1], match[2].strip())
    return found
