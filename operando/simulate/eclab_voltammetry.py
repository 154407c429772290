"""Open circuit and cyclic voltammetry of a simulated cell as EC-Lab text (.mpt)."""

from __future__ import annotations

import numpy as np

from operando.simulate.eclab import HEADER, double, file_text, single
from operando.simulate.noise import Array

COLUMNS = (
    "mode",
    "ox/red",
    "error",
    "control changes",
    "counter inc.",
    "time/s",
    "control/V",
    "Ewe/V",
    "<I>/mA",
    "cycle number",
    "(Q-Qo)/C",
    "I Range",
    "P/W",
)


def voltammetry_text(
    elapsed: Array,
    control: Array,
    voltage: Array,
    mean_ma: Array,
    *,
    vertices: tuple[float, float],
    rate_mv_s: float,
    name: str,
    start: str,
) -> bytes:
    """Return a cyclic voltammogram as EC-Lab exports it; cycles change at the upper vertex.

    Parameters
    ----------
    elapsed
        Seconds since the start (rows,).
    control, voltage
        Potential that was asked for and that was measured, V.
    mean_ma
        Mean current since the previous row, mA.
    start
        Local time of the start, as EC-Lab writes it (MM/DD/YYYY HH:MM:SS.mmm).
    """
    low, high = vertices
    settings = (
        ("Ei (V)", f"{control[0]:.3f}"),
        ("vs.", "Ref"),
        ("dE/dt", f"{rate_mv_s:.3f}"),
        ("dE/dt unit", "mV/s"),
        ("E1 (V)", f"{high:.3f}"),
        ("E2 (V)", f"{low:.3f}"),
    )
    header = HEADER.format(
        lines=HEADER.count("\n") + len(settings) - 1,
        technique="Cyclic Voltammetry",
        start=start,
        name=name,
        settings="\n".join("".join(f"{cell:<20}" for cell in row) for row in settings),
        columns="\t".join(COLUMNS) + "\t",
    )
    way = np.sign(np.diff(control, prepend=control[0]))
    way[0] = way[1]
    cycle = 1 + np.cumsum(np.diff(way, prepend=way[0]) < 0)
    passed = np.cumsum(mean_ma * 1e-3 * np.diff(elapsed, prepend=elapsed[0]))
    lines = (
        "\t".join(
            (
                "2",
                f"{way[row] > 0:d}",
                "0",
                f"{row > 0 and way[row] != way[row - 1]:d}",
                "0",
                double(elapsed[row]),
                single(control[row]),
                single(voltage[row]),
                double(mean_ma[row]),
                double(float(cycle[row])),
                double(passed[row]),
                "13",
                single(1e-3 * mean_ma[row] * voltage[row]),
            )
        )
        for row in range(elapsed.size)
    )
    return file_text(header, lines, start=start, comma=False)


def rest_text(elapsed: Array, voltage: Array, *, name: str, start: str) -> bytes:
    """Return open circuit as EC-Lab exports it: seconds since the start, V."""
    settings = "".join(f"{cell:<20}" for cell in ("tR (h:m:s)", "1:00:0.0000"))
    columns = ("mode", "error", "time/s", "Ewe/V")
    header = HEADER.format(
        lines=HEADER.count("\n"),
        technique="Open Circuit Voltage",
        start=start,
        name=name,
        settings=settings,
        columns="\t".join(columns) + "\t",
    )
    rows = zip(elapsed.tolist(), voltage.tolist(), strict=True)
    lines = ("\t".join(("3", "0", double(at), single(volts))) for at, volts in rows)
    return file_text(header, lines, start=start, comma=False)
