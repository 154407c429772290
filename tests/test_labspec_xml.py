"""LabSpec XML: settings by ID, series, maps, stamps, damage.

The files are written here in the layout of a published one (a spectrum of RosettaSciIO's tests);
axes behind the shift follow its documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pytest
import xarray as xr

import operando
from operando_readers._reader import File, FormatError
from operando_readers.labspec_xml import READER

SETTINGS = {
    "Acq. time (s)": "3",
    "Accumulations": "2",
    "Instrument": "LabRAM HR Evol",
    "X (µm)": "-1263.95",
    "Full time(s)": "8",
    "Date": "19.08.2022 09:20",
    "Acquired": "19.08.2022 09:20:51",
}
SPECTRA = ((3.0, 2.0, 1.0),)


def _lsx(identity: str, content: str, *, format: int = 7) -> str:
    return f'<LSX Format="{format}" ID="{identity}">{content}</LSX>\n'


def _axis(number: int, kind: str, unit: str, values: Sequence[float] = ()) -> str:
    listed = _lsx("0x7D6CD4DB", "\n" + " ".join(map(str, values)) + " \n", format=6)
    names = _lsx("0x6D707974", kind) + _lsx("0x7C696E75", unit)
    return _lsx(f"0x{number}", (listed if values else "") + names, format=9)


def _xml(
    *,
    spectra: Sequence[Sequence[float]] = SPECTRA,
    along: Sequence[tuple[str, str, Sequence[float]]] = (),
    unit: str = "1/cm",
    counts: str = "Cnt",
    changes: Mapping[str, str | None] | None = None,
    steps: Mapping[str, str] | None = None,
    reverse: bool = False,
) -> str:
    axes = _axis(0, "Intens", counts) + _axis(1, "Spectr", unit, (300.0, 200.0, 100.0))
    for number, (kind, of, values) in enumerate(along, 2):
        axes += _axis(number, kind, of, values)
    known = {k: v for k, v in {**SETTINGS, **(changes or {})}.items() if v is not None}
    groups = "".join(
        _lsx("0x1", _lsx("0x6D6D616E", escape(name)) + _lsx("0x7D6C61DB", value), format=9)
        for name, value in [*known.items(), *(steps or {}).items()]
    )
    laser = _lsx("0x6D6D616E", "Laser (nm)") + _lsx("0x7D6C61DB", "633 ")
    groups += _lsx("0x6D7361DE", laser + _lsx("0x8736F70", "632.817"), format=9)
    rows = [
        f'<LSX_Row Format="6" Index="{number}" Size="3">\n{" ".join(map(str, row))} \n</LSX_Row>\n'
        for number, row in enumerate(spectra)
    ]
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<LSX_Data>\n<LSX_Tree ID="0x69746164">\n'
        + _lsx("0x7A74D9D6", _lsx("0x7B697861", axes, format=9), format=9)
        + _lsx("0x6C62D4D9", _lsx("0x8716361", groups, format=9), format=9)
        + '</LSX_Tree>\n<LSX_Matrix Format="6" ID="0x7D6CD4DB">\n'
        + "".join(reversed(rows) if reverse else rows)
        + "</LSX_Matrix>\n</LSX_Data>\n"
    )


def _save(folder: Path, content: str | bytes) -> File:
    path = folder / "cell.xml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return File(path)


def _read(folder: Path, options: dict[str, Any] | None = None, **changes: Any) -> xr.Dataset:
    return READER.read(_save(folder, _xml(**changes)), **(options or {}))


def test_a_spectrum(tmp_path: Path) -> None:
    file = _save(tmp_path, _xml())
    spectrum = READER.read(file)
    np.testing.assert_array_equal(spectrum["raman_shift"], [100, 200, 300])
    np.testing.assert_array_equal(spectrum["intensity"], [[1, 2, 3]])
    np.testing.assert_array_equal(spectrum["exposure"], [6.0])
    assert spectrum["intensity"].attrs["units"] == "count"
    attrs = spectrum.attrs
    assert (attrs["laser_wavelength_nm"], attrs["x_um"]) == (632.817, -1263.95)
    assert attrs["instrument"] == "LabRAM HR Evol"
    clock = attrs["clock"]
    assert (clock["start"], clock["zone"]) == ("2022-08-19T09:20:51", None)
    assert (clock["marks"], clock["sigma_s"]) == ("start", 8.0)
    assert READER.sniff(file.read_bytes(), file.name)
    assert operando.inspect(file.path)[0].format == "labspec_xml"


@pytest.mark.parametrize(
    ("fit", "marks", "sigma"),
    [("19.08.2022 09:20:59", "start", None), ("19.08.2022 09:20:53", "end", None)],
)
def test_a_step_proves_what_the_stamp_marks(
    tmp_path: Path, fit: str, marks: str, sigma: float | None
) -> None:
    """6 s of light in 8 s: fitted 8 s after it, the stamp was the start; after 2 s, the end."""
    clock = _read(tmp_path, steps={"Base:Fit": fit}).attrs["clock"]
    assert (clock["marks"], clock["sigma_s"]) == (marks, sigma)


@pytest.mark.parametrize(
    "changes",
    [
        {"Full time(s)": "9" * 400},
        {"Full time(s)": None, "Full time(mm:ss)": "9" * 5000 + ":00"},
        {"Acq. time (s)": "9" * 200, "Accumulations": "9" * 200},
        {"Acq. time (s)": "-3"},
        {"Laser (nm)": "9" * 400},
    ],
)
def test_numbers_that_no_instrument_writes_are_not_taken(
    tmp_path: Path, changes: dict[str, str | None]
) -> None:
    found = _read(tmp_path, changes=changes)
    assert np.isfinite(found["elapsed"]).all()
    assert "exposure" not in found.coords or found["exposure"].values == [6.0]
    assert found.attrs["clock"]["sigma_s"] < 60


def test_a_map_gives_every_spectrum_its_place(tmp_path: Path) -> None:
    """X changes from row to row, Y after each line of X; rows go by their index."""
    spectra = [[10.0 * n + 3, 10.0 * n + 2, 10.0 * n + 1] for n in range(6)]
    along = [("X", "µm", (-1.0, 0.0, 1.0)), ("Y", "µm", (5.0, 7.0))]
    spots = _read(tmp_path, spectra=spectra, along=along, reverse=True)
    np.testing.assert_array_equal(spots["x"], [-1, 0, 1, -1, 0, 1])
    np.testing.assert_array_equal(spots["y"], [5, 5, 5, 7, 7, 7])
    np.testing.assert_array_equal(spots["intensity"][:, 0], 10 * np.arange(6) + 1)
    assert spots["position"].values[3] == "x=-1.00 y=7.00"
    np.testing.assert_allclose(spots["elapsed"], np.arange(6) * 8 / 6)


def test_a_series_carries_its_seconds(tmp_path: Path) -> None:
    spectra = [[3.0, 2.0, 1.0], [0.0, 0.0, 0.0]]
    series = _read(tmp_path, spectra=spectra, along=[("Time", "s", (0.0, 9.5))])
    np.testing.assert_array_equal(series["elapsed"], [0.0, 9.5])
    np.testing.assert_array_equal(series["intensity"][1], [np.nan] * 3)


def test_a_date_that_can_be_read_two_ways(tmp_path: Path) -> None:
    changes = {"Acquired": "01/05/22 09:20:51"}
    with pytest.raises(FormatError, match="pass date_order"):
        _read(tmp_path, changes=changes)
    dated = _read(tmp_path, {"date_order": "dmy", "acquired": "end"}, changes=changes)
    assert (dated.attrs["clock"]["start"], dated.attrs["clock"]["marks"]) == (
        "2022-05-01T09:20:51",
        "end",
    )
    assert _read(tmp_path, changes={"Acquired": None, "Date": None}).attrs["clock"]["start"] is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "damaged or cut short"),
        ("<a/>", "expected <LSX_Data> with"),
        (_xml()[:-20], "damaged or cut short"),
        (_xml(unit="nm"), "'nm'; expected '1/cm': export it as Raman shift"),
        (_xml(counts="V"), r"AxisUnit\[0\]: 'V'"),
        (_xml(spectra=[[1.0, 2.0]]), "row 0: 2 numbers; expected 3"),
        (_xml(spectra=[]), "no LSX_Row; no spectrum"),
        (_xml(spectra=[[1, 2, 3]] * 2), r"2 spectra; expected \[\] along the axes"),
        (_xml(spectra=[[1, 2, 3]] * 2, along=[("X", "mm", (1.0, 2.0))]), "'X' in 'mm'"),
        (_xml(spectra=[[1, 2, 3]] * 2, along=[("Time", "s", (1.0, 1.0))]), "1 s follows 1 s"),
        (_xml().replace("Spectr<", "Other<"), "expected Intens and Spectr first"),
        (_xml().replace("200.0", "x"), "value 2 is 'x'; expected a number"),
        (_xml().replace("3.0 2.0", "3.0 z"), "value 2 is 'z'; expected a number"),
        (_xml().replace("<LSX_Data>", "<!DOCTYPE a [<!ENTITY b 'c'>]><LSX_Data>"), "refused"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        READER.read(_save(tmp_path, content))


def test_other_xml_is_not_claimed() -> None:
    assert not READER.sniff(b"<?xml version='1.0'?><xrdMeasurements/>", "a.xml")
    assert not READER.sniff(b"LSX_Data <LSX_Data>", "a.xml")


WHOLE = _xml(spectra=[[3.0, 2.0, 1.0], [6.0, 5.0, 4.0]], along=[("X", "µm", (1.0, 2.0))]).encode()


def test_damage_is_refused_or_leaves_a_valid_series(survives_damage: Callable[..., None]) -> None:
    survives_damage(READER, WHOLE, "cell.xml", frames=2, cuts=range(0, len(WHOLE), 7))
