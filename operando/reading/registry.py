"""Which readers there are, and which of them reads a file."""

from __future__ import annotations

import inspect
import pkgutil
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import xarray as xr

import operando_readers
from operando.errors import ReadError, RequestError, UnknownFormatError
from operando_readers._reader import File, FormatError, Reader

HEAD = 1 << 16


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


def recognise(file: File) -> str | None:
    """Return the format of a file by its content, its suffix deciding between several; or None."""
    try:
        head = file.read_bytes(HEAD)
    except (OSError, FormatError):
        return None
    claims = [name for name, reader in formats().items() if reader.sniff(head, file.name)]
    if len(claims) > 1:
        claims = [name for name in claims if file.suffix in formats()[name].suffixes] or claims
    return claims[0] if len(claims) == 1 else None


def choose(files: Sequence[File], *, format: str | None) -> tuple[str, list[File]]:
    """Choose one format for a series and return it with the files it claims.

    Raises
    ------
    UnknownFormatError
        No reader claims any file, or several formats are mixed and `format` does not choose.
    """
    if format is not None:
        reader = reader_named(format)
        if len(files) == 1:
            return format, list(files)
        claimed = [f for f in files if f.suffix in reader.suffixes or recognise(f) == format]
    else:
        found = {file: recognise(file) for file in files}
        counts = Counter(name for name in found.values() if name is not None)
        if not counts and all(file.size() == 0 for file in files):
            raise ReadError(f"{_span(files)}: the file is empty")
        if not counts:
            raise UnknownFormatError(
                f"{_span(files)}: no reader recognises it; pass format= (one of "
                f"{', '.join(sorted(formats()))})"
            )
        if len(counts) > 1:
            kinds = ", ".join(f"{count} {name}" for name, count in counts.most_common())
            raise UnknownFormatError(f"{_span(files)}: holds {kinds}; pass format=")
        format = next(iter(counts))
        # A damaged file among good ones still belongs to the series: it is flagged, not skipped.
        suffixes = {file.suffix for file, name in found.items() if name is not None}
        claimed = [file for file in files if found[file] == format or file.suffix in suffixes]
    if not claimed:
        raise UnknownFormatError(f"{_span(files)}: nothing that {format!r} reads")
    collect = formats()[format].collect
    return format, collect(claimed) if collect else claimed


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
    try:
        if file.member is None and file.path.is_file() and file.size() == 0:
            raise FormatError("the file is empty")
        return reader.read(file, **options)
    except FormatError as error:
        text = str(error)
        where = "" if text.startswith(str(file)) else f"{file}: "
        raise ReadError(f"{where}{text} (reader {format})") from error
    except OSError as error:
        raise ReadError(f"{file}: {error.strerror or error} (reader {format})") from error


def _span(files: Sequence[File]) -> str:
    return str(files[0]) if len(files) == 1 else f"{files[0]} .. {files[-1].name}"
