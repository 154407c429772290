"""Images in CBF (Pilatus, Eiger, imgCIF): the header, and pixels packed by byte offset.

A text of CIF, the MIME header of the binary section, the four bytes 0C 1A 04 D5, the packed pixels.
fabio unpacks them; its own reader is what this is tested against. It is not used, because it looks
for those four bytes without end in a file that was cut, and lets a wrong checksum pass.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from operando_readers._reader import FormatError

MAGIC = b"###CBF"
STARTER = b"\x0c\x1a\x04\xd5"
LONGEST_HEADER = 1 << 20
PADDING = bytes(16)
"""Put behind the packed pixels: the unpacker looks a few bytes ahead."""
TYPES = {
    f"{sign} {bits}-bit integer": f"{sign[0]}{bits // 8}".replace("s", "i")
    for sign in ("signed", "unsigned")
    for bits in (8, 16, 32, 64)
}
KEY = re.compile(
    r'^\s*(X-Binary-[\w-]+|Content-MD5|conversions)\s*[:=]\s*"?([^"\r\n]*?)"?\s*$', re.M
)
CONTENTS = re.compile(r"_array_data\.header_contents\s*\n;\s*\n(.*?)\n;", re.DOTALL)


@dataclass(frozen=True)
class Image:
    """What the header says."""

    shape: tuple[int, int]
    """Rows and columns."""
    dtype: np.dtype[Any]
    at: int
    size: int
    """Bytes of the packed pixels."""
    digest: bytes | None
    """MD5 of these, where the header has it."""
    text: str
    """What the detector says of the exposure (``_array_data.header_contents``)."""
    header: str


def described(raw: bytes) -> Image:
    """Return what the header of a file says.

    Raises
    ------
    FormatError
        No CBF, no binary section, another packing than byte offset, or fewer bytes than it says.
    """
    start = raw[:LONGEST_HEADER].find(STARTER)
    if not raw.startswith(MAGIC) or start < 0:
        raise FormatError("no binary section of a CBF; is the file cut?")
    header = raw[:start].decode("latin-1").replace("\r\n", "\n")
    facts = dict(KEY.findall(header))
    packing = facts.get("conversions", "")
    if packing.lower() != "x-cbf_byte_offset":
        raise FormatError(f"packing {packing!r}; expected x-CBF_BYTE_OFFSET")
    kind = facts.get("X-Binary-Element-Type", "")
    if kind not in TYPES or "BIG" in facts.get("X-Binary-Element-Byte-Order", "").upper():
        raise FormatError(f"pixels of {kind!r}; expected integers, little endian")
    columns, rows, size = (
        _whole(facts, f"X-Binary-{name}")
        for name in ("Size-Fastest-Dimension", "Size-Second-Dimension", "Size")
    )
    at = start + len(STARTER)
    if len(raw) - at < size:
        raise FormatError(f"pixels: {len(raw) - at} of {size} bytes; the file is cut")
    if columns * rows > size:
        raise FormatError(f"{rows} x {columns} pixels in {size} bytes; each takes one at least")
    contents = CONTENTS.search(header)
    return Image(
        (rows, columns),
        np.dtype(TYPES[kind]),
        at,
        size,
        _digest(facts.get("Content-MD5", "")),
        contents[1] if contents else "",
        header.partition("--CIF-BINARY-FORMAT-SECTION--")[0],
    )


def _whole(facts: dict[str, str], name: str) -> int:
    text = facts.get(name, "")
    if not re.fullmatch(r"\d{1,10}", text) or int(text) == 0:
        raise FormatError(f"{name}: {text!r}; expected a whole number")
    return int(text)


def _digest(text: str) -> bytes | None:
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError(f"Content-MD5: {text!r} is none") from error
    return digest or None


def check(raw: bytes, image: Image) -> None:
    """Refuse a damaged image: by its checksum, or, where it has none, by unpacking it.

    Raises
    ------
    FormatError
        The checksum is another, or the pixels do not unpack.
    """
    if image.digest is None:
        pixels(raw, image)
        return
    packed = memoryview(raw)[image.at : image.at + image.size]
    if hashlib.md5(packed, usedforsecurity=False).digest() != image.digest:
        raise FormatError("pixels: their checksum (Content-MD5) is another; the file is damaged")


def pixels(raw: bytes, image: Image) -> npt.NDArray[Any]:
    """Return the pixels.

    Raises
    ------
    FormatError
        They do not unpack to as many as there are.
    """
    from fabio.ext import byte_offset

    packed = raw[image.at : image.at + image.size]
    count = image.shape[0] * image.shape[1]
    wide = image.dtype.itemsize > 4 or image.dtype == np.uint32
    unpack = byte_offset.dec_cbf if wide else byte_offset.dec_cbf32
    try:
        values = np.asarray(unpack(packed + PADDING, count))
    except Exception as error:
        raise FormatError(f"pixels: do not unpack ({error})") from error
    if values.size != count:
        raise FormatError(f"pixels: {values.size} of {count}; the file is damaged")
    return values.reshape(image.shape).astype(image.dtype)
