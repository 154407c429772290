"""The members of a file that is a zip inside, unpacked within bounds."""

from __future__ import annotations

import io
import re
import zipfile
import zlib

from operando_readers._reader import (
    ALWAYS_SMALL,
    LARGEST_RATIO,
    File,
    FormatError,
    check_unpacking,
    natural_key,
)

LARGEST_MEMBER = 256 << 20
LOCAL_HEADER = b"PK\x03\x04"


class Archive:
    """A zip that has been opened.

    Raises
    ------
    FormatError
        Not a zip, or cut short: its table of contents stands at the end.
    """

    def __init__(self, file: File) -> None:
        raw = file.read_bytes()
        # Members may overlap: what all of them unpack to is bounded by what there is to unpack.
        self._left = max(ALWAYS_SMALL, LARGEST_RATIO * len(raw))
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(raw))
            self.names = sorted(self._zip.namelist(), key=natural_key)
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
            raise FormatError(f"{file.name}: not a whole zip ({error}); cut short?") from error

    def matching(self, pattern: str) -> list[str]:
        """Return the members whose whole name fits a regular expression, in natural order."""
        return [name for name in self.names if re.fullmatch(pattern, name)]

    def read(self, member: str) -> bytes:
        """Return a member.

        Raises
        ------
        FormatError
            It is damaged, encrypted, or unpacks further than the bounds of `check_unpacking`.
        """
        try:
            info = self._zip.getinfo(member)
            check_unpacking(info, largest=LARGEST_MEMBER, what=member)
            self._left -= info.file_size
            if self._left < 0:
                raise FormatError(f"{member}: the zip unpacks further than {LARGEST_RATIO} times")
            with self._zip.open(info) as stream:
                return stream.read(info.file_size)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            KeyError,
            NotImplementedError,
            RuntimeError,
            OSError,
            ValueError,
        ) as error:
            raise FormatError(f"{member}: damaged in the zip ({error})") from error


def holds(head: bytes, *names: bytes) -> bool:
    """Whether the head is that of a zip with a member whose name begins as one of `names`.

    The table of contents stands at the end of a zip, but each member has a header in front of it.
    """
    if not head.startswith(LOCAL_HEADER):
        return False
    at = 0
    while (at := head.find(LOCAL_HEADER, at)) >= 0:
        if head.startswith(names, at + 30):
            return True
        at += len(LOCAL_HEADER)
    return False
