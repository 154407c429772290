"""Powder CIF: which positions, which intensities, which times; gemmi is the oracle of numbers."""

from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np
import pytest

import operando
from operando.reading.registry import claims
from operando_readers._reader import File, FormatError
from operando_readers.powder_cif import READER

HEAD = """data_one
_audit_creation_date 2020-01-02T03:04
_pd_proc_info_datetime 2020-01-02T03:04:05
_pd_meas_datetime_initiated 2019-12-31T23:59:30+01:00
_diffrn_radiation_wavelength 1.5406
_diffrn_ambient_temperature 300(2)
_pd_meas_scan_method step
_pd_meas_step_count_time 2.0
"""
LOOP = """loop_
_pd_meas_2theta_scan
_pd_meas_counts_total
10.00 100
10.02 144
10.04 ?
10.06 81
"""


def _write(folder: Path, text: str, name: str = "pattern.cif") -> File:
    path = folder / name
    path.write_text(text)
    return File(path)


def test_counts_with_the_time_of_the_measurement(tmp_path: Path) -> None:
    """When the file was made, or processed, is not when anything was measured."""
    file = _write(tmp_path, HEAD + LOOP)
    pattern = READER.read(file)
    assert claims(file) == ["powder_cif"]
    np.testing.assert_array_equal(pattern["intensity"], [[100.0, 144.0, np.nan, 81.0]])
    np.testing.assert_array_equal(pattern["two_theta"], [10.0, 10.02, 10.04, 10.06])
    assert pattern["intensity"].attrs["units"] == "count"
    assert "intensity_sigma" not in pattern
    clock = pattern.attrs["clock"]
    assert (clock["start"], clock["zone"], clock["marks"]) == (
        "2019-12-31T22:59:30",
        "UTC",
        "start",
    )
    assert pattern["temperature"].values == [300.0]
    assert pattern["exposure"].values == [8.0]
    assert pattern.attrs["wavelength_angstrom"] == 1.5406
    frames = operando.read(str(file))
    operando.check(frames)
    without = READER.read(_write(tmp_path, (HEAD + LOOP).replace("_pd_meas_datetime_init", "_x")))
    assert without.attrs["clock"]["start"] is None


@pytest.mark.parametrize(
    ("text", "value", "sigma"),
    [
        ("5540(160)", 5540.0, 160.0),
        ("12.34(5)", 12.34, 0.05),
        ("1.234e3(56)", 1234.0, 56.0),
        (".5(2)", 0.5, 0.2),
        ("-3.(1)", -3.0, 1.0),
        ("7", 7.0, np.nan),
    ],
)
def test_deviations_in_parentheses(tmp_path: Path, text: str, value: float, sigma: float) -> None:
    rows = LOOP.replace("100", text).replace("144", "144(12)")
    pattern = READER.read(_write(tmp_path, HEAD + rows))
    assert float(pattern["intensity"][0, 0]) == pytest.approx(value)
    assert float(pattern["intensity_sigma"][0, 0]) == pytest.approx(sigma, nan_ok=True)
    assert gemmi.cif.as_number(text) == pytest.approx(value)
    assert pattern.attrs["sigma_source"] == "parentheses"


def test_deviations_from_weights(tmp_path: Path) -> None:
    """A weight of 0 is an excluded point: it has no deviation, and stays."""
    text = """data_x
loop_
_pd_proc_2theta_corrected
_pd_proc_intensity_total
_pd_proc_ls_weight
5.0 10.0 0.25
5.1 20.0 0.0
5.2 30.0 0.01
"""
    pattern = READER.read(_write(tmp_path, text))
    np.testing.assert_allclose(pattern["intensity_sigma"], [[2.0, np.nan, 10.0]])
    assert pattern["intensity"].attrs["units"] == "1"
    assert pattern.attrs["clock"]["start"] is None


RANGES = """data_x
_pd_meas_2theta_range_min 10.0
_pd_meas_2theta_range_max 10.3
_pd_meas_2theta_range_inc 0.1
_pd_proc_2theta_range_min 10.018
_pd_proc_2theta_range_max 10.318
_pd_proc_2theta_range_inc 0.1
_pd_meas_number_of_points 4
loop_
_pd_meas_intensity_total
1 2 3 4
"""


@pytest.mark.parametrize(
    ("axis", "first"), [(None, 10.018), ("corrected", 10.018), ("measured", 10.0)]
)
def test_ranges(tmp_path: Path, axis: str | None, first: float) -> None:
    pattern = READER.read(_write(tmp_path, RANGES), axis=axis)
    np.testing.assert_allclose(pattern["two_theta"], first + 0.1 * np.arange(4))


def test_dotted_names_and_q(tmp_path: Path) -> None:
    """The dictionary of 2022 writes a point behind the category."""
    text = "data_x\nloop_\n_pd_proc.recip_len_Q\n_pd_proc.intensity_net\n1.0 5\n1.5 6\n"
    file = _write(tmp_path, text)
    pattern = READER.read(file)
    assert claims(file) == ["powder_cif"]
    np.testing.assert_array_equal(pattern["q"], [1.0, 1.5])
    assert pattern.attrs["intensity_item"] == "_pd_proc_intensity_net"


def test_a_doublet(tmp_path: Path) -> None:
    loop = """loop_
_diffrn_radiation_wavelength_id
_diffrn_radiation_wavelength
_diffrn_radiation_wavelength_wt
1 1.5444274 0.5
2 1.5405929 1.0
"""
    text = HEAD.replace("_diffrn_radiation_wavelength 1.5406\n", "") + loop + LOOP
    attrs = READER.read(_write(tmp_path, text)).attrs
    assert attrs["wavelength_angstrom"] == 1.5405929
    assert attrs["wavelength_alpha2_angstrom"] == 1.5444274
    assert attrs["alpha2_ratio"] == 0.5


def test_the_block_that_holds_the_pattern(tmp_path: Path) -> None:
    overall = "data_overall\n_diffrn_radiation_probe neutron\n_diffrn_radiation_wavelength 2.0\n"
    file = _write(tmp_path, overall + "data_pwd\n" + LOOP)
    assert READER.read(file).attrs["wavelength_angstrom"] == 2.0
    two = _write(tmp_path, HEAD + LOOP + "data_two\n" + LOOP)
    with pytest.raises(FormatError, match=r"patterns are in \['one', 'two'\]"):
        READER.read(two)
    assert READER.read(two, block="two").attrs["clock"]["start"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data_x\n_cell_length_a 4.0\n", "no intensities"),
        ("not a cif at all {", "not CIF or damaged"),
        (HEAD + LOOP.replace("144", "1x4"), "value 2: '1x4'; expected a number"),
        (HEAD + LOOP + "10.08\n", "not CIF or damaged"),
        ("data_x\nloop_\n_pd_proc_d_spacing\n_pd_meas_counts_total\n2 3\n1 4\n", "d-spacing only"),
        (
            "data_x\nloop_\n_pd_meas_time_of_flight\n_pd_meas_counts_total\n2 3\n4 4\n",
            "time of flight only",
        ),
        (RANGES.replace("1 2 3 4\n", "1 2 3 4 5 6 7\n"), "for 7 intensities"),
        (HEAD + LOOP.replace("10.02", "9.0"), "ascend or descend throughout"),
        (HEAD.replace("2019-12-31T", "2019-13-31T") + LOOP, "_pd_meas_datetime_initiated"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        READER.read(_write(tmp_path, text))


def test_a_structure_is_not_claimed(tmp_path: Path) -> None:
    file = _write(tmp_path, "data_x\n_cell_length_a 4.0\n_pd_phase_name NAC\n")
    assert not READER.sniff(file.read_bytes(), file.name)


@pytest.mark.shared_data
def test_a_neutron_pattern_of_bt1_is_that_of_gemmi(shared_data: Path) -> None:
    file = File(shared_data / "formats/xrd/vendor/1517474.cif")
    pattern = READER.read(file)
    block = gemmi.cif.read(str(file.path)).sole_block()
    oracle = [gemmi.cif.as_number(text) for text in block.find_values("_pd_meas_intensity_total")]
    np.testing.assert_array_equal(pattern["intensity"][0], oracle)
    assert pattern.attrs["wavelength_angstrom"] == 2.0785
    assert pattern.attrs["probe"] == "neutron"
    assert pattern.attrs["clock"]["start"] is None
    weights = [gemmi.cif.as_number(text) for text in block.find_values("_pd_proc_ls_weight")]
    weight = np.array(weights)
    used = weight > 0
    # The weights of the refinement are those of the deviations, as far as these have digits.
    sigma = pattern["intensity_sigma"][0].values[used]
    np.testing.assert_allclose(sigma, 1 / np.sqrt(weight[used]), rtol=0.06)


@pytest.mark.shared_data
def test_cells_and_other_cif_of_the_real_files_are_not_claimed(shared_data: Path) -> None:
    claimed = [
        path.name
        for path in (shared_data / "formats").rglob("*")
        if path.is_file() and READER.sniff(File(path).read_bytes(1 << 16), path.name)
    ]
    assert claimed == ["1517474.cif"]
