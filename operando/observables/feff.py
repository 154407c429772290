"""Scattering paths of a structure, calculated with the FEFF that comes with larch."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from operando import arguments
from operando.errors import ReadError, RequestError

EDGES = ("K", "L1", "L2", "L3")
MODULES = ("rdinp", "pot", "xsph", "pathfinder", "genfmt", "ff2x")
"""The programs FEFF8L consists of, in the order they run in."""
FOLDERS = {"Linux": "linux64", "Windows": "win64", "Darwin": "darwin64"}
"""Where larch keeps them, by system."""
LARGEST = 4 * 2**20
"""Bytes of a CIF."""


@dataclass(frozen=True, kw_only=True)
class FeffPath:
    """One way of the photo-electron to neighbours and back."""

    atoms: tuple[str, ...]
    """The absorber, then the scatterers in the order they are met."""
    degeneracy: float
    """Equal paths: the number of neighbours, for a single scatterer."""
    distance: float
    """Half of the path length in angstrom: the distance, for a single scatterer."""
    legs: int
    """2 for a single scatterer."""
    importance: float
    """Amplitude in percent of the strongest path, without disorder; NaN when not known."""
    content: bytes = field(repr=False)
    """The file feffNNNN.dat."""

    @property
    def label(self) -> str:
        """Text for people: `Zr-O 2.037 x3`."""
        return f"{'-'.join(self.atoms)} {self.distance:.3f} x{self.degeneracy:g}"


def feff_paths(
    cif: str | Path,
    *,
    absorber: str,
    edge: str = "K",
    cluster: float = 6.5,
    site: int | None = None,
    time_limit: float = 120.0,
) -> list[FeffPath]:
    """Calculate the scattering paths around an atom of a crystal structure.

    larixite cuts the cluster from the structure, FEFF8L (Rehr and Albers, Rev. Mod. Phys. 72 (2000)
    621) calculates potentials, phases, paths and amplitudes, without self-consistency. Both run in
    processes and a folder of their own, of which nothing is left: safe in threads, and with a file
    that is not trusted.

    Parameters
    ----------
    cif
        File of the structure. Hydrogen is left out; a site occupied by several elements is filled
        with one of them for each atom, by chance but always the same way.
    absorber, edge
        Element symbol, and "K", "L1", "L2" or "L3".
    cluster
        Radius in angstrom, 2 to 10; also the longest half path. Time grows with a high power of it.
    site
        Of the absorber, counted from 1 over the inequivalent sites of the structure; needed where
        it is on several.
    time_limit
        In seconds, for everything.

    Returns
    -------
    list of FeffPath
        By distance; what `operando.observables.shells.fit_shells` fits with.

    Raises
    ------
    ReadError
        The file cannot be read, or no structure be made from it.
    RequestError
        No such absorber or site, a parameter out of range, not done in time, no FEFF for this
        machine (there is one for Linux, Windows and macOS on 64-bit Intel), or FEFF gave up.

    Notes
    -----
    There is no full multiple scattering in it, hence no XANES. Paths with a strong potential
    asymmetry (hydrides, ozonides) need self-consistent potentials, which this does not calculate.
    """
    _check(absorber=absorber, edge=edge, cluster=cluster, site=site, time_limit=time_limit)
    text = _text(Path(cif))
    programs = _programs()
    deadline = time.monotonic() + time_limit
    request = {"absorber": absorber, "edge": edge, "cluster": cluster, "site": site}
    with tempfile.TemporaryDirectory(prefix="operando-feff-") as name:
        folder = Path(name)
        _write_input(folder, cif, json.dumps({"text": text} | request), deadline)
        for program in programs:
            said = _run([str(program)], folder, deadline, cluster)
        paths = _collected(folder)
    if not paths:
        last = " ".join(said.strip().splitlines()[-1:])
        raise RequestError(f"FEFF: no paths for {absorber} in {str(cif)!r}; it said {last!r}")
    return paths


def _check(
    *, absorber: str, edge: str, cluster: float, site: int | None, time_limit: float
) -> None:
    if not isinstance(absorber, str) or not re.fullmatch("[A-Z][a-z]?", absorber):
        raise arguments.refusal("absorber", absorber, "the symbol of an element, as 'Zr'")
    arguments.chosen("edge", edge, EDGES)
    arguments.number("cluster", cluster, lambda r: 2.0 <= r <= 10.0, "2 to 10 angstrom")
    arguments.number("time_limit", time_limit, lambda t: t > 0, "seconds")
    if site is not None:
        arguments.whole("site", site, lambda n: n >= 1, "a number of a site, from 1")


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except OSError as error:
        raise ReadError(f"{str(path)!r}: {error.strerror or error}") from error
    if len(content) > LARGEST:
        raise ReadError(f"{str(path)!r}: more than {LARGEST} bytes; expected a CIF of a structure")
    return content.decode("utf-8", errors="replace")


def _programs() -> list[Path]:
    """Return the programs of FEFF8L that came with larch."""
    system = platform.system()
    found = find_spec("larch")
    if found is None or found.origin is None or system not in FOLDERS:
        raise RequestError(f"FEFF: not on {system}; larch brings it for {', '.join(FOLDERS)}")
    suffix = ".exe" if system == "Windows" else ""
    folder = Path(found.origin).parent / "bin" / FOLDERS[system]
    programs = [folder / f"feff8l_{module}{suffix}" for module in MODULES]
    missing = [program.name for program in programs if not program.is_file()]
    if missing:
        raise RequestError(f"FEFF: {missing} not among the files of larch; reinstall xraylarch")
    return programs


def _write_input(folder: Path, cif: str | Path, request: str, deadline: float) -> None:
    """Have `feff.inp` written to the folder, in a process of its own."""
    program = Path(__file__).with_name("feff_input.py")
    # -P: the folder of that file is no place to import from; it would hide modules of Python.
    said = _run([sys.executable, "-P", str(program)], folder, deadline, None, request)
    refused = folder / "refused.json"
    if refused.is_file():
        answer = json.loads(refused.read_text(encoding="utf-8"))
        if answer["asked"]:
            raise RequestError(f"{str(cif)!r}: {answer['reason']}")
        raise ReadError(f"{str(cif)!r}: not a structure: {answer['reason']}")
    if not (folder / "feff.inp").is_file():
        last = " ".join(said.strip().splitlines()[-1:])
        raise ReadError(f"{str(cif)!r}: no structure could be made from it: {last}")


def _run(
    command: Sequence[str],
    folder: Path,
    deadline: float,
    cluster: float | None,
    text: str = "",
) -> str:
    """Run a program in the folder until the deadline and return what it said."""
    try:
        done = subprocess.run(  # noqa: S603 - programs of this environment, no shell
            command,
            cwd=folder,
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=max(deadline - time.monotonic(), 0.001),
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        smaller = "" if cluster is None else f"a cluster smaller than {cluster:g} angstrom or "
        raise RequestError(f"FEFF: not done in time; take {smaller}a longer time_limit") from error
    except OSError as error:
        raise RequestError(
            f"FEFF: {Path(command[0]).name} does not run on {platform.machine()}: {error.strerror}"
        ) from error
    return done.stdout


def _collected(folder: Path) -> list[FeffPath]:
    """Return the paths FEFF left in the folder, with their importance from its list."""
    table = folder / "files.dat"
    if not table.is_file():
        return []
    rows = re.findall(
        r"^\s*(feff\d+\.dat)\s+\S+\s+(\S+)", table.read_text(encoding="ascii"), re.MULTILINE
    )
    paths = [
        read_path((folder / name).read_bytes(), importance=float(amplitude))
        for name, amplitude in rows
        if (folder / name).is_file()
    ]
    return sorted(paths, key=lambda path: path.distance)


def read_path(content: bytes, *, importance: float = float("nan")) -> FeffPath:
    """Return the path in the content of a file feffNNNN.dat, of any FEFF from 6 on.

    Raises
    ------
    ReadError
        The content is not that of such a file.
    """
    lines = content.decode("ascii", errors="replace").splitlines()
    try:
        at = next(n for n, line in enumerate(lines) if line.strip().startswith("-----"))
        numbers = lines[at + 1].split()
        legs, degeneracy, distance = int(numbers[0]), float(numbers[1]), float(numbers[2])
        atoms = tuple(lines[at + 3 + leg].split()[5] for leg in range(legs))
    except (StopIteration, IndexError, ValueError) as error:
        raise ReadError("feffNNNN.dat: no legs, degeneracy and distance in it") from error
    return FeffPath(
        atoms=atoms,
        degeneracy=degeneracy,
        distance=distance,
        legs=legs,
        importance=importance,
        content=content,
    )
