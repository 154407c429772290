"""The scans of a SPEC file, in one pass: what the header of each says, and where its rows are.

SPEC (certif.com, user manual, "Standard Data File Format") and what writes like it: Sardana, SNBL,
APS 12-BM. Lines that begin with ``#`` say what they are by their next letter. ``#F #E #D`` open a
file, and open it again when a session goes on in an old file: the seconds of ``Epoch`` count from
the last ``#E`` above them (those of Bluesky from the start of their scan). A scan is ``#S number
command``, its header, ``#L`` with names that two blanks part, rows; then remarks ``#C``. ``@A``
lines are spectra of an MCA, and may go on over many.

silx reads these files too and is not used. Of 900 real files in which one byte of a number was made
a letter, its 2.2 returned 679 with another number and 151 with another number of rows, and refused
none; it raises UnicodeDecodeError at names that are not ASCII, and finds no columns in the files of
APS 12-BM.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from operando_readers._named_scan import Array, named
from operando_readers._numbers import ends_mid_line, rows
from operando_readers._reader import FormatError

SCAN = re.compile(r"#S\s+(Scan\s+)?(\d{1,9})\b;?\s*(.*)")
NUMBERED = re.compile(r"(\d{1,4})_(.+?)(?=\s+\d{1,4}_|\s*$)")
STARTED = re.compile(r"#C\s+Acquisition started at\s+(\S.*)")
ENDED = re.compile(r"#C\s+Acquisition ended(?: at)?\s+(\S.*)")
ABORTED = re.compile(r"#C\b.*\baborted\b", re.IGNORECASE)
BLUESKY = re.compile(r"#MD\s|#C\b.*\bplan_type = ")
REGION = re.compile(r"#C exafs_region\s+\S+\s+\S+\s+(\d{1,6})\s")
NUMBER = r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?"
INTERVALS = re.compile(rf"\S*scan\S*\s+\S+\s+{NUMBER}\s+{NUMBER}\s+(\d{{1,7}})(?:\s|$)")
DWELL = re.compile(r"#T\s+(\d{1,9}(?:\.\d*)?)\s+\((Seconds|ms)\)")
OPENS = ("#F", "#E", "#D", "#O", "#U", "#C Acquisition started")
"""Lines that below the rows of a scan belong to what follows."""


@dataclass
class Block:
    """One scan as the file has it."""

    number: int
    command: str
    line: int
    """Of ``#S`` in the file, from 1."""
    above: list[str]
    """Lines of the file header that came since the scan before."""
    epoch: str
    """What the last ``#E`` says, "" where there is none."""
    is_12bm: bool
    """Headed ``#S Scan 29;``, with its date above."""
    header: list[str] = field(default_factory=list)
    first: int = 0
    """Line of the first row, 0 where there is none."""
    rows: list[str] = field(default_factory=list)
    """From there on; blank where the line is none of numbers."""
    remarks: list[str] = field(default_factory=list)
    mid_line: bool = False
    """Whether the file ends within its last row."""

    @property
    def date(self) -> str:
        """The stamp of its start as it is written, "" where there is none."""
        own = [line[2:].strip() for line in self.header if line.startswith("#D")]
        if self.is_12bm:
            own += [line[2:].strip() for line in self.above[::-1] if line.startswith("#D")]
        return own[0] if own else self.started

    @property
    def started(self) -> str:
        """The stamp of Sardana, in the header or above it, "" where there is none."""
        return _stamp(STARTED, self.header + self.above)

    @property
    def end(self) -> str:
        """The stamp of its end, "" where there is none."""
        return _stamp(ENDED, self.remarks)

    @property
    def dwell(self) -> float | None:
        """Preset counting time of a point in seconds."""
        found = next((match for line in self.header if (match := DWELL.match(line))), None)
        return float(found[1]) * (1e-3 if found[2] == "ms" else 1.0) if found else None

    @property
    def points(self) -> int | None:
        """How many points the command promises."""
        match = INTERVALS.match(self.command)
        if match is not None:
            return int(match[1]) + 1
        return sum(int(found[1]) for found in map(REGION.match, self.header) if found) or None

    @property
    def is_aborted(self) -> bool:
        """Whether a remark says so."""
        return any(ABORTED.match(line) for line in self.remarks)

    @property
    def is_of_bluesky(self) -> bool:
        """Whether Bluesky wrote it, whose ``Epoch`` counts from the start of each scan."""
        return any(BLUESKY.match(line) for line in self.header)

    @property
    def labels(self) -> str:
        """The line with the names of the columns, "" where there is none."""
        for line in self.header[::-1]:
            if line.startswith(("#L ", "#L\t")) or (self.is_12bm and line.startswith("#C 1_")):
                return line[3:]
        return ""

    def columns(self) -> tuple[dict[str, Array], str | None]:
        """Return columns by name, and why the last row was left out.

        Raises
        ------
        FormatError
            No names, or rows that are not as many numbers.
        """
        if not self.labels:
            raise FormatError(f"scan {self.number}, line {self.first}: rows without '#L' above")
        lines, cut = self.rows, None
        if self.mid_line and not self.is_12bm and len(lines) > 1:
            # SPEC and Sardana end every row: without its end the last number may be a part of one.
            lines, cut = lines[:-1], f"line {self.first + len(lines) - 1}: cut short"
        table, truncated = rows(lines, first=self.first, mid_line=self.mid_line and not cut)
        return named(self._names(table.shape[1]), table), cut or truncated

    def _names(self, count: int) -> list[str]:
        """Return the names of the columns; those who part them by one blank are forgiven."""
        if self.is_12bm:
            splits = [[match[2] for match in NUMBERED.finditer(self.labels)]]
        else:
            text = self.labels.strip()
            splits = [re.split(r"\s{2,}|\t", text), text.split()]
        for names in splits:
            if len(names) == count:
                return names
        found = " or ".join(str(len(names)) for names in splits)
        raise FormatError(
            f"scan {self.number}, line {self.first}: {count} columns under {found} names"
        )


def _stamp(pattern: re.Pattern[str], lines: list[str]) -> str:
    return next((match[1].strip() for line in lines if (match := pattern.match(line))), "")


def blocks(text: str) -> list[Block]:
    """Return the scans of a file in their order.

    Raises
    ------
    FormatError
        A ``#S`` line without a number, or rows before the first.
    """
    found: list[Block] = []
    above: list[str] = []
    epoch, in_spectrum = "", False
    for number, line in enumerate(text.split("\n"), 1):
        block = found[-1] if found and not above else None
        if line.startswith("#E"):
            epoch = line[2:].strip()
        if line.startswith("#S"):
            found.append(_opened(line, number, above=above, epoch=epoch))
            above, in_spectrum = [], False
        elif block is None or (block.first and line.startswith(OPENS)):
            if line.strip() and not line.startswith("#"):
                raise FormatError(f"line {number}: {line[:40]!r}; expected '#S' above it")
            above.append(line)
        elif in_spectrum or line.startswith("@"):
            in_spectrum = line.rstrip().endswith("\\")
            block.rows += [""] if block.first else []
        else:
            _add(block, line, number)
    if found and not above and found[-1].rows and found[-1].rows[-1].strip():
        found[-1].mid_line = ends_mid_line(text)
    return found


def _opened(line: str, number: int, *, above: list[str], epoch: str) -> Block:
    match = SCAN.match(line)
    if match is None:
        raise FormatError(f"line {number}: {line[:40]!r}; expected '#S', a number and a command")
    return Block(
        number=int(match[2]),
        command=match[3].strip(),
        line=number,
        above=above,
        epoch=epoch,
        is_12bm=match[1] is not None,
    )


def _add(block: Block, line: str, number: int) -> None:
    """Put a line where it belongs in a scan."""
    is_row = bool(line.strip()) and not line.startswith("#")
    if is_row and not block.first:
        block.first = number
    if not block.first:
        block.header.append(line)
        return
    block.rows.append(line if is_row else "")
    if line.startswith("#"):
        block.remarks.append(line)
