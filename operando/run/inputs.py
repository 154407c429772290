"""What went in: the input files with their checksums, and the fingerprint of a run."""

from __future__ import annotations

import hashlib
import json
import os.path
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from operando.reading import formats
from operando.reading.files import expand
from operando.recipe import Fractions, Measurement, Recipe
from operando_readers._reader import File

PACKAGES = ("operando", "xarray", "numpy", "scipy", "dask", "pandas", "matplotlib", "zarr")


def checksums(recipe: Recipe, *, root: Path) -> list[dict[str, Any]]:
    """Return path (relative to the recipe), size and SHA-256 of every file the recipe names.

    Raises
    ------
    ReadError
        A path of the recipe names nothing.
    """
    paths: dict[Path, dict[str, Any]] = {}
    for source in (recipe.electrochemistry, *recipe.measurement):
        for file in expand(source.path, root=root):
            paths.setdefault(file.path, {})
            paths.update({sidecar: {} for sidecar in _sidecars(file)})
    for measurement in recipe.measurement:
        if measurement.log is not None:
            paths.update({file.path: {} for file in expand(measurement.log.path, root=root)})
        for path in _standards(measurement):
            paths.update({file.path: {} for file in expand(path, root=root)})
        if measurement.stamps == "mtime":
            for file in expand(measurement.path, root=root):
                paths[file.path] = {"written": file.path.stat().st_mtime}
    return [
        {
            "path": _relative(path, root),
            "bytes": path.stat().st_size,
            "sha256": _sha256_or_none(path),
            **facts,
        }
        for path, facts in paths.items()
    ]


def _standards(measurement: Measurement) -> list[str]:
    """Return the files of known spectra that a measurement names."""
    steps = [step for step in measurement.observe if isinstance(step, Fractions)]
    every = [standard for step in steps for standard in (*step.standards, *step.differences)]
    return [standard.path for standard in every if standard.path is not None]


def _sidecars(file: File) -> list[Path]:
    """Return the files beside a file that its reader may look into."""
    if file.member is not None:
        return []
    suffixes = {
        suffix
        for reader in formats().values()
        if file.suffix in reader.suffixes
        for suffix in reader.sidecars
    }
    beside = [file.path.with_suffix(suffix) for suffix in sorted(suffixes)]
    return [path for path in beside if path.exists()]


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sha256_or_none(path: Path) -> str | None:
    """Return None for a file that may not be read: reading it will say so and flag the frame."""
    try:
        return sha256(path)
    except OSError:
        return None


def fingerprint(recipe: Recipe, inputs: list[dict[str, Any]]) -> str:
    """Return what identifies a result: the recipe's meaning, the inputs' bytes, this version.

    How the work is spread over threads or machines does not change results and does not count.
    """
    what = {
        "recipe": recipe.model_dump(mode="json", exclude={"compute"}),
        "inputs": inputs,
        "version": version("operando"),
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that compute."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def _relative(path: Path, root: Path) -> str:
    return Path(os.path.relpath(path.resolve(), root.resolve())).as_posix()
