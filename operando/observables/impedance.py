"""Resistances of a cell through a series of impedance sweeps, with and without a circuit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.errors import RequestError
from operando.model import flag_attributes, positions
from operando.observables.circuit import Array, Circuit, Complex, Index, Mask
from operando.observables.resistance_tracks import ASSESSMENT, Sweeps, at_bound, refusals, track

Band = tuple[float, float]

DRIFT_V = 0.005
"""Movement of the potential during a sweep from which it has drifted."""
MOST_ARCS = 4
REACH = float(np.log(10.0))
"""Neighbours farther apart than a decade are not interpolated between."""


class Number(NamedTuple):
    """What is said of one variable of the result."""

    units: str
    meaning: str
    of_arcs: bool = False


MODEL_FREE: dict[str, Number] = {
    "band_resistance": Number("ohm", "resistance of the band"),
    "resistance_mid": Number("ohm", "Re Z at the middle frequency"),
}
OF_CIRCUIT: dict[str, Number] = {
    "series_resistance": Number("ohm", "resistance in series with all arcs"),
    "inductance": Number("H", "inductance in series with all arcs"),
    "resistance": Number("ohm", "resistance of the arc", of_arcs=True),
    "time_constant": Number("s", "time constant of the arc", of_arcs=True),
    "cpe_exponent": Number("1", "exponent of the constant-phase element", of_arcs=True),
    "capacitance": Number("F", "effective capacitance of the arc, tau/R", of_arcs=True),
}
OF_TAIL: dict[str, Number] = {
    "tail_amplitude": Number("ohm", "modulus of the tail at 1 rad/s"),
    "tail_exponent": Number("1", "exponent of the tail"),
}
OF_SWEEP: dict[str, Number] = {
    "residual": Number("1", "root mean square deviation from the circuit relative to |Z|"),
    "kramers_kronig_residual": Number(
        "1", "root mean square deviation from a linear Kramers-Kronig model relative to |Z|"
    ),
}
ASSESSMENTS: dict[str, Number] = {
    "assessment": Number("1", "why the sweep should not be believed"),
    "series_resistance_assessment": Number("1", "why the series resistance is not believed"),
    "resistance_assessment": Number("1", "why the resistance of the arc is not believed", True),
}


def track_resistance(
    impedance: xr.DataArray,
    *,
    arcs: int = 2,
    tail: bool,
    band: Band | None = None,
    middle: float | None = None,
    noise: float | None = None,
    potential: xr.DataArray | None = None,
) -> xr.Dataset:
    """Follow the resistances of a cell through impedance sweeps.

    Without a model, always: `band_resistance` = Re Z(f_low) - Re Z(f_high) and `resistance_mid` =
    Re Z(f_mid), linear in log f between neighbouring points. With a circuit,

        Z(w) = R_s + i w L + sum_k R_k / (1 + (i w tau_k)^alpha_k) + A (i w)^-n,

    fitted to both parts relative to |Z| (`operando.observables.circuit`), each sweep from the one
    before, arcs in the order of their time constants so that they cannot swap. Points of positive
    reactance are left out; their L stays. Where the sweeps of a spot do not contradict it, the
    exponents are shared by all of them (`operando.observables.resistance_tracks`).

    Parameters
    ----------
    impedance
        Z' + i Z'' in ohm on (time, frequency), numpy or dask; a capacitive arc has negative Z''.
        Missing points are NaN. Each spot of a coordinate `position` is a series of its own.
    arcs
        How many (R || CPE) there are, 1 to 4; more than the sweep shows are refused, not invented.
    tail
        Whether diffusion or a blocking electrode follows the arcs at low frequency.
    band, middle
        In Hz. By default what the sweeps have in common and its geometric mean; give the
        frequencies of the process you follow, and the same ones to compare cells.
    noise
        Of one part of a point, relative to |Z|; estimated for each sweep when None.
    potential
        DC potential in V on (time, frequency), for drift. Without it that of the aligned cell is
        used (coordinates `voltage_min` and `voltage_max`), where there is one.

    Returns
    -------
    Dataset
        On time, with the coordinates of `impedance`: the numbers above, `series_resistance`,
        `inductance`, and on (time, arc) `resistance`, `time_constant`, `cpe_exponent` and
        `capacitance` = tau/R, the one of Hsu and Mansfeld (Corrosion 57 (2001) 747), which needs no
        R_s; with a tail its `tail_amplitude` |A| and `tail_exponent` n; each with `_sigma`.
        `residual`, `kramers_kronig_residual`, and three assessments (bits, see `ASSESSMENT`): that
        of the sweep, of its series resistance, of each arc. Refused numbers are NaN; a sweep that
        breaks Kramers-Kronig or drifted keeps its numbers and its flag. Lazy where `impedance` is,
        and equal for any chunking.

    Raises
    ------
    RequestError
        Other dimensions, frequencies that are not positive or occur twice, a band or middle that is
        not inside them, a potential of other sweeps, too many arcs, an argument of another type.

    Notes
    -----
    Sigma is statistical, from the residuals, and knows nothing of a circuit that is wrong: where
    `residual` is many times `kramers_kronig_residual`, resistances depend on the model by more than
    their sigma. An exponent at its bound, or an inductance of zero, has no sigma. `inductance` is
    up to half a sigma too small, for points that noise lifts far above zero are left out with the
    inductive ones. Shared exponents let a later sweep change earlier numbers, within their sigma,
    and make the errors of a series alike: differences within it are surer than its sigma says. A
    tail and a last arc that does not close within the sweep are hard to tell apart.
    """
    frequency = _checked(impedance, arcs=arcs, noise=noise)
    low, high, middle = _checked_band(frequency, band, middle)
    drifted = _drifted(impedance, potential)
    circuit = Circuit(arcs=int(arcs), tail=arguments.switch("tail", tail))
    measured = MODEL_FREE | OF_CIRCUIT | (OF_TAIL if tail else {})
    dims = [["time", "arc"] if n.of_arcs else ["time"] for n in measured.values() for _ in range(2)]
    dims += [["time", "arc"] if n.of_arcs else ["time"] for n in (OF_SWEEP | ASSESSMENTS).values()]
    whole = impedance.transpose("time", "frequency")
    if whole.chunks:
        # Only the data: `DataArray.chunk` would make the coordinates on time lazy, too.
        whole = whole.copy(data=whole.data.rechunk(-1))
    outputs = xr.apply_ufunc(
        partial(
            _measure,
            frequency=frequency,
            spots=_in_order(impedance),
            circuit=circuit,
            at=(low, high, middle),
            noise=noise,
        ),
        whole.real,
        whole.imag,
        input_core_dims=[["time", "frequency"]] * 2,
        output_core_dims=dims,
        output_dtypes=[np.float64] * (len(dims) - 3) + [np.int32] * 3,
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": {"arc": arcs}},
    )
    result = _labelled(outputs, measured, arcs=arcs)
    for name in ASSESSMENTS:
        facts = result[name].attrs
        result[name] = (result[name] | drifted).astype(np.int32).assign_attrs(facts)
    return result.assign_attrs(
        signal=str(impedance.name),
        band="common to the sweeps" if band is None else (low, high),
        middle="geometric mean of the band" if np.isnan(middle) else middle,
        tail=int(tail),
    )


def fitted_impedance(result: xr.Dataset, frequency: npt.ArrayLike) -> xr.DataArray:
    """Return what the tracked circuit gives at frequencies in Hz, on (time, frequency) in ohm.

    NaN for sweeps of which any part of the circuit was refused.
    """
    axis = xr.DataArray(np.asarray(frequency, float), dims="frequency", attrs={"units": "Hz"})
    omega = 2j * np.pi * axis
    arcs = result["resistance"] / (1 + (omega * result["time_constant"]) ** result["cpe_exponent"])
    total = result["series_resistance"] + omega * result["inductance"]
    total = total + arcs.sum("arc", skipna=False)
    if "tail_amplitude" in result:
        total = total + result["tail_amplitude"] * omega ** -result["tail_exponent"]
    total = total.assign_coords(frequency=axis).transpose("time", "frequency")
    return total.rename("impedance").assign_attrs(units="ohm")


def _checked(impedance: xr.DataArray, *, arcs: int, noise: float | None) -> Array:
    arguments.array("impedance", impedance, "time", "frequency")
    if impedance.attrs.get("units", "ohm") != "ohm":
        raise RequestError(f"impedance: units {impedance.attrs['units']!r}; expected 'ohm'")
    if impedance.dtype.kind != "c":
        raise RequestError(f"impedance: {impedance.dtype}; expected complex numbers Z' + i Z''")
    frequency = impedance["frequency"].values.astype(float)
    if not (frequency > 0).all() or np.unique(frequency).size != frequency.size:
        raise RequestError("frequency: expected positive values in Hz, each once")
    if frequency.size < 2 or impedance.sizes["time"] == 0:
        raise RequestError(f"impedance: {dict(impedance.sizes)}; expected sweeps of some points")
    arguments.whole("arcs", arcs, lambda n: 1 <= n <= MOST_ARCS, f"1 to {MOST_ARCS}")
    if noise is not None:
        relative = "relative to |Z|, between 0 and 1"
        arguments.number("noise", noise, lambda part: 0 < part < 1, relative)
    return frequency


def _checked_band(
    frequency: Array, band: Band | None, middle: float | None
) -> tuple[float, float, float]:
    """Return the ends of the band and its middle, in Hz; NaN where the sweeps decide."""
    bottom, top = float(frequency.min()), float(frequency.max())
    inside = f"within {bottom:g}-{top:g} Hz"
    low, high, centre = np.nan, np.nan, np.nan
    if band is not None:
        low, high = arguments.pair("band", band, f"(low, high) {inside}")
        if not bottom <= low < high <= top:
            raise RequestError(f"band: {band!r}; expected (low, high) {inside}")
    if middle is not None:
        centre = arguments.number("middle", middle, lambda f: bottom <= f <= top, inside)
    return low, high, centre


def _decided(
    frequency: Array, sweeps: Complex, at: tuple[float, float, float]
) -> tuple[float, float, float]:
    """Return the band, by default what the sweeps (t, m) have in common, and its middle.

    A sweep that was cut short to less than half the decades of the longest does not count.
    """
    low, high, middle = at
    if np.isnan(low):
        measured = np.where(np.isfinite(sweeps), np.log(frequency), np.nan)
        measured = measured[np.isfinite(measured).any(axis=1)]
        if measured.size:
            bottom, top = np.nanmin(measured, axis=1), np.nanmax(measured, axis=1)
            whole = top - bottom >= 0.5 * (top - bottom).max()
            low, high = float(np.exp(bottom[whole].max())), float(np.exp(top[whole].min()))
            # The logarithm must not move an end off its point.
            low, high = (float(frequency[np.argmin(np.abs(frequency - f))]) for f in (low, high))
    if not low < high:
        low = high = np.nan
    return low, high, float(np.sqrt(low * high)) if np.isnan(middle) else middle


def _in_order(impedance: xr.DataArray) -> list[Index]:
    """Return the sweeps of each spot in order of time."""
    time = impedance["time"].values
    return [rows[np.argsort(time[rows], kind="stable")] for rows in positions(impedance).values()]


def _drifted(impedance: xr.DataArray, potential: xr.DataArray | None) -> xr.DataArray:
    """Return the bit `drift` where the potential moved; 0 where nothing is known of it."""
    if potential is not None:
        arguments.array("potential", potential, "time", "frequency")
        # xarray would match by label, and leave out what has no partner
        if not np.array_equal(potential["time"], impedance["time"]):
            raise RequestError("potential: other times than impedance; expected the same sweeps")
        moved = potential.max("frequency") - potential.min("frequency")
    elif {"voltage_min", "voltage_max"} <= set(impedance.coords):
        moved = impedance["voltage_max"] - impedance["voltage_min"]
    else:
        moved = xr.zeros_like(impedance["time"], dtype=float)
    bits = (moved > DRIFT_V).astype(np.int32) * np.int32(ASSESSMENT["drift"])
    return bits.reset_coords(drop=True)


def _measure(
    real: Array,
    imaginary: Array,
    *,
    frequency: Array,
    spots: Sequence[Index],
    circuit: Circuit,
    at: tuple[float, float, float],
    noise: float | None,
) -> tuple[npt.NDArray[np.generic], ...]:
    """Measure sweeps (t, m): value and sigma of each number, the residuals, the assessments."""
    ascending = np.argsort(frequency)
    frequency, impedance = frequency[ascending], (real + 1j * imaginary)[:, ascending]
    order = np.concatenate(spots)
    at = _decided(frequency, impedance, at)
    parts: list[tuple[npt.NDArray[np.generic], ...]] = []
    for spot in spots:
        sweeps = track(frequency, impedance[spot], circuit=circuit, noise=noise)
        free = _model_free(frequency, impedance[spot], at, sweeps.noise)
        missing = np.asarray(np.isnan(np.stack(free)).any(axis=0))
        parts.append((*free, *_of_circuit(circuit, sweeps, missing=missing)))
    return tuple(np.concatenate(part)[np.argsort(order)] for part in zip(*parts, strict=True))


def _model_free(
    frequency: Array, sweeps: Complex, at: tuple[float, float, float], noise: Array
) -> tuple[Array, ...]:
    """Return value and sigma of the band and at its middle, (t,) each."""
    finite = np.isfinite(sweeps)
    real = np.where(finite, sweeps.real, 0.0)
    error = np.where(finite, noise[:, None] * np.abs(sweeps), 0.0)
    low, high, middle = (
        np.stack([_weights(frequency, there, wanted) for there in finite]) for wanted in at
    )
    numbers: list[Array] = []
    for weights in (low - high, middle):
        numbers += [(weights * real).sum(axis=1), np.sqrt(((weights * error) ** 2).sum(axis=1))]
    return tuple(numbers)


def _weights(frequency: Array, finite: Mask, wanted: float) -> Array:
    """Return what each point counts in a value at `wanted`, linear in log f; NaN out of reach."""
    weights = np.zeros(frequency.size)
    points = np.flatnonzero(finite)
    above = int(np.searchsorted(frequency[points], wanted))
    if above < points.size and frequency[points[above]] == wanted:
        weights[points[above]] = 1.0
        return weights
    if above in (0, points.size):
        return np.full(frequency.size, np.nan)
    left, right = points[above - 1], points[above]
    span = np.log(frequency[right] / frequency[left])
    if span > REACH:
        return np.full(frequency.size, np.nan)
    weights[right] = np.log(wanted / frequency[left]) / span
    weights[left] = 1.0 - weights[right]
    return weights


def _of_circuit(
    circuit: Circuit, sweeps: Sweeps, *, missing: Mask
) -> list[npt.NDArray[np.generic]]:
    """Return value and sigma of the circuit's numbers, the residuals and the assessments."""
    broken = np.array([result.violated for result in sweeps.consistency])
    doubts = np.where(broken, ASSESSMENT["kramers_kronig"], 0)
    in_series, of_arcs = refusals(circuit, sweeps)
    whole = ASSESSMENT["no_points"] | ASSESSMENT["misfit"]
    measured = OF_CIRCUIT | (OF_TAIL if circuit.tail else {})
    numbers: list[npt.NDArray[np.generic]] = []
    for name, pair in zip(measured, _numbers(circuit, sweeps), strict=True):
        refused = of_arcs != 0 if measured[name].of_arcs else (in_series & whole) != 0
        if name == "series_resistance":
            refused = in_series != 0
        numbers += [np.where(refused, np.nan, part) for part in pair]
    return [
        *numbers,
        np.where(sweeps.fitted, sweeps.fits.residual, np.nan),
        np.array([result.residual for result in sweeps.consistency]),
        (doubts | np.where(missing | ~sweeps.fitted, ASSESSMENT["no_points"], 0)).astype(np.int32),
        (in_series | doubts).astype(np.int32),
        (of_arcs | doubts[:, None] | at_bound(circuit, sweeps)).astype(np.int32),
    ]


def _numbers(circuit: Circuit, sweeps: Sweeps) -> list[tuple[Array, Array]]:
    """Return value and sigma of each number of the circuit, believed or not."""
    n = circuit.arcs
    theta, covariance = sweeps.fits.theta, sweeps.fits.covariance
    spread = np.sqrt(np.einsum("tpp->tp", covariance))
    known = np.where(spread > 0, spread, np.nan)
    r, t, a = (slice(2 + block * n, 2 + (block + 1) * n) for block in range(3))
    resistance, tau = np.exp(theta[:, r]), np.exp(theta[:, t])
    both = np.einsum("tpp->tp", covariance[:, r, t])
    ratio = np.sqrt(np.maximum(spread[:, r] ** 2 + spread[:, t] ** 2 - 2 * both, 0.0))
    numbers = [
        (theta[:, 0], spread[:, 0]),
        (theta[:, 1], known[:, 1]),
        (resistance, resistance * spread[:, r]),
        (tau, tau * spread[:, t]),
        (theta[:, a], known[:, a]),
        (tau / resistance, tau / resistance * ratio),
    ]
    if circuit.tail:
        # fitted at the lowest frequency, reported at 1 rad/s
        lever = float(np.log(sweeps.omega[0]))
        amplitude = np.exp(theta[:, -2] + theta[:, -1] * lever)
        ends = covariance[:, -2:, -2:]
        variance = ends[:, 0, 0] + 2 * lever * ends[:, 0, 1] + lever**2 * ends[:, 1, 1]
        numbers.append((amplitude, amplitude * np.sqrt(np.maximum(variance, 0.0))))
        numbers.append((theta[:, -1], known[:, -1]))
    return numbers


def _labelled(
    outputs: tuple[xr.DataArray, ...], measured: dict[str, Number], *, arcs: int
) -> xr.Dataset:
    result = {}
    for at, (name, number) in enumerate(measured.items()):
        facts = {"units": number.units, "long_name": number.meaning}
        result[name] = outputs[2 * at].assign_attrs(facts, ancillary_variables=f"{name}_sigma")
        result[f"{name}_sigma"] = outputs[2 * at + 1].assign_attrs(
            units=number.units, long_name=f"statistical standard deviation of the {number.meaning}"
        )
    rest = outputs[2 * len(measured) :]
    for output, (name, number) in zip(rest, (OF_SWEEP | ASSESSMENTS).items(), strict=True):
        result[name] = output.assign_attrs(units=number.units, long_name=number.meaning)
        if name in ASSESSMENTS:
            result[name].attrs.update(flag_attributes(ASSESSMENT))
    about = {"units": "1", "long_name": "arc, by ascending time constant"}
    return xr.Dataset(result).assign_coords(arc=("arc", np.arange(1, arcs + 1), about))
