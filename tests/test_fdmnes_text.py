"""FDMNES: energies count from the edge, the date is not that of a measurement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from operando_readers._larch import larch
from operando_readers._reader import File, FormatError
from operando_readers.fdmnes_text import ELEMENTS, READER

OUT = (
    "# FDMNES program, Revision 20th of January 2022\n#    Date = 21 01 2022\n"
    " 17998.000   40  1  1     0.00000   -19.30749 = E_edge, Z, n_edge, j_edge, Abs, VO\n"
    "    Energy    <xanes>\n   -25.000  1.1943264E-04\n     0.500  2.0E-02\n    10.000  4.0E-02\n"
)
CONVOLUTED = OUT.replace(
    " 17998.000   40  1  1     0.00000   -19.30749 = E_edge, Z, n_edge, j_edge, Abs, VO",
    "#        17998.0          3.84 = E_edge, Gamma_hole\n#       0.69430 = Shift",
)


def write(folder: Path, content: str) -> File:
    path = folder / "zr_out.txt"
    path.write_text(content)
    return File(path)


def test_as_calculated(tmp_path: Path) -> None:
    scan = READER.read(write(tmp_path, OUT))
    assert scan["energy"].values.tolist() == [17973.0, 17998.5, 18008.0]
    assert scan["mu"].values.tolist() == [[1.1943264e-04, 2.0e-02, 4.0e-02]]
    assert (scan.attrs["element"], scan.attrs["edge"]) == ("Zr", "K")
    assert scan.attrs["calculated"] == 1
    assert scan.attrs["clock"]["start"] is None


def test_convoluted_does_not_say_of_what(tmp_path: Path) -> None:
    scan = READER.read(write(tmp_path, CONVOLUTED))
    assert scan["energy"].values.tolist() == [17973.0, 17998.5, 18008.0]
    assert "element" not in scan.attrs
    assert scan.attrs["original_metadata"]["Gamma_hole"] == 3.84
    assert scan.attrs["original_metadata"]["Shift"] == 0.6943
    other = READER.read(write(tmp_path, OUT.replace("40  1  1", "40  2  1")))
    assert "edge" not in other.attrs


def test_elements_by_number() -> None:
    known = {1: "H", 22: "Ti", 28: "Ni", 40: "Zr", 57: "La", 79: "Au", 92: "U", 98: "Cf"}
    assert len(ELEMENTS) == 98
    assert {number: ELEMENTS[number - 1] for number in known} == known


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Energy ", "Enargy ", "begins with 'Energy'"),
        ("<xanes>", "<xas>", "'<xanes>'"),
        ("= E_edge", "= edge", "E_edge None"),
        ("17998.000", "-5", r"E_edge -5"),
        ("0.500  2.0E-02", "0.500  2.0E-02 7", "line 6"),
        ("0.500  2.0E-02", "0.500  beam", "line 6"),
        ("0.500", "nan", "1 of 3 points have none"),
    ],
)
def test_refusals(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(FormatError, match=message) as error:
        READER.read(write(tmp_path, OUT.replace(old, new)))
    assert "\n" not in str(error.value)


def test_other_text_is_not_claimed() -> None:
    assert READER.sniff(OUT.encode(), "a.txt")
    assert not READER.sniff(b"# FDMNES program\n1 2\n", "a.txt")
    assert not READER.sniff(b"# a\n# = E_edge\n", "a.txt")


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["FDMNES_2022_Mo2C_out.dat", "FDMNES_2022_Mo2C_out_conv.dat"])
def test_as_larch_reads_it(shared_data: Path, name: str) -> None:
    path = shared_data / "formats" / "xas" / "beamline_formats" / name
    scan, group = READER.read(File(path)), larch("io").read_fdmnes(str(path))
    np.testing.assert_allclose(scan["energy"], group.energy, rtol=1e-15)
    np.testing.assert_array_equal(scan["mu"][0], group.data[1])
