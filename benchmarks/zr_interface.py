"""Zr reduced at an interface, simulated with all that misleads, from raw scans to the event.

`python benchmarks/zr_interface.py [--quick]`: 100 simulated experiments a noise (10 with --quick):
drift of 0.3 eV with a jitter of 0.02 eV, damage that follows the dose, a 1 eV grid. The standards
come from the series itself: the fresh electrolyte, the foil, what the dose does to the bulk.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

import operando
from measuring import report
from operando.corrections import energy_drift, normalised, shift_energy
from operando.observables import fractions, track_edge
from operando.simulate.zr_series import Series, zr_series

Array = npt.NDArray[np.float64]

RANGES: dict[str, Any] = {"e0": 18003.0, "pre": (-140.0, -50.0), "post": (100.0, 600.0)}
FRESH, BEAM = 20, 40
"""Scans that are the fresh electrolyte; scans of the bulk at either end that tell the damage."""
SCAN = np.timedelta64(510, "s")
"""From one scan of a spot to the next."""


@dataclass
class Found:
    """What many experiments of one noise came to."""

    worst: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    covered: int = 0
    bulk: int = 0
    pulls: dict[str, list[Array]] = field(default_factory=dict)


def measure(series: Series) -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
    """Return drift, edge and fractions, from raw scans and the raw log."""
    frames = operando.align(series.frames, operando.prepare(series.log))
    # On the scans as they are: what is interpolated has less noise between its points.
    edge = track_edge(frames["mu"], reference=frames["mu_reference"], **RANGES)
    drift = energy_drift(frames["mu_reference"], window=(17975.0, 18040.0))
    frames = shift_energy(frames, drift)
    norm = normalised(frames["mu"], **RANGES)["norm"]
    foil = normalised(frames["mu_reference"], **RANGES)["norm"]
    bulk = norm[frames["position"].values == "bulk"]
    shares = fractions(
        norm,
        standards={"Zr4+": norm[:FRESH].mean("time"), "metal": foil.mean("time")},
        differences={"damage": bulk[-BEAM:].mean("time") - bulk[:BEAM].mean("time")},
        window=(17980.0, 18060.0),
        normalisation={**RANGES, "degree": 2},
    )
    return drift, edge, shares


def departures_of(series: xr.DataArray, sigma: xr.DataArray) -> list[list[operando.Event]]:
    """Return the events at the interface and in the bulk, with the bulk as the control."""
    spots = series["position"].values
    here = {name: np.flatnonzero(spots == name) for name in ("interface", "bulk")}
    quiet = (series[here["bulk"]], sigma[here["bulk"]])
    return [
        operando.departures(
            series[rows],
            sigma[rows],
            measurement="xas",
            technique="xas",
            observable="species.fraction.metal",
            position=name,
            reversible="none",
            control="bulk",
            quiet=None if name == "bulk" else quiet,
        ).events
        for name, rows in here.items()
    ]


def add(found: Found, series: Series) -> None:
    """Measure one experiment and note what came of it."""
    drift, edge, shares = measure(series)
    metal = shares["fraction"].sel(component="metal", drop=True)
    sigma = shares["fraction_sigma"].sel(component="metal", drop=True)
    error = metal.values - series.fraction
    reduced = series.fraction > 0.01
    found.worst.append(float(np.abs(error).max()))
    note(found, "fraction", (error / sigma.values)[reduced])
    for name in ("raw_shift", "energy_correction"):
        off = drift[name].values - series.drift
        # What the baseline is off by is common to all scans.
        note(found, name, (off - off.mean()) / drift[f"{name}_sigma"].values)
    truth = track_edge(series.clean, **RANGES)
    note(
        found,
        "edge_step",
        ((edge["edge_step"] - truth["edge_step"]) / edge["edge_step_sigma"]).values,
    )
    known = np.hypot(edge["edge_sigma_stat"], edge["edge_sigma_drift"])
    # Baseline frames share their noise with the baseline.
    note(found, "edge_shift", ((edge["edge_shift"] - truth["edge_shift"]) / known).values[6:])
    at_interface, in_bulk = departures_of(metal, sigma)
    found.bulk += bool(in_bulk)
    for event in at_interface:
        found.late.append(float((event.onset.time - series.onset) / SCAN))
        found.covered += bool(event.onset_earliest <= series.onset <= event.onset_latest)


def note(found: Found, name: str, pulls: Array) -> None:
    """Keep the pulls of one experiment."""
    found.pulls.setdefault(name, []).append(pulls)


def told(name: str, found: Found, *, noise: float, count: int) -> list[bool]:
    """Print what the experiments of one noise came to; goals are those of noise 1e-3."""
    late = np.abs(found.late)
    fine = [
        report(f"{name}.bulk_flags", f"{found.bulk} of {count} experiments", "0", found.bulk == 0)
    ]
    for number, pulls in found.pulls.items():
        spread = float(np.concatenate(pulls).std())
        fine.append(
            report(f"{name}.pull_{number}", f"{spread:.2f}", "0.9 to 1.1", 0.9 <= spread <= 1.1)
        )
    worst, usual = max(found.worst), float(np.median(found.worst))
    said = f"{worst:.4f} at most, {usual:.4f} in the median experiment"
    close = (
        f"{np.mean(late <= 1):.0%} of {late.size} onsets within a scan, {np.mean(late <= 2):.0%}"
    )
    close += f" within two; {found.covered} intervals hold the truth"
    if noise > 1e-3:
        print(f"{name}.fraction_error: {said}")
        print(f"{name}.onset: {close}")
        return fine
    fine.append(report(f"{name}.fraction_error", said, "<= 0.01", worst <= 0.01))
    within = late.size == count and bool(np.all(late <= 1))
    return [*fine, report(f"{name}.onset", close, "all within a scan", within)]


def main() -> int:
    """Print every figure; 1 when any falls short."""
    count = 10 if "--quick" in sys.argv else 100
    fine = []
    for noise in (1e-3, 3e-3, 1e-2):
        found = Found()
        for seed in range(count):
            add(found, zr_series(noise=noise, seed=seed))
        name = f"zr_interface.noise_{noise:g}"
        fine += told(name, found, noise=noise, count=count)
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
