"""What went in: the input files with their checksums, and the fingerprint of a run."""

from __future__ import annotations

import hashlib
import json
import os.path
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from operando.reading.files import expand
from operando.recipe import Recipe

PACKAGES = ("operando", "xarray", "numpy", "scipy", "dask", "pandas", "matplotlib", "zarr")


def checksums(recipe: Recipe, *, root: Path) -> list[dict[str, Any]]:
    """Return path (relative to the recipe), size and SHA-256 of every file the recipe names.

    Raises
    ------
    ReadError
        A path of the recipe names nothing.
    """
    paths: dict[Path, None] = {}
    for source in (recipe.electrochemistry, *recipe.measurement):
        entries = [source.path] if isinstance(source.path, str) else list(source.path)
        for entry in entries:
            paths.update(dict.fromkeys(file.path for file in expand(str(root / entry))))
    for measurement in recipe.measurement:
        if measurement.log is not None:
            paths.update(dict.fromkeys(f.path for f in expand(str(root / measurement.log.path))))
    return [
        {"path": _relative(path, root), "bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in paths
    ]


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
