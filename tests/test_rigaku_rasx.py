"""Rigaku .rasx: several scans, attenuators, temperature, stamps that say Z, damage."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import operando
from operando_readers._reader import File, FormatError
from operando_readers.rigaku_rasx import READER

PROFILE = "10.0\t7\t1\t\n10.1\t11\t1\t\n10.2\t24\t10\t\n10.3\t13\t1\t\n"


def conditions(
    *,
    axis: str = "TwoThetaTheta",
    hour: int = 10,
    unit: str = "counts",
    wave: str = "Ka1",
    count: int = 4,
    axes: str = "",
    start: str = "",
) -> str:
    """Return the conditions of a scan from `hour` to 20 minutes later."""
    return (
        "\ufeff<?xml version='1.0' encoding='utf-8'?><MeasurementConditions>"
        "<GeneralInformation><SystemName>SmartLabXE</SystemName></GeneralInformation>"
        "<HWConfigurations><XrayGenerator><TargetName>Cu</TargetName>"
        f"<WaveType>{wave}</WaveType><WavelengthKalpha1>1.540593</WavelengthKalpha1>"
        "<WavelengthKalpha2>1.544414</WavelengthKalpha2><WavelengthKbeta>1.392246</WavelengthKbeta>"
        f"</XrayGenerator></HWConfigurations><Axes>{axes}</Axes><ScanInformation>"
        f"<AxisName>{axis}</AxisName><Mode>CONTINUOUS</Mode><IntensityUnit>{unit}</IntensityUnit>"
        f"<StartTime>{start or f'2024-05-04T{hour}:00:00Z'}</StartTime>"
        f"<EndTime>{start or f'2024-05-04T{hour}:20:00Z'}</EndTime><DataCount>{count}</DataCount>"
        "<DscStartTime>0001-01-01T00:00:00</DscStartTime></ScanInformation>"
        "<RASHeader><Pair><string>*HW_ROBOT_NAME</string><string>No_unit</string></Pair>"
        "</RASHeader></MeasurementConditions>"
    )


def rasx(*scans: tuple[str, str], called: str = "MesurementConditions") -> bytes:
    """Return a zip of (profile, conditions)."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, (profile, told) in enumerate(scans):
            archive.writestr(f"Data{number}/Profile{number}.txt", "\ufeff" + profile)
            archive.writestr(f"Data{number}/{called}{number}.xml", told)
        archive.writestr("root.xml", "<Root />")
    return stream.getvalue()


def _read(folder: Path, raw: bytes, **options: Any) -> xr.Dataset:
    path = folder / "scan.rasx"
    path.write_bytes(raw)
    return READER.read(File(path), **options)


@pytest.mark.parametrize("called", ["MesurementConditions", "MeasurementConditions"])
def test_a_scan(tmp_path: Path, called: str) -> None:
    raw = rasx((PROFILE, conditions()), called=called)
    found = _read(tmp_path, raw)
    assert READER.sniff(raw, "scan.rasx")
    np.testing.assert_array_equal(found["two_theta"], [10, 10.1, 10.2, 10.3])
    np.testing.assert_array_equal(found["intensity"][0], [7, 11, 240, 13])
    np.testing.assert_array_equal(found["attenuation_factor"][0], [1, 1, 10, 1])
    assert found.attrs["attenuation"].startswith("intensity, multiplied here")
    assert found["exposure"].values == [1200]
    assert (found.attrs["wavelength_angstrom"], found.attrs["wavelength_kind"]) == (
        1.540593,
        "alpha1",
    )
    assert found.attrs["instrument"] == "Rigaku SmartLabXE"
    assert found.attrs["original_metadata"]["RASHeader/*HW_ROBOT_NAME"] == "No_unit"


def test_stamps_that_say_utc(tmp_path: Path) -> None:
    """Taken for UTC with a caution; for local times where the user knows that they are."""
    raw = rasx((PROFILE, conditions()))
    found = _read(tmp_path, raw)
    assert found.attrs["clock"]["zone"] == "UTC"
    assert "utc=False" in found.attrs["clock_caution"]
    local = _read(tmp_path, raw, utc=False)
    assert (local.attrs["clock"]["start"], local.attrs["clock"]["zone"]) == (
        "2024-05-04T10:00:00",
        None,
    )
    assert "clock_caution" not in local.attrs
    placed = operando.read(tmp_path / "scan.rasx", tz="Asia/Tokyo", options={"utc": False})
    assert str(placed["time_start"].values[0])[:16] == "2024-05-04T01:00"


def test_unset_stamps(tmp_path: Path) -> None:
    found = _read(tmp_path, rasx((PROFILE, conditions(start="0001-01-01T00:00:00"))))
    assert found.attrs["clock"]["start"] is None
    assert "exposure" not in found.coords
    assert "clock_caution" not in found.attrs


def test_scans_of_a_file(tmp_path: Path) -> None:
    scans = [(PROFILE, conditions(hour=10 + k)) for k in range(11)]
    scans[1] = (PROFILE, conditions(axis="Omega", hour=11))
    series = _read(tmp_path, rasx(*scans))
    np.testing.assert_array_equal(series["scan"], [1, *range(3, 12)])
    assert series["elapsed"].values[-1] == 36_000
    with pytest.raises(FormatError, match="scan 2: over 'Omega'"):
        _read(tmp_path, rasx(*scans), scans="2")


@pytest.mark.parametrize(("unit", "expected"), [("counts", "count"), ("cps", "count/s"), ("", "1")])
def test_units(tmp_path: Path, unit: str, expected: str) -> None:
    found = _read(tmp_path, rasx((PROFILE, conditions(unit=unit))))
    assert found["intensity"].attrs["units"] == expected


@pytest.mark.parametrize(
    ("wave", "line", "kind"),
    [
        ("Ka", 1.540593, "alpha1+alpha2"),
        ("Kb", 1.392246, "beta"),
        ("", 1.540593, "unknown"),
    ],
)
def test_waves(tmp_path: Path, wave: str, line: float, kind: str) -> None:
    attrs = _read(tmp_path, rasx((PROFILE, conditions(wave=wave)))).attrs
    assert (attrs["wavelength_angstrom"], attrs["wavelength_kind"]) == (line, kind)
    assert attrs.get("wavelength_alpha2_angstrom") == (1.544414 if wave == "Ka" else None)


def test_temperature_and_stage(tmp_path: Path) -> None:
    axes = (
        "<Axis Name='Temp' Unit='C' Position='550' EndPosition='554' /><Axis Name='Z' Unit='mm' "
        "Position='-1.034' /><Axis Name='X' Unit='mm' Position='None' />"
    )
    found = _read(tmp_path, rasx((PROFILE, conditions(axes=axes))))
    assert found["temperature"].values == [552]
    assert found["temperature"].attrs["units"] == "degC"
    assert found["z"].values == pytest.approx([-1034.0])
    assert "x" not in found.coords


def test_counts_that_are_not_whole_are_told(tmp_path: Path) -> None:
    """The program resamples what a strip detector counted."""
    attrs = _read(tmp_path, rasx((PROFILE.replace("11", "11.3"), conditions()))).attrs
    assert "not whole" in attrs["intensity_source"]


@pytest.mark.parametrize(
    ("profile", "told", "message"),
    [
        ("", conditions(), "Profile0.txt: line 1: no numbers"),
        ("10 x 1\n", conditions(), "Profile0.txt: line 1: '10 x 1'"),
        ("10\n11\n", conditions(), "1 columns; expected position"),
        (PROFILE, conditions(axis="TwoThetaChi"), "over 'TwoThetaChi'"),
        (PROFILE, conditions()[:-9], "damaged or cut short"),
        (PROFILE, conditions(start="soon"), "start: 'soon'; expected a date"),
    ],
)
def test_what_is_not_read_says_why(tmp_path: Path, profile: str, told: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        _read(tmp_path, rasx((profile, told)))


def test_other_members(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"no Data\*/Profile\*.txt among \['root.xml'\]"):
        _read(tmp_path, rasx())
    with pytest.raises(FormatError, match="0 MesurementConditions beside it"):
        _read(tmp_path, rasx((PROFILE, conditions()), called="Conditions"))


def test_aborted_scan(tmp_path: Path) -> None:
    assert _read(tmp_path, rasx((PROFILE, conditions(count=9)))).attrs["truncated"] == (
        "scan 1: 4 of 9 points"
    )


def test_documents_are_not_kept(tmp_path: Path) -> None:
    """As trees, forty conditions of three hundred axes are 6 MB; the scans are 5 kB."""
    axes = "".join(f"<Axis Name='A{k}' Unit='mm' Position='1.0' />" for k in range(300))
    raw = rasx(*((PROFILE, conditions(hour=10 + k % 10, axes=axes)) for k in range(40)))
    _read(tmp_path, raw)
    tracemalloc.start()
    assert READER.read(File(tmp_path / "scan.rasx")).sizes["time"] == 40
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 << 20


def test_bomb(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"Profile0.txt: unpacks from"):
        _read(tmp_path, rasx(("10 1 1\n" * (1 << 20), conditions())))


WHOLE = rasx((PROFILE, conditions()), (PROFILE, conditions(hour=11)))


def test_damage_is_refused_or_leaves_a_valid_series(survives_damage: Callable[..., None]) -> None:
    survives_damage(READER, WHOLE, "scan.rasx", frames=2)
