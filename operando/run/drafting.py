"""Look at a folder and draft a recipe for it: what `operando init` writes."""

from __future__ import annotations

import json
import re
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from operando import clocks
from operando.corrections.cosmic_rays import remove_cosmic_rays
from operando.errors import ReadError, RequestError, UnknownFormatError
from operando.model import axes_of, signal_of
from operando.observables.lines.finding import find_lines
from operando.reading import Inspection, inspect
from operando.reading.files import expand
from operando.reading.registry import claims, formats, load
from operando_readers._reader import File

POSITIONS = (
    r"[_-](interface|bulk)[_.-]",
    r"[_-](PE|SSE|NE)[_.-]",
    r"((?:pos|spot|point|layer)\d+)",
)
"""Names of spots and layers that people put into file names."""

FIRST_FRAMES = 12
"""Frames that lines are looked for in: of as many files, so that each spot has its turn."""
MOST_WINDOWS = 12
"""Windows that a draft proposes."""
BEST_LOG_FIRST = ("biologic_mpt", "neware_ndax", "biologic_mpr")


def draft(folder: Path, *, root: Path, tz: str | None, echem_tz: str | None) -> str:
    """Return a commented recipe for what is in a folder or zip.

    Parameters
    ----------
    folder
        What to look at.
    root
        The folder the recipe will stand in; its paths are relative to it.
    tz, echem_tz
        Zones of stamps that carry none; never guessed.

    Raises
    ------
    RequestError
        No electrochemistry or no measurement is there, or a zone is needed and not given.
    """
    for zone in (tz, echem_tz):
        if zone is not None:
            clocks.localise("2026-01-01T00:00:00", zone=None, tz=zone, where="--tz")
    groups = _groups(folder)
    logs = [group for group in groups if formats()[group[0]].technique == "electrochemistry"]
    frames = [group for group in groups if group not in logs]
    if not logs:
        raise RequestError(f"{folder}: no potentiostat file that a reader recognises")
    if not frames:
        raise RequestError(f"{folder}: no frames of any technique that a reader recognises")
    sidecars = _sidecars(folder)
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", folder.resolve().stem) or "experiment"
    parts = [
        "# Drafted by `operando init` after looking at the files. Read every line: what is written",
        "# here is what happens. Paths are relative to this file.",
        f"name = {_quote(name)}",
        'title = ""',
        "",
        "[cell]  # facts that make studies comparable; free keys",
        '# electrolyte = "Na3Zr2Si2PO12"',
        "",
        *_electrochemistry(_best_log(logs), root, echem_tz),
    ]
    taken: set[str] = set()
    for format, files in frames:
        parts += ["", *_measurement(format, files, root, tz, sidecars, taken)]
    parts += ["", "[compute]", 'scheduler = "threads"  # or "processes", or tcp://host:port', ""]
    return "\n".join(parts)


def _groups(folder: Path) -> list[tuple[str, list[File]]]:
    """Group the recognised files by format and the folder they stand in."""
    found: dict[tuple[str, str], list[File]] = {}
    for file in _files(folder):
        for format in claims(file):
            place = str(file.path.parent if file.member is None else _folder_of(file))
            found.setdefault((format, place), []).append(file)
    if not found:
        raise UnknownFormatError(f"{folder}: no reader recognises anything in it")
    return [(format, files) for (format, _), files in found.items()]


def _files(folder: Path) -> list[File]:
    """List the files of a folder, those inside its zips with them."""
    found: list[File] = []
    for file in expand(folder):
        inside = file.member is None and zipfile.is_zipfile(file.path)
        # Some formats are zips themselves and are read as one file.
        found += expand(file.path) if inside and file.suffix == ".zip" else [file]
    return found


def _folder_of(file: File) -> str:
    return f"{file.path}!{str(file.member).rpartition('/')[0]}"


def _best_log(logs: Sequence[tuple[str, list[File]]]) -> tuple[str, list[File]]:
    """Of one record exported several ways take the format that has the most of it."""

    def merit(group: tuple[str, list[File]]) -> tuple[int, int]:
        stems = len({file.stem for file in group[1]})
        rank = BEST_LOG_FIRST.index(group[0]) if group[0] in BEST_LOG_FIRST else 9
        return -stems, rank

    format, files = min(logs, key=merit)
    one_each: dict[str, File] = {}
    for file in sorted(files, key=lambda file: file.suffix not in formats()[format].suffixes):
        one_each.setdefault(file.stem, file)
    return format, sorted(one_each.values())


def _electrochemistry(group: tuple[str, list[File]], root: Path, tz: str | None) -> list[str]:
    format, files = group
    [seen] = inspect([str(file) for file in files], format=format)
    _need_zone(seen, tz, "--echem-tz or --tz")
    lines = ["[electrochemistry]", f"# {seen.frames} rows, {seen.first} .. {seen.last}"]
    lines += [f"path = {json.dumps([_relative(file, root) for file in files])}"]
    lines += [f"format = {_quote(format)}"]
    if seen.zone is None:
        lines += [f"tz = {_quote(tz)}  # zone of the potentiostat's computer"]
    return lines


def _measurement(
    format: str,
    files: list[File],
    root: Path,
    tz: str | None,
    sidecars: list[tuple[File, list[str], list[list[str]]]],
    taken: set[str],
) -> list[str]:
    [seen] = inspect([str(file) for file in files], format=format)
    name = _name(seen, files, taken)
    lines = ["[[measurement]]", f"name = {_quote(name)}"]
    lines += [f"# {seen.frames} frames; time from {seen.clock}: {seen.first} .. {seen.last}"]
    lines += [f"path = {_pattern(files, root)}", f"format = {_quote(format)}"]
    if seen.first is None:
        lines += _log_for(files, sidecars, root)
    if seen.zone is None:
        _need_zone(seen, tz, "--tz")
        lines += [f"tz = {_quote(tz)}  # zone of the computer that wrote the times"]
    position = _position(files)
    if position is not None:
        lines += [f"position = {json.dumps(position)}  # which spot, from the file name"]
    first = load(files[0], format=format, options={})
    if "exposure" not in first.coords and seen.first is not None:
        lines += ["# exposure_s = 60.0  # the files do not say how long an exposure is: declare it"]
    return lines + _steps(seen, first, files, position)


def _steps(seen: Inspection, first: Any, files: list[File], position: str | None) -> list[str]:
    if seen.technique == "xas":
        low, high, _ = seen.axes["energy"]
        e0 = _edge(first)
        lines = ["", "  [[measurement.observe]]", '  kind = "edge"', '  name = "edge"']
        lines += [f"  e0 = {e0:.1f}  # fixed for the whole series; check it"]
        signal = signal_of(first)
        if not signal.attrs.get("normalised"):
            pre = (np.ceil(max(low - e0, -150.0)) + 1, -40.0 if e0 - low > 60 else -20.0)
            post = (50.0 if high - e0 > 120 else 25.0, np.floor(min(high - e0, 800.0)) - 1)
            lines += [f"  pre = [{pre[0]:g}, {pre[1]:g}]", f"  post = [{post[0]:g}, {post[1]:g}]"]
        return [
            *lines,
            "",
            "  [[measurement.detect]]",
            '  kind = "incomplete_return"',
            '  observable = "edge.edge_energy"',
        ]
    if seen.technique == "tomography":
        return ["", "  [[measurement.observe]]", '  kind = "pores"', '  name = "pores"']
    if seen.technique == "impedance":
        return [
            "",
            "  [[measurement.observe]]",
            '  kind = "resistance"',
            '  name = "arcs"',
            "  arcs = 2",
            "  tail = true  # whether diffusion or a blocking electrode follows the arcs",
            "  # band = [10.0, 10000.0]  # Hz around the process you follow; else the whole sweep",
        ]
    if seen.technique == "xrd_images":
        return [
            "",
            "  [[measurement.correct]]",
            '  kind = "integrate"',
            '  poni = "detector.poni"  # geometry as pyFAI writes it: name the file',
            "  points = 2000",
            *_NEW_PEAKS,
        ]
    shown = _first_frames(files, seen.format, position)
    return [*_cleaning(seen.technique), *_peaks(shown), *_NEW_PEAKS]


_NEW_PEAKS = ("", "  [[measurement.detect]]", '  kind = "new_peaks"')


def _cleaning(technique: str) -> list[str]:
    if technique != "raman":
        return []
    return ["", "  [[measurement.correct]]", '  kind = "cosmic_rays"']


def _first_frames(files: list[File], format: str, position: str | None) -> xr.Dataset:
    """Return the first frames of the first files of each spot, on the axis of the first."""
    each = max(FIRST_FRAMES // len(files), 1)
    shown: list[xr.Dataset] = []
    for file, spot in _in_turn(files, position)[:FIRST_FRAMES]:
        try:
            part = load(file, format=format, options={}).isel(time=slice(0, each))
        except ReadError:  # the run says so; other files show the lines
            continue
        part = part[[n for n in ("intensity", "intensity_sigma") if n in part]]
        part = part.reset_coords(drop=True)
        if shown and not all(part[axis].equals(shown[0][axis]) for axis in axes_of(part)):
            continue
        shown.append(part.assign_coords(position=("time", [spot] * part.sizes["time"])))
    whole = xr.concat(shown, "time", combine_attrs="override")
    order = np.arange(whole.sizes["time"]).astype("datetime64[ns]")
    return whole.assign_coords(time=order)


def _in_turn(files: list[File], position: str | None) -> list[tuple[File, str]]:
    """Return files and their spots: the first of each spot, then the second of each ..."""
    matches = [re.search(position, file.name) if position else None for file in files]
    spots = [match[1] if match else "" for match in matches]
    seen: Counter[str] = Counter()
    turns = []
    for spot in spots:
        turns.append(seen[spot])
        seen[spot] += 1
    order = sorted(range(len(files)), key=turns.__getitem__)
    return [(files[at], spots[at]) for at in order]


def _peaks(shown: xr.Dataset) -> list[str]:
    """Propose windows around the lines of the first frames."""
    if shown.attrs["technique"] == "raman":
        shown = remove_cosmic_rays(shown)
    found = find_lines(shown)
    windows = found[:MOST_WINDOWS]
    if not windows:
        return []
    lines = [
        "",
        "  # found in the first frames: keep those that matter, widen them for lines that move",
    ]
    lines += ["  [[measurement.observe]]", '  kind = "peaks"', '  name = "lines"', "  windows = ["]
    for window in windows:
        places = ", ".join(f"{line:.6g}" for line in window.lines)
        lines += [
            f"    {{ name = {_quote(window.name)}, low = {window.low:.6g}, "
            f"high = {window.high:.6g}, lines = [{places}] }},"
        ]
    if len(found) > len(windows):
        lines += [f"    # {len(found) - len(windows)} more above {windows[-1].high:.6g}"]
    return [*lines, "  ]"]


def _edge(first: Any) -> float:
    """Return where the first spectrum rises most, to have a number to start from."""
    signal = signal_of(first).values[0]
    energy = first["energy"].values
    good = np.isfinite(signal)
    smooth = np.convolve(np.gradient(signal[good], energy[good]), np.ones(5) / 5, mode="same")
    return float(energy[good][3:-3][np.argmax(np.abs(smooth[3:-3]))])


def _sidecars(folder: Path) -> list[tuple[File, list[str], list[list[str]]]]:
    """Return small tables that might be scan logs: file, header, rows."""
    found = []
    for file in _files(folder):
        if file.suffix == ".csv" and file.size() < 1 << 20:
            lines = [line.split(",") for line in file.read_text().splitlines() if line]
            header, body = (lines[0], lines[1:]) if lines else ([], [])
            if {"start", "end"} <= {word for cell in header for word in re.split(r"\W|_", cell)}:
                found.append((file, header, body))
    return found


def _log_for(
    files: list[File], sidecars: list[tuple[File, list[str], list[list[str]]]], root: Path
) -> list[str]:
    for file, header, body in sidecars:
        start = next(cell for cell in header if "start" in cell)
        end = next(cell for cell in header if "end" in cell)
        for column, cell in enumerate(header):
            tokens = set(re.split(r"[^0-9A-Za-z]+", files[0].name)) | {files[0].name, files[0].stem}
            if any(column < len(row) and row[column].strip() in tokens for row in body):
                return [
                    f"log = {{ path = {_quote(_relative(file, root))}, name = {_quote(cell)}, "
                    f"start = {_quote(start)}, end = {_quote(end)} }}"
                ]
    return [
        "# no time in the files, and no table with start and end beside them: declare one of",
        '# first = "2026-05-04T10:00:00"  # local start of the first, with period_s = 60.0',
        '# log = { path = "scans.csv", name = "file", start = "start", end = "end" }',
        '# stamps = "mtime"  # when the files were written, never after a copy',
    ]


def _position(files: list[File]) -> str | None:
    for pattern in POSITIONS:
        matches = [re.search(pattern, file.name) for file in files]
        if all(matches) and len({match[1] for match in matches if match}) > 1:
            return pattern
    return None


def _name(seen: Inspection, files: list[File], taken: set[str]) -> str:
    place = files[0].path.parent.name if files[0].member is None else seen.technique
    name = seen.technique
    if name in taken:
        name = f"{seen.technique}_{re.sub(r'[^A-Za-z0-9]+', '_', place)}"
    while name in taken:
        name += "_2"
    taken.add(name)
    return name


def _pattern(files: list[File], root: Path) -> str:
    """Return globs for files of one folder, one a suffix, as TOML."""
    if len(files) == 1:
        return json.dumps(_relative(files[0], root), ensure_ascii=False)
    first = files[0]
    place = f"{_relative(File(first.path.parent), root)}/"
    if first.member is not None:
        inside = str(first.member).rpartition("/")[0]
        place = f"{_relative(File(first.path), root)}!{inside}/"
    globs = sorted({f"{place}*{Path(file.name).suffix}" for file in files})
    return json.dumps(globs if len(globs) > 1 else globs[0], ensure_ascii=False)


def _relative(file: File, root: Path) -> str:
    path = file.path.resolve()
    base = root.resolve()
    text = path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix()
    return text if file.member is None else f"{text}!{file.member}"


def _need_zone(seen: Inspection, tz: str | None, option: str) -> None:
    if seen.zone is None and tz is None:
        raise RequestError(
            f"{seen.files[0]}: the stamps carry no zone ({seen.first}); say it with {option}"
        )


def _quote(text: str | None) -> str:
    return json.dumps(text or "", ensure_ascii=False)
