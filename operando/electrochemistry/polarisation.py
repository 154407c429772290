"""DC polarisation: initial and steady current of a cell held at constant voltage."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando.electrochemistry.preparation import require_prepared
from operando.electrochemistry.states import white_noise
from operando.errors import RequestError
from operando.model import STATES, flag_attributes

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

ASSESSMENT: dict[str, int] = {
    "few_rows": 1,
    "not_steady": 2,
    "no_initial": 4,
    "poor_fit": 8,
    "extrapolated": 16,
}
"""Why a number should not be believed; 0 is success, the current is steady.

`few_rows`: fewer than 20; nothing is fitted. `not_steady`: the current still changes over the last
fifth, by more than 3 sigma of its slope. `no_initial`: the current follows t^-1/2, which has no
value at the start. `poor_fit`: the residuals are no white noise (they follow one another, or exceed
the noise of the rows twofold). `extrapolated`: the steady current lies further from the last fifth
than a tenth of itself.
"""

FEWEST_ROWS, FEWEST_TAIL_ROWS = 20, 5
TAIL = 0.2
STEADY_SIGMAS = 3.0
DECAYS = 60
REFINEMENTS = 40
LARGEST_CORRELATION = 0.5
POOR = 2.0
FAR = 0.1
MODELS = {"exponential": 0, "square_root": 1}


class _Fit(NamedTuple):
    model: str
    steady: float
    steady_sigma: float
    initial: float
    initial_sigma: float
    decay_s: float
    left: Array
    """Residuals, A."""


def polarisation(log: xr.Dataset) -> xr.Dataset:
    """Fit the current of each step at constant voltage (chronoamperometry).

    Two laws are fitted by least squares, and the one with the smaller residual is kept: `model` is

    - exponential, I = I_ss + A exp(-t / tau): relaxation of a concentration gradient;
    - square_root, I = I_ss + A t^-1/2: diffusion into a half-space (Cottrell).

    On `step`: `potential` (V, mean), `initial_current` (A, I_ss + A at the first moment of the
    step), `steady_current` (A, I_ss), `tail_current` (A, mean of the last fifth), each with
    `_sigma`; `decay_time` (s; NaN for t^-1/2), `resistance` (ohm, potential over steady current)
    with `_sigma`, `model`, `time_start`, `time_end` and `assessment` (`ASSESSMENT`).

    Two uses, for a symmetric cell polarised by a few mV:

    - electrodes that block ions: 1 / resistance is the electronic conductance;
    - non-blocking electrodes, with interface resistances R_0 and R_ss from impedance before and
      after, t+ = I_ss (V - I_0 R_0) / (I_0 (V - I_ss R_ss)) (Evans, Vincent, Bruce, Polymer 28
      (1987) 2324).

    Parameters
    ----------
    log
        From `prepare`.

    Raises
    ------
    RequestError
        The log is not prepared, or holds no step at constant voltage.

    Notes
    -----
    Sigmas hold for white noise and the law that was chosen; an I_ss beyond the last rows depends on
    the law (`extrapolated`). The resistance includes leads and contacts, and takes the voltage at
    rest for zero. The first moment of a step is its first row with current: at coarse intervals a
    fast decay before it is lost, and I_0 with it.
    """
    require_prepared(log)
    state = log["state"].values
    held = np.isin(state, (STATES["hold_charge"], STATES["hold_discharge"]))
    known = held & np.isfinite(log["voltage"].values) & np.isfinite(log["current"].values)
    key = np.where(known, 10 * log["run"].values.astype(np.int64) + state, -1)
    first = np.flatnonzero(np.diff(key, prepend=key[:1] - 1))
    end = np.append(first[1:], key.size)
    first, end = first[key[first] >= 0], end[key[first] >= 0]
    if not first.size:
        raise RequestError("log: no step at constant voltage (states hold_...) in it")
    return _table(log, first, end)


def _fit(seconds: Array, current: Array) -> _Fit:
    """Return the better of the two laws."""
    decay = _best_decay(seconds, current)
    shapes = {
        "exponential": np.exp(-seconds / decay),
        "square_root": np.where(seconds > 0, seconds, np.nan) ** -0.5,
    }
    fits = [_law(name, seconds, current, shape, decay) for name, shape in shapes.items()]
    spread = [float(np.mean(fit.left**2)) for fit in fits]
    return fits[int(np.argmin(spread))]


def _law(name: str, seconds: Array, current: Array, shape: Array, decay: float) -> _Fit:
    seen = np.isfinite(shape)
    columns = [np.ones(int(seen.sum())), shape[seen]]
    amplitude = _linear(np.stack(columns, 1), current[seen])[1]
    exponential = name == "exponential"
    if exponential:
        # The derivative by tau, so that its uncertainty enters those of the other two.
        columns.append(amplitude * seconds / decay**2 * shape)
    design = np.stack(columns, 1)
    steady, height = _linear(design[:, :2], current[seen])
    left = current[seen] - design[:, :2] @ np.array([steady, height])
    variance = float(left @ left) / max(left.size - design.shape[1], 1)
    scale = np.sqrt((design**2).sum(0))
    scale[scale == 0] = 1.0
    covariance = variance * np.linalg.pinv((design / scale).T @ (design / scale), rcond=1e-12)
    covariance /= scale[:, None] * scale
    initial = covariance[0, 0] + covariance[1, 1] + 2 * covariance[0, 1]
    return _Fit(
        name,
        float(steady),
        float(np.sqrt(covariance[0, 0])),
        float(steady + height) if exponential else np.nan,
        float(np.sqrt(max(initial, 0.0))) if exponential else np.nan,
        decay if exponential else np.nan,
        left,
    )


def _linear(design: Array, values: Array) -> Array:
    return np.asarray(np.linalg.lstsq(design, values, rcond=None)[0])


def _best_decay(seconds: Array, current: Array) -> float:
    """Return tau by variable projection: a grid in log tau, then golden section around its best."""
    step = float(np.median(np.diff(seconds)))
    grid = np.geomspace(max(step, 1e-9) / 2, 3 * seconds[-1], DECAYS)

    def misfit(log_decay: float) -> float:
        shape = np.exp(-seconds / np.exp(log_decay))
        shape = shape - shape.mean()
        square = float(shape @ shape)
        return -(float(shape @ current) ** 2) / square if square > 0 else 0.0

    costs = [misfit(float(value)) for value in np.log(grid)]
    best = int(np.argmin(costs))
    low, high = np.log(grid[max(best - 1, 0)]), np.log(grid[min(best + 1, DECAYS - 1)])
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(REFINEMENTS):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if misfit(left) < misfit(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def _tail(seconds: Array, current: Array) -> tuple[float, float, bool]:
    """Return mean of the last fifth, its sigma, and whether its slope is consistent with zero."""
    rows = seconds >= seconds[-1] - TAIL * (seconds[-1] - seconds[0])
    rows[-FEWEST_TAIL_ROWS:] = True
    off, values = seconds[rows] - seconds[rows].mean(), current[rows]
    if not off.any():
        return float(values.mean()), np.nan, False
    slope = float(off @ values) / float(off @ off)
    left = values - values.mean() - slope * off
    noise = float(np.sqrt(left @ left / max(left.size - 2, 1)))
    steady = abs(slope) <= STEADY_SIGMAS * noise / float(np.sqrt(off @ off))
    return float(values.mean()), noise / float(np.sqrt(values.size)), steady


def _measured(seconds: Array, volts: Array, current: Array) -> tuple[dict[str, float], int, str]:
    """Return the numbers of one step, its assessment and its law."""
    numbers = {"potential": float(volts.mean())}
    if seconds.size < FEWEST_ROWS or seconds[-1] <= seconds[0]:
        return numbers, ASSESSMENT["few_rows"], "exponential"
    fit = _fit(seconds, current)
    mean, mean_sigma, steady = _tail(seconds, current)
    numbers |= {
        "potential_sigma": float(volts.std(ddof=1)) / float(np.sqrt(volts.size)),
        "initial_current": fit.initial,
        "initial_current_sigma": fit.initial_sigma,
        "steady_current": fit.steady,
        "steady_current_sigma": fit.steady_sigma,
        "tail_current": mean,
        "tail_current_sigma": mean_sigma,
        "decay_time": fit.decay_s,
    }
    if fit.steady:
        ohms = numbers["potential"] / fit.steady
        of_current = ohms * fit.steady_sigma / fit.steady
        of_voltage = numbers["potential_sigma"] / fit.steady
        numbers |= {"resistance": ohms, "resistance_sigma": float(np.hypot(of_current, of_voltage))}
    square = float(fit.left @ fit.left)
    follows = float(fit.left[1:] @ fit.left[:-1]) / square if square else 0.0
    poor = follows > LARGEST_CORRELATION or float(fit.left.std()) > POOR * white_noise(current)
    wrong = {
        "not_steady": not steady,
        "no_initial": fit.model == "square_root",
        "poor_fit": poor,
        "extrapolated": abs(fit.steady - mean) > FAR * abs(fit.steady),
    }
    return numbers, sum(ASSESSMENT[name] for name, is_so in wrong.items() if is_so), fit.model


UNITS = {
    "potential": ("V", "potential held"),
    "initial_current": ("A", "current at the first moment"),
    "steady_current": ("A", "current at infinite time"),
    "tail_current": ("A", "mean current of the last fifth"),
    "resistance": ("ohm", "potential over steady current"),
}


def _table(log: xr.Dataset, first: Integers, end: Integers) -> xr.Dataset:
    stamps = log["time"].values.astype("datetime64[ns]").astype(np.int64)
    rows: list[dict[str, float]] = []
    assessments: list[int] = []
    models: list[int] = []
    for low, high in zip(first.tolist(), end.tolist(), strict=True):
        numbers, assessment, model = _measured(
            (stamps[low:high] - stamps[low]) / 1e9,
            log["voltage"].values[low:high].astype(np.float64),
            log["current"].values[low:high].astype(np.float64),
        )
        rows.append(numbers)
        assessments.append(assessment)
        models.append(MODELS[model])

    def column(name: str) -> Array:
        return np.array([numbers.get(name, np.nan) for numbers in rows])

    table = xr.Dataset(coords={"step": ("step", np.arange(first.size), {"units": "1"})})
    for name, (units, meaning) in UNITS.items():
        facts: dict[str, Any] = {"units": units, "long_name": meaning}
        table[name] = ("step", column(name), {**facts, "ancillary_variables": f"{name}_sigma"})
        facts["long_name"] = f"standard deviation of the {meaning}"
        table[f"{name}_sigma"] = ("step", column(f"{name}_sigma"), facts)
    table["decay_time"] = ("step", column("decay_time"), {"units": "s", "long_name": "tau"})
    table["model"] = (
        "step",
        np.array(models, np.int32),
        {
            "flag_values": np.array(list(MODELS.values()), np.int32),
            "flag_meanings": " ".join(MODELS),
            "units": "1",
        },
    )
    table["time_start"] = ("step", log["time"].values[first])
    table["time_end"] = ("step", log["time"].values[end - 1])
    table["assessment"] = ("step", np.array(assessments, np.int32), flag_attributes(ASSESSMENT))
    return table.assign_attrs(
        fit="least squares of I_ss + A exp(-t/tau) and I_ss + A t^-1/2; the smaller residual"
    )
