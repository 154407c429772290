"""The text in the bytes of a file, whichever computer wrote it."""

from __future__ import annotations

import codecs

UTF16_SAMPLE = 400


def text_of(raw: bytes, *, legacy: str = "latin-1") -> str:
    """Return text with newlines as line ends: UTF-8, UTF-16 with or without mark, else `legacy`.

    A character cut in two at the end is left out, so that the head of a file can be decoded too.
    """
    if raw[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        text = raw.decode("utf-16", errors="replace")
    elif (wide := _unmarked_utf16(raw[:UTF16_SAMPLE])) is not None:
        text = raw.decode(wide, errors="replace")
    else:
        try:
            text = codecs.getincrementaldecoder("utf-8-sig")().decode(raw)
        except UnicodeDecodeError:
            text = raw.decode(legacy, errors="replace")
    return text.replace("\r\r\n", "\n").replace("\r\n", "\n").replace("\r", "\n")


def _unmarked_utf16(sample: bytes) -> str | None:
    """Return which UTF-16 it is: every other byte of Western text is zero."""
    for zeros, encoding in ((sample[1::2], "utf-16-le"), (sample[0::2], "utf-16-be")):
        if len(zeros) > 3 and zeros.count(0) > 0.9 * len(zeros):
            return encoding
    return None
