"""TIFF files that are whole, and pages of them decoded; damage is said, never shown as pixels."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from operando_readers._reader import FormatError

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MARCCD = slice(1028, 1032)
"""Where the header of a MarCCD, which follows that of the TIFF, has its name."""
DETECTORS = (b"# Pixel_size", b"# Exposure_time", b"PILATUS", b"EIGER")
"""What the description (tag 270) of images by Dectris says."""


def is_of_detector(head: bytes) -> bool:
    """Whether a TIFF says that an X-ray detector wrote it: Pilatus, Eiger or MarCCD."""
    return head.startswith(SIGNATURES) and (
        head[MARCCD] == b"MMX\0" or any(word in head for word in DETECTORS)
    )


def opened(source: Path | BytesIO, *, where: str) -> tifffile.TiffFile:
    """Open a TIFF that is whole: every page, every byte of them, and one kind of image."""
    try:
        tiff = tifffile.TiffFile(source)
        try:
            _check_whole(tiff, where=where)
        except BaseException:
            tiff.close()
            raise
    except (FormatError, OSError):
        raise
    except Exception as error:  # the parser meets damage with whatever it was doing
        raise FormatError(f"{where}: damaged or not a TIFF ({error})") from error
    return tiff


def _check_whole(tiff: tifffile.TiffFile, *, where: str) -> None:
    size = tiff.filehandle.size
    at = tiff.pages.next_page_offset
    if at is not None:
        tiff.filehandle.seek(at)
        tail = tiff.filehandle.read(tiff.tiff.offsetsize)
        if len(tail) < tiff.tiff.offsetsize or any(tail):
            raise FormatError(f"{where}: cut off after page {len(tiff.pages)}; its list goes on")
    if len(tiff.series) != 1:
        sizes = [series.shape for series in tiff.series]
        raise FormatError(f"{where}: images of different sizes {sizes}; expected one volume")
    [series] = tiff.series
    if series.keyframe.samplesperpixel != 1:
        raise FormatError(f"{where}: {series.keyframe.samplesperpixel} colours; expected grey")
    if series.dataoffset is not None:
        pages = [series.dataoffset + series.nbytes]
    else:
        # Placeholders of pages that were never written are None.
        pages = [_end_of(page, number, where) for number, page in enumerate(series.pages)]
    if cut := [number for number, end in enumerate(pages) if end > size]:
        raise FormatError(
            f"{where}: page {cut[0] + 1} ends at byte {pages[cut[0]]} of {size}; the file is cut"
        )
    _check_codec(series.keyframe, where=where)


def _end_of(page: Any, number: int, where: str) -> int:
    if page is None:
        raise FormatError(f"{where}: page {number + 1} is missing")
    ends = np.add(page.dataoffsets, page.databytecounts)
    return int(np.max(ends, initial=0))


def _check_codec(page: Any, *, where: str) -> None:
    """Decode nothing, but ask the decoder whether it could."""
    try:
        page.decode(None, 0)
    except (ValueError, NotImplementedError) as error:
        raise FormatError(f"{where}: {error}; save it uncompressed or deflated") from error


def decoded(
    source: Path | BytesIO, *, key: int | range, planes: int, where: str
) -> npt.NDArray[Any]:
    """Decode pages; damage inside a page shows only now."""
    try:
        # One decoding thread: the parallelism belongs to whoever computes the slabs.
        pages = tifffile.imread(source, key=key, maxworkers=1)
    except OSError:
        raise
    except Exception as error:
        raise FormatError(f"{where}: damaged page among {key} ({error})") from error
    native = pages.astype(pages.dtype.newbyteorder("="), copy=False)
    return np.asarray(native.reshape(planes, *pages.shape[-2:]))
