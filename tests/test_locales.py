"""No result depends on the zone, the language or the encoding of the computer that reads.

Run as a program this file prints a digest of what is read from the smallest file of every format,
and of what alignment makes of the logs; the tests run it so under several zones and locales.
"""

from __future__ import annotations

import functools
import hashlib
import json
import locale
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import operando
from operando.align import align
from operando.electrochemistry import prepare
from operando.errors import OperandoError
from operando.reading import formats
from operando_readers._reader import File

HERE = Path(__file__).resolve().parent
ROOTS = {
    "shared": HERE.parents[1] / "shared" / "data",
    "examples": HERE.parent / "example_datasets",
}
REFERENCE = ("UTC", "C")
OTHERS = (
    ("America/New_York", "C"),
    ("Asia/Shanghai", "C"),
    ("UTC", "de_DE.UTF-8"),
    ("UTC", "fr_FR.UTF-8"),
    ("Asia/Shanghai", "de_DE.UTF-8"),
)
IN_FORCE = (
    "import locale, time; locale.setlocale(locale.LC_ALL, '');"
    "print(locale.str(1.5), time.localtime().tm_gmtoff)"
)


def smallest_files() -> dict[str, dict[str, Any]]:
    """Return the smallest file with expected numbers of every format; volumes have no text."""
    found = {}
    for path in sorted((HERE / "expected").glob("*.json")):
        reader = formats().get(path.stem)
        entries = [
            entry
            for entry in json.loads(path.read_text(encoding="utf-8"))["files"]
            if ROOTS[entry["root"]].is_dir()
        ]
        if entries and reader is not None and reader.technique != "tomography":
            found[path.stem] = min(entries, key=lambda entry: file_of(entry).size())
    return found


def file_of(entry: dict[str, Any]) -> File:
    path, _, member = entry["path"].partition("!")
    return File(ROOTS[entry["root"]] / path, member or None)


def look(name: str, entry: dict[str, Any]) -> list[str]:
    """Return digests of a file as read and, of a log, as aligned with twenty frames."""
    technique = formats()[name].technique
    timed: dict[str, Any] = {}
    if entry["start"] is None:
        timed = {"first": "2026-05-04T10:00:00"}
        if technique != "electrochemistry":
            timed["period_s"] = 60.0
    dataset = operando.read(
        str(file_of(entry)), format=name, tz="Europe/Paris", options=entry.get("options"), **timed
    )
    told = [digest(dataset)]
    if technique == "electrochemistry" and dataset.sizes["time"] > 1:
        try:
            log = prepare(dataset, sign="oxidation_positive")
            told.append(digest(align(frames_along(log), log)))
        except OperandoError as error:
            told.append(str(error))
    return told


def frames_along(log: xr.Dataset) -> xr.Dataset:
    time = log["time"].values
    edges = time[0] + np.arange(21) * ((time[-1] - time[0]) // 20)
    return xr.Dataset(
        coords={
            "time": edges[:-1],
            "time_start": ("time", edges[:-1]),
            "time_end": ("time", edges[1:]),
        }
    )


def digest(dataset: xr.Dataset) -> str:
    """Return the SHA-256 of names, types, bytes and attributes."""
    found = hashlib.sha256()
    for name in sorted(map(str, dataset.variables)):
        values = dataset[name].values
        found.update(f"{name} {values.dtype} {dataset[name].attrs}".encode())
        found.update(np.ascontiguousarray(values).tobytes())
    found.update(json.dumps(dataset.attrs, sort_keys=True, default=str).encode())
    return found.hexdigest()


@functools.cache
def digests(zone: str, language: str) -> dict[str, list[str]]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LC_")}
    environment |= {"TZ": zone, "LC_ALL": language, "LANG": language}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    run = subprocess.run(
        [sys.executable, __file__], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, list[str]] = json.loads(run.stdout)
    return found


def need(language: str) -> None:
    """Skip where the computer does not know the language."""
    known = subprocess.run(
        [sys.executable, "-c", "import locale; locale.setlocale(locale.LC_ALL, '')"],
        env={**os.environ, "LC_ALL": language},
        capture_output=True,
        check=False,
    )
    if known.returncode:
        pytest.skip(f"the locale {language} is not installed on this machine")


@pytest.mark.parametrize(("zone", "language"), OTHERS)
def test_zone_and_language_of_the_computer_do_not_matter(zone: str, language: str) -> None:
    need(language)
    expected = digests(*REFERENCE)
    assert {formats()[name].technique for name in expected} >= {"electrochemistry"}
    assert digests(zone, language) == expected


def test_a_language_is_really_in_force() -> None:
    """The decimal comma and the zone of the computer are there: the test above could fail."""
    need("de_DE.UTF-8")
    run = subprocess.run(
        [sys.executable, "-c", IN_FORCE],
        env={**os.environ, "LC_ALL": "de_DE.UTF-8", "TZ": "Asia/Shanghai"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == ["1,5", "28800"]


if __name__ == "__main__":
    locale.setlocale(locale.LC_ALL, "")
    found = {name: look(name, entry) for name, entry in smallest_files().items()}
    sys.stdout.write(json.dumps(found))
