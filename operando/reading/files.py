"""From what a user names (a file, folder, glob or zip) to the files it stands for."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path

from operando.errors import ReadError
from operando_readers._reader import File, FormatError, members, natural_key

Named = str | Path | Sequence[str | Path]


def expand(path: Named, *, root: Path = Path()) -> list[File]:
    """List the files that `path` stands for, in natural order (scan 2 before scan 10).

    Parameters
    ----------
    path
        A file; a folder (searched recursively); a glob; a zip, of which every member counts, or
        ``archive.zip!pattern``; or a sequence of these. Hidden files and resource forks are left
        out.
    root
        The folder that relative paths start from.

    Raises
    ------
    ReadError
        Nothing is there.
    """
    if not path:
        raise ReadError(f"path: {path!r}; name at least one file")
    if isinstance(path, str | Path):
        return _expand_one(str(path), root)
    return list(dict.fromkeys(file for entry in path for file in _expand_one(str(entry), root)))


def _expand_one(entry: str, root: Path) -> list[File]:
    name, _, pattern = entry.partition("!")
    if name.lower().endswith(".zip") and (root / name).is_file():
        return _members(root / name, pattern or "*")
    target = root / entry
    if target.is_dir():
        found = [File(item) for item in _visible(target, target.rglob("*"))]
    elif target.is_file():
        found = [File(target)]
    else:
        # Only what the user wrote is a pattern: the folder it starts from may hold brackets.
        found = [File(root / item) for item in glob.glob(entry, root_dir=root, recursive=True)]
        found = [file for file in found if file.path.is_file() and file.name[0] != "."]
    if not found:
        raise ReadError(f"{entry}: no such file; give a file, a folder, a glob or a zip")
    return sorted(found, key=lambda file: natural_key(str(file)))


def _visible(root: Path, items: Iterable[Path]) -> list[Path]:
    return [
        item
        for item in items
        if item.is_file()
        and not any(
            part.startswith(".") or part == "__MACOSX" for part in item.relative_to(root).parts
        )
    ]


def _members(archive: Path, pattern: str) -> list[File]:
    try:
        found = members(archive, pattern)
    except FormatError as error:
        raise ReadError(str(error)) from error
    if not found:
        raise ReadError(f"{archive}!{pattern}: no such member in the zip")
    return found
