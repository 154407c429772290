"""Athena projects: Perl and JSON as data, groups and edges, the energy shift, hostile files."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from operando_readers import _gzip
from operando_readers._larch import larch
from operando_readers._perl import CutError, literal
from operando_readers._reader import File, FormatError
from operando_readers.athena_project import READER

ROOT = Path(__file__).resolve().parents[1]
FOILS = "formats/xas/zr_foil/{}foil_QAS.prj"
GOLD = "formats/xas/cyano_au/cyanobacteria.prj"
ENERGY = [11900.0, 11910.0, 11920.0, 11930.0]

Spec = dict[str, Any]


def _group(label: str = "Au foil", **changes: Any) -> Spec:
    group = {
        "label": label,
        "bkg_z": "Au",
        "fft_edge": "l3",
        "bkg_eshift": "-0.5",
        "is_xmu": 1,
        "is_nor": 0,
        "titles": ["it's a foil", "", "second"],
        "x": ENERGY,
        "y": [0.1, 0.2, 0.9, 1.0],
    }
    return {key: value for key, value in {**group, **changes}.items() if value is not ...}


def _quoted(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_quoted, value))}]"
    text = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return str(value) if isinstance(value, int) else f"'{text}'"


def _perl(*groups: Spec, end: str = "\n@journal = ('my notes','');\n\n1;\n") -> str:
    lines = [
        "# Athena project file -- Demeter version 0.9.26",
        "# This file created at 2024-03-15T14:41:21",
        "# Using Demeter 0.9.26",
    ]
    for number, group in enumerate(groups):
        args = [f"{_quoted(k)},{_quoted(v)}" for k, v in group.items() if k not in ("x", "y", "i0")]
        lines += ["", f"$old_group = 'grp{number}';", f"@args = ({','.join(args)});"]
        for name in ("x", "y", "i0"):
            if name in group:
                lines.append(f"@{name} = ({','.join(repr(str(v)) for v in group[name])});")
        lines.append("[record]   # create object and set arrays in ifeffit")
    return "\n".join(lines) + end


def _json(*groups: Spec) -> str:
    project: dict[str, Any] = {"_____header1": "# Athena project file -- Demeter version 0.9.21"}
    for number, group in enumerate(groups):
        arrays = {k: [str(v) for v in group[k]] for k in ("x", "y", "i0") if k in group}
        args = {k: v for k, v in group.items() if k not in arrays}
        project[f"grp{number}"] = {"args": args, **arrays}
    order = [f"grp{number}" for number in range(len(groups))]
    return json.dumps({**project, "_____journal": ["my notes", ""], "_____order": order}, indent=1)


def _write(folder: Path, text: str, *, encoding: str = "utf-8", packed: bool = True) -> File:
    path = folder / "some.prj"
    raw = text.encode(encoding)
    path.write_bytes(gzip.compress(raw) if packed else raw)
    return File(path)


def _read(folder: Path, *groups: Spec, **options: Any) -> xr.Dataset:
    return READER.read(_write(folder, _perl(*groups)), **options)


def test_a_group_is_a_spectrum_without_time(tmp_path: Path) -> None:
    spectrum = _read(tmp_path, _group())
    np.testing.assert_array_equal(spectrum["mu"], [[0.1, 0.2, 0.9, 1.0]])
    assert spectrum["mu"].attrs == {"units": "1", "mode": "file"}
    assert (spectrum.attrs["element"], spectrum.attrs["edge"]) == ("Au", "L3")
    assert spectrum.attrs["labels"] == ["Au foil"]
    assert (spectrum.attrs["clock"]["start"], spectrum.attrs["clock"]["source"]) == (None, "none")
    assert "truncated" not in spectrum.attrs


def test_the_energy_shift_is_applied_and_told(tmp_path: Path) -> None:
    spectrum = _read(tmp_path, _group())
    np.testing.assert_array_equal(spectrum["energy"], np.array(ENERGY) - 0.5)
    np.testing.assert_array_equal(spectrum["energy_shift"], [-0.5])
    assert spectrum["energy_shift"].attrs["units"] == "eV"


@pytest.mark.shared_data
def test_the_shift_makes_the_calibrated_foil_of_its_own_library(shared_data: Path) -> None:
    """QAS exported this project's foil with its calibrated energies: the same to the last digit."""
    project = READER.read(File(shared_data / FOILS.format("Zr")))
    export = np.loadtxt(shared_data / "formats" / "xas" / "zr_foil" / "Zr foil Zn K.dat")
    assert project["energy_shift"].values == [-0.2]
    np.testing.assert_array_equal(project["energy"], export[:, 0])
    np.testing.assert_array_equal(project["mu"][0], export[:, 1])


def test_json_and_perl_and_no_gzip_are_the_same(tmp_path: Path) -> None:
    groups = [_group(), _group("Größe β", i0=[5, 6, 7, 8])]
    whole = _read(tmp_path, *groups)
    assert whole.attrs["labels"] == ["Au foil", "Größe β"]
    np.testing.assert_array_equal(whole["i0"], [[np.nan] * 4, [5, 6, 7, 8]])
    for text, packed in ((_perl(*groups), False), (_json(*groups), True), (_json(*groups), False)):
        other = READER.read(_write(tmp_path, text, packed=packed))
        assert other.drop_attrs().identical(whole.drop_attrs())
        assert other.attrs["labels"] == whole.attrs["labels"]
        assert other.attrs["original_metadata"]["journal"] == "my notes\n"


def test_a_label_in_an_old_encoding(tmp_path: Path) -> None:
    file = _write(tmp_path, _perl(_group("Größe")), encoding="latin-1")
    assert READER.read(file).attrs["labels"] == ["Größe"]


def test_header_and_arguments_are_kept(tmp_path: Path) -> None:
    metadata = _read(tmp_path, _group()).attrs["original_metadata"]
    assert "This file created at 2024-03-15T14:41:21" in metadata["header"]
    [args] = json.loads(metadata["groups"])
    assert args["key"] == "grp0"
    assert args["titles"] == ["it's a foil", "", "second"]


def test_groups_are_chosen_by_label_in_that_order(tmp_path: Path) -> None:
    names = ("a", "b", "c", "b")
    groups = [_group(name, y=[n, n, n, n + 1.0]) for n, name in enumerate(names)]
    chosen = _read(tmp_path, *groups, groups=["c", "b"])
    assert chosen.attrs["labels"] == ["c", "b", "b"]
    np.testing.assert_array_equal(chosen["mu"][:, 0], [2, 1, 3])
    assert _read(tmp_path, *groups, groups="a").attrs["labels"] == ["a"]
    with pytest.raises(
        FormatError, match=r"groups=: 'd' is no mu.E. of the project; there are 'a', "
    ):
        _read(tmp_path, *groups, groups=["d"])


def test_groups_of_several_edges_must_be_chosen(tmp_path: Path) -> None:
    groups = [_group("gold"), _group("nickel", bkg_z="Ni", fft_edge="k"), _group("what", bkg_z="H")]
    message = r"several kinds; choose some with groups=: Au L3: \['gold'\]; Ni K: \['nickel'\]"
    with pytest.raises(FormatError, match=message + "; edge not stated: "):
        _read(tmp_path, *groups)
    nickel = _read(tmp_path, *groups, groups=["nickel"])
    assert (nickel.attrs["element"], nickel.attrs["edge"]) == ("Ni", "K")
    assert "element" not in _read(tmp_path, *groups, groups=["what"]).attrs


def test_normalised_groups_are_marked_and_not_mixed(tmp_path: Path) -> None:
    groups = [_group("raw"), _group("done", is_nor=1)]
    with pytest.raises(FormatError, match=r"Au L3: \['raw'\]; Au L3, normalised: \['done'\]"):
        _read(tmp_path, *groups)
    assert _read(tmp_path, *groups, groups=["done"])["mu"].attrs["normalised"] == 1
    assert "normalised" not in _read(tmp_path, *groups, groups=["raw"])["mu"].attrs


@pytest.mark.parametrize(
    "other", [{"is_xmu": 0, "is_chi": 1}, {"is_diff": 1}, {"is_pixel": "1"}, {"not_data": 1}]
)
def test_what_is_not_absorption_is_passed_over(tmp_path: Path, other: Spec) -> None:
    spectra = _read(tmp_path, _group("other", **other), _group())
    assert spectra.attrs["labels"] == ["Au foil"]
    with pytest.raises(FormatError, match="1 in the project, none of them mu"):
        _read(tmp_path, _group("other", **other))


@pytest.mark.parametrize(("kind", "known"), [("xmu", True), ("xanes", True), ("chi", False)])
def test_kinds_by_name(tmp_path: Path, kind: str, *, known: bool) -> None:
    file = _write(tmp_path, _json(_group(datatype=kind, is_xmu=...)))
    if known:
        assert READER.read(file).sizes["time"] == 1
    else:
        with pytest.raises(FormatError, match="none of them mu"):
            READER.read(file)


def test_other_energies_are_interpolated_and_flagged(tmp_path: Path) -> None:
    groups = [_group("a"), _group("b", bkg_eshift=0), _group("c", x=ENERGY[:3], y=[0, 1, 2])]
    frames = _read(tmp_path, *groups)
    np.testing.assert_array_equal(frames["regridded"], [0, 1, 1])
    np.testing.assert_allclose(frames["mu"][1], [np.nan, 0.195, 0.865, 0.995], rtol=1e-12)
    np.testing.assert_allclose(frames["mu"][2], [0, 1, 2, np.nan], atol=1e-12)
    np.testing.assert_array_equal(frames["energy_shift"], [-0.5, 0, -0.5])


def test_an_i0_of_another_length_is_left_out(tmp_path: Path) -> None:
    """As in projects where points were removed from mu."""
    assert "i0" not in _read(tmp_path, _group(i0=[1, 2, 3, 4, 5]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": [1, 2, 3]}, "group 'Au foil': 4 energies and 3 values of mu"),
        ({"y": ...}, "group 1 'Au foil': no array y"),
        ({"x": [1, 2, "ten", 4]}, "group 1: @x: could not convert"),
        ({"x": [11.9, 11.91, 11.92, 11.93]}, "group 'Au foil': @x: no unit, and up to 11.93"),
        ({"x": [11900, "nan", 11920, 11930]}, "group 'Au foil': energy: 1 of 4 points have none"),
        ({"bkg_eshift": "down"}, "group 'Au foil': bkg_eshift: could not convert"),
        ({"bkg_eshift": "inf"}, "group 'Au foil': bkg_eshift: 'inf'; expected a number"),
    ],
)
def test_what_is_no_spectrum_is_refused(tmp_path: Path, change: Spec, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        _read(tmp_path, _group(**change))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: ''; expected 'Athena project file'"),
        (_perl(), "0 in the project"),
        (_perl(_group()).replace("@x = (", "@x = (<STDIN>,"), "line 7: .<STDIN>.*expected a list"),
        (_perl(_group()).replace("@x = (", "@x = 1 ;("), "group 1: @x is no list"),
        ('{"_____header1": "# Athena project file', "JSON: "),
        ('{"_____header1": "# Athena project file"}', "_____order: missing"),
        (_json(_group()).replace('"_____order"', '"_____orders"'), "_____order: missing"),
        (_json(_group()).replace('"grp0": {', '"grp1": {'), "'grp0' is no group with args"),
        (_json(_group()).replace('"x": [', '"x": [['), "JSON: "),
        (_json(_group()).replace('"0.1"', "[]"), "group 1: y: float"),
        ('{"_____header1": "# Athena project file", "a": ' + "[" * 100_000, "JSON: "),
    ],
)
def test_what_is_no_project_is_refused(tmp_path: Path, text: str, message: str) -> None:
    for packed in (True, False):
        with pytest.raises(FormatError, match=message) as caught:
            READER.read(_write(tmp_path, text, packed=packed))
        assert "\n" not in str(caught.value)


def test_a_cut_project_has_the_groups_before_the_cut(tmp_path: Path) -> None:
    text = _perl(*(_group(name) for name in "abc"))
    for place in ("'grp2'", "@journal"):
        part = READER.read(_write(tmp_path, text[: text.index(place)]))
        assert part.attrs["labels"] == list("abc")[: 2 if place == "'grp2'" else 3]
        assert "ends" in part.attrs["truncated"]
    raw = gzip.compress(np.random.default_rng(1).bytes(2000).hex().join([text, ""]).encode())
    path = tmp_path / "cut.prj"
    path.write_bytes(raw[:-1500])
    assert READER.read(File(path)).attrs["truncated"] == "gzip: ends early"


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = _perl(_group(), end="\n").encode()
    path = tmp_path / "bomb.prj"
    path.write_bytes(gzip.compress(start + b" " * 50_000_000))
    with pytest.raises(FormatError, match=r"gzip: \d+ bytes unpack to more than \d+; refused"):
        READER.read(File(path))
    noise = np.random.default_rng(2).bytes(3000)
    content, reason = _gzip.unpacked(gzip.compress(noise), largest=4000)
    assert (content, reason) == (noise, None)
    with pytest.raises(FormatError, match="more than 2000; refused"):
        _gzip.unpacked(gzip.compress(noise), largest=2000)
    with pytest.raises(FormatError, match="more than 4000; refused"):
        _gzip.unpacked(gzip.compress(noise) * 2, largest=4000)


def test_gzip_in_several_parts_is_read_to_its_end() -> None:
    """As pigz and bgzip write it, and `cat a.gz b.gz`."""
    parts = [gzip.compress(part) for part in (b"Athena ", b"", b"project file")]
    assert _gzip.unpacked(b"".join(parts)) == (b"Athena project file", None)
    content, reason = _gzip.unpacked(b"".join(parts)[:-9])
    assert b"Athena project file".startswith(content)
    assert content.startswith(b"Athena ")
    assert reason == "gzip: ends early"


def test_a_large_file_may_unpack_two_hundred_times() -> None:
    content = np.random.default_rng(3).bytes(30_000) * 100
    raw = gzip.compress(content)
    assert 1 << 20 < len(content) < 200 * len(raw)
    assert _gzip.unpacked(raw) == (content, None)


def test_a_long_string_takes_no_more_memory_than_itself() -> None:
    """With backtracking a character takes 130 bytes: a project of 1 MB could ask for 30 GB."""
    text = f"'{'a' * 300_000}'"
    tracemalloc.start()
    found, _ = literal(text, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == text[1:-1]
    assert peak < 10 * len(text)


def test_damaged_gzip_is_refused(tmp_path: Path) -> None:
    raw = bytearray(gzip.compress(_perl(_group()).encode()))
    raw[-6] ^= 1
    path = tmp_path / "damaged.prj"
    path.write_bytes(raw)
    with pytest.raises(FormatError, match="gzip: damaged"):
        READER.read(File(path))
    assert not READER.sniff(b"\x1f\x8b\x08 no gzip", "a.prj")
    assert not READER.sniff(zlib.compress(b"Athena project file"), "a.prj")


@given(at=st.integers(0, 5000), byte=st.integers(0, 255), cut=st.integers(1, 2000))
def test_a_damaged_project_is_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int, cut: int
) -> None:
    raw = bytearray(_perl(_group("a"), _group("b")).encode())
    raw[at % len(raw)] = byte
    path = tmp_path_factory.getbasetemp() / "damaged.prj"
    path.write_bytes(bytes(raw[:cut]))
    try:
        spectra = READER.read(File(path))
    except FormatError:
        return
    assert np.all(np.diff(spectra["energy"]) > 0)
    assert spectra.sizes["time"] == len(spectra.attrs["labels"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'a'", "a"),
        (r"'it\'s a \\ and \n'", "it's a \\ and \\n"),
        (r'"\x{3b2} and \n\t\"\$\@"', 'β and \n\t"$@'),
        (r'"\x{d800}\x{110000}"', "\ufffd\ufffd"),
        ("-1.5e-3", "-1.5e-3"),
        ("undef", None),
        ("(1,undef,!!1,!!0,!1)", ["1", None, True, False, False]),
        ("('a' => 1, b => [2, [3]], {'c' => 4})", ["a", "1", "b", ["2", ["3"]], ["c", "4"]]),
        ("()", []),
        ("( 'two\nlines' )", ["two\nlines"]),
        ("[" * 20 + "]" * 20, None),
    ],
)
def test_lists_of_perl(text: str, value: Any) -> None:
    found, end = literal(f"@x = {text};", 4)
    assert end == len(text) + 5
    if value is not None or text == "undef":
        assert found == value


@pytest.mark.parametrize("text", ["(1,2", "('a", "", "(1, 'open", '("open'])
def test_lists_that_are_cut(text: str) -> None:
    with pytest.raises(CutError, match="line 2: the file ends within a list"):
        literal(f"\n{text}", 1)


@pytest.mark.parametrize("text", ["(system('x')", "(1, `ls`)", ")", "(<STDIN>)", "(1;2)", "[" * 21])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="line 1: "):
        literal(text, 0)


@pytest.mark.shared_data
def test_larch_reads_the_same_where_it_can(shared_data: Path) -> None:
    """Energies and mu of every group; larch does not apply the shift."""
    read_athena = larch("io").read_athena
    for path in (*(FOILS.format(name) for name in ("Zr", "Mo", "Ni", "Pd")), GOLD):
        file = shared_data / path
        project = read_athena(str(file), do_preedge=False, do_bkg=False, do_fft=False)
        for key in project.keys():  # noqa: SIM118  a Group of larch is no mapping
            group = getattr(project, key)
            ours = READER.read(File(file), groups=[group.label])
            shift = float(group.athena_params.bkg.eshift)
            np.testing.assert_array_equal(ours["energy"], group.energy + shift)
            np.testing.assert_array_equal(ours["mu"][0], group.mu)


@pytest.mark.shared_data
def test_a_project_larch_cannot_read(shared_data: Path) -> None:
    """Perl's true is `!!1`, at which the evaluator of larch gives up."""
    file = shared_data / FOILS.format("Fe")
    assert b"'marked',!!1," in gzip.decompress(file.read_bytes())
    spectrum = READER.read(File(file))
    assert (spectrum.attrs["labels"], spectrum.attrs["element"]) == (["Fe foil"], "Fe")
    [args] = json.loads(spectrum.attrs["original_metadata"]["groups"])
    assert args["marked"] is True
    read_athena = larch("io").read_athena
    with pytest.raises(TypeError):
        read_athena(str(file), do_preedge=False, do_bkg=False, do_fft=False)


PRINT_LABELS = """
import contextlib, io, json, sys
sys.path[:0] = {paths!r}
from pathlib import Path
from operando_readers._reader import File
from operando_readers.athena_project import READER
with contextlib.redirect_stdout(io.StringIO()):
    spectra = READER.read(File(Path({path!r})))
print(json.dumps(spectra.attrs["labels"]), float(spectra["mu"].sum()))
"""


@pytest.mark.parametrize("text", [_perl, _json])
@pytest.mark.parametrize("locale", ["C", "C.UTF-8", "tr_TR.UTF-8"])
def test_neither_locale_nor_standard_output_matter(tmp_path: Path, text: Any, locale: str) -> None:
    """larch decodes with the encoding of standard output, and a redirected one has none."""
    file = _write(tmp_path, text(_group("Größe β İ")))
    code = PRINT_LABELS.format(paths=[str(ROOT / "readers")], path=str(file.path))
    settings = {"LC_ALL": locale, "LANG": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        env={**os.environ, **settings, "PYTHONIOENCODING": "ascii"},
    )
    labels, _, total = done.stdout.decode("ascii").strip().rpartition(" ")
    assert json.loads(labels) == ["Größe β İ"]
    assert float(total) == pytest.approx(2.2, rel=1e-12)
