"""The central slice of every volume of a tomography series, on one grey scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from operando.detect.event import Event
from operando.model import positions
from operando.plots.chosen import chosen_signal, faulty, label_of, spread
from operando.plots.marks import Mark, at_position, key, marks_of, span
from operando.plots.pooling import pooled_axis
from operando.plots.style import (
    EVENT,
    INK,
    LINE,
    WIDTH,
    figure,
    footnote,
    look,
    plain,
    shorten,
    wrap,
)
from operando.plots.timeline import Array, Index, hours, since_label

MOST_PIXELS = 400
"""Pixels of a slice along one side; a larger one is drawn by means."""
ROBUST = (0.5, 99.5)
OUTLINE = "#E69F00"
ROUND_UM = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


def volumes(
    dataset: xr.Dataset,
    *,
    signal: str | None = None,
    count: int = 5,
    threshold: float | None = None,
    events: Sequence[Event] = (),
    since: np.datetime64 | None = None,
) -> Figure:
    """Draw the central slice (normal to z) of volumes spread evenly over the series.

    Each position has its own row. Only the slices that are drawn are loaded.

    Parameters
    ----------
    signal
        Variable to draw; the signal of the technique when not given.
    count
        Volumes to draw of each position.
    threshold
        Attenuation to outline: the boundary of the pores, as it was segmented.
    events
        Slices from the onset of an event on have a coloured frame and its number.
    since
        Moment that hours count from; the first volume when not given.

    Raises
    ------
    RequestError
        No such signal, or not a series of volumes.
    """
    drawn = chosen_signal(dataset, signal=signal, window=None, axes=3)
    zero = dataset["time"].values[0] if since is None else since
    marks = marks_of(events, since=zero)
    places = positions(dataset)
    chosen = {place: at[_spread(dataset.isel(time=at), count)] for place, at in places.items()}
    slices = {place: _central(drawn.isel(time=at)) for place, at in chosen.items()}
    limits = np.nanpercentile(np.concatenate([s.values.ravel() for s in slices.values()]), ROBUST)
    with look():
        lines = wrap([f"{since_label(zero)} above each slice.", *key(marks)])
        shown, rows = _panels(list(slices.values()), lines)
        for row, (place, images) in zip(rows, slices.items(), strict=True):
            here = at_position(marks, place, among=list(places))
            for axes, image in zip(row, images, strict=True):
                mesh = _draw(axes, image, limits, threshold)
                _title(axes, image, float(hours(image["time"].values, since=zero)), here)
            row[0].set_ylabel(plain(shorten(place, 28)))
            _scale_bar(row[0], images)
        every = [axes for row in rows for axes in row]
        label = label_of(drawn)
        shown.colorbar(mesh, ax=every, label=label, pad=0.01, aspect=25, extend="both")
    return shown


def _spread(dataset: xr.Dataset, count: int) -> Index:
    whole = np.flatnonzero(~faulty(dataset))
    return spread(whole if whole.size else np.arange(dataset.sizes["time"]), count)


def _central(volumes: xr.DataArray) -> xr.DataArray:
    """Return the slices (time, y, x) half-way up, at most `MOST_PIXELS` wide, loaded."""
    depth = str(volumes.dims[1])
    images = volumes.isel({depth: volumes.sizes[depth] // 2})
    size = max(-(-max(images.shape[1:]) // MOST_PIXELS), 1)
    sides = {str(name): size for name in images.dims[1:]}
    return images.astype(np.float64).coarsen(sides, boundary="trim").mean().load()


def _panels(
    series: Sequence[xr.DataArray], lines: Sequence[str]
) -> tuple[Figure, list[list[Axes]]]:
    columns = max(images.sizes["time"] for images in series)
    tall = max(images.shape[1] / images.shape[2] for images in series)
    side = min((WIDTH - 1.2) / columns, 2.4)
    heights = [side * tall + 0.35] * len(series) + [LINE * len(lines)]
    shown = figure(height=sum(heights) + 0.25)
    grid = shown.add_gridspec(len(heights), columns, height_ratios=heights)
    footnote(shown.add_subplot(grid[-1, :]), lines)
    return shown, [
        [shown.add_subplot(grid[row, column]) for column in range(images.sizes["time"])]
        for row, images in enumerate(series)
    ]


def _draw(axes: Axes, image: xr.DataArray, limits: Array, threshold: float | None) -> QuadMesh:
    y, x = (image[name].values.astype(np.float64) for name in image.dims)
    mesh = axes.pcolormesh(
        pooled_axis(x, channels=1),
        pooled_axis(y, channels=1),
        np.ma.masked_invalid(image.values),
        cmap="gray",
        vmin=limits[0],
        vmax=limits[1],
        rasterized=True,
    )
    if threshold is not None:
        axes.contour(x, y, image.values, [threshold], colors=OUTLINE, linewidths=0.6)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
    return mesh


def _title(axes: Axes, image: xr.DataArray, at: float, marks: Sequence[Mark]) -> None:
    voltage = float(image["voltage"].values) if "voltage" in image.coords else np.nan
    text = f"{at:.2f} h, " + ("no voltage" if np.isnan(voltage) else f"{voltage:z.3f} V")
    begun = [mark.number for mark in marks if mark.onset <= at and mark.number is not None]
    if begun:
        text += f"\nafter event {span(begun)}"
        for spine in axes.spines.values():
            spine.set(color=EVENT, linewidth=1.6)
    axes.set_title(text, fontsize=7, color=EVENT if begun else INK, pad=3)


def _scale_bar(axes: Axes, images: xr.DataArray) -> None:
    """Draw the longest round length that fits a third of the slice, in the lower left corner."""
    y, x = (images[name].values.astype(np.float64) for name in images.dims[1:])
    width, height = x[-1] - x[0], y[-1] - y[0]
    length = max((size for size in ROUND_UM if size <= width / 3), default=0)
    if not length:
        return
    left, foot = x[0] + 0.06 * width, y[-1] - 0.07 * height
    halo = [patheffects.withStroke(linewidth=3.5, foreground="black")]
    axes.plot([left, left + length], [foot, foot], color="white", linewidth=2, path_effects=halo)
    axes.text(
        left + length / 2,
        foot - 0.04 * height,
        f"{length:g} µm",
        color="white",
        fontsize=7,
        ha="center",
        va="bottom",
        path_effects=[patheffects.withStroke(linewidth=1.5, foreground="black")],
    )
