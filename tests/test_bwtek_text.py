"""B&W Tek text: decimal marks, columns, exposures, dates, damage.

The files are written here as the real one is; those of the .csv as a published excerpt is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from operando_readers._reader import File, FormatError
from operando_readers.bwtek_text import READER

HEADER = {
    "File Version": "BWRam4.11_11",
    "Date": "2026-05-04 10:00:00",
    "model": "BTC162E-532S-SYS",
    "intigration times(ms)": "3000",
    "average number": "7",
    "time_multiply": "1",
    "laser_wavelength": "532,02",
}
NAMES = "Pixel;Wavelength;Wavenumber;Raman Shift;Dark;Reference;Raw data #1;Dark Subtracted #1;"
ROWS = (
    "0;   ;   ;   ;1038,5;65535,0;1044,0;5,5;",
    "1;536,18;18650,30;145,99;1060,5;65535,0;6716,0;5655,5;",
    "2;536,27;18647,17;148,98;1060,0;65535,0;6700,5;5640,5;",
    "3;536,35;18644,39;151,98;1060,0;65535,0;6600,0;5540,0;",
    "4;   ;   ;   ;1000,0;65535,0;1001,0;1,0;",
)


def _text(
    changes: Mapping[str, str | None] | None = None,
    *,
    names: str = NAMES,
    rows: tuple[str, ...] = ROWS,
) -> str:
    header = {**HEADER, **(changes or {})}
    lines = [f"{key};{value}" for key, value in header.items() if value is not None]
    return "".join(f"{line}\r\n" for line in (*lines, names, *rows))


def _save(folder: Path, text: str | bytes, name: str = "cell.txt") -> File:
    path = folder / name
    path.write_bytes(text.encode("latin-1") if isinstance(text, str) else text)
    return File(path)


def _read(folder: Path, text: str, **options: Any) -> xr.Dataset:
    return READER.read(_save(folder, text), **options)


def test_pixels_without_a_shift_are_left_out(tmp_path: Path) -> None:
    spectrum = _read(tmp_path, _text())
    np.testing.assert_array_equal(spectrum["raman_shift"], [145.99, 148.98, 151.98])
    np.testing.assert_array_equal(spectrum["intensity"], [[5655.5, 5640.5, 5540.0]])
    assert spectrum["intensity"].attrs["units"] == "count"
    assert spectrum.attrs["laser_wavelength_nm"] == 532.02
    assert spectrum.attrs["instrument"] == "B&W Tek BTC162E-532S-SYS"
    raw = _read(tmp_path, _text(), signal="raw")
    np.testing.assert_array_equal(raw["intensity"], [[6716.0, 6700.5, 6600.0]])
    assert raw.attrs["signal"] == "Raw data #1"


def test_commas_between_and_points_within_numbers(tmp_path: Path) -> None:
    """As in a .csv of BWSpec 4.04, with blank lines between."""
    text = _text().replace(",", ".").replace(";", ",").replace("\r\n", "\r\n\r\n")
    spectrum = READER.read(file := _save(tmp_path, text, "cell.csv"))
    np.testing.assert_array_equal(spectrum["raman_shift"], [145.99, 148.98, 151.98])
    np.testing.assert_array_equal(spectrum["intensity"], [[5655.5, 5640.5, 5540.0]])
    assert spectrum["exposure"].values.tolist() == [21.0]
    assert READER.sniff(file.read_bytes(), file.name)


@pytest.mark.parametrize(
    ("key", "value", "seconds"),
    [
        ("intigration times(ms)", "3000", 21.0),
        ("intigration times(us)", "500000", 3.5),
        ("intigration times(ms)", "0", None),
        ("intigration times(ms)", "9" * 400, None),
        ("intigration times(ms)", "", None),
        ("time_multiply", "10", None),
        ("average number", "none", None),
    ],
)
def test_the_live_time(tmp_path: Path, key: str, value: str, seconds: float | None) -> None:
    others = {"intigration times(ms)": None} if key.endswith("(us)") else {}
    spectrum = _read(tmp_path, _text({**others, key: value}))
    found = spectrum["exposure"].values.tolist() if "exposure" in spectrum.coords else [None]
    assert found == [seconds]


def test_what_the_date_marks_is_not_known(tmp_path: Path) -> None:
    clock = _read(tmp_path, _text()).attrs["clock"]
    assert (clock["start"], clock["zone"]) == ("2026-05-04T10:00:00", None)
    assert (clock["marks"], clock["sigma_s"]) == ("start", 21.0)
    known = _read(tmp_path, _text(), dated="end").attrs["clock"]
    assert (known["marks"], known["sigma_s"]) == ("end", None)
    assert _read(tmp_path, _text({"Date": None})).attrs["clock"]["start"] is None


def test_a_date_that_can_be_read_two_ways(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="day or month first"):
        _read(tmp_path, _text({"Date": "04/05/2026 10:00:00"}))
    read = _read(tmp_path, _text({"Date": "04/05/2026 10:00:00"}), date_order="dmy")
    assert read.attrs["clock"]["start"] == "2026-05-04T10:00:00"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected 'File Version'"),
        ("\r\nFile Version;BWRam4\r\n", "no line of columns"),
        (_text(names="Pixel;Raman Shift;Raw data #1;"), "no column 'Dark Subtracted #1'"),
        (_text(names=NAMES + "Raw data #2;"), "several spectra"),
        (_text(rows=ROWS[:1]), "0 pixels with a Raman shift"),
        (_text(rows=(*ROWS, "5;1;1;1,0;")), "expected numbers in"),
        (_text(rows=(*ROWS, "5;1;1;160,0;1;1;1;1_0;")), "expected numbers in"),
        (_text(rows=(*ROWS, ROWS[1])), "Raman Shift: does not ascend"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        _read(tmp_path, text)


def test_a_last_row_that_was_cut_is_left_out(tmp_path: Path) -> None:
    """151,98 ... 554 looks like a row."""
    cut = _read(tmp_path, _text(rows=ROWS[:4])[:-5])
    np.testing.assert_array_equal(cut["raman_shift"], [145.99, 148.98])
    assert cut.attrs["truncated"].endswith("cut short")


WHOLE = _text().encode("latin-1")


def test_damage_is_refused_or_leaves_a_valid_series(survives_damage: Callable[..., None]) -> None:
    survives_damage(READER, WHOLE, "cell.txt", frames=1, cuts=range(len(WHOLE)))


@pytest.mark.shared_data
def test_dark_subtracted_is_raw_minus_dark(shared_data: Path) -> None:
    """In the real file, to the four decimals it prints."""
    name = "PST10_iR532_Probe_100_3000msx7.txt"
    file = File(shared_data / "formats" / "raman" / "ramanchada2_mit" / name)
    net, raw = READER.read(file), READER.read(file, signal="raw")
    rows = [line.split(";") for line in file.read_text().splitlines() if line[:1].isdigit()]
    dark = [float(row[4].replace(",", ".")) for row in rows if row[3].strip()]
    np.testing.assert_allclose(raw["intensity"][0] - net["intensity"][0], dark, atol=1.1e-4)
