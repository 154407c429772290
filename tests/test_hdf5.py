"""HDF5 read without leaving the file: links, storage elsewhere, bombs and heaps that never end."""

from __future__ import annotations

import threading
from pathlib import Path

import h5py
import numpy as np
import pytest

from operando_readers._hdf5 import opened
from operando_readers._reader import File, FormatError


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Return another file, of which nothing may be read."""
    path = tmp_path / "secret.h5"
    with h5py.File(path, "w") as file:
        file["numbers"] = [42.0, 43.0]
        file["text"] = "secret"
    return path


def test_what_is_in_the_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["group/numbers"] = np.array([1, 2], np.int16)
        file["group/word"] = "µ"
        file["group/words"] = np.array(["a", "bb"], "S2")
        file["group/half"] = 0.5
        file["soft"] = h5py.SoftLink("/group/numbers")
        file["group/near"] = h5py.SoftLink("numbers")
        file["group"].attrs.update(NX_class="NXentry", axes=["time", "energy"], count=3)
    with opened(File(path)) as root:
        for name in ("group/numbers", "soft", "group/near"):
            values = root.numbers(name)
            assert values is not None
            assert values.tolist() == [1.0, 2.0]
        group = root.group("group")
        assert group is not None
        assert group.text("word") == "µ"
        assert group.texts("words") == ["a", "bb"]
        assert group.word("NX_class") == "NXentry"
        assert group.attribute("axes") == ["time", "energy"]
        assert np.asarray(group.attribute("count")).tolist() == [3.0]
        assert group.facts() == {"half": 0.5, "word": "µ"}
        assert root.numbers("absent") is None
        assert root.group("group/numbers") is None
        assert root.numbers("group/numbers/deeper") is None
        with pytest.raises(FormatError, match="expected numbers"):
            group.numbers("word")


def test_links_to_other_files_are_refused(tmp_path: Path, secret: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["away"] = h5py.ExternalLink(str(secret), "/")
        file["soft"] = h5py.SoftLink("/away/numbers")
        file["own"] = [1.0]
    with opened(File(path)) as root:
        for name in ("away/numbers", "soft"):
            with pytest.raises(FormatError, match=r"lies in .*secret"):
                root.numbers(name)
        assert root.is_elsewhere("away")
        assert not root.is_elsewhere("own")
        assert root.groups() == []
        assert root.facts() == {}


def test_links_without_end_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["a"] = h5py.SoftLink("/b")
        file["b"] = h5py.SoftLink("/a")
        ring = file.create_group("round")
        ring["round"] = ring
        ring["number"] = 7.0
    with opened(File(path)) as root:
        with pytest.raises(FormatError, match="links that lead to links"):
            root.numbers("a")
        assert root.facts() == {"round/number": 7.0}


def test_storage_elsewhere_is_refused(tmp_path: Path, secret: Path) -> None:
    path = tmp_path / "a.h5"
    raw = tmp_path / "raw.bin"
    raw.write_bytes(b"root:x:0:0:root\n")
    with h5py.File(path, "w") as file:
        layout = h5py.VirtualLayout((2,), float)
        layout[:] = h5py.VirtualSource(str(secret), "numbers", (2,))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("external", (2,), float, external=[(str(raw), 0, 16)])
        file.create_dataset("word", (1,), "S16", external=[(str(raw), 0, 16)])
    with opened(File(path)) as root:
        for name in ("virtual", "external"):
            with pytest.raises(FormatError, match="stored outside"):
                root.numbers(name)
        with pytest.raises(FormatError, match="stored outside"):
            root.text("word")
        assert root.facts() == {}


def test_what_unpacks_too_far_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("empty", (1 << 40,), float, chunks=(1 << 20,))
        file.create_dataset("zeros", data=np.zeros(1 << 20), compression="gzip", chunks=(1 << 20,))
        file.create_dataset("words", (1 << 24,), "S64", chunks=(1 << 16,))
        file.create_dataset("wide", (), f"S{1 << 21}")
    with opened(File(path)) as root:
        for name in ("empty", "zeros"):
            with pytest.raises(FormatError, match="unpacks from"):
                root.numbers(name)
        with pytest.raises(FormatError, match="unpacks from"):
            root.texts("words")
        with pytest.raises(FormatError, match="a string of"):
            root.text("wide")


def test_groups_that_hold_one_another_come_to_an_end(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("g")
        for number in range(60):
            group[f"{number}"] = group
    with opened(File(path)) as root:
        assert root.facts() == {}


def test_no_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    for content in (b"", b"\x89HDF", b"\x89HDF\r\n\x1a\n" + bytes(3000), b"no" * 100):
        path.write_bytes(content)
        with pytest.raises(FormatError), opened(File(path)):
            pass


def test_a_heap_without_end_is_refused(tmp_path: Path) -> None:
    """HDF5 itself never returns from reading a string of such a heap."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["word"] = "a text of variable length"
    content = bytearray(path.read_bytes())
    heap = content.find(b"GCOL")
    first = int.from_bytes(content[heap + 24 : heap + 32], "little")
    free = heap + 16 + 16 + (first + 7) // 8 * 8
    assert content[free : free + 2] == b"\x00\x00"
    content[free + 8 : free + 16] = bytes(8)
    path.write_bytes(content)

    def attempt() -> None:
        with pytest.raises(FormatError, match="heap of strings"), opened(File(path)) as root:
            root.text("word")
        done.set()

    done = threading.Event()
    threading.Thread(target=attempt, daemon=True).start()
    assert done.wait(30)


def test_a_string_that_claims_the_memory_is_refused(tmp_path: Path) -> None:
    """HDF5 itself sets aside what is claimed before it looks."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["word"] = "a text of variable length"
        file["numbers"] = np.array([2048, 0, 7], np.int32)
    content = path.read_bytes()
    heap = content.find(b"GCOL").to_bytes(8, "little")
    at = content.find((25).to_bytes(4, "little") + heap)
    assert at > 0
    path.write_bytes(content[:at] + b"\x00\x00\x00\xf0" + content[at + 4 :])
    with pytest.raises(FormatError, match="claims 4026531840 bytes"), opened(File(path)):
        pass


def test_a_data_set_that_points_at_other_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["word"] = "a text of variable length"
        file["other"] = np.full(4, -1, np.int32)
        there = file["word"].id.get_offset().to_bytes(8, "little")
        other = file["other"].id.get_offset().to_bytes(8, "little")
    content = path.read_bytes()
    size = (16).to_bytes(8, "little")
    assert content.count(there + size) == 1
    path.write_bytes(content.replace(there + size, other + size))
    with opened(File(path)) as root, pytest.raises(FormatError, match="string of 4294967295"):
        root.text("word")
