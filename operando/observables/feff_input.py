"""A structure made into the input of FEFF: run as a program, in a process of its own.

A CIF comes from anywhere, and what parses it (pymatgen, through larixite) is large: it gets a
process that may be ended, with bounded memory. `operando.observables.feff` starts it with this file
as the program, the request as JSON on standard input, and an empty folder as its own, in which it
leaves `feff.inp` or `refused.json`.
"""

from __future__ import annotations

import contextlib
import json
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

MEMORY = 4 * 2**30
"""Bytes of address space, where the system can bound them."""
LARGEST = 4000
"""Atoms of a unit cell."""


class Refused(Exception):  # noqa: N818 - an answer, not an accident
    """The structure is sound, but what was asked of it is not there."""


def feff_input(text: str, *, absorber: str, edge: str, cluster: float, site: int | None) -> str:
    """Return the text of `feff.inp` for the surroundings of one site of a structure.

    Raises
    ------
    Refused
        No such absorber or site, or several sites and none chosen.
    ValueError
        Not a structure, or one with too many atoms.
    """
    if "_cell_length_a" not in text:
        raise ValueError("no _cell_length_a: not a CIF of a crystal structure")
    # pymatgen is imported here: before, memory has to be bounded.
    larixite = import_module("larixite.cif_cluster")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        structure = larixite.CIF_Cluster(ciftext=text, absorber=absorber, cluster_size=cluster)
    # One atom would stand for all of its equivalents.
    if any("Defaulting to P1" in str(one.message) for one in said):
        raise ValueError(
            "its space group is not understood; give _symmetry_Int_Tables_number, or the "
            "operations as _symmetry_equiv_pos_as_xyz"
        )
    if len(structure.struct) > LARGEST:
        raise ValueError(
            f"{len(structure.struct)} atoms in the unit cell; expected up to {LARGEST}"
        )
    sites = structure.atom_sites.get(absorber, [])
    if not sites:
        raise Refused(f"absorber: {absorber!r}; the structure holds {sorted(structure.atom_sites)}")
    if site is None and len(sites) > 1:
        raise Refused(f"site: {absorber} is on several, {sites}; choose one")
    if site is not None and site not in sites:
        raise Refused(f"site: {site!r}; {absorber} is on {sites}")
    return str(
        larixite.cif2feffinp(
            text,
            absorber,
            edge=edge,
            cluster_size=cluster,
            absorber_site=sites[0] if site is None else site,
            # Mixed sites are filled by chance: the same way every time.
            rng_seed=1,
        )
    )


def _bounded() -> None:
    """Bound the memory of this process, where there is a way."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _main() -> None:
    _bounded()
    request: dict[str, Any] = json.load(sys.stdin)
    try:
        text = feff_input(**request)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        answer = {"asked": isinstance(error, Refused), "reason": reason}
        Path("refused.json").write_text(json.dumps(answer), encoding="utf-8")
    else:
        Path("feff.inp").write_text(text, encoding="ascii", newline="\n")


if __name__ == "__main__":
    _main()
