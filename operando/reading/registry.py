"""Which readers there are, and which of them reads a file."""

from __future__ import annotations

import inspect
import pkgutil
import textwrap
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Literal, get_args, get_origin, get_type_hints

import xarray as xr

import operando_readers
from operando.errors import ReadError, RequestError, UnknownFormatError
from operando.model import TECHNIQUES
from operando_readers._reader import File, FormatError, Reader

HEAD = 1 << 16
LONGEST_MESSAGE = 1000
"""A damaged file may hold a hundred thousand names of columns."""
CLOSED = "closed_raman"
"""The reader of what cannot be read: it says what to export."""
FRAMES = "frames"
"""Asks for any technique but electrochemistry."""


@cache
def formats() -> dict[str, Reader]:
    """Readers by name: every module of `operando_readers`, then installed plugins."""
    found = {
        module.name: import_module(f"operando_readers.{module.name}").READER
        for module in pkgutil.iter_modules(operando_readers.__path__)
        if not module.name.startswith("_")
    }
    for plugin in entry_points(group="operando.readers"):
        try:
            found[plugin.name] = plugin.load()
        except Exception as error:  # somebody else's reader must not cost the built-in ones
            warnings.warn(f"reader {plugin.name!r} cannot be loaded: {error}", stacklevel=2)
    return found


def reader_named(name: str) -> Reader:
    """Return the reader called `name`.

    Raises
    ------
    UnknownFormatError
        There is none; names those there are.
    """
    if name not in formats():
        raise UnknownFormatError(f"format: {name!r}; known are {', '.join(sorted(formats()))}")
    return formats()[name]


def claims(file: File, *, technique: str | None = None) -> list[str]:
    """Return the formats whose content a file has, at most one a technique.

    Of several formats of one technique the suffix decides; where it does not, none of them counts.

    Parameters
    ----------
    technique
        Only readers of this technique; `FRAMES` for any but electrochemistry.
    """
    try:
        head = file.read_bytes(HEAD)
    except (OSError, FormatError):
        return []
    found: dict[str, list[str]] = {}
    for name, reader in formats().items():
        if wanted(reader.technique, technique) and reader.sniff(head, file.name):
            found.setdefault(reader.technique, []).append(name)
    decided = []
    for names in found.values():
        if len(names) > 1:
            names = [name for name in names if file.suffix in formats()[name].suffixes]
        decided += names if len(names) == 1 else []
    return decided


def wanted(technique: str, asked: str | None) -> bool:
    """Whether a technique is the one asked for.

    Raises
    ------
    RequestError
        What is asked for is no technique.
    """
    if asked not in (None, FRAMES, *TECHNIQUES):
        raise RequestError(f"technique: {asked!r}; expected one of {[*TECHNIQUES, FRAMES]}")
    if asked == FRAMES:
        return technique != "electrochemistry"
    return asked is None or technique == asked


def choose(
    files: Sequence[File], *, format: str | None, technique: str | None = None
) -> tuple[str, list[File]]:
    """Choose one format for a series and return it with the files it claims.

    Parameters
    ----------
    technique
        As for `claims`: decides for files that are a log and a series of sweeps at once.

    Raises
    ------
    UnknownFormatError
        No reader claims any file, or several formats are mixed and `format` does not choose.
    """
    if format is not None:
        reader = reader_named(format)
        if len(files) == 1:
            return format, list(files)
        claimed = [f for f in files if f.suffix in reader.suffixes or format in claims(f)]
    else:
        found = {file: claims(file, technique=technique) for file in files}
        format = _common_format(found)
        # A damaged file among good ones still belongs to the series: it is flagged, not skipped.
        suffixes = {_kind(file) for file, names in found.items() if format in names}
        claimed = [file for file in files if format in found[file] or _kind(file) in suffixes]
    if not claimed:
        raise UnknownFormatError(f"{_span(files)}: nothing that {format!r} reads")
    collect = formats()[format].collect
    return format, collect(claimed) if collect else claimed


def _kind(file: File) -> str:
    """Return the suffix of a file; one that counts scans (.0001) is the same for all of them."""
    return ".0" if file.suffix[1:].isdecimal() else file.suffix


def _common_format(found: Mapping[File, list[str]]) -> str:
    """Return the one format that every recognised file of a series has."""
    files = list(found)
    if any(set(names) - {CLOSED} for names in found.values()):
        # what nobody can read does not count beside its own export
        found = {file: [name for name in names if name != CLOSED] for file, names in found.items()}
    counts = Counter(name for names in found.values() for name in names)
    recognised = sum(bool(names) for names in found.values())
    if not counts and all(file.size() == 0 for file in files):
        raise ReadError(f"{_span(files)}: the file is empty")
    others = sorted({name for file in files for name in claims(file)}) if not counts else []
    if others:
        kinds = ", ".join(f"{name} ({formats()[name].technique})" for name in others)
        raise UnknownFormatError(f"{_span(files)}: is {kinds}; holds nothing of that technique")
    if not counts:
        raise UnknownFormatError(
            f"{_span(files)}: no reader recognises it; pass format= (one of "
            f"{', '.join(sorted(formats()))})"
        )
    whole = [name for name, count in counts.items() if count == recognised]
    if len(whole) == 1:
        return whole[0]
    several = len({formats()[name].technique for name in counts}) > 1
    hint = " or technique=" if several else ""
    kinds = ", ".join(
        f"{count} {name} ({formats()[name].technique})" for name, count in counts.most_common()
    )
    raise UnknownFormatError(f"{_span(files)}: holds {kinds}; pass format={hint}")


def load(file: File, *, format: str, options: Mapping[str, Any]) -> xr.Dataset:
    """Read one file as it is.

    Raises
    ------
    ReadError
        The file is missing, unreadable, or not what the reader reads; names path and reader.
    RequestError
        The reader has no such option.
    """
    reader = reader_named(format)
    parameters = dict(inspect.signature(reader.read).parameters)
    parameters.pop("file", None)
    for name in options:
        if name not in parameters:
            raise RequestError(f"options: {format!r} has no {name!r}; it takes {list(parameters)}")
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in options:
            raise RequestError(f"options: {format!r} needs {name!r}; it takes {list(parameters)}")
    _check_choices(reader, options)
    try:
        if file.member is None and file.path.is_file() and file.size() == 0:
            raise FormatError("the file is empty")
        return reader.read(file, **options)
    except FormatError as error:
        text = textwrap.shorten(str(error), LONGEST_MESSAGE, placeholder=" ...")
        where = "" if text.startswith(str(file)) else f"{file}: "
        hint = ""
        if any(f"{name}=" in text for name in parameters):
            hint = ", whose options are given as options"
        raise ReadError(f"{where}{text} (reader {format}{hint})") from error
    except OSError as error:
        raise ReadError(f"{file}: {error.strerror or error} (reader {format})") from error


def _check_choices(reader: Reader, options: Mapping[str, Any]) -> None:
    """Refuse a word that is none of those an option may be: it would be taken for another."""
    hints = get_type_hints(reader.read)
    for name, value in options.items():
        kinds = get_args(hints.get(name)) or (hints.get(name),)
        words = sorted({word for kind in (hints.get(name), *kinds) for word in _words(kind)})
        if words and value is not None and value not in words:
            raise RequestError(f"options: {name} = {value!r}; expected one of {words}")


def _words(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) is Literal else ()


def _span(files: Sequence[File]) -> str:
    return str(files[0]) if len(files) == 1 else f"{files[0]} .. {files[-1].name}"
