"""The frames of an EDF file: where their pixels are, and what the header of each says.

A block is ``{``, lines ``key = value ;``, ``}`` and a line end, filled with blanks to a multiple of
512 bytes; then the pixels of one image; then the next block. fabio reads these files too, and is
what this is tested against; it is not used, because it fills an image that was cut with zeros.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from operando_readers._reader import FormatError

TYPES = {
    **dict.fromkeys(("signedbyte", "signed8"), "i1"),
    **dict.fromkeys(("unsignedbyte", "unsigned8"), "u1"),
    **dict.fromkeys(("signedshort", "signed16"), "i2"),
    **dict.fromkeys(("unsignedshort", "unsigned16"), "u2"),
    **dict.fromkeys(("signedinteger", "signedlong", "signed32"), "i4"),
    **dict.fromkeys(("unsignedinteger", "unsignedlong", "unsigned32"), "u4"),
    **dict.fromkeys(("signed64",), "i8"),
    **dict.fromkeys(("unsigned64",), "u8"),
    **dict.fromkeys(("floatvalue", "float", "real", "floatieee32", "float32"), "f4"),
    **dict.fromkeys(("doublevalue", "double", "doubleieee64", "float64"), "f8"),
}
ORDERS = {"lowbytefirst": "<", "highbytefirst": ">"}
BLOCK_END = re.compile(rb"\}[ ]*\r?\n")
PIECE = 4096
LONGEST_HEADER = 1 << 20
MOST_FRAMES = 1_000_000
STARTS = (b"{\n", b"{\r\n", b"{ \n", b"\n{\n", b"\r\n{\r\n")


@dataclass(frozen=True)
class Block:
    """One image of the file."""

    at: int
    """Byte of the first pixel."""
    shape: tuple[int, int]
    """Rows and columns."""
    stored: np.dtype[Any]
    facts: dict[str, str]
    """The header by its own keys."""

    @property
    def size(self) -> int:
        """Bytes of the pixels."""
        return self.shape[0] * self.shape[1] * self.stored.itemsize


def blocks(stream: BinaryIO, size: int) -> tuple[list[Block], str]:
    """Return the images that are whole, and why there may have been more.

    Raises
    ------
    FormatError
        No EDF, an image of a kind that is not known, or not even the first is whole.
    """
    found: list[Block] = []
    at = 0
    while at < size and len(found) < MOST_FRAMES:
        stream.seek(at)
        if found and not _begins(stream.read(PIECE)):
            return found, f"byte {at}: no header of an image {len(found) + 1}"
        header, at = _header(stream, at)
        if header is None:
            reason = f"image {len(found) + 1}: its header ends nowhere"
            break
        block = _block(header, at, number=len(found) + 1)
        at += block.size
        if at > size:
            reason = f"image {len(found) + 1}: ends at byte {at} of {size}"
            break
        found.append(block)
    else:
        return found, ""
    if not found:
        raise FormatError(f"{reason}; the file is cut")
    return found, reason


def _begins(piece: bytes) -> bool:
    return piece.lstrip().startswith(b"{")


def _header(stream: BinaryIO, at: int) -> tuple[str | None, int]:
    """Return the text of a header, None where it does not end, and the byte after it."""
    stream.seek(at)
    text = b""
    while len(text) < LONGEST_HEADER:
        piece = stream.read(PIECE)
        if not piece:
            break
        overlap = max(len(text) - 4, 0)
        text += piece
        if match := BLOCK_END.search(text, overlap):
            return text[: match.start()].decode("latin-1"), at + match.end()
    return None, at


def _block(header: str, at: int, *, number: int) -> Block:
    facts: dict[str, str] = {}
    for entry in header.partition("{")[2].split(";"):
        key, equals, value = entry.partition("=")
        if equals:
            facts[key.strip()] = value.strip()
    lower = {key.lower(): value for key, value in facts.items()}
    try:
        columns, rows = (int(lower[f"dim_{axis}"]) for axis in (1, 2))
    except (KeyError, ValueError) as error:
        raise FormatError(f"image {number}: no whole numbers Dim_1, Dim_2 in its header") from error
    if min(columns, rows) < 1 or lower.get("dim_3", "1") not in ("", "1"):
        raise FormatError(f"image {number}: Dim_1 {columns}, Dim_2 {rows}; expected one image")
    name = lower.get("datatype", "unsignedshort").lower()
    order = ORDERS.get(lower.get("byteorder", "lowbytefirst").lower())
    if name not in TYPES or order is None:
        raise FormatError(f"image {number}: DataType {name!r}, ByteOrder not known")
    if lower.get("compression", "none").lower() not in ("", "none", "no", "nocompression"):
        raise FormatError(f"image {number}: Compression {lower['compression']!r}; save it without")
    return Block(at, (rows, columns), np.dtype(order + TYPES[name]), facts)


def pixels(stream: BinaryIO, block: Block) -> npt.NDArray[Any]:
    """Return the pixels of an image in the order of the machine.

    Raises
    ------
    FormatError
        The file has become shorter.
    """
    stream.seek(block.at)
    raw = stream.read(block.size)
    if len(raw) < block.size:
        raise FormatError(f"byte {block.at}: {len(raw)} of {block.size} bytes of an image")
    image = np.frombuffer(raw, block.stored).reshape(block.shape)
    return image.astype(block.stored.newbyteorder("="))


def is_edf(head: bytes) -> bool:
    """Whether a file begins as EDF does, with dimensions and a type."""
    return head.startswith(STARTS) and b"Dim_1" in head and b"DataType" in head
