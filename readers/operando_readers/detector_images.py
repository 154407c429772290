"""Images of X-ray detectors: CBF, EDF, TIFF of Pilatus and MarCCD, and what else fabio reads.

File structure: one or more frames of one detector a file. CBF is packed by byte offset; EDF holds
one header a frame (`_edf`); a MarCCD is a TIFF with 3072 bytes of header before its pixels. These
are recognised. A TIFF of nothing that names a detector, and every other format that fabio knows
(mar345, Bruker, ADSC, R-AXIS, GE ...) is read when it is asked for by name.

Time and geometry come from the header, dialect by dialect: see `_detector_headers`. Beside a TIFF,
``<name>.metadata`` of QXRD (APS) is read; its Unix time wins over the tag of the TIFF.

Pixels stay as they are stored. attrs `dead_values` names the numbers that are no counts (-1 and -2
of a Pilatus, the Dummy of EDF), `saturation` the largest count, `pixel_size_m` and
`beam_centre_pixel` (row, column), `detector_distance_m`, `wavelength_angstrom`: what the header
states. Frames are read one by one when they are computed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.delayed import delayed

from operando_readers import _cbf, _detector_headers, _edf, _marccd, _tiff
from operando_readers._detector import images
from operando_readers._diffraction import NO_CLOCK
from operando_readers._reader import ALWAYS_SMALL, LARGEST_RATIO, File, FormatError, Reader

HEAD = 4096
LARGEST_IMAGE = 1 << 30
TAGS = ("ImageDescription", "DateTime", "Software", "Model")
Load = Callable[[File, int], npt.NDArray[Any]]


@dataclass(frozen=True)
class _Frames:
    """The frames of one file, not yet read."""

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    load: Load
    facts: Mapping[str, Any]
    truncated: str = ""


def read(file: File) -> xr.Dataset:
    """Read the frames of one file, lazily.

    Returns
    -------
    `intensity` (time, row, column) in counts, in the type it is stored in.

    Raises
    ------
    FormatError
        Damaged, cut, or of a format nobody here knows.
    """
    head = file.read_bytes(HEAD)
    if head.startswith(_cbf.MAGIC):
        frames = _from_cbf(file)
    elif _edf.is_edf(head):
        frames = _from_edf(file)
    elif head.startswith(_tiff.SIGNATURES):
        frames = _from_tiff(file, head)
    else:
        frames = _from_fabio(file)
    count, rows, columns = frames.shape
    parts = [
        da.from_delayed(delayed(frames.load)(file, at), (rows, columns), frames.dtype)[None]
        for at in range(count)
    ]
    dataset = images(da.concatenate(parts), **{"clock": NO_CLOCK, "metadata": {}, **frames.facts})
    return dataset.assign_attrs(truncated=frames.truncated) if frames.truncated else dataset


@contextlib.contextmanager
def _stream(file: File) -> Iterator[BinaryIO]:
    if file.member is not None:
        yield BytesIO(file.read_bytes())
        return
    with file.path.open("rb") as stream:
        yield stream


def _from_cbf(file: File) -> _Frames:
    raw = file.read_bytes()
    image = _cbf.described(raw)
    # Damage is said now, and not when somebody computes.
    _cbf.check(raw, image)
    facts = _detector_headers.dectris(image.text or image.header)
    dead = _detector_headers.DEAD_OF_DECTRIS if image.dtype.kind == "i" and image.text else None
    return _Frames((1, *image.shape), image.dtype, _cbf_pixels, {**facts, "dead_values": dead})


def _cbf_pixels(file: File, at: int) -> npt.NDArray[Any]:
    raw = file.read_bytes()
    return _cbf.pixels(raw, _cbf.described(raw))


def _from_edf(file: File) -> _Frames:
    with _stream(file) as stream:
        blocks, truncated = _edf.blocks(stream, file.size())
    first = blocks[0]
    for number, block in enumerate(blocks, 1):
        if block.shape != first.shape or block.stored != first.stored:
            raise FormatError(
                f"image {number}: {block.shape} of {block.stored}; the first is {first.shape} of "
                f"{first.stored}"
            )

    def load(file: File, at: int) -> npt.NDArray[Any]:
        with _stream(file) as stream:
            return _edf.pixels(stream, blocks[at])

    facts = _detector_headers.edf([block.facts for block in blocks])
    kind = first.stored.newbyteorder("=")
    return _Frames((len(blocks), *first.shape), kind, load, facts, truncated)


def _from_tiff(file: File, head: bytes) -> _Frames:
    with _tiff.opened(_tiff_source(file), where=file.name) as tiff:
        [series] = tiff.series
        shape = tuple(size for size in series.shape if size != 1) or (1,)
        kind = series.dtype.newbyteorder("=")
        tags = {tag.name: str(tag.value) for tag in tiff.pages.first.tags if tag.name in TAGS}
    if len(shape) not in (2, 3):
        raise FormatError(f"image of {series.shape}; expected frames of rows and columns")
    count, rows, columns = shape if len(shape) == 3 else (1, *shape)
    size = rows * columns * kind.itemsize
    if size > max(ALWAYS_SMALL, min(LARGEST_IMAGE, LARGEST_RATIO * file.size())):
        raise FormatError(f"image of {rows} x {columns} in a file of {file.size()} bytes; refused")
    facts = _tiff_facts(file, head, tags, kind)
    return _Frames((count, rows, columns), kind, _tiff_pixels, facts)


def _tiff_source(file: File) -> Path | BytesIO:
    return file.path if file.member is None else BytesIO(file.read_bytes())


def _tiff_pixels(file: File, at: int) -> npt.NDArray[Any]:
    pages = _tiff.decoded(_tiff_source(file), key=at, planes=1, where=file.name)
    return np.asarray(pages[0])


def _tiff_facts(
    file: File, head: bytes, tags: dict[str, str], kind: np.dtype[Any]
) -> dict[str, Any]:
    """Return what MarCCD, Dectris, QXRD or, at the least, the tags say."""
    if _marccd.is_marccd(head):
        return _marccd.facts(head)
    description = tags.get("ImageDescription", "")
    facts: dict[str, Any] = {"clock": _detector_headers.tag_306(tags.get("DateTime", ""))}
    if any(word.decode() in description for word in _tiff.DETECTORS):
        told = _detector_headers.dectris(description)
        # Its own stamp is that of the exposure; the tag of the TIFF is not.
        facts = told
        facts["dead_values"] = _detector_headers.DEAD_OF_DECTRIS if kind.kind == "i" else None
    beside = file.beside(f"{file.name}.metadata")
    told = _detector_headers.qxrd(beside.read_text()) if beside.exists() else {}
    metadata = {**tags, **facts.pop("metadata", {}), **told.pop("metadata", {})}
    return {**facts, **told, "metadata": metadata}


def _from_fabio(file: File) -> _Frames:
    """Return the frames of a format that only fabio knows."""
    with _fabio(file) as image:
        count = int(image.nframes)
        first = np.asarray(image.data)
        header = {str(key): str(value) for key, value in dict(image.header).items()}
    if first.ndim != 2 or first.nbytes > LARGEST_IMAGE or not 0 < count <= _edf.MOST_FRAMES:
        raise FormatError(f"{count} images of {first.shape}; expected rows and columns")
    kind = first.dtype.newbyteorder("=")
    return _Frames((count, *first.shape), kind, _fabio_pixels, {"metadata": header})


def _fabio_pixels(file: File, at: int) -> npt.NDArray[Any]:
    with _fabio(file) as image:
        frame = np.asarray(image.getframe(at).data if image.nframes > 1 else image.data)
        return np.array(frame, frame.dtype.newbyteorder("="))


@contextlib.contextmanager
def _fabio(file: File) -> Iterator[Any]:
    """Open a file by fabio, and say so in our words when it cannot."""
    import logging

    import fabio

    # Without a handler of its own it would print to the terminal of whoever uses this.
    logger = logging.getLogger("fabio")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    with file.on_disk() as path:
        try:
            image = fabio.open(str(path))
        except Exception as error:  # each of its formats has exceptions of its own
            reason = " ".join(str(error).split())[:200]
            raise FormatError(f"fabio cannot read it ({type(error).__name__}: {reason})") from error
        try:
            yield image
        except FormatError:
            raise
        except Exception as error:
            raise FormatError(f"fabio: damaged image ({error})") from error
        finally:
            image.close()


def sniff(head: bytes, name: str) -> bool:
    """Whether it is CBF, EDF, or a TIFF that names its X-ray detector."""
    return head.startswith(_cbf.MAGIC) or _edf.is_edf(head) or _tiff.is_of_detector(head)


READER = Reader(
    technique="xrd_images",
    suffixes=(".cbf", ".edf", ".tif", ".tiff", ".mccd", ".mar3450", ".mar2300", ".img", ".sfrm"),
    sniff=sniff,
    read=read,
    description="detector images: CBF, EDF, TIFF of Pilatus and MarCCD, what fabio reads",
    sidecars=(".tif.metadata", ".tiff.metadata"),
)
