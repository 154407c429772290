"""A folder of text files that appears whole or not at all, and takes away nothing of others."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from operando.errors import OperandoError, RequestError

CHECKSUMS = "checksums.txt"
"""sha256 of every file, as `sha256sum -c` reads it: what is in it may be replaced, nothing else."""


def put(folder: Path, name: str, text: str) -> None:
    """Write a text; its bytes are the same on every system."""
    (folder / name).write_bytes(text.encode("utf-8"))


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give a folder beside `target` that takes its place when all is written.

    Raises
    ------
    RequestError
        `target` is there and holds something that an export of ours did not write, or that was
        changed since; or nothing can be written there.
    """
    _require_ours(target)
    part, old = (target.with_name(f".{target.name}.{os.getpid()}.{end}") for end in ("part", "old"))
    try:
        part.mkdir()
        yield part
        sums = [f"{_sum(path)}  {path.name}" for path in sorted(part.iterdir())]
        put(part, CHECKSUMS, "\n".join(sums) + "\n")
        if target.exists():
            os.replace(target, old)
        os.replace(part, target)
    except OperandoError:
        raise
    except OSError as error:
        raise RequestError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        for left in (part, old):
            shutil.rmtree(left, ignore_errors=True)


def _require_ours(target: Path) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise RequestError(f"folder {str(target)!r}: is a file; choose another name")
    listed = target / CHECKSUMS
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
    known = {line[66:]: line[:64] for line in lines}
    for path in sorted(target.iterdir()):
        if path != listed and (not path.is_file() or known.get(path.name) != _sum(path)):
            raise RequestError(
                f"folder {str(target)!r}: holds {path.name!r}, which was made or changed by "
                "somebody else; choose another folder"
            )


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
