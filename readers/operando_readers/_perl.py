"""Lists that Perl's Data::Dumper has written, parsed as data: nothing is evaluated."""

from __future__ import annotations

import re

from operando_readers._reader import FormatError

Literal = str | bool | None | list["Literal"]

TOKEN = re.compile(
    r"""\s*(?:
        '(?P<single>(?:[^'\\]++|\\.)*+)'
      | "(?P<double>(?:[^"\\]++|\\.)*+)"
      | (?P<bare>!?![01]|[\w.+-]+)
      | (?P<open>[(\[{]) | (?P<close>[)\]}]) | (?P<comma>,|=>)
    )""",
    re.VERBOSE | re.DOTALL,
)
"""Possessive: what a string may go back to would take a hundred bytes a character."""
DEEPEST = 20
"""Lists within lists; Athena writes two."""
ESCAPE = re.compile(r"\\(?:x\{([0-9a-fA-F]{1,6})\}|(.))", re.DOTALL)
CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "e": "\x1b", "a": "\a", "b": "\b", "f": "\f"}
WORDS: dict[str, Literal] = {"undef": None, "!!1": True, "!!0": False, "!1": False, "!0": True}


class CutError(FormatError):
    """The text ends within a list."""


def literal(text: str, at: int) -> tuple[Literal, int]:
    """Return the value that begins at `at`, and where it ends; hashes are lists of pairs.

    Raises
    ------
    CutError
        The text ends before the value.
    FormatError
        No value; names the line.
    """
    open_lists: list[list[Literal]] = []
    while match := TOKEN.match(text, at):
        at = match.end()
        if match["open"]:
            if len(open_lists) == DEEPEST:
                raise FormatError(f"line {_line(text, at)}: lists within lists beyond {DEEPEST}")
            open_lists.append([])
            continue
        if match["comma"]:
            continue
        value: Literal
        if match["close"]:
            if not open_lists:
                raise FormatError(f"line {_line(text, at)}: a list ends that never began")
            value = open_lists.pop()
        else:
            value = _scalar(match)
        if not open_lists:
            return value, at
        open_lists[-1].append(value)
    rest = text[at : at + 40].strip()
    if not rest or rest[0] in "'\"":
        raise CutError(f"line {_line(text, at)}: the file ends within a list")
    raise FormatError(f"line {_line(text, at)}: {rest!r}; expected a list written by Perl")


def _scalar(match: re.Match[str]) -> Literal:
    if match["single"] is not None:
        return re.sub(r"\\(['\\])", r"\1", match["single"])
    if match["double"] is not None:
        return ESCAPE.sub(_unescaped, match["double"])
    return WORDS.get(match["bare"], match["bare"])


def _unescaped(match: re.Match[str]) -> str:
    if match[1] is not None:
        code = int(match[1], 16)
        return chr(code) if code <= 0x10FFFF and not 0xD800 <= code < 0xE000 else "\ufffd"
    return CONTROLS.get(match[2], match[2])


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
