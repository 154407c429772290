"""Files of Raman programs that only the program itself reads: they are recognised, and refused.

What is told instead is how to export them, so that nobody looks for a fault in a folder of them.

File structure: not published. What they begin with: ``LabSpec6`` (.l6s, .l6m), ``NGSNextGen``
(.ngs of LabSpec 5 and other programs of HORIBA), ``#WXD`` (WiRE 2 of Renishaw), ``WIT_PRCT``,
``WIT_PR06``, ``WIT_DATA``, ``WIT_DA06`` and ``WIT^`` (WITec Project).
"""

from __future__ import annotations

from pathlib import PurePath
from typing import NoReturn

from operando_readers._reader import File, FormatError, Reader

LABSPEC = (
    "HORIBA LabSpec",
    "in LabSpec, save it as .txt or .xml: both keep axis, exposure and 'Acquired'; all files of a "
    "folder at once by its batch conversion",
)
WIRE = (
    "Renishaw WiRE 2",
    "in WiRE, save it as .wdf, which keeps a stamp of every spectrum; .txt and .spc lose the times",
)
WITEC = (
    "WITec Project",
    "in WITec Project, export the spectra as table (ASCII, Raman shift in rel. 1/cm); note when "
    "they were taken, as the table has no times",
)
MAGIC = {
    b"LabSpec6": LABSPEC,
    b"NGSNextGen": LABSPEC,
    b"#WXD": WIRE,
    b"WIT_PRCT": WITEC,
    b"WIT_PR06": WITEC,
    b"WIT_DATA": WITEC,
    b"WIT_DA06": WITEC,
    b"WIT^": WITEC,
}
SUFFIXES = {
    ".l5s": LABSPEC,
    ".l5m": LABSPEC,
    ".l6s": LABSPEC,
    ".l6m": LABSPEC,
    ".ngs": LABSPEC,
    ".wxd": WIRE,
    ".wip": WITEC,
    ".wid": WITEC,
}


def sniff(head: bytes, name: str) -> bool:
    """Whether the file begins as one of them does, or has the suffix of one."""
    return head.startswith(tuple(MAGIC)) or PurePath(name).suffix.lower() in SUFFIXES


def read(file: File) -> NoReturn:
    """Refuse the file.

    Raises
    ------
    FormatError
        Always; says which program wrote it and how it exports what it holds.
    """
    head = file.read_bytes(16)
    known = [found for magic, found in MAGIC.items() if head.startswith(magic)]
    program, remedy = known[0] if known else SUFFIXES.get(file.suffix, ("unknown", ""))
    if not remedy:
        raise FormatError(f"{head[:8]!r}: not a file of LabSpec, WiRE 2 or WITec Project")
    raise FormatError(f"a file of {program}, whose format is not public; {remedy}")


READER = Reader(
    technique="raman",
    suffixes=tuple(SUFFIXES),
    sniff=sniff,
    read=read,
    description="closed formats of LabSpec, WiRE 2 and WITec: recognised, and how to export them",
)
