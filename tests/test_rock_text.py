"""ROCK spectra: columns by name, the clock of the run, damage."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from operando_readers._reader import File, FormatError
from operando_readers.rock_text import READER

HEADER = """# This file has been produced by extranormal (v 1.0.1 - February 23, 2017)
#Data from HDF File: a/op2_cell4_pos1_dq1_0001_00122.nxs to op2_cell4_pos1_dq1_0001_00145.nxs
#Time at start=2022-07-26 23:01:58.055
#Time from start (seconds)=65.003889607
#Sample temperature (C)=nan
# E0=8332.88   Eshift=0.0362246628606
# I jump at E0_pivot = 0.79921036121
# """
COLUMNS = "shifted energy\tnormalized\treference\tref.derivative\tI0\n"
ROWS = """        8060 0.0007013665     1.034688 -0.0004794574     14959.65
        8065 0.0007013665     1.034688 -0.0004794574     14959.65
        8070  0.000420372     1.032234 -0.0004590088     14984.36
"""


def _write(folder: Path, text: str) -> File:
    path = folder / "norm_op2_cell4_pos1.txt"
    path.write_text(text)
    return File(path)


def test_the_spectrum_starts_some_seconds_into_the_run(tmp_path: Path) -> None:
    spectrum = READER.read(_write(tmp_path, HEADER + COLUMNS + ROWS))
    assert spectrum.attrs["clock"]["start"] == "2022-07-26T23:01:58.055"
    assert spectrum.attrs["clock"]["zone"] is None
    assert spectrum.attrs["clock"]["marks"] == "start"
    assert spectrum["elapsed"].values == [65.003889607]
    assert "exposure" not in spectrum.coords


def test_variables_and_header(tmp_path: Path) -> None:
    spectrum = READER.read(_write(tmp_path, HEADER + COLUMNS + ROWS))
    np.testing.assert_array_equal(spectrum["energy"], [8060, 8065, 8070])
    np.testing.assert_array_equal(spectrum["mu"][0], [0.0007013665, 0.0007013665, 0.000420372])
    assert spectrum["mu"].attrs == {"units": "1", "normalised": 1}
    assert spectrum["mu_reference"].values[0, 2] == 1.032234
    assert spectrum["i0"].values[0, 2] == 14984.36
    metadata = spectrum.attrs["original_metadata"]
    assert metadata["Sample temperature (C)"] == "nan"
    assert metadata["E0"] == "8332.88   Eshift=0.0362246628606"
    assert metadata["I jump at E0_pivot"] == "0.79921036121"


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    text = HEADER + "I0\tnormalized\tenergy\n" + "5 0.1 8060\n6 0.2 8065\n"
    spectrum = READER.read(_write(tmp_path, text))
    np.testing.assert_array_equal(spectrum["energy"], [8060, 8065])
    np.testing.assert_array_equal(spectrum["mu"], [[0.1, 0.2]])
    np.testing.assert_array_equal(spectrum["i0"], [[5, 6]])
    assert "mu_reference" not in spectrum


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROWS, "expected the '#' header"),
        (HEADER + COLUMNS, "no numbers"),
        (HEADER + "shifted energy\tfluorescence\n1 2\n2 3\n", "expected 'shifted energy' and"),
        (HEADER + COLUMNS + "1 2\n2 3\n", "2 in the rows"),
        (HEADER + COLUMNS + ROWS + ROWS, "8070 is followed by 8060"),
        (HEADER + COLUMNS + ROWS.replace("8065", "x"), "line 10: 'x"),
        ((HEADER + COLUMNS + ROWS).replace("=65.0", "=x65.0"), "Time from start"),
        ((HEADER + COLUMNS + ROWS).replace("2022-07-26", "26/07/2022"), "Time at start"),
    ],
)
def test_what_is_no_spectrum_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        READER.read(_write(tmp_path, text))


def test_a_cut_last_row_is_left_out(tmp_path: Path) -> None:
    spectrum = READER.read(_write(tmp_path, HEADER + COLUMNS + ROWS[:-30]))
    assert spectrum.sizes["energy"] == 2
    assert "line 11" in spectrum.attrs["truncated"]


@pytest.mark.shared_data
def test_all_starts_agree_with_the_reference_table(shared_data: Path) -> None:
    folder = shared_data / "operando" / "xas_ni_lno_rock"
    with (folder / "reference" / "rock_lno_reference.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    present = [row for row in rows if (folder / "XAS_normalized" / row["file"]).exists()]
    assert len(present) == 230
    for row in present[::10]:
        file = File(folder / "XAS_normalized" / row["file"])
        spectrum = READER.read(file)
        nanoseconds = round(float(spectrum["elapsed"][0]) * 1e9)
        start = np.datetime64(spectrum.attrs["clock"]["start"], "ns") + nanoseconds
        assert abs(start - np.datetime64(row["t_local"], "ns")) < np.timedelta64(1_000_001, "ns")
        assert READER.sniff(file.read_bytes(1 << 16), file.name)
