"""Athena projects (.prj): the groups of a project as spectra of one edge.

File structure, usually gzipped: lines of Perl, for every group ``$old_group = 'key';``, ``@args =
('label','Zr foil','bkg_z','Zr', ...);``, ``@x``, ``@y``, perhaps ``@i0``, ``@signal`` and
``@stddev``, ``[record]``; or one JSON object with the same arrays by key and ``_____order``. The
Perl is parsed as data, never evaluated, and neither locale nor standard output take part.

Clock: there is no time in the file. (``This file created at`` is when the project was saved.)

Energy: Athena stores the energies of the measurement and adds the shift ``bkg_eshift`` of
calibration and alignment whenever it uses them. So does this reader, and coordinate
``energy_shift`` tells it; `larch.io.read_athena` returns the energies without it.

Groups: only mu(E) is read; chi(k), detectors, differences, backgrounds and pixel spectra are not.
``attrs["labels"]`` names the frames in their order. An ``@i0`` of another length than the spectrum
is left out. Spectra of several edges, or some normalised
and some not, do not go together: choose with `groups`. Frames on other energies than most are
interpolated linearly (see `_absorption.stack`); one group read alone keeps its own energies. A
reference channel is a group of its own.

Uncertainty: none. ``@stddev`` of a merged group is the scatter of the scans, of unknown number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._absorption import spectrum, stack
from operando_readers._edges import check_ev, edge_of, symbol_of
from operando_readers._gzip import first_bytes, unpacked
from operando_readers._perl import CutError, literal
from operando_readers._reader import File, FormatError, Reader, clock
from operando_readers._text import text_of

Array = npt.NDArray[np.float64]

MARK = "Athena project file"
STATEMENT = re.compile(r"^[ \t]*(?:[$@%](\w+)[ \t]*=|(\[record\])|(1;))", re.MULTILINE)
ARRAYS = ("x", "y", "i0")
OTHER_KINDS = ("is_chi", "is_xmudat", "is_bkg", "is_diff", "is_pixel", "is_rsp", "is_qsp")
NO_TIME = clock(start=None, zone=None, marks="start", source="none")
MOST_LISTED = 40


@dataclass(frozen=True)
class Group:
    """A group of a project."""

    args: dict[str, Any]
    arrays: dict[str, Array]

    @property
    def label(self) -> str:
        """What the user called it."""
        return str(self.args.get("label") or self.args.get("key", ""))

    @property
    def edge(self) -> tuple[str | None, str | None]:
        """Element and edge; hydrogen is what Athena writes when it does not know."""
        element = symbol_of(str(self.args.get("bkg_z") or self.args.get("atsym") or ""))
        edge = edge_of(str(self.args.get("fft_edge") or ""))
        return (None, None) if element in (None, "H") else (element, edge)

    def flag(self, name: str) -> bool:
        """Whether a flag is set."""
        return str(self.args.get(name) or "0") not in ("0", "0.0", "False", "")

    @property
    def is_absorption(self) -> bool:
        """Whether it is mu(E)."""
        kind = self.args.get("datatype") or "xmu"
        mu = self.flag("is_xmu") if "is_xmu" in self.args else kind in ("xmu", "xanes")
        other = any(self.flag(name) for name in (*OTHER_KINDS, "not_data"))
        return (mu or self.flag("is_xanes")) and not other


def read(file: File, *, groups: Sequence[str] | None = None) -> xr.Dataset:
    """Read the spectra of a project.

    Parameters
    ----------
    groups
        Labels of the groups, in the order of the frames; None for every mu(E) in the project.

    Returns
    -------
    `mu` (attrs mode "file", normalised = 1 where Athena says so), and `i0` where a group has it, on
    (time, energy in eV); `energy_shift` (eV, already applied) on time.

    Raises
    ------
    FormatError
        Not a project, damaged, without spectra, spectra of several edges, or a label that is not in
        it.
    """
    raw, truncated = unpacked(file.read_bytes())
    text = text_of(raw)
    if MARK not in text[:1000]:
        raise FormatError(f"line 1: {text[:40]!r}; expected '{MARK}'")
    if text.lstrip().startswith("{"):
        found, journal = _json(text)
    else:
        found, journal, cut = _perl(text)
        truncated = truncated or cut
    chosen = _chosen(found, groups)
    metadata = {
        "header": "\n".join(re.findall(r"# [^\"\n]*", text[:2000])[:3]),
        "journal": journal,
        "groups": json.dumps([group.args for group in chosen]),
    }
    frames = [_frame(group, metadata) for group in chosen]
    dataset = frames[0] if len(frames) == 1 else stack(frames)
    dataset.attrs["labels"] = [group.label for group in chosen]
    if truncated:
        dataset.attrs["truncated"] = truncated
    return dataset


def _frame(group: Group, metadata: Mapping[str, str]) -> xr.Dataset:
    where = f"group {group.label!r}"
    energy, mu = group.arrays["x"], group.arrays["y"]
    if energy.size != mu.size:
        raise FormatError(f"{where}: {energy.size} energies and {mu.size} values of mu")
    channels = {"mu": mu}
    if "i0" in group.arrays and group.arrays["i0"].size == energy.size:
        # Athena removes points from mu and leaves i0 as it was: then it is of other energies.
        channels["i0"] = group.arrays["i0"]
    shift = _number(group.args.get("bkg_eshift") or 0, what=f"{where}: bkg_eshift")
    check_ev(energy, what=f"{where}: @x")
    element, edge = group.edge
    try:
        dataset = spectrum(
            energy + shift,
            channels,
            clock=NO_TIME,
            instrument="Athena project",
            metadata=metadata,
            element=element,
            edge=edge,
        )
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from error
    if group.flag("is_nor"):
        dataset["mu"].attrs["normalised"] = 1
    about = {"units": "eV", "long_name": "shift by Athena (bkg_eshift), contained in energy"}
    return dataset.assign_coords(energy_shift=("time", [shift], about))


def _chosen(found: Sequence[Group], groups: Sequence[str] | None) -> list[Group]:
    """Return the groups that are asked for, which must go together."""
    spectra = [group for group in found if group.is_absorption]
    if groups is None:
        chosen = spectra
    else:
        wanted = [groups] if isinstance(groups, str) else list(groups)
        known = [group.label for group in spectra]
        for label in wanted:
            if label not in known:
                listed = ", ".join(map(repr, known[:MOST_LISTED]))
                raise FormatError(
                    f"groups=: {label!r} is no mu(E) of the project; there are {listed}"
                )
        chosen = [group for label in wanted for group in spectra if group.label == label]
    if not chosen:
        raise FormatError(f"groups: {len(found)} in the project, none of them mu(E)")
    kinds: dict[str, list[str]] = {}
    for group in chosen:
        edge = " ".join(filter(None, group.edge)) or "edge not stated"
        kind = f"{edge}, normalised" if group.flag("is_nor") else edge
        kinds.setdefault(kind, []).append(group.label)
    if len(kinds) > 1:
        listed = "; ".join(f"{kind}: {labels[:MOST_LISTED]}" for kind, labels in kinds.items())
        raise FormatError(f"groups of several kinds; choose some with groups=: {listed}")
    return chosen


def _perl(text: str) -> tuple[list[Group], str, str | None]:
    """Return the complete groups of a project in Perl, its journal, and why it is not all."""
    found: list[Group] = []
    journal: list[str] = []
    args: dict[str, Any] = {}
    arrays: dict[str, Array] = {}
    at = 0
    while match := STATEMENT.search(text, at):
        name, record, end = match.groups()
        at = match.end()
        if end:
            return found, "\n".join(journal), None
        if record:
            found.append(_group(args, arrays, number=len(found) + 1))
            args, arrays = {}, {}
            continue
        if name not in ("old_group", "args", "journal", *ARRAYS):
            continue
        try:
            value, at = literal(text, at)
        except CutError as error:
            return found, "\n".join(journal), str(error)
        if name == "old_group":
            args["key"] = value
        elif not isinstance(value, list):
            raise FormatError(f"group {len(found) + 1}: @{name} is no list")
        elif name == "args":
            args.update(zip(map(str, value[::2]), value[1::2], strict=False))
        elif name == "journal":
            journal = [str(line) for line in value]
        else:
            arrays[name] = _numbers(value, what=f"group {len(found) + 1}: @{name}")
    return found, "\n".join(journal), f"ends without '1;', after {len(found)} groups"


def _json(text: str) -> tuple[list[Group], str]:
    """Return the groups of a project in JSON and its journal."""
    try:
        project = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"JSON: {error}") from error
    order = project.get("_____order")
    if not isinstance(order, list):
        raise FormatError("_____order: missing; expected the keys of the groups")
    found = []
    for number, key in enumerate(order, 1):
        record = project.get(str(key))
        if not isinstance(record, dict) or not isinstance(record.get("args"), dict):
            raise FormatError(f"_____order: {key!r} is no group with args")
        arrays = {
            name: _numbers(record[name], what=f"group {number}: {name}")
            for name in ARRAYS
            if record.get(name)
        }
        found.append(_group({"key": key, **record["args"]}, arrays, number=number))
    journal = project.get("_____journal")
    return found, "\n".join(map(str, journal)) if isinstance(journal, list) else str(journal or "")


def _group(args: dict[str, Any], arrays: dict[str, Array], *, number: int) -> Group:
    for name in ("x", "y"):
        if name not in arrays:
            raise FormatError(f"group {number} {args.get('label', '')!r}: no array {name}")
    return Group(args, arrays)


def _numbers(values: Any, *, what: str) -> Array:
    if not isinstance(values, list):
        raise FormatError(f"{what}: no list of numbers")
    try:
        return np.array([float(value) for value in values], dtype=float)
    except (TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"{what}: {error}") from error


def _number(value: Any, *, what: str) -> float:
    number = float(_numbers([value], what=what)[0])
    if not np.isfinite(number):
        raise FormatError(f"{what}: {value!r}; expected a number")
    return number


def sniff(head: bytes, name: str) -> bool:
    """Whether the first lines are those of an Athena project, gzipped or not."""
    return MARK.encode() in first_bytes(head, 1000)


READER = Reader(
    technique="xas",
    suffixes=(".prj",),
    sniff=sniff,
    read=read,
    description="Athena project, its mu(E) of one edge",
)
