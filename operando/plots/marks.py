"""Events on a time axis: onset, onset interval, a number, and the key to the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes

from operando.detect.event import Event
from operando.plots.style import EVENT, plain, shorten
from operando.plots.timeline import hours

MOST_NUMBERED = 9
"""All events are marked; the strongest of them have a number and a line in the key."""
APART = 0.05
"""Numbers closer than this part of the axis are written as one range."""


@dataclass(frozen=True)
class Mark:
    """One event in the hours of a figure."""

    event: Event
    number: int | None
    onset: float
    earliest: float
    latest: float


def marks_of(events: Sequence[Event], *, since: np.datetime64) -> list[Mark]:
    """Return the events in order of onset; the strongest are numbered from 1."""
    ordered = sorted(events, key=lambda event: (event.onset.time, event.identity))
    strongest = sorted(range(len(ordered)), key=lambda i: -_strength(ordered[i]))[:MOST_NUMBERED]
    numbers = {index: number for number, index in enumerate(sorted(strongest), start=1)}
    return [
        Mark(
            event,
            numbers.get(index),
            float(hours(event.onset.time, since=since)),
            float(hours(event.onset_earliest, since=since)),
            float(hours(event.onset_latest, since=since)),
        )
        for index, event in enumerate(ordered)
    ]


def at_position(marks: Sequence[Mark], position: str, *, among: Sequence[str]) -> list[Mark]:
    """Return the marks that belong to a position; an event of no single one belongs to all."""
    return [
        mark
        for mark in marks
        if mark.event.position == position or mark.event.position not in among
    ]


def draw_marks(axes: Axes, marks: Sequence[Mark], *, numbers: bool = True) -> None:
    """Draw onset lines, onset intervals and, above the panel, the numbers. The limits stay."""
    low, high = axes.get_xlim()
    shown = [mark for mark in marks if low <= mark.onset <= high]
    halo = [patheffects.withStroke(linewidth=2.2, foreground="white", alpha=0.7)]
    for mark in shown:
        axes.axvspan(mark.earliest, mark.latest, color=EVENT, alpha=0.12, linewidth=0, zorder=3)
        axes.axvline(mark.onset, color=EVENT, linewidth=1.0, zorder=4, path_effects=halo)
    axes.set_xlim(low, high)
    if numbers:
        for at, text in together(shown, apart=APART * (high - low)):
            axes.annotate(
                text,
                (at, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 1.5),
                textcoords="offset points",
                ha="center",
                va="bottom",
                color=EVENT,
                fontsize=7.5,
                fontweight="bold",
            )


def draw_births(axes: Axes, marks: Sequence[Mark]) -> None:
    """Mark where on the axis new lines are born (>) and known ones lost (<). The limits stay."""
    limits = axes.get_xlim(), axes.get_ylim()
    low, high = sorted(limits[1])
    for mark in marks:
        for line in mark.event.detail.get("lines", ()):
            if low <= line["position"] <= high:
                axes.plot(
                    mark.onset,
                    line["position"],
                    marker="<" if mark.event.kind.startswith("lost") else ">",
                    color=EVENT,
                    markeredgecolor="white",
                    markeredgewidth=0.5,
                    markersize=5.0,
                    zorder=5,
                )
    axes.set_xlim(*limits[0])
    axes.set_ylim(*limits[1])


def together(marks: Sequence[Mark], *, apart: float) -> Iterator[tuple[float, str]]:
    """Yield (place, text) of the numbers; those that would overlap become one range."""
    group: list[Mark] = []
    for mark in marks:
        if mark.number is None:
            continue
        if group and mark.onset - group[0].onset >= apart:
            yield group[0].onset, span([m.number for m in group if m.number])
            group = []
        group.append(mark)
    if group:
        yield group[0].onset, span([m.number for m in group if m.number])


def span(numbers: Sequence[int]) -> str:
    """Return consecutive numbers as a range, others as a list.

    >>> span([1]), span([2, 3, 4]), span([1, 3])
    ('1', '2–4', '1, 3')
    """
    if len(numbers) > 1 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]}–{numbers[-1]}"
    return ", ".join(str(number) for number in numbers)


def key(marks: Sequence[Mark]) -> list[str]:
    """Return the lines that tell what the numbers mean."""
    lines = [f"{mark.number}  {_told(mark)}" for mark in marks if mark.number is not None]
    rest = sum(mark.number is None for mark in marks)
    if rest:
        lines.append(f"and {rest} weaker event{'s'[: rest > 1]} marked without a number")
    return lines


def _told(mark: Mark) -> str:
    event = mark.event
    place = f" at {shorten(event.position, 28)}" if event.position else ""
    state = [] if np.isnan(event.onset.voltage) else [f"{event.onset.voltage:z.3f} V"]
    state += [event.onset.state.replace("_", " ")] if event.onset.state != "unknown" else []
    state += [f"cycle {event.onset.cycle}"] if event.onset.cycle is not None else []
    return plain(
        f"{event.kind.replace('_', ' ')}, {event.observable}{place}: onset {mark.onset:.2f} h "
        f"({mark.earliest:.2f} to {mark.latest:.2f} h)" + "".join(f", {fact}" for fact in state)
    )


def _strength(event: Event) -> float:
    strength = event.score / event.threshold if event.threshold > 0 else event.score
    return strength if np.isfinite(strength) else -np.inf
