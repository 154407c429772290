"""What the columns of an EC-Lab .mpr file are called and how they are stored, by their id.

The ids are those of EC-Lab itself: its OLE-COM manual lists them up to 543. Names are EC-Lab's own
in a text export. How a column is stored was learnt from files beside their export, by several
projects independently of one another.

Layout 0 of the data module has one byte for an id: from 256 on only the low byte is there.
"""

from __future__ import annotations

FLAGS = {
    1: ("mode", 0x03),
    2: ("ox/red", 0x04),
    3: ("error", 0x08),
    21: ("control changes", 0x10),
    31: ("Ns changes", 0x20),
    65: ("counter inc.", 0x80),
}
"""Name and mask of those that share one byte, where the first of them stands."""

COLUMNS: dict[int, tuple[str, str]] = {
    4: ("time/s", "<f8"),
    5: ("control/V/mA", "<f4"),
    6: ("Ewe/V", "<f4"),
    7: ("dq/mA.h", "<f8"),
    8: ("I/mA", "<f4"),
    9: ("Ece/V", "<f4"),
    11: ("<I>/mA", "<f8"),
    13: ("(Q-Qo)/mA.h", "<f8"),
    16: ("Analog IN 1/V", "<f4"),
    17: ("Analog IN 2/V", "<f4"),
    19: ("control/V", "<f4"),
    20: ("control/mA", "<f4"),
    23: ("dQ/mA.h", "<f8"),
    24: ("cycle number", "<f8"),
    26: ("Rapp/Ohm", "<f4"),
    27: ("Ewe-Ece/V", "<f4"),
    32: ("freq/Hz", "<f4"),
    33: ("|Ewe|/V", "<f4"),
    34: ("|I|/A", "<f4"),
    35: ("Phase(Z)/deg", "<f4"),
    36: ("|Z|/Ohm", "<f4"),
    37: ("Re(Z)/Ohm", "<f4"),
    38: ("-Im(Z)/Ohm", "<f4"),
    39: ("I Range", "<u2"),
    50: ("E0/V", "<f4"),
    69: ("R/Ohm", "<f4"),
    70: ("P/W", "<f4"),
    73: ("rotation rate/rpm", "<f4"),
    74: ("|Energy|/W.h", "<f8"),
    75: ("Analog OUT/V", "<f4"),
    76: ("<I>/mA", "<f4"),
    77: ("<Ewe>/V", "<f4"),
    78: ("Cs-2/µF-2", "<f4"),
    96: ("|Ece|/V", "<f4"),
    98: ("Phase(Zce)/deg", "<f4"),
    99: ("|Zce|/Ohm", "<f4"),
    100: ("Re(Zce)/Ohm", "<f4"),
    101: ("-Im(Zce)/Ohm", "<f4"),
    123: ("Energy charge/W.h", "<f8"),
    124: ("Energy discharge/W.h", "<f8"),
    125: ("Capacitance charge/µF", "<f8"),
    126: ("Capacitance discharge/µF", "<f8"),
    131: ("Ns", "<u2"),
    163: ("|Estack|/V", "<f4"),
    168: ("Rcmp/Ohm", "<f4"),
    169: ("Cs/µF", "<f4"),
    172: ("Cp/µF", "<f4"),
    173: ("Cp-2/µF-2", "<f4"),
    174: ("<Ewe>/V", "<f4"),
    422: ("Phase(Zstack)/deg", "<f4"),
    423: ("|Zstack|/Ohm", "<f4"),
    424: ("Re(Zstack)/Ohm", "<f4"),
    425: ("-Im(Zstack)/Ohm", "<f4"),
    426: ("<Estack>/V", "<f4"),
    430: ("Phase(Zwe-ce)/deg", "<f4"),
    431: ("|Zwe-ce|/Ohm", "<f4"),
    432: ("Re(Zwe-ce)/Ohm", "<f4"),
    433: ("-Im(Zwe-ce)/Ohm", "<f4"),
    434: ("(Q-Qo)/C", "<f4"),
    435: ("dQ/C", "<f4"),
    438: ("step time/s", "<f8"),
    441: ("<Ece>/V", "<f4"),
    462: ("Temperature/°C", "<f4"),
    467: ("Q charge/discharge/mA.h", "<f8"),
    468: ("half cycle", "<u4"),
    469: ("z cycle", "<u4"),
    471: ("<Ece>/V", "<f4"),
    504: ("Rac/Ohm", "<f4"),
    505: ("Rdc/Ohm", "<f4"),
    509: ("Acir/Dcir Control", "u1"),
    880: ("Energy we/W.h", "<f8"),
    883: ("Energy ce charge/W.h", "<f8"),
    884: ("Energy ce discharge/W.h", "<f8"),
}
COLUMNS |= {
    first + at: (f"{quality} {of}/%", "<f4")
    for first, quality in ((473, "THD"), (476, "NSD"), (479, "NSR"))
    for at, of in enumerate(("Ewe", "I", "Ece"))
}
COLUMNS |= {
    first + harmonic: (f"|{of} h{harmonic}|/{unit}", "<f4")
    for first, of, unit in ((484, "Ewe", "V"), (490, "I", "A"), (496, "Ece", "V"))
    for harmonic in range(2, 8)
}
COLUMNS |= {
    first + cell: (name.format(cell), "<f4")
    for first, name in (
        (240, "|E{}|/V"),
        (270, "Phase(Z{})/deg"),
        (300, "|Z{}|/Ohm"),
        (330, "Re(Z{})/Ohm"),
        (360, "-Im(Z{})/Ohm"),
        (390, "<E{}>/V"),
    )
    for cell in range(1, 31)
}
"""Name and type of those that files have shown; the last are the cells of a stack."""

PRESUMED: dict[int, tuple[str, str]] = {
    10: ("Aux/V", "<f4"),
    18: ("Analog IN 3/V", "<f4"),
    28: ("control/°C", "<f4"),
    29: ("T/°C", "<f4"),
    30: ("rotation rate/rpm", "<f4"),
    71: ("control/°C", "<f4"),
    72: ("T/°C", "<f4"),
    103: ("Estack/V", "<f4"),
    104: ("Istack/A", "<f4"),
    506: ("TCU control/°C", "<f4"),
    507: ("TCU meas. /°C", "<f4"),
    878: ("Energy ce/W.h", "<f8"),
} | {210 + cell: (f"E{cell}/V", "<f4") for cell in range(1, 31)}
"""Named by one source only, their type taken from their kin: believed where it fills the row."""

SHORTENED = frozenset(
    (178, 179, 182, 185, 206, 211, 212, 213, 215, *range(217, 226), *range(230, 250), 253)
)
"""Ids in one byte that stand for the one 256 above."""
