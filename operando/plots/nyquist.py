"""Impedance sweeps in the complex plane, coloured by time or voltage, with their fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from operando import arguments
from operando.errors import RequestError
from operando.model import positions
from operando.observables.impedance import fitted_impedance
from operando.plots.arcs import Box, Complex, extent, fast_arc
from operando.plots.chosen import faulty, spread
from operando.plots.style import (
    DOUBT,
    INK,
    LINE,
    figure,
    footnote,
    look,
    on_white,
    plain,
    shorten,
    wrap,
)
from operando.plots.timeline import Array, hours, since_label

HEIGHT = 3.1
MOST_DISCRETE = 8
"""Up to here every sweep has a colour and a name of its own; more have a colour bar."""
SHAPES = {1: 2.2, 2: 1.1}
"""Width over height of one panel, and of each of two, in a row."""
FLATTEST = 1.8
"""Width over height of the panel of a very flat arc."""
APART = 0.07
"""Part of the width of a row that the names of decades keep from each other."""
DENSE = 40
"""Points to a decade of a fitted line."""
PREFIXES = ((1e6, "MHz"), (1e3, "kHz"), (1.0, "Hz"), (1e-3, "mHz"))


@dataclass(frozen=True)
class _Drawn:
    """The sweeps of one position that are drawn."""

    frequency: Array
    impedance: Complex
    fitted: Complex | None
    """On a dense axis; NaN where the circuit was refused."""
    fast: Array
    """(sweeps, 2): resistance in series and of the fastest arc; NaN where they are not known."""
    shade: Array
    """What colours them: hours or V."""
    total: int
    """Sweeps there are."""


def nyquist(
    frames: xr.Dataset,
    *,
    fits: xr.Dataset | None = None,
    colour: Literal["time", "voltage"] = "time",
    count: int = 12,
    since: np.datetime64 | None = None,
) -> Figure:
    """Draw sweeps spread evenly over a series in the complex plane, -Z'' upwards, axes equal.

    Every position has a row. Filled markers are whole decades of frequency, named on the last
    sweep. Where the sweeps are more than five times as large as their fastest arc, that has a panel
    of its own on the right. Up to eight sweeps have a colour and a name each, more a colour bar.

    Parameters
    ----------
    frames
        With `impedance` on (time, frequency).
    fits
        Result of `operando.observables.track_resistance` for the same sweeps: drawn as lines, where
        no part of the circuit was refused.
    colour
        By the time since the first sweep, or by the mean voltage during each (grey without one).
    count
        Sweeps to draw of each position, with the first and the last.
    since
        Moment that hours count from; the first sweep when not given.

    Raises
    ------
    RequestError
        No impedance, no voltage to colour by, or fits of other sweeps.
    """
    _check(frames, fits, colour, count)
    begins = frames["time_start" if "time_start" in frames.coords else "time"].values
    zero = begins[0] if since is None else since
    shade = hours(begins, since=zero) if colour == "time" else frames["voltage"].values
    drawn = {
        place: _select(frames, fits, at, np.asarray(shade, float), count)
        for place, at in positions(frames).items()
    }
    label = since_label(zero) if colour == "time" else "Voltage (V)"
    with look():
        lines = wrap([_told(place, part) for place, part in drawn.items()])
        shown = figure(height=HEIGHT * len(drawn) + LINE * len(lines) + 0.2)
        heights = [HEIGHT] * len(drawn) + [LINE * len(lines)]
        grid = shown.add_gridspec(len(heights), 1, height_ratios=heights)
        footnote(shown.add_subplot(grid[-1]), lines)
        for row, (place, part) in enumerate(drawn.items()):
            box = fast_arc(part.impedance, part.fast)
            columns = 1 if box is None else 2
            cells = grid[row].subgridspec(1, columns)
            panels = [shown.add_subplot(cells[column]) for column in range(columns)]
            colours, norm = _colours(part.shade)
            for axes in panels:
                _draw(axes, part, colours)
            _frame(panels[0], extent(part.impedance), SHAPES[columns])
            if box is not None:
                _magnify(panels[0], panels[1], box)
                _name_decades(panels[1], part, None, apart=APART * columns)
            _name_decades(panels[0], part, box, apart=APART * columns)
            panels[0].set_title(plain(shorten(place, 40)), loc="left", fontweight="bold")
            _key(shown, panels, part, colours, norm, label)
    return shown


def _check(frames: xr.Dataset, fits: xr.Dataset | None, colour: str, count: int) -> None:
    arguments.dataset("frames", frames)
    arguments.chosen("colour", colour, ("time", "voltage"))
    arguments.whole("count", count, lambda sweeps: sweeps >= 1, "one sweep or more")
    if "impedance" not in frames or set(frames["impedance"].dims) != {"time", "frequency"}:
        raise RequestError(
            f"frames: variables {list(frames.data_vars)}; expected impedance on time and frequency"
        )
    if not frames.sizes["time"]:
        raise RequestError("frames: no sweeps")
    if colour == "voltage" and "voltage" not in frames.variables:
        raise RequestError("colour: 'voltage', but the sweeps are not aligned with a log")
    if fits is not None and (
        "resistance" not in fits or not np.array_equal(fits["time"], frames["time"])
    ):
        raise RequestError("fits: not tracked resistances of these sweeps")


def _measured(dense: Array, frequency: Array, sweeps: Complex) -> npt.NDArray[np.bool_]:
    """Return which frequencies lie between the lowest and the highest of each sweep (t, m)."""
    there = np.isfinite(sweeps)
    low = np.where(there, frequency, np.inf).min(axis=1, keepdims=True)
    high = np.where(there, frequency, -np.inf).max(axis=1, keepdims=True)
    edge = 1e-9
    return np.asarray((dense >= low * (1 - edge)) & (dense <= high * (1 + edge)))


def _select(
    frames: xr.Dataset, fits: xr.Dataset | None, at: npt.NDArray[np.intp], shade: Array, count: int
) -> _Drawn:
    impedance = frames["impedance"].transpose("time", "frequency").sortby("frequency")
    usable = at[~faulty(frames)[at]]
    chosen = spread(np.asarray(usable if usable.size else at, np.int64), count)
    frequency = impedance["frequency"].values.astype(float)
    decades = float(np.log10(frequency[-1] / frequency[0]))
    dense = np.geomspace(frequency[0], frequency[-1], max(round(DENSE * decades), 2))
    fitted, fast = None, np.full((chosen.size, 2), np.nan)
    if fits is not None:
        part = fits.isel(time=chosen)
        within = _measured(dense, frequency, impedance.isel(time=chosen).values)
        fitted = np.where(within, fitted_impedance(part, dense).values, np.nan)
        fast = np.column_stack([part["series_resistance"], part["resistance"].isel(arc=0)])
    return _Drawn(
        frequency=frequency,
        impedance=impedance.isel(time=chosen).values,
        fitted=fitted,
        fast=fast,
        shade=shade[chosen],
        total=at.size,
    )


def _colours(shade: Array) -> tuple[list[Any], Normalize | None]:
    """Return a colour for each sweep, and the scale of a colour bar where there are many."""
    known = np.isfinite(shade)
    if shade.size <= MOST_DISCRETE:
        steps = on_white()(np.linspace(0, 1, max(shade.size, 2)))
        rank = np.argsort(np.argsort(shade))
        return [steps[rank[at]] if known[at] else DOUBT for at in range(shade.size)], None
    if not known.any():
        return [DOUBT] * shade.size, None
    low, high = float(shade[known].min()), float(shade[known].max())
    norm = Normalize(low, high if high > low else low + 1)
    return [on_white()(norm(value)) if np.isfinite(value) else DOUBT for value in shade], norm


def _draw(axes: Axes, part: _Drawn, colours: list[Any]) -> None:
    axes.axhline(0, color="#B0B0B0", linewidth=0.6, zorder=0)
    marked = _decades(part.frequency)
    for row, colour in enumerate(colours):
        sweep = part.impedance[row]
        there = np.isfinite(sweep)
        axes.plot(
            sweep.real[there],
            -sweep.imag[there],
            linestyle="none" if part.fitted is not None else "-",
            linewidth=0.5,
            marker="o",
            markersize=2.4,
            markerfacecolor="white",
            markeredgecolor=colour,
            markeredgewidth=0.6,
            color=colour,
        )
        axes.plot(
            sweep.real[marked],
            -sweep.imag[marked],
            linestyle="none",
            marker="o",
            markersize=4.2,
            color=colour,
        )
        if part.fitted is not None:
            axes.plot(part.fitted[row].real, -part.fitted[row].imag, color=colour, linewidth=0.9)
    axes.set_aspect("equal", adjustable="box")
    axes.set_xlabel("Z′ (Ω)")
    axes.set_ylabel("−Z″ (Ω)")


def _decades(frequency: Array) -> npt.NDArray[np.intp]:
    """Return the points nearest to whole decades, closer than half a usual step."""
    step = float(np.median(np.diff(np.log10(frequency)))) if frequency.size > 1 else 1.0
    whole = np.arange(np.ceil(np.log10(frequency[0])), np.log10(frequency[-1]) + 1e-6)
    nearest = np.abs(np.log10(frequency)[:, None] - whole).argmin(axis=0)
    close = np.abs(np.log10(frequency)[nearest] - whole) <= 0.51 * step
    return np.asarray(nearest[close], np.intp)


def _hertz(frequency: float) -> str:
    """Return a whole decade with its unit.

    >>> _hertz(99.8), _hertz(1.0e4), _hertz(0.01)
    ('100 Hz', '10 kHz', '10 mHz')
    """
    whole = 10.0 ** round(float(np.log10(frequency)))
    size, unit = next((p for p in PREFIXES if whole >= p[0] * 0.999), PREFIXES[-1])
    return f"{whole / size:g} {unit}"


def _name_decades(axes: Axes, part: _Drawn, hidden: Box | None, *, apart: float) -> None:
    """Name decades on the last sweep, apart from each other and outside what is magnified."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    hidden = hidden and hidden.widened(apart * (right - left))
    sweep = part.impedance[-1]
    named: list[complex] = []
    for at in _decades(part.frequency)[::-1]:
        point = complex(sweep[at].real, -sweep[at].imag)
        inside = left <= point.real <= right and bottom <= point.imag <= 0.93 * top
        if not inside or (hidden is not None and hidden.holds(point)):
            continue
        if any(abs(point - other) < apart * (right - left) for other in named):
            continue
        named.append(point)
        axes.annotate(
            _hertz(float(part.frequency[at])),
            (point.real, point.imag),
            xytext=(0, 5),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=6.5,
            color=INK,
            path_effects=[patheffects.withStroke(linewidth=1.8, foreground="white", alpha=0.85)],
        )


def _frame(axes: Axes, box: Box, shape: float) -> None:
    """Set limits that hold the box and fill a panel of that shape, with the room above or right."""
    height = max(box.top - box.bottom, (box.right - box.left) / shape)
    width = max(box.right - box.left, height * shape)
    middle = (box.left + box.right) / 2
    axes.set_xlim(middle - width / 2, middle + width / 2)
    axes.set_ylim(box.bottom, box.bottom + height)


def _magnify(whole: Axes, axes: Axes, box: Box) -> None:
    natural = (box.right - box.left) / (box.top - box.bottom)
    _frame(axes, box, float(np.clip(natural, SHAPES[2], FLATTEST)))
    axes.set_title("fastest arc", loc="left")
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    whole.indicate_inset(
        (left, bottom, right - left, top - bottom), edgecolor=DOUBT, alpha=1.0, linewidth=0.7
    )


def _key(
    shown: Figure,
    panels: list[Axes],
    part: _Drawn,
    colours: list[Any],
    norm: Normalize | None,
    label: str,
) -> None:
    if norm is not None:
        shown.colorbar(
            ScalarMappable(norm, on_white()), ax=panels, label=label, pad=0.015, aspect=30
        )
        return
    handles = [
        Line2D([], [], linestyle="none", marker="o", markersize=4, color=colour, label=f"{at:.4g}")
        for colour, at in zip(colours, part.shade, strict=True)
    ]
    panels[0].legend(
        handles=handles,
        title=label,
        loc="upper left",
        ncols=2,
        title_fontsize=7,
        handlelength=0.8,
        alignment="left",
    )


def _told(place: str, part: _Drawn) -> str:
    text = f"{part.impedance.shape[0]} of {part.total} sweeps; filled: whole decades of frequency"
    if part.fitted is not None:
        without = int(np.isnan(part.fitted).all(axis=1).sum())
        text += "; lines: the circuit"
        text += f", refused in part and not drawn for {without} of them" if without else ""
    below = int(np.sum(-part.impedance.imag < extent(part.impedance).bottom))
    text += f"; {below} inductive points below the frame" if below else ""
    return (f"{plain(place)}: " if place else "") + text
