"""PANalytical .xrdml: schema versions, repeated scans, attenuators, non-ambient, damage.

The real scan that exists as .xrdml, .csv and .xy must be the same three times.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import operando
from operando_readers._reader import File, FormatError
from operando_readers.panalytical_xrdml import READER

WAVELENGTHS = """<usedWavelength intended="K-Alpha 1">
<kAlpha1 unit="Angstrom">1.5405980</kAlpha1><kAlpha2 unit="Angstrom">1.5444260</kAlpha2>
<kBeta unit="Angstrom">1.3922500</kBeta><ratioKAlpha2KAlpha1>0.5000</ratioKAlpha2KAlpha1>
</usedWavelength>"""
RANGE = "<startPosition>10.0</startPosition><endPosition>10.4</endPosition>"
COUNTS = "7 11 240 13 5"


def scan(
    counts: str = COUNTS,
    *,
    axis: str = "Gonio",
    start: str = "2024-05-04T10:00:00+02:00",
    end: str = "2024-05-04T10:10:00+02:00",
    positions: str = RANGE,
    unit: str = "deg",
    status: str = "Completed",
    tag: str = "intensities",
    more: str = "<commonCountingTime unit='seconds'>0.5</commonCountingTime>",
    beside: str = "",
) -> str:
    """Return a scan; `more` stands in its dataPoints, `beside` next to them."""
    stamps = f"<startTimeStamp>{start}</startTimeStamp>" if start else ""
    stamps += f"<endTimeStamp>{end}</endTimeStamp>" if end else ""
    return (
        f"<scan appendNumber='0' mode='Continuous' scanAxis='{axis}' status='{status}'>"
        f"<header>{stamps}<source><instrumentControlSoftware version='7'>EMPYREAN"
        "</instrumentControlSoftware></source></header>"
        f"<dataPoints><positions axis='2Theta' unit='{unit}'>{positions}</positions>"
        "<positions axis='Omega' unit='deg'><startPosition>5</startPosition>"
        "<endPosition>5.2</endPosition></positions>"
        "<positions axis='X' unit='mm'><commonPosition>-0.18</commonPosition></positions>"
        f"{more}<{tag} unit='counts'>{counts}</{tag}></dataPoints>{beside}</scan>"
    )


def xrdml(*scans: str, version: str = "1.5", wavelengths: str = WAVELENGTHS) -> str:
    """Return a file with one measurement."""
    return (
        "<?xml version='1.0' encoding='UTF-8'?>\n"
        f"<xrdMeasurements xmlns='http://www.xrdml.com/XRDMeasurement/{version}' "
        "xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' status='Completed'>"
        "<sample type='To be analyzed'><id>7</id><name>NMC 811</name></sample>"
        f"<xrdMeasurement measurementType='Scan' status='Completed'>{wavelengths}"
        "<incidentBeamPath><xRayTube><anodeMaterial>Cu</anodeMaterial></xRayTube>"
        f"</incidentBeamPath>{''.join(scans)}</xrdMeasurement></xrdMeasurements>"
    )


def _read(folder: Path, text: str | bytes, **options: Any) -> xr.Dataset:
    path = folder / "scan.xrdml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return READER.read(File(path), **options)


@pytest.mark.parametrize("version", ["1.0", "1.5", "2.0", "2.4"])
def test_versions(tmp_path: Path, version: str) -> None:
    text = xrdml(scan(), version=version)
    found = _read(tmp_path, text)
    np.testing.assert_allclose(found["two_theta"], [10, 10.1, 10.2, 10.3, 10.4])
    np.testing.assert_array_equal(found["intensity"], [[7, 11, 240, 13, 5]])
    assert found["intensity"].attrs["units"] == "count"
    assert found["exposure"].values == [600]
    assert found["counting_time"].values == [0.5]
    assert found["x"].values == pytest.approx([-180.0])
    assert found.attrs["clock"] == {
        "start": "2024-05-04T08:00:00",
        "zone": "UTC",
        "marks": "start",
        "source": "header",
        "sigma_s": 0.5,
    }
    assert found.attrs["instrument"] == "PANalytical EMPYREAN"
    assert found.attrs["sample"] == "NMC 811"
    assert found.attrs["original_metadata"]["xrdml_version"] == version
    assert READER.sniff(text.encode(), "scan.xrdml")


def test_encodings(tmp_path: Path) -> None:
    text = xrdml(scan()).replace("NMC", "Nµ")
    for encoding in ("utf-8-sig", "utf-16"):
        raw = text.replace("UTF-8", encoding[:6].upper().replace("-S", "-8")).encode(encoding)
        if encoding == "utf-8-sig":
            raw = text.encode(encoding)
        assert READER.sniff(raw[: 1 << 16], "scan.xrdml")
        assert _read(tmp_path, raw).attrs["sample"] == "Nµ 811"


@pytest.mark.parametrize("version", ["0.9", "3.0", "12.1"])
def test_unknown_versions_are_refused(tmp_path: Path, version: str) -> None:
    with pytest.raises(FormatError, match=rf"XRDML {version}: expected version 1.x or 2.x"):
        _read(tmp_path, xrdml(scan(), version=version))


def test_what_is_not_an_xrdml_is_quoted_shortly(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="expected an XRDML") as caught:
        _read(tmp_path, xrdml(scan(), version="9" * 5000))
    assert len(str(caught.value)) < 200


def test_repeated_scans_are_frames(tmp_path: Path) -> None:
    hours = [f"2024-05-04T{hour}:00:00+02:00" for hour in (10, 11, 12)]
    ends = [stamp.replace(":00:00+", ":45:00+") for stamp in hours]
    scans = [
        scan(f"{k} 2 3 4 5", start=start, end=end)
        for k, (start, end) in enumerate(zip(hours, ends, strict=True))
    ]
    series = _read(tmp_path, xrdml(*scans))
    np.testing.assert_array_equal(series["elapsed"], [0, 3600, 7200])
    np.testing.assert_array_equal(series["exposure"], [2700] * 3)
    np.testing.assert_array_equal(series["intensity"][:, 0], [0, 1, 2])
    second = _read(tmp_path, xrdml(*scans), scans="2-3")
    np.testing.assert_array_equal(second["scan"], [2, 3])
    assert second.attrs["clock"]["start"] == "2024-05-04T09:00:00"
    placed = operando.read(tmp_path / "scan.xrdml")
    assert str(placed["time"].values[0])[:19] == "2024-05-04T08:22:30"


def test_the_last_scan_was_aborted(tmp_path: Path) -> None:
    """It has fewer points on the same axis: NaN behind them, and flagged where it is read."""
    short = scan(
        "1 2 3",
        start="2024-05-04T11:00:00+02:00",
        end="2024-05-04T11:03:00+02:00",
        positions=RANGE.replace("10.4", "10.2"),
        status="Aborted",
    )
    series = _read(tmp_path, xrdml(scan(), short))
    np.testing.assert_array_equal(series["intensity"][1], [1, 2, 3, np.nan, np.nan])
    np.testing.assert_array_equal(series["truncated"], [0, 1])
    assert series.attrs["truncated"] == "scan 2: status 'Aborted'"
    placed = operando.read(tmp_path / "scan.xrdml")
    np.testing.assert_array_equal(placed["frame_flag"].values & 2, [0, 2])


def test_other_axes_are_left_out_or_refused(tmp_path: Path) -> None:
    text = xrdml(scan(axis="Omega"), scan(), scan(axis="Phi"))
    kept = _read(tmp_path, text)
    np.testing.assert_array_equal(kept["scan"], [2])
    assert kept.attrs["original_metadata"]["skipped_scans"] == 2
    with pytest.raises(FormatError, match="scan 1: over 'Omega'; expected one over 2 theta"):
        _read(tmp_path, text, scans="1")
    with pytest.raises(FormatError, match="scan 1: over 'Omega'"):
        _read(tmp_path, xrdml(scan(axis="Omega")))


@pytest.mark.parametrize("axis", ["Gonio", "2Theta", "2Theta-Omega", "Omega-2Theta"])
def test_axes_of_patterns(tmp_path: Path, axis: str) -> None:
    assert _read(tmp_path, xrdml(scan(axis=axis))).attrs["scan_axis"] == axis


def test_several_axes_must_be_chosen(tmp_path: Path) -> None:
    far = scan(positions=RANGE.replace("10.", "40."), start="2024-05-04T11:00:00+02:00", end="")
    text = xrdml(scan(), far)
    with pytest.raises(FormatError, match=r"choose by scans=: 1 \(10 .. 10.4, 5 points\); 2 \(40"):
        _read(tmp_path, text)
    assert _read(tmp_path, text, scans="2")["two_theta"].values[0] == 40


def test_listed_and_descending_positions(tmp_path: Path) -> None:
    listed = "<listPositions>10.4 10.3 10.15 10.1 10.0</listPositions>"
    found = _read(tmp_path, xrdml(scan(positions=listed)))
    np.testing.assert_array_equal(found["two_theta"], [10.0, 10.1, 10.15, 10.3, 10.4])
    np.testing.assert_array_equal(found["intensity"][0], [5, 13, 240, 11, 7])


FACTORS = "<beamAttenuationFactors>1 1 188 1 1</beamAttenuationFactors>"


def test_counts_are_multiplied_by_the_attenuation(tmp_path: Path) -> None:
    """2.x: "as received by the detector, not yet corrected for beam attenuator" factors."""
    found = _read(tmp_path, xrdml(scan(tag="counts", more=FACTORS), version="2.1"))
    np.testing.assert_array_equal(found["intensity"][0], [7, 11, 240 * 188, 13, 5])
    np.testing.assert_array_equal(found["attenuation_factor"][0], [1, 1, 188, 1, 1])
    assert found.attrs["attenuation"].startswith("counts, multiplied here")
    assert "intensity_source" not in found.attrs


def test_intensities_are_multiplied_already(tmp_path: Path) -> None:
    """1.x: "measured intensities multiplied by the corresponding beam attenuation factor"."""
    counts = f"7 11 {240 * 188} 13 5"
    found = _read(tmp_path, xrdml(scan(counts, more=FACTORS)))
    np.testing.assert_array_equal(found["intensity"][0], [7, 11, 240 * 188, 13, 5])
    np.testing.assert_array_equal(found["attenuation_factor"][0], [1, 1, 188, 1, 1])
    assert found.attrs["attenuation"].endswith("in the file")


def test_common_attenuation_and_divergence(tmp_path: Path) -> None:
    more = (
        "<commonBeamAttenuationFactor>2.5</commonBeamAttenuationFactor>"
        "<divergenceCorrections>1 1 1 1 2</divergenceCorrections>"
    )
    found = _read(tmp_path, xrdml(scan(tag="counts", more=more), version="2.1"))
    np.testing.assert_array_equal(found["intensity"][0], np.array([7, 11, 240, 13, 5]) * 2.5)
    assert found.attrs["divergence_correction"] == "in the file, not applied"


def test_counting_times_of_points(tmp_path: Path) -> None:
    more = "<countingTimes unit='seconds'>1 1 2 4 4</countingTimes>"
    found = _read(tmp_path, xrdml(scan(more=more)))
    np.testing.assert_array_equal(found["point_counting_time"][0], [1, 1, 2, 4, 4])
    assert "counting_time" not in found.coords


@pytest.mark.parametrize(("unit", "kelvin"), [("K", 303.0), ("Celsius", 576.15)])
def test_temperature(tmp_path: Path, unit: str, kelvin: float) -> None:
    hot = (
        "<nonAmbientPoints type='Temperature'>"
        f"<nonAmbientValues unit='{unit}'>302 303 304</nonAmbientValues></nonAmbientPoints>"
    )
    cold = scan(start="2024-05-04T11:00:00+02:00", end="2024-05-04T11:10:00+02:00")
    series = _read(tmp_path, xrdml(scan(beside=hot), cold))
    np.testing.assert_allclose(series["temperature"], [kelvin, np.nan])
    assert series["temperature"].attrs["units"] == "K"
    unsaid = xrdml(scan(beside=hot.replace(f" unit='{unit}'", "")))
    assert "temperature" not in _read(tmp_path, unsaid).coords


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "", {"wavelength_kind": "alpha1+alpha2", "alpha2_ratio": 0.5}),
        (">0.5000<", ">0.0000<", {"wavelength_kind": "alpha1", "alpha2_ratio": None}),
        ("K-Alpha 1", "K-Beta", {"wavelength_kind": "beta", "wavelength_angstrom": 1.39225}),
        ("K-Alpha 1", "K-Alpha", {"wavelength_angstrom": 1.540598}),
        ("Angstrom", "nm", {"wavelength_angstrom": None, "anode": "Cu"}),
        ("1.5405980", "0", {"wavelength_angstrom": None}),
    ],
)
def test_wavelengths(tmp_path: Path, old: str, new: str, expected: dict[str, Any]) -> None:
    """Alpha 1 is never replaced by a mean, whatever the software intended to use."""
    text = xrdml(scan(), wavelengths=WAVELENGTHS.replace(old, new) if old else WAVELENGTHS)
    attrs = _read(tmp_path, text).attrs
    assert {key: attrs.get(key) for key in expected} == expected


@pytest.mark.parametrize(("ratio", "kind"), [("0.5000", "unknown"), ("0.0000", "alpha1")])
def test_the_ratio_is_not_believed_behind_a_monochromator(
    tmp_path: Path, ratio: str, kind: str
) -> None:
    text = xrdml(scan(), wavelengths=WAVELENGTHS.replace("0.5000", ratio)).replace(
        "</xRayTube>", "</xRayTube><monochromator name='2xGe(220)' />"
    )
    attrs = _read(tmp_path, text).attrs
    assert (attrs["wavelength_kind"], attrs["wavelength_angstrom"]) == (kind, 1.540598)
    assert attrs["monochromator"] == "2xGe(220)"
    assert "wavelength_alpha2_angstrom" not in attrs


@pytest.mark.shared_data
def test_a_real_file_states_a_doublet_that_is_not_there(shared_data: Path) -> None:
    """Ratio 0.5 in the file; where K alpha 2 of its line at 66.105 degree would be, 0.2 %."""
    scan = READER.read(File(shared_data / "formats" / "xrd" / "vendor" / "m54313_om2th_10.xrdml"))
    angle, counts = scan["two_theta"].values, scan["intensity"].values[0]
    line = angle[counts.argmax()]
    alpha2 = 2 * np.degrees(np.arcsin(np.sin(np.radians(line / 2)) * 1.544426 / 1.540598))
    assert counts[np.abs(angle - alpha2) < 0.05].max() < 0.01 * counts.max()
    assert scan.attrs["original_metadata"][
        "xrdMeasurement/usedWavelength/ratioKAlpha2KAlpha1"
    ].startswith("0.5")
    assert scan.attrs["wavelength_kind"] == "unknown"


def test_scans_of_several_wavelengths_are_refused(tmp_path: Path) -> None:
    other = WAVELENGTHS.replace("1.5405980", "0.7093")
    one, two = xrdml(scan()), xrdml(scan(), wavelengths=other)
    joined = one.replace("</xrdMeasurements>", two[two.index("<xrdMeasurement ") :])
    with pytest.raises(FormatError, match=r"scans 1 and 2: .*0.7093.*choose by scans="):
        _read(tmp_path, joined)


def test_stamps_without_offset_and_without_end(tmp_path: Path) -> None:
    found = _read(tmp_path, xrdml(scan(start="2024-05-04T10:00:00", end="")))
    assert (found.attrs["clock"]["start"], found.attrs["clock"]["zone"]) == (
        "2024-05-04T10:00:00",
        None,
    )
    assert "exposure" not in found.coords
    nothing = _read(tmp_path, xrdml(scan(start="", end="")))
    assert nothing.attrs["clock"]["start"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (xrdml(), "no scan in the file"),
        (xrdml(scan("")), "scan 1: no intensities"),
        (xrdml(scan("1 2 x 4 5")), "value 3 is 'x'"),
        (xrdml(scan("1 2 1_0 4 5")), "value 3 is '1_0'"),
        (xrdml(scan(unit="rad")), "2Theta in 'rad'"),
        (xrdml(scan(positions="<commonPosition>3</commonPosition>")), "no 2Theta positions"),
        (xrdml(scan(positions="<listPositions>1 2 3</listPositions>")), "5] values at 3 positions"),
        (xrdml(scan(positions=RANGE.replace("10.4", "10.0"))), "neither ascends nor descends"),
        (xrdml(scan(positions=RANGE.replace("10.4", "1e9"))), "beyond -180 to 180"),
        (xrdml(scan(more=FACTORS.replace(" 188", ""))), "4 beamAttenuationFactors of 5"),
        (xrdml(scan(more="<countingTimes>1 2</countingTimes>")), "2, 5] values at 5"),
        (xrdml(scan(end="2024-05-04T09:00:00+02:00")), "is not after the start"),
        (xrdml(scan(end="2024-05-04T10:10:00")), "one has an offset"),
        (xrdml(scan(), scan(start="")), "scan 2 of those read: no start"),
        (xrdml(scan()).replace("<dataPoints>", "<dataPoints/><dataPoints>"), "2 dataPoints"),
        (xrdml(scan())[:-40], "damaged or cut short"),
        ("<svg xmlns='http://www.w3.org/2000/svg'/>", "expected an XRDML"),
    ],
)
def test_what_is_not_read_says_why(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        _read(tmp_path, text)


def test_entities_are_refused(tmp_path: Path) -> None:
    """Ten entities of ten of the one before would be ten billion characters."""
    doctype = "<!DOCTYPE x [<!ENTITY a0 'ha'>" + "".join(
        f"<!ENTITY a{k} '{f'&a{k - 1};' * 10}'>" for k in range(1, 11)
    )
    text = xrdml(scan("&a10;")).replace("?>\n", f"?>\n{doctype}]>\n")
    with pytest.raises(FormatError, match="a document type is declared"):
        _read(tmp_path, text)
    outside = xrdml(scan()).replace("?>\n", "?>\n<!DOCTYPE x SYSTEM 'file:///secret'>\n")
    with pytest.raises(FormatError, match="a document type is declared"):
        _read(tmp_path, outside)


WHOLE = xrdml(scan(), scan(start="2024-05-04T11:00:00+02:00", end="2024-05-04T11:10:00+02:00"))


@settings(max_examples=300, deadline=None)
@given(
    cut=st.integers(0, len(WHOLE)),
    changes=st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(32, 126)), max_size=4),
)
def test_damage_is_refused_or_leaves_a_valid_series(
    tmp_path_factory: pytest.TempPathFactory,
    refused_or_valid: Callable[..., None],
    cut: int,
    changes: list[tuple[int, int]],
) -> None:
    raw = bytearray(WHOLE.encode())
    for at, value in changes:
        raw[at] = value
    with pytest.raises(FormatError):
        _read(tmp_path_factory.mktemp("damage"), bytes(raw[: min(cut, len(raw) - 1)]))
    refused_or_valid(READER, bytes(raw), "scan.xrdml", frames=2)


@pytest.mark.shared_data
def test_one_scan_in_three_formats(shared_data: Path) -> None:
    """What PANalytical's software exported as .xrdml, .csv and .xy."""
    folder = shared_data / "formats" / "xrd" / "same_scan_3formats"
    own = operando.read(folder / "210520step1_30min.xrdml")
    table = operando.read(folder / "210520step1_30min.csv", tz="Europe/Zurich")
    columns = operando.read(
        folder / "210520step1_30min.xy",
        first="2021-05-20T15:55:51",
        period_s=60,
        tz="Europe/Zurich",
    )
    for other in (table, columns):
        np.testing.assert_array_equal(own["intensity"], other["intensity"])
        np.testing.assert_allclose(own["two_theta"], other["two_theta"], rtol=0, atol=1e-8)
    apart = own["time_start"].values - table["time_start"].values
    assert apart[0] == np.timedelta64(51, "s")
    for name in ("wavelength_angstrom", "wavelength_kind", "anode"):
        assert own.attrs[name] == table.attrs[name]
    np.testing.assert_array_equal(own["counting_time"], table["counting_time"])
