"""HDF5 files of instruments, read without ever leaving the file or growing without bound.

Links to other files, virtual and externally stored data sets are refused, links that lead to links
are followed a few steps only, and what claims to unpack further than `LARGEST_RATIO` is not read.
Where a format is made of several files, `Group.link` tells of a link into the same folder, and the
caller opens that file. Stacks of frames are read by their rows: `Group.stack`, `Group.slab`.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from operando_readers._hdf5_chunks import load_filters, rows_written
from operando_readers._hdf5_heaps import SIGNATURE as SIGNATURE
from operando_readers._hdf5_heaps import check_heaps, claimed_length
from operando_readers._reader import (
    ALWAYS_SMALL,
    LARGEST_MEMBER,
    LARGEST_RATIO,
    File,
    FormatError,
)

if TYPE_CHECKING:
    import h5py

Array = npt.NDArray[np.float64]

MOST_LINKS = 16
MOST_NAMES = 100_000
MOST_FACTS = 2000
MOST_VISITS = 3_000_000
"""Of names in one file: a small one may hold groups that hold themselves."""
DEEPEST = 6
LONGEST_TEXT = 1 << 20
WIDEST_NUMBER = 16
LONGEST_REASON = 100
LARGEST_FRAME = 1 << 30
"""Bytes of one frame, or of one chunk, of a stack: four times those of the largest detector."""


class ElsewhereError(FormatError):
    """What is asked for lies in another file."""


@dataclass(frozen=True)
class Stack:
    """A data set whose first axis counts frames."""

    path: str
    shape: tuple[int, ...]
    """Of which only the frames that were written are counted."""
    promised: int
    """Frames the data set was made for."""
    dtype: np.dtype[Any]
    chunk: int
    """Frames that are unpacked together."""


class Group:
    """A group of an HDF5 file, from which nothing outside the file is reached."""

    def __init__(self, group: h5py.Group, path: str, size: int, visits: Iterator[int]) -> None:
        self._group = group
        self.path = path
        """Where it is, "/" for the root."""
        self._size = size
        self._visits = visits

    def names(self) -> list[str]:
        """Return the names of what is in it, in natural order of creation or of the alphabet."""
        with _checked(self.path):
            if len(self._group) > MOST_NAMES:
                raise FormatError(f"{self.path}: {len(self._group)} names in it; refused")
            return [str(name) for name in self._group]

    def groups(self) -> list[Group]:
        """Return the groups in it; what lies in another file is left out."""
        found = (self.group(name) for name in self.names() if not self.is_elsewhere(name))
        return [group for group in found if group is not None]

    def is_elsewhere(self, name: str) -> bool:
        """Whether a name in it leads to another file."""
        try:
            self._find(name)
        except ElsewhereError:
            return True
        return False

    def group(self, path: str) -> Group | None:
        """Return a group below, None where there is none."""
        import h5py

        found = self._find(path)
        if not isinstance(found, h5py.Group):
            return None
        return Group(found, f"{self.path.rstrip('/')}/{path}", self._size, self._visits)

    def shape(self, path: str) -> tuple[int, ...] | None:
        """Return the shape of a data set, None where there is none."""
        found = self._dataset(path)
        with _checked(path):
            return None if found is None else tuple(found.shape or ())

    def numbers(self, path: str) -> Array | None:
        """Return a data set as float64, None where there is none; raises as `array` does."""
        found = self.array(path)
        return None if found is None else np.asarray(found, np.float64)

    def array(self, path: str) -> npt.NDArray[Any] | None:
        """Return a data set of numbers in its own type, None where there is none.

        Raises
        ------
        FormatError
            It lies in another file, holds no numbers, or unpacks too far.
        """
        found = self._dataset(path)
        if found is None:
            return None
        where = f"{self.path.rstrip('/')}/{path}"
        with _checked(where):
            if found.dtype.kind not in "iufb" or found.dtype.itemsize > WIDEST_NUMBER:
                raise FormatError(f"{where}: holds {found.dtype}; expected numbers")
            self._check_size(found, where)
            load_filters(found, 0, found.shape[0] if found.shape else 0)
            return np.asarray(found[()])

    def stack(self, path: str) -> Stack | None:
        """Return what a data set of frames holds, without reading it; None where there is none.

        Raises
        ------
        FormatError
            It lies in another file, holds no numbers, has no frames, or frames beyond all bounds.
        """
        found = self._dataset(path)
        if found is None:
            return None
        where = f"{self.path.rstrip('/')}/{path}"
        with _checked(where):
            if found.dtype.kind not in "iuf" or found.dtype.itemsize > WIDEST_NUMBER:
                raise FormatError(f"{where}: holds {found.dtype}; expected numbers")
            shape = tuple(found.shape or ())
            chunk = tuple(found.chunks or (1, *shape[1:]))
            sizes = [int(np.prod(each, dtype=object)) for each in (shape[1:], chunk)]
            if len(shape) < 2 or max(sizes) * found.dtype.itemsize > LARGEST_FRAME:
                raise FormatError(f"{where}: shape {shape} in chunks {chunk}; no stack of frames")
            written = min(rows_written(found, self._size), shape[0])
        native = found.dtype.newbyteorder("=")
        return Stack(where, (written, *shape[1:]), shape[0], native, min(chunk[0], max(written, 1)))

    def slab(self, path: str, start: int, stop: int) -> npt.NDArray[Any]:
        """Return some frames of a data set that `stack` has looked at, in the order of the machine.

        Raises
        ------
        FormatError
            It is not there any more, or damaged.
        """
        found = self._dataset(path)
        where = f"{self.path.rstrip('/')}/{path}"
        if found is None:
            raise FormatError(f"{where}: is no data set any more")
        with _checked(where):
            load_filters(found, start, stop)
            frames = np.asarray(found[start:stop])
            return frames.astype(frames.dtype.newbyteorder("="), copy=False)

    def link(self, name: str) -> tuple[str, str] | None:
        """Return file and path of a link into another file of the folder, None where it is none.

        Raises
        ------
        ElsewhereError
            It leaves the folder.
        """
        import h5py

        with _checked(f"{self.path.rstrip('/')}/{name}"):
            link = self._group.get(name, getlink=True)
        if not isinstance(link, h5py.ExternalLink):
            return None
        other = str(link.filename).removeprefix("./")
        if not isinstance(link.path, str):
            raise FormatError(f"{self.path.rstrip('/')}/{name}: leads to a name that is no text")
        if not other or other in (".", "..") or re.search(r"[/\\:\0]", other):
            raise ElsewhereError(
                f"{self.path.rstrip('/')}/{name}: leads out of the folder, to {other!r}; refused"
            )
        return other, link.path

    def text(self, path: str) -> str | None:
        """Return a data set that is one string, None where there is none."""
        import h5py

        found = self._dataset(path)
        where = f"{self.path.rstrip('/')}/{path}"
        with _checked(where):
            if found is None or h5py.check_string_dtype(found.dtype) is None or found.size != 1:
                return None
            if found.dtype.itemsize > LONGEST_TEXT:
                raise FormatError(f"{where}: a string of {found.dtype.itemsize} bytes; refused")
            if (claim := claimed_length(found)) > self._size:
                raise FormatError(f"{where}: a string of {claim} bytes; refused")
            return _word(found[()])

    def texts(self, path: str) -> list[str] | None:
        """Return a data set that is a row of strings of one length, None where there is none."""
        found = self._dataset(path)
        where = f"{self.path.rstrip('/')}/{path}"
        with _checked(where):
            if found is None or found.dtype.kind != "S" or found.ndim != 1:
                return None
            self._check_size(found, where)
            return [_word(value) for value in found[()]]

    def attribute(self, name: str, path: str = "") -> str | list[str] | Array | None:
        """Return an attribute of the group or of what lies below, None where there is none.

        Numbers, a text, or a list of texts.
        """
        import h5py

        found = self._find(path) if path else self._group
        if found is None:
            return None
        with _checked(f"{self.path.rstrip('/')}/{path}@{name}"):
            if name not in found.attrs:
                return None
            about = found.attrs.get_id(name)
            # Rows of rows and what else h5py makes objects of: a damaged one ends the process.
            known = about.dtype.kind in "iufbS" or h5py.check_string_dtype(about.dtype) is not None
            if not known or np.prod(about.shape) > MOST_FACTS:
                return None
            return _plain(found.attrs[name])

    def word(self, name: str, path: str = "") -> str:
        """Return an attribute that is a text, "" where there is none."""
        value = self.attribute(name, path)
        return value if isinstance(value, str) else ""

    def facts(self) -> dict[str, str | float]:
        """Return the single numbers and texts in it and below, by their paths."""
        found: dict[str, str | float] = {}
        seen = set()
        todo = deque([("", self)])
        while todo and len(found) < MOST_FACTS:
            path, group = todo.popleft()
            if path.count("/") > DEEPEST or group.address() in seen:
                continue
            seen.add(group.address())
            for name in group.names():
                # What is damaged, elsewhere or of another kind is not what the reader came for.
                with contextlib.suppress(FormatError):
                    if (below := group.group(name)) is not None:
                        todo.append((f"{path}{name}/", below))
                    elif (value := group.fact(name)) is not None:
                        found[f"{path}{name}"] = value
        return found

    def fact(self, name: str) -> str | float | None:
        """Return a data set that is one number or one text, None where it is neither."""
        if self.shape(name) != ():
            return None
        text = self.text(name)
        number = self.array(name) if text is None else None
        return text if number is None else float(number)

    def address(self) -> int:
        """Return where in the file it lies: one group may have many names."""
        import h5py

        with _checked(self.path):
            return int(h5py.h5o.get_info(self._group.id).addr)

    def _dataset(self, path: str) -> h5py.Dataset | None:
        """Return a data set whose bytes lie in this file."""
        import h5py

        found = self._find(path)
        if not isinstance(found, h5py.Dataset):
            return None
        where = f"{self.path.rstrip('/')}/{path}"
        with _checked(where):
            if found.is_virtual or found.external:
                raise FormatError(f"{where}: is stored outside of the file; refused")
        return found

    def _find(self, path: str) -> Any:
        """Follow a path link by link: h5py itself would follow one into another file."""
        import h5py

        where = f"{self.path.rstrip('/')}/{path}"
        if next(self._visits) > MOST_VISITS:
            raise FormatError(f"{where}: groups within groups without end; refused")
        steps = deque(_steps(path))
        links = 0
        with _checked(where):
            here = self._group
            while steps:
                if not isinstance(here, h5py.Group):
                    return None
                name = steps.popleft()
                link = here.get(name, getlink=True)
                if isinstance(link, h5py.SoftLink):
                    links += 1
                    if links > MOST_LINKS:
                        raise FormatError(f"{where}: links that lead to links; refused")
                    here = here.file if link.path.startswith("/") else here
                    steps.extendleft(reversed(_steps(link.path)))
                elif isinstance(link, h5py.HardLink):
                    here = here[name]
                elif link is None:
                    return None
                else:
                    other = getattr(link, "filename", "?")
                    raise ElsewhereError(f"{where}: lies in {other!r}; read that file itself")
            return here

    def _check_size(self, dataset: h5py.Dataset, where: str) -> None:
        """Refuse what is larger than what is stored could be."""
        size = int(dataset.size or 0) * max(dataset.dtype.itemsize, 8)
        stored = min(int(dataset.id.get_storage_size()), self._size)
        if size > LARGEST_MEMBER or (size > ALWAYS_SMALL and size / max(stored, 1) > LARGEST_RATIO):
            raise FormatError(f"{where}: unpacks from {stored} to {size} bytes; refused")


@contextlib.contextmanager
def opened(file: File, *, again: bool = False) -> Iterator[Group]:
    """Open a file for reading and give its root.

    Parameters
    ----------
    again
        The file was opened and looked through before: only its numbers are read now.

    Raises
    ------
    FormatError
        It is not HDF5, or damaged.
    """
    import h5py

    with file.on_disk() as path, contextlib.ExitStack() as stack:
        with _checked("file"):
            if not again:
                check_heaps(path)
            # Without a lock: a beamline may still be writing.
            opened = stack.enter_context(h5py.File(path, "r", locking=False))
        yield Group(opened, "/", path.stat().st_size, itertools.count())


@contextlib.contextmanager
def _checked(where: str) -> Iterator[None]:
    """Turn whatever h5py makes of damaged bytes into a FormatError."""
    try:
        yield
    except FormatError:
        raise
    except Exception as error:
        raise FormatError(f"{where}: not HDF5 or damaged ({_said(error)})") from error


def _said(error: Exception) -> str:
    """Return what an error says: of names that are no text not even that can be had."""
    try:
        return " ".join(str(error).split())[:LONGEST_REASON]
    except Exception:
        return type(error).__name__


def _steps(path: str) -> list[str]:
    return [step for step in path.split("/") if step not in ("", ".")]


def _plain(value: Any) -> str | list[str] | Array | None:
    values = np.asarray(value).reshape(-1)
    if values.dtype.kind in "iufb":
        return values.astype(np.float64)
    if values.dtype.kind not in "SOU":
        return None
    words = [_word(one) for one in values]
    return words[0] if len(words) == 1 else words


def _word(value: Any) -> str:
    one = np.asarray(value, dtype=object).reshape(-1)[0]
    text = one.decode("utf-8", errors="replace") if isinstance(one, bytes) else str(one)
    return text.rstrip("\x00")[:LONGEST_TEXT]
