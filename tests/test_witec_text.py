"""WITec Project text, written from documentation: graphs, tables, axes, images, damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import operando
from operando_readers._reader import File, FormatError
from operando_readers.witec_text import READER

GRAPH = (
    "//Exported ASCII-File\n[Header]\nFileName = cell.wip\nGraphName = PE edge\n"
    "PositionX = 1234.5\nPositionY = -3\nPositionZ = 0.0\nXAxisUnit = rel. 1/cm\n"
    "DataUnit = CCD cts\n\n[Data]\n"
)
ROWS = " 1.000E+02\t 5.0E+00\n 2.000E+02\t 6.0E+00\n 3.000E+02\t 7.0E+00\n"
TABLE = "X-Axis\tSpec 1\tSpec 2\nrel. 1/cm\tCCD cts\tCCD cts\n100\t5\t50\n200\t6\t60\n300\t7\t70\n"


def _save(folder: Path, text: str | bytes) -> File:
    path = folder / "cell.txt"
    path.write_bytes(text.encode("latin-1") if isinstance(text, str) else text)
    return File(path)


def _read(folder: Path, text: str, **options: Any) -> xr.Dataset:
    return READER.read(_save(folder, text), **options)


@pytest.mark.parametrize(
    "text",
    [
        GRAPH + ROWS,
        GRAPH.partition("\n")[2] + ROWS,
        GRAPH + "X-Axis\tSpec.Data 1\nrel. 1/cm\tCCD cts\n" + ROWS,
        GRAPH + ROWS.replace("\t", ","),
        GRAPH + ROWS.replace("\t", ";"),
        GRAPH + ROWS.replace("\t", "  "),
    ],
)
def test_a_graph_in_every_way_it_is_written(tmp_path: Path, text: str) -> None:
    file = _save(tmp_path, text)
    spectrum = READER.read(file)
    np.testing.assert_array_equal(spectrum["raman_shift"], [100, 200, 300])
    np.testing.assert_array_equal(spectrum["intensity"], [[5, 6, 7]])
    assert spectrum["intensity"].attrs["units"] == "count"
    assert [float(spectrum[axis][0]) for axis in "xyz"] == [1234.5, -3.0, 0.0]
    assert spectrum.attrs["title"] == "PE edge"
    assert spectrum.attrs["clock"]["start"] is None
    assert READER.sniff(file.read_bytes(), file.name)


def test_a_table_is_a_series_without_times(tmp_path: Path) -> None:
    file = _save(tmp_path, TABLE)
    series = READER.read(file)
    np.testing.assert_array_equal(series["intensity"], [[5, 6, 7], [50, 60, 70]])
    assert series["position"].values.tolist() == ["Spec 1", "Spec 2"]
    assert series["intensity"].attrs["units"] == "count"
    assert READER.sniff(file.read_bytes(), file.name)
    placed = operando.read(file.path, first="2026-05-04T10:00:00", period_s=60, tz="UTC")
    assert placed.sizes["time"] == 2


@pytest.mark.parametrize(
    ("unit", "x"), [("nm", (500.0, 532.0, 547.15692)), ("1/cm", (20000.0, 1e7 / 532, 18276.292))]
)
def test_other_axes_need_the_laser(tmp_path: Path, unit: str, x: tuple[float, ...]) -> None:
    """Silicon (520.7 1/cm) of a laser at 532 nm is seen at 547.16 nm."""
    rows = "".join(f"{at}\t{at}\n" for at in x)
    text = GRAPH.replace("rel. 1/cm", unit) + rows
    with pytest.raises(FormatError, match="laser_nm="):
        _read(tmp_path, text)
    spectrum = _read(tmp_path, text, laser_nm=532.0)
    np.testing.assert_allclose(spectrum["raman_shift"][1:], [0.0, 520.7], atol=1e-2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no .Data."),
        (GRAPH[: GRAPH.index("[Data]")], "three files"),
        (GRAPH, "no row of an axis and spectra"),
        (GRAPH + "1\n2\n", "no row of an axis and spectra"),
        (GRAPH + ROWS.replace("7.0E+00", "seven"), "expected numbers"),
        (GRAPH + ROWS + "4\n", "1 numbers; expected 2"),
        (GRAPH.replace("rel. 1/cm", "eV") + ROWS, "in 'eV'; expected 'rel. 1/cm'"),
        (GRAPH.replace("XAxisUnit = rel. 1/cm", "x = 1") + ROWS, "in ''; expected 'rel. 1/cm'"),
        (
            "//Exported ASCII-File\n[Header]\nPointsPerLine = 2\nLinesPerImage = 2\n[Data]\n1\t2\n",
            "an image",
        ),
        (GRAPH + ROWS.replace("3.000E+02", "1.500E+02"), "does not ascend"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        _read(tmp_path, text)


def test_a_unit_that_is_not_known_is_none(tmp_path: Path) -> None:
    spectrum = _read(tmp_path, GRAPH.replace("CCD cts", "a.u.") + ROWS)
    assert spectrum["intensity"].attrs["units"] == "1"


def test_other_text_is_not_claimed() -> None:
    assert not READER.sniff(b"[Header]\nA = 1\n[Data]\n1 2\n", "a.txt")
    assert not READER.sniff(b"X-Axis\tY\nmm\tV\n1\t2\n", "a.txt")
    assert not READER.sniff(b"", "a.txt")


@pytest.mark.parametrize("text", [GRAPH + ROWS, TABLE])
def test_damage_is_refused_or_leaves_a_valid_series(
    survives_damage: Callable[..., None], text: str
) -> None:
    survives_damage(READER, text.encode(), "cell.txt", frames=2, cuts=range(len(text)))
