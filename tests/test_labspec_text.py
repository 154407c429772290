"""LabSpec text: series, points, the two meanings of Acquired, ambiguous dates, damage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from operando_readers._reader import File, FormatError
from operando_readers.labspec_text import READER

HEADER = {
    "Acq. time (s)": "60",
    "Accumulations": "2",
    "Detector temperature (°C)": "-60.1",
    "Instrument": "LabRAM HR Evol",
    "Laser": "532nm_Edge",
    "X (µm)": "-1.8",
    "Y (µm)": "1.05",
    "Z (µm)": "-314.3",
    "Date": "14.02.2019 10:03",
    "Acquired": "14.02.2019 10:03:18",
}
SINGLE = "12.5\t821\n14.5\t659\n16.5\t573\n"
SERIES = "\t12.5\t14.5\t16.5\n0\t1\t2\t3\n130.5\t4\t5\t6\n261\t7\t8\t9\n"


def _write(folder: Path, body: str, **changes: str | None) -> File:
    return _write_header(folder, body, {**HEADER, **changes})


def _write_header(folder: Path, body: str, header: Mapping[str, str | None]) -> File:
    text = "".join(f"#{key}=\t{value}\n" for key, value in header.items() if value is not None)
    path = folder / "spectrum.txt"
    path.write_bytes((text + body).encode("latin-1"))
    return File(path)


def _timed(folder: Path, body: str, **steps: str) -> File:
    """Write with keys that are no identifiers: full time and processing steps."""
    names = {"full": "Full time(mm:ss)", "full_hours": "Full time(hh:mm)", "fit": "Base:Fit"}
    return _write_header(folder, body, HEADER | {names[key]: step for key, step in steps.items()})


def test_a_single_spectrum(tmp_path: Path) -> None:
    file = _write(tmp_path, SINGLE)
    spectrum = READER.read(file)
    assert READER.sniff(file.read_bytes(), file.name)
    np.testing.assert_array_equal(spectrum["raman_shift"], [12.5, 14.5, 16.5])
    np.testing.assert_array_equal(spectrum["intensity"], [[821, 659, 573]])
    np.testing.assert_array_equal(spectrum["exposure"], [120.0])
    attrs = spectrum.attrs
    assert (attrs["x_um"], attrs["y_um"], attrs["z_um"]) == (-1.8, 1.05, -314.3)
    assert attrs["laser_wavelength_nm"] == 532.0
    assert attrs["original_metadata"]["Detector temperature (°C)"] == "-60.1"


def test_a_descending_axis_is_turned(tmp_path: Path) -> None:
    turned = "".join(f"{line}\n" for line in reversed(SINGLE.splitlines()))
    spectrum = READER.read(_write(tmp_path, turned))
    np.testing.assert_array_equal(spectrum["intensity"], [[821, 659, 573]])


def test_a_series_carries_its_seconds(tmp_path: Path) -> None:
    series = READER.read(_write(tmp_path, SERIES), acquired="start")
    np.testing.assert_array_equal(series["elapsed"], [0.0, 130.5, 261.0])
    np.testing.assert_array_equal(series["intensity"][1], [4, 5, 6])
    np.testing.assert_array_equal(series["exposure"], [120.0, 120.0, 120.0])
    assert series.attrs["clock"]["sigma_s"] is None


def test_spectra_that_were_not_taken_are_nan(tmp_path: Path) -> None:
    stopped = READER.read(_write(tmp_path, SERIES + "391.5\t0\t0\t0\n"), acquired="end")
    np.testing.assert_array_equal(stopped["intensity"][3], [np.nan] * 3)
    # The end that is stamped is that of the last spectrum that was taken.
    np.testing.assert_array_equal(stopped["elapsed"], [-261.0, -130.5, 0.0, 130.5])


def test_points_are_positions(tmp_path: Path) -> None:
    header = HEADER | {"Full time(mm:ss)": "6:06", "AxisType[2]": "Points", "AxisUnit[2]": ""}
    body = SERIES.replace("\n0\t", "\n1\t").replace("130.5", "2").replace("261", "3")
    points = READER.read(_write_header(tmp_path, body, header))
    assert list(points["position"].values) == ["1", "2", "3"]
    np.testing.assert_array_equal(points["elapsed"], [0.0, 122.0, 244.0])


def test_a_map_names_its_axes(tmp_path: Path) -> None:
    """Two coordinates in front of each spectrum, in the order of the axes."""
    axes = {"AxisType[2]": "X", "AxisUnit[2]": "µm", "AxisType[3]": "Y", "AxisUnit[3]": "µm"}
    body = "\t\t12.5\t14.5\n-1\t5\t1\t2\n1\t5\t3\t4\n-1\t7\t5\t6\n"
    header = HEADER | axes | {"Full time(mm:ss)": "6:06"}
    spots = READER.read(_write_header(tmp_path, body, header))
    np.testing.assert_array_equal(spots["x"], [-1, 1, -1])
    np.testing.assert_array_equal(spots["y"], [5, 5, 7])
    np.testing.assert_array_equal(spots["intensity"], [[1, 2], [3, 4], [5, 6]])
    assert spots["position"].values[2] == "x=-1.00 y=7.00"
    np.testing.assert_array_equal(spots["elapsed"], [0.0, 122.0, 244.0])


def test_a_depth_scan_carries_its_depths(tmp_path: Path) -> None:
    header = HEADER | {"AxisType[2]": "Z", "AxisUnit[2]": "µm"}
    depths = READER.read(_write_header(tmp_path, SERIES, header))
    np.testing.assert_array_equal(depths["z"], [0.0, 130.5, 261.0])
    assert depths["z"].attrs["units"] == "micrometre"
    np.testing.assert_array_equal(depths["elapsed"], [0.0, 120.0, 240.0])


@pytest.mark.parametrize(
    ("steps", "marks", "sigma"),
    [
        ({"full": "4:09", "fit": "14.02.2019 10:07:26"}, "start", None),
        ({"full": "4:09", "fit": "14.02.2019 10:07:30"}, "start", 249.0),
        ({"full": "4:09", "fit": "14.02.2019 10:05:00"}, "end", None),
        ({"full_hours": "0:04", "fit": "14.02.2019 10:07:18"}, "start", 240.0),
        ({"full_hours": "0:04", "fit": "14.02.2019 10:04:18"}, "end", None),
        ({"full": "4:09", "fit": "15.02.2019 09:00:00"}, "start", 249.0),
        ({"full": "4:09"}, "start", 249.0),
        ({}, "start", 120.0),
    ],
)
def test_what_the_stamp_marks(
    tmp_path: Path, steps: dict[str, str], marks: str, sigma: float | None
) -> None:
    """120 s of light in 249 s; the stamp is 10:03:18."""
    clock = READER.read(_timed(tmp_path, SINGLE, **steps)).attrs["clock"]
    assert (clock["marks"], clock["sigma_s"]) == (marks, sigma)
    assert clock["start"] == "2019-02-14T10:03:18"
    declared = READER.read(_timed(tmp_path, SINGLE, **steps), acquired="end").attrs["clock"]
    assert (declared["marks"], declared["sigma_s"]) == ("end", None)


def test_a_stamp_at_the_end_of_a_series_is_counted_back_from(tmp_path: Path) -> None:
    series = READER.read(_write(tmp_path, SERIES), acquired="end")
    np.testing.assert_array_equal(series["elapsed"], [-261.0, -130.5, 0.0])
    assert series.attrs["clock"]["marks"] == "end"
    with pytest.raises(FormatError, match="cut short"):
        READER.read(_write(tmp_path, SERIES + "391.5\t1"), acquired="end")


def test_an_unknown_stamp_of_a_series_is_uncertain_by_all_of_it(tmp_path: Path) -> None:
    assert READER.read(_write(tmp_path, SERIES)).attrs["clock"]["sigma_s"] == 261.0 + 120.0


@pytest.mark.parametrize(
    ("date", "order", "start"),
    [
        ("14.02.2019 10:03:18", None, "2019-02-14T10:03:18"),
        ("01.05.16 1:27:14", None, "2016-05-01T01:27:14"),
        ("01/05/16 11:27:14", "dmy", "2016-05-01T11:27:14"),
        ("01/05/16 11:27:14", "mdy", "2016-01-05T11:27:14"),
        ("13/05/2016 11:27:14", None, "2016-05-13T11:27:14"),
        ("05/13/2016 11:27:14", None, "2016-05-13T11:27:14"),
    ],
)
def test_dates(tmp_path: Path, date: str, order: str | None, start: str) -> None:
    file = _write(tmp_path, SINGLE, Acquired=date)
    clock = READER.read(file, acquired="start", date_order=order).attrs["clock"]
    assert (clock["start"], clock["zone"], clock["sigma_s"]) == (start, None, None)


def test_a_minute_stamp_and_no_stamp(tmp_path: Path) -> None:
    minute = READER.read(_write(tmp_path, SINGLE, Acquired=None), acquired="start").attrs["clock"]
    assert (minute["start"], minute["sigma_s"]) == ("2019-02-14T10:03", 30.0)
    none = READER.read(_write(tmp_path, SINGLE, Acquired=None, Date="")).attrs["clock"]
    assert (none["start"], none["source"]) == (None, "none")


@pytest.mark.parametrize(
    ("date", "order", "message"),
    [
        ("01/05/16 11:27:14", None, "can be read two ways; pass date_order"),
        ("31.02.2019 10:03:18", None, "is no date"),
        ("13/05/2016 11:27:14", "mdy", "is no date; check date_order"),
        ("yesterday", None, "expected a date such as"),
        ("5/1/2016 11:27:14 PM", None, "expected a date such as"),
    ],
)
def test_dates_are_never_guessed(
    tmp_path: Path, date: str, order: str | None, message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        READER.read(_write(tmp_path, SINGLE, Acquired=date), date_order=order)


def test_the_old_dialect(tmp_path: Path) -> None:
    header = {"Exposition": "10", "Accumulation": "30", "Laser": "532.1", "Date": "14.05.16 11:27"}
    file = _write_header(tmp_path, SERIES, header)
    series = READER.read(file)
    assert READER.sniff(file.read_bytes(), file.name)
    np.testing.assert_array_equal(series["exposure"], [300.0] * 3)
    assert series.attrs["laser_wavelength_nm"] == 532.1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "no spectrum"),
        ("1\t2\t3\n2\t3\t4\n", "3 columns; expected shift, intensity"),
        ("\t1\t2\n0\t5\n9\t6\n", "2 numbers below 2 shifts"),
        ("\t\t1\t2\n0\t0\t5\t6\n0\t1\t5\t6\n", "maps are not read"),
        ("\t1\t2\n0\t5\t6\n0\t5\t6\n", "spectrum 2: 0 s follows 0 s"),
        ("\t1\t2\n0\t5\t6\ninf\t5\t6\n", "spectrum 2: inf s follows 0 s"),
        ("\t1\t2\n-inf\t5\t6\n0\t5\t6\n", "spectrum 1: -inf s"),
        ("\t\t\t1\t2\n0\t0\t0\t5\t6\n", "5 numbers below 2 shifts"),
        ("1\t2\n3\t3\n2\t4\n", "raman_shift: does not ascend"),
        ("1\t2\n2\tx\n3\t4\n", "expected numbers"),
    ],
)
def test_what_is_no_spectrum_is_refused(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        READER.read(_write(tmp_path, body))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("AxisUnit[1]", "nm", "expected '1/cm'"),
        ("AxisUnit[0]", "V", "AxisUnit"),
        ("AxisType[2]", "Z", "expected Time in s, or Points"),
        ("AxisUnit[2]", "min", "expected Time in s, or Points"),
    ],
)
def test_other_axes_are_refused(tmp_path: Path, key: str, value: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        READER.read(_write_header(tmp_path, SERIES, HEADER | {key: value}))


def test_a_cut_last_spectrum_is_left_out(tmp_path: Path) -> None:
    series = READER.read(_write(tmp_path, SERIES[:-4]))
    assert series.sizes["time"] == 2
    assert "cut short" in series.attrs["truncated"]


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "marks", "sigma"),
    [
        ("labspec_txt/lasertest1.txt", "start", None),
        ("datalab_mit/labspec_raman_example.txt", "end", None),
        ("labspec_txt/SMC1-Initial_RT.txt", "start", 249.0),
    ],
)
def test_real_stamps(shared_data: Path, name: str, marks: str, sigma: float | None) -> None:
    """lasertest1 was fitted 6:04 after its stamp and lasted 6:05; the other one could not be."""
    clock = READER.read(File(shared_data / "formats" / "raman" / name)).attrs["clock"]
    assert (clock["marks"], clock["sigma_s"]) == (marks, sigma)


@pytest.mark.shared_data
def test_a_real_series(shared_data: Path) -> None:
    """10 s x 30 accumulations fit into a period of 308 to 334 s; 47 h; the date is ambiguous."""
    file = File(shared_data / "formats" / "raman" / "labspec_txt" / "Activation.txt")
    with pytest.raises(FormatError, match="date_order"):
        READER.read(file)
    series = READER.read(file, date_order="dmy")
    period = np.diff(series["elapsed"])
    assert series.sizes == {"time": 532, "raman_shift": 1024}
    assert np.all(series["exposure"].values[1:] < period)
    assert 46.9 < float(series["elapsed"][-1]) / 3600 < 47.1
    assert float(series["exposure"][0]) < period.min() < period.max() < 335


@pytest.mark.shared_data
def test_a_real_series_that_was_stopped(shared_data: Path) -> None:
    file = File(shared_data / "formats" / "raman" / "labspec_txt" / "serie190214-1.txt")
    taken = READER.read(file)["intensity"].notnull().all("raman_shift").values
    assert taken.tolist() == [True] * 110 + [False] * 58
