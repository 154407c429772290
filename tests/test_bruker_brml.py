"""Bruker .brml: several RawData, columns by their views, absorbers, a detector at rest, damage."""

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
from operando_readers.bruker_brml import READER

ROWS = ("1,1,44,22,7", "1,1,44.1,22.05,11", "1,8.3,44.2,22.1,1992", "1,1,44.3,22.15,13")
VIEWS = """<DataViews>
<RawDataView type="FixedRawDataView" Start="0" Length="1" LogicName="MeasuredTime" Unit="s" />
<RawDataView type="FixedRawDataView" Start="1" Length="1" LogicName="AbsorptionFactor" />
<RawDataView Start="2" Length="2"><Varying LogicName="ScanAxes">
<FieldDefinitions FieldName="TwoTheta" AxisId="TwoTheta" />
<FieldDefinitions FieldName="Theta" AxisId="Theta" /></Varying></RawDataView>
<RawDataView Start="4" Length="1"><Recording LogicName="ScanCounter1">
<Unit Prefix="None" Base="Counts" /></Recording></RawDataView></DataViews>"""
AXES = """<ScanAxes><ScanAxisInfo AxisId="TwoTheta"><Start>44</Start><Stop>44.3</Stop>
<Increment>0.1</Increment></ScanAxisInfo><ScanAxisInfo AxisId="Theta" /></ScanAxes>"""
TUBE = """<FixedInformation><Drives><InfoData LogicName="X"><Position Unit="mm" Value="0.221" />
</InfoData></Drives><Tube><WaveLengthAlpha1 Unit="Å" Value="1.5406" />
<WaveLengthAlpha2 Unit="Å" Value="1.54439" /><WaveLengthAverage Unit="Å" Value="1.5418" />
<WaveLengthBeta Unit="Å" Value="1.39222" /><WaveLengthRatio Unit="" Value="0.5" />
<TubeMaterial>Cu</TubeMaterial></Tube>
<InfoItem Name="SampleName" Value="NMC 811" /></FixedInformation>"""


def raw_data(
    *rows: str,
    hour: int = 10,
    axes: str = AXES,
    views: str = VIEWS,
    flag: str = "Measured",
    status: str = "Measured",
    planned: int = 4,
    name: str = "2Theta-Omega",
    more: str = "",
) -> str:
    """Return one RawData.xml; `more` stands beside its data route."""
    return (
        "<?xml version='1.0' encoding='utf-8'?><RawData>"
        f"<MeasurementStatus>{status}</MeasurementStatus>"
        f"<TimeStampStarted>2024-05-04T{hour}:00:00.8371520+02:00</TimeStampStarted>"
        f"<TimeStampFinished>2024-05-04T{hour}:30:01.0371521+02:00</TimeStampFinished>"
        f"<DataRoutes><DataRoute RouteFlag='{flag}'><ScanInformation VisibleName='{name}'>"
        f"<MeasurementPoints>{planned}</MeasurementPoints>{axes}</ScanInformation>"
        + "".join(f"<Datum>{row}</Datum>" for row in rows)
        + f"{views}</DataRoute>{more}</DataRoutes>{TUBE}</RawData>"
    )


def brml(*scans: str) -> bytes:
    """Return a zip of scans; scan 10 is written before scan 2, as some are."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Experiment0/DataContainer.xml", "<DataContainer />")
        for number, scan in sorted(enumerate(scans), key=lambda item: str(item[0])):
            archive.writestr(f"Experiment0/RawData{number}.xml", scan)
        archive.writestr("experimentCollection.xml", "<ExperimentCollection />")
    return stream.getvalue()


def _read(folder: Path, raw: bytes, **options: Any) -> xr.Dataset:
    path = folder / "scan.brml"
    path.write_bytes(raw)
    return READER.read(File(path), **options)


def test_columns_by_their_views(tmp_path: Path) -> None:
    raw = brml(raw_data(*ROWS))
    found = _read(tmp_path, raw)
    assert READER.sniff(raw, "scan.brml")
    np.testing.assert_array_equal(found["two_theta"], [44, 44.1, 44.2, 44.3])
    np.testing.assert_array_equal(found["intensity"], [[7, 11, 1992, 13]])
    np.testing.assert_array_equal(found["attenuation_factor"], [[1, 1, 8.3, 1]])
    assert found["counting_time"].values == [1]
    assert found["exposure"].values == pytest.approx([1800.2000001], abs=1e-7)
    assert found["x"].values == pytest.approx([221.0])
    assert found.attrs["clock"]["start"] == "2024-05-04T08:00:00.8371520"
    assert found.attrs["clock"]["zone"] == "UTC"
    assert found.attrs["attenuation"].endswith("in the file")
    assert found.attrs["sample"] == "NMC 811"
    lines = ("wavelength_angstrom", "wavelength_kind", "wavelength_alpha2_angstrom", "anode")
    assert [found.attrs[line] for line in lines] == [1.5406, "alpha1+alpha2", 1.54439, "Cu"]


def test_counts_times_the_absorption_factor_are_whole_counts(tmp_path: Path) -> None:
    """1992 is 240 x 8.3: nothing was scaled; 7.5 counts were."""
    assert "intensity_source" not in _read(tmp_path, brml(raw_data(*ROWS))).attrs
    half = _read(tmp_path, brml(raw_data("1,1,44,22,7.5", *ROWS[1:])))
    assert "not whole" in half.attrs["intensity_source"]


def test_the_ratio_is_not_believed_behind_a_monochromator(tmp_path: Path) -> None:
    """As in the real file: ratio 0.5 of the tube, a channel cut of Ge in the primary track."""
    optics = (
        "<FixedInformation><Instrument><PrimaryTracks><TrackInfoData><MountedOptics>"
        "<InfoData VisibleName='Slit'><BeringInfo ClassPath='/Component/Optic/Slit' /></InfoData>"
        "<InfoData VisibleName='Ge022ACC'><BeringInfo ClassPath='/Component/Optic/{}/B2' />"
        "</InfoData></MountedOptics></TrackInfoData></PrimaryTracks></Instrument>"
    )
    for optic, kind in (("ChannelCut", "unknown"), ("Absorber", "alpha1+alpha2")):
        scan = raw_data(*ROWS).replace("<FixedInformation>", optics.format(optic))
        attrs = _read(tmp_path, brml(scan)).attrs
        assert attrs["wavelength_kind"] == kind
        assert attrs.get("monochromator") == ("Ge022ACC" if kind == "unknown" else None)


@pytest.mark.shared_data
def test_a_real_file_states_a_doublet_that_is_not_there(shared_data: Path) -> None:
    """Where K alpha 2 of its line at 45.82 degree would be, 1 % of it and not 50 %."""
    vendor = shared_data / "formats" / "xrd" / "vendor"
    scan = READER.read(File(vendor / "23-012-AG_2thomegascan_long.brml"))
    angle, counts = scan["two_theta"].values, scan["intensity"].values[0]
    line = angle[counts.argmax()]
    alpha2 = 2 * np.degrees(np.arcsin(np.sin(np.radians(line / 2)) * 1.54439 / 1.5406))
    assert counts[np.abs(angle - alpha2) < 0.01].max() < 0.02 * counts.max()
    assert (scan.attrs["wavelength_kind"], scan.attrs["monochromator"]) == ("unknown", "Ge022ACC")


def test_all_raw_data_of_a_file_in_their_order(tmp_path: Path) -> None:
    """RawData10 is the eleventh scan, not the third."""
    scans = [raw_data(f"1,1,44,22,{k}", *ROWS[1:], hour=10 + k) for k in range(12)]
    series = _read(tmp_path, brml(*scans))
    np.testing.assert_array_equal(series["intensity"][:, 0], np.arange(12))
    np.testing.assert_array_equal(series["elapsed"], 3600.0 * np.arange(12))
    np.testing.assert_array_equal(_read(tmp_path, brml(*scans), scans="11")["scan"], [11])
    assert operando.read(tmp_path / "scan.brml").sizes["time"] == 12


def test_scans_over_other_axes(tmp_path: Path) -> None:
    rocking = raw_data(
        *ROWS, axes="<ScanAxes><ScanAxisInfo AxisId='Theta' /></ScanAxes>", name="Rocking Curve"
    )
    raw = brml(rocking, raw_data(*ROWS, hour=11))
    found = _read(tmp_path, raw)
    np.testing.assert_array_equal(found["scan"], [2])
    assert found.attrs["original_metadata"]["skipped_scans"] == 1
    with pytest.raises(FormatError, match="scan 1: over 'Rocking Curve'"):
        _read(tmp_path, raw, scans="1")


def test_the_measured_route_is_read(tmp_path: Path) -> None:
    """A processed copy beside it is not; without a choice none of two is guessed."""
    final = f"<DataRoute RouteFlag='Final'><Datum>1,1,44,22,9</Datum>{VIEWS}</DataRoute>"
    np.testing.assert_array_equal(
        _read(tmp_path, brml(raw_data(*ROWS, more=final)))["intensity"][0, 0], 7
    )
    with pytest.raises(FormatError, match="2 measured data routes"):
        _read(tmp_path, brml(raw_data(*ROWS, more=final.replace("Final", "Measured"))))


def test_aborted_scan(tmp_path: Path) -> None:
    short = _read(tmp_path, brml(raw_data(*ROWS[:3])))
    assert short.attrs["truncated"] == "scan 1: 3 of 4 points"
    told = _read(tmp_path, brml(raw_data(*ROWS, status="Aborted")))
    assert told.attrs["truncated"] == "scan 1: status 'Aborted'"


REST = VIEWS.replace('Start="4" Length="1"', 'Start="4" Length="3"')
SCALE = """<ScanAxes /><ScaleAxes><ScaleAxisInfo AxisId="TwoTheta"><Start>20</Start>
<Stop>20.02</Stop><Increment>0.01</Increment></ScaleAxisInfo></ScaleAxes>"""


def test_blanks_are_nan(tmp_path: Path) -> None:
    """A point the detector did not deliver is stored as the blanking value."""
    views = VIEWS.replace("</Recording>", "<BlankingValue>-9999</BlankingValue></Recording>")
    found = _read(tmp_path, brml(raw_data(ROWS[0], "1,1,44.1,22,-9999", *ROWS[2:], views=views)))
    np.testing.assert_array_equal(found["intensity"][0], [7, np.nan, 1992, 13])


def test_a_detector_at_rest(tmp_path: Path) -> None:
    """One Datum of many channels, over the scale of the detector."""
    still = raw_data("300,1,21,10,5,6,7", axes=SCALE, views=REST, planned=1)
    found = _read(tmp_path, brml(still))
    np.testing.assert_allclose(found["two_theta"], [20.0, 20.01, 20.02])
    np.testing.assert_array_equal(found["intensity"][0], [5, 6, 7])
    assert found["counting_time"].values == [300]


@pytest.mark.parametrize(
    ("scan", "message"),
    [
        (raw_data(), "no Datum"),
        (raw_data("1,1,44,22,x", *ROWS[1:]), "RawData0.xml: Datum, line 1"),
        (raw_data("1,1,44,22", *ROWS[1:]), "RawData0.xml: Datum, line 2: 5 numbers; expected 4"),
        (raw_data(*ROWS, views=""), "DataViews name no counter"),
        (raw_data(*ROWS, views=VIEWS.replace('Start="4"', 'Start="9"')), "Start '9' of 5 columns"),
        (raw_data(*ROWS, views=VIEWS.replace('Start="4"', 'Start="5"')), "column 5 of 5"),
        (raw_data(*ROWS, views=VIEWS.replace('Start="4"', 'Start="-1"')), "Start '-1'"),
        (raw_data(*ROWS, views=VIEWS.replace('Start="4"', f'Start="{"0" * 5000}"')), "Start '000"),
        (raw_data(*ROWS, views=VIEWS.replace("TwoTheta", "Chi")), "no column of 2 theta"),
        (raw_data("1,1,2,3,4,5,6", "1,1,2,3,4,5,6", views=REST), "2 readings of 3 channels"),
        (raw_data("1,1,2,3,4,5,6", views=REST), "no ScaleAxes of 2 theta"),
        ("<RawData />", "0 measured data routes"),
        ("<RawData", "RawData0.xml: the XML is damaged"),
        ("<!DOCTYPE a []><RawData />", "document type"),
    ],
)
def test_what_is_not_read_says_why(tmp_path: Path, scan: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        _read(tmp_path, brml(scan))


def test_a_zip_without_scans(tmp_path: Path) -> None:
    raw = brml()
    with pytest.raises(FormatError, match=r"no RawData\*.xml among"):
        _read(tmp_path, raw)


def test_bomb(tmp_path: Path) -> None:
    """64 MB of blanks in 64 kB."""
    raw = brml(raw_data(*ROWS, more=" " * (64 << 20)))
    assert len(raw) < 100_000
    with pytest.raises(FormatError, match=r"unpacks from .* refused"):
        _read(tmp_path, raw)


def test_documents_are_not_kept(tmp_path: Path) -> None:
    """As trees, forty scans of a thousand points are 15 MB; their numbers are 1.3."""
    rows = [f"1,1,{44 + k / 1000},22,7" for k in range(1000)]
    raw = brml(*(raw_data(*rows, planned=1000, hour=10 + k % 10) for k in range(40)))
    path = tmp_path / "scan.brml"
    path.write_bytes(raw)
    READER.read(File(path), scans="1")
    tracemalloc.start()
    assert READER.read(File(path)).sizes["time"] == 40
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 << 20


def test_inside_a_zip(tmp_path: Path) -> None:
    """As a repository hands it out: read in place."""
    with zipfile.ZipFile(tmp_path / "deposit.zip", "w") as archive:
        archive.writestr("run/scan.brml", brml(raw_data(*ROWS)))
    series = operando.read(f"{tmp_path / 'deposit.zip'}!run/scan.brml")
    np.testing.assert_array_equal(series["intensity"], [[7, 11, 1992, 13]])


WHOLE = brml(raw_data(*ROWS), raw_data(*ROWS, hour=11))


def test_damage_is_refused_or_leaves_a_valid_series(survives_damage: Callable[..., None]) -> None:
    survives_damage(READER, WHOLE, "scan.brml", frames=2)
