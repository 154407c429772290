"""The unit cell from tracked lines: a, b, c, beta and the volume, frame by frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from operando import arguments
from operando.errors import RequestError
from operando.model import flag_attributes
from operando.observables.lines.bragg import angles, axis_of
from operando.observables.lines.lattice_kernel import (
    FITTED,
    NOT_CONVERGED,
    TOO_FEW,
    UNDETERMINED,
    refine,
)
from operando.observables.lines.lattice_systems import SYSTEMS, System
from operando.observables.lines.measured import Array, Mask, Measured, checked, chosen_lines
from operando.observables.lines.radiation import wavelength_of
from operando.observables.lines.spacings import labelled

HKL = Sequence[int]

NOMINAL = 0.1
"""Wavelength in angstrom that stands in for a q axis: q and 2theta are then in proportion."""
LEAST = 1e-12
"""Part of the variance that is a line's own at least: what is left may be rounding."""
DISAGREE = 3.0
"""Birge ratio from which the lines disagree: chi-square is nine times what sigma promises."""

ABOUT: dict[str, tuple[str, str]] = {
    "a": ("angstrom", "lattice parameter a"),
    "b": ("angstrom", "lattice parameter b"),
    "c": ("angstrom", "lattice parameter c"),
    "alpha": ("degree", "angle alpha of the cell"),
    "beta": ("degree", "angle beta of the cell"),
    "volume": ("angstrom**3", "volume of the cell"),
    "zero_shift": ("degree", "shift of all 2theta"),
    "displacement": ("1", "displacement of the sample over the radius"),
}

ASSESSMENT: dict[str, int] = {
    "too_few_lines": 1,
    "undetermined": 2,
    "not_converged": 4,
    "no_cell": 8,
    "no_line_to_spare": 16,
    "outliers": 32,
    "lines_disagree": 64,
}
"""`assessment` of a cell; 0 is success.

Not to be believed, NaN: `too_few_lines`: fewer than there are parameters. `undetermined`: the lines
that are left do not fix all of them, as 003 and 006 do not fix a. `not_converged`. `no_cell`: no
cell has this metric.

Cautions: `no_line_to_spare`: as many lines as parameters, so that nothing can show an error.
`outliers`: lines were left out, see `line_used`. `lines_disagree`: they scatter by more than three
times their sigma: a wrong index, asymmetric lines, a displacement that was not refined; sigma says
so.
"""

CAUTIONS = 16 | 32 | 64


def lattice(
    tracks: xr.Dataset,
    *,
    hkl: Mapping[str, HKL],
    system: str,
    wavelength: float | None = None,
    wavelength_sigma: float = 0.0,
    zero: str = "none",
    displacement: str = "none",
) -> xr.Dataset:
    """Refine the unit cell in every frame from the centres of indexed lines.

    Weighted least squares in 2theta (`lattice_kernel`), each frame on its own, with weights
    1/(centre_sigma^2 + scatter^2), the scatter being what the lines show beyond sigma. What an
    internal standard is uncertain by moves all lines of a frame together: it is no part of these
    weights, and moves the cell as a whole. Lines
    further than 5 robust standard deviations from the others' cell (more where few lines tell it)
    are left out, where there are 3 lines more than parameters.

    Parameters
    ----------
    tracks
        As `track_peaks` returns them, along two_theta or q. Lines are used where their assessment
        allows; `poor_fit` does: what a wrong profile does to a centre shows in the scatter.
    hkl
        Line -> reflection; lines that are not named are not used.
    system
        "cubic", "tetragonal", "hexagonal" (also rhombohedral crystals on hexagonal axes),
        "rhombohedral" (a and alpha), "orthorhombic", "monoclinic" (b unique).
    wavelength, wavelength_sigma
        In angstrom, as in `spacings`. A q axis without zero and displacement needs none.
    zero, displacement
        "free" refines a shift of all 2theta, or the displacement of the sample in Bragg-Brentano
        geometry, -2 (s/R) cos(theta), as a nuisance of each frame. Both together and a are nearly
        degenerate: sigma says so. Other geometries: `internal_standard`.

    Returns
    -------
    Dataset
        On time: the free ones of `a`, `b`, `c` (angstrom), `alpha`, `beta` (degree), `volume`
        (angstrom^3), and `zero_shift` (degree), `displacement` (s/R); each with `_sigma_stat`,
        what the statistical sigma of the centres makes of it, `_sigma_syst`, the rest, and
        `_sigma`, the total. `volume` carries the full covariance. `<length>_sigma_common` from the
        wavelength, alike in all frames. `scatter` (degree); `chi2r`, without the scatter, whose
        root is the Birge ratio; `lines` (how many were used), `assessment`. On (time, line):
        `residual` (degree, observed less calculated), `line_used`.

    Raises
    ------
    RequestError
        An unknown system, line or choice; no wavelength; fewer lines than parameters, or
        reflections that cannot fix the cell.

    Notes
    -----
    Fails where a wrong index fits: a line of another phase within the scatter of the others passes.
    With few lines to spare the scatter is poorly known, and pulls follow Student's t. Sigma knows
    nothing of errors alike for all lines: wavelength, zero and displacement that are not refined.
    """
    arguments.chosen("system", system, tuple(SYSTEMS))
    nuisances = _nuisances(zero, displacement)
    chosen = chosen_lines(checked(tracks, "centre"), [str(name) for name in hkl], of="hkl")
    crystal = SYSTEMS[system]
    design = _design(hkl, crystal, nuisances)
    bare = axis_of(chosen) == "q" and wavelength is None and not nuisances
    used = NOMINAL if bare else wavelength_of(chosen, wavelength)
    spread = arguments.number(
        "wavelength_sigma", wavelength_sigma, lambda s: 0 <= s < used, "angstrom, from 0"
    )
    two_theta = angles(chosen, used, despite=("poor_fit",))
    codes = np.array([1 if name == "zero_shift" else 2 for name in nuisances], dtype=np.int64)
    own, common = _apart(chosen, two_theta)
    fit = _Fit(*refine(own.value, own.sigma, own.stat, design, codes, used))
    moved = None
    if common is not None:
        there = np.where(fit.used, own.value + common.sigma, np.nan)
        again = refine(there, own.sigma, own.stat, design, codes, used)
        moved = _Moved(parameters=again[0], share=common.share)
    result = _cell(chosen, crystal, fit, nuisances, moved)
    result = result.assign(_common(result, [*crystal.names, "volume"], spread / used))
    present = np.isfinite(two_theta.value)
    result = result.assign(_judged(fit, present, np.isnan(result["volume"].values)))
    facts = {"system": system, "hkl": "; ".join(f"{n} {_told(i)}" for n, i in hkl.items())}
    return result.assign_attrs(facts if bare else facts | {"wavelength_angstrom": used})


def _nuisances(zero: str, displacement: str) -> tuple[str, ...]:
    arguments.chosen("zero", zero, ("none", "free"))
    arguments.chosen("displacement", displacement, ("none", "free"))
    asked = {"zero_shift": zero, "displacement": displacement}
    return tuple(name for name, choice in asked.items() if choice == "free")


def _told(index: HKL) -> str:
    return " ".join(str(int(i)) for i in index)


def _design(hkl: Mapping[str, HKL], crystal: System, nuisances: tuple[str, ...]) -> Array:
    for name, index in hkl.items():
        whole = np.asarray(index)
        if whole.shape != (3,) or whole.dtype.kind not in "iu" or not whole.any():
            raise RequestError(f"hkl of {name!r}: {index!r}; expected three whole numbers, not 000")
    design = crystal.design(list(hkl.values()))
    free = len(crystal.names) + len(nuisances)
    if len(hkl) < free:
        raise RequestError(
            f"hkl: {len(hkl)} lines for {free} parameters {[*crystal.names, *nuisances]!r}; "
            "expected as many or more"
        )
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise RequestError(
            f"hkl: {[_told(i) for i in hkl.values()]!r} do not fix {list(crystal.names)!r}; "
            "expected reflections that depend on all of them"
        )
    return np.ascontiguousarray(design)


@dataclass(frozen=True)
class _Fit:
    """What the kernel returns, and what follows from it for every number alike."""

    parameters: Array
    covariance: Array
    statistical: Array
    summary: Array
    residual: Array
    used: Mask

    @property
    def spare(self) -> Array:
        return np.asarray(self.summary[:, 1] - self.parameters.shape[1])

    @property
    def ended(self) -> Array:
        return np.asarray(self.summary[:, 2])

    @property
    def chi2r(self) -> Array:
        known = (self.ended == FITTED) & (self.spare > 0)
        return np.where(known, self.summary[:, 0] / np.maximum(self.spare, 1), np.nan)

    def number(
        self, value: Array, slope: Array, at: slice, bad: Mask, moved: _Moved | None
    ) -> Measured:
        """Return a function of some parameters, (n,), whose slopes along them are (n, p)."""
        total = _variance(slope, self.covariance[:, at, at])
        stat = _variance(slope, self.statistical[:, at, at])
        if moved is not None:
            by = (slope * (moved.parameters - self.parameters)[:, at]).sum(axis=1) ** 2
            total, stat = total + by, stat + by * moved.share
        parts = (value, *np.sqrt([total, stat, np.maximum(total - stat, 0.0)]))
        value, sigma, stat, syst = (np.where(bad, np.nan, part) for part in parts)
        return Measured(value=value, sigma=sigma, stat=stat, syst=syst)


@dataclass(frozen=True)
class _Common:
    """By how much one sigma of an internal standard moves 2theta in radians, (n, k)."""

    sigma: Array
    share: Array
    """Statistical part of its variance, (n,)."""


@dataclass(frozen=True)
class _Moved:
    """Parameters, (n, q), when all lines have moved by one sigma of the internal standard."""

    parameters: Array
    share: Array


def _apart(chosen: xr.Dataset, two_theta: Measured) -> tuple[Measured, _Common | None]:
    """Return 2theta with the sigmas that are each line's own, and what all have in common."""
    if "standard_move_stat" not in chosen:
        return two_theta, None
    stat, syst = (
        np.ascontiguousarray(np.radians(chosen[f"standard_move_{part}"].values))
        for part in ("stat", "syst")
    )
    variance = stat**2 + syst**2
    with np.errstate(invalid="ignore", divide="ignore"):
        sigma = np.sqrt(np.maximum(two_theta.sigma**2 - variance, LEAST * two_theta.sigma**2))
        own_stat = np.sqrt(np.maximum(two_theta.stat**2 - stat**2, 0.0))
        own_syst = np.sqrt(np.maximum(two_theta.syst**2 - syst**2, 0.0))
        # the share is that of the shift: the same for all lines, so that any says it
        share = np.nan_to_num(np.nansum(stat**2, axis=1) / np.nansum(variance, axis=1), nan=1.0)
    own = Measured(value=two_theta.value, sigma=sigma, stat=own_stat, syst=own_syst)
    return own, _Common(np.sqrt(variance) * np.where(stat + syst < 0, -1.0, 1.0), share)


def _variance(slope: Array, covariance: Array) -> Array:
    """Carry a covariance over, term by term: the same for any number of frames."""
    total = np.zeros(len(slope))
    for i, j in np.ndindex(slope.shape[1], slope.shape[1]):
        total += slope[:, i] * covariance[:, i, j] * slope[:, j]
    return np.maximum(total, 0.0)


def _cell(
    chosen: xr.Dataset,
    crystal: System,
    fit: _Fit,
    nuisances: tuple[str, ...],
    moved: _Moved | None,
) -> xr.Dataset:
    p = len(crystal.names)
    metric = np.where(fit.ended[:, None] == FITTED, fit.parameters[:, :p], np.nan)
    values, slopes = crystal.values(metric), crystal.slopes(metric)
    bad = np.asarray(~np.isfinite(values).all(axis=1))
    result = xr.Dataset(coords=chosen["centre"].coords)
    for at, name in enumerate((*crystal.names, "volume")):
        number = fit.number(values[:, at], slopes[:, at], slice(0, p), bad, moved)
        units, meaning = ABOUT[name]
        result = result.assign(labelled(name, number, units=units, meaning=meaning, dims=("time",)))
    for at, name in enumerate(nuisances, start=p):
        units, meaning = ABOUT[name]
        factor = 180 / np.pi if units == "degree" else 1.0
        slope = np.full((bad.size, 1), factor)
        number = fit.number(factor * fit.parameters[:, at], slope, slice(at, at + 1), bad, moved)
        result = result.assign(labelled(name, number, units=units, meaning=meaning, dims=("time",)))
    return result


def _judged(fit: _Fit, present: Mask, bad: Mask) -> dict[str, xr.Variable]:
    """Return chi-square, assessment and what became of each line."""
    reasons = ("too_few_lines", "undetermined", "not_converged", "no_cell")
    why = [fit.ended == end for end in (TOO_FEW, UNDETERMINED, NOT_CONVERGED)]
    code = np.select([*why, bad], [ASSESSMENT[name] for name in reasons], 0)
    for name, found in (
        ("no_line_to_spare", fit.spare == 0),
        ("outliers", (present & ~fit.used).any(axis=1)),
        ("lines_disagree", fit.chi2r > DISAGREE**2),
    ):
        code |= np.where(found & ~bad, ASSESSMENT[name], 0)
    facts = flag_attributes(ASSESSMENT) | {"cautions": np.int32(CAUTIONS)}
    residual = np.where(present & ~bad[:, None], np.rad2deg(fit.residual), np.nan)
    lines = np.where(bad, 0, fit.summary[:, 1]).astype(np.int32)
    return {
        "chi2r": xr.Variable(
            "time", fit.chi2r, {"units": "1", "long_name": "reduced chi-square of the cell"}
        ),
        "scatter": xr.Variable(
            "time",
            np.where(bad, np.nan, np.rad2deg(fit.summary[:, 3])),
            {"units": "degree", "long_name": "scatter of the lines beyond their sigma"},
        ),
        "lines": xr.Variable(
            "time", lines, {"units": "1", "long_name": "lines the cell was refined from"}
        ),
        "residual": xr.Variable(
            ("time", "line"),
            residual,
            {"units": "degree", "long_name": "2theta observed less calculated"},
        ),
        "line_used": xr.Variable(
            ("time", "line"),
            fit.used & ~bad[:, None],
            {"long_name": "whether the cell was refined from this line"},
        ),
        "assessment": xr.Variable("time", code.astype(np.int32), facts),
    }


def _common(result: xr.Dataset, names: Sequence[str], relative: float) -> dict[str, xr.Variable]:
    """Return what an uncertain wavelength does to lengths and the volume; angles do not mind."""
    common = {}
    for name in names:
        units, meaning = ABOUT[name]
        share = {"angstrom": 1, "angstrom**3": 3}.get(units, 0)
        if share:
            told = f"part of the {meaning} that the wavelength makes uncertain, alike for all"
            values = share * relative * result[name].values
            common[f"{name}_sigma_common"] = xr.Variable(
                "time", values, {"units": units, "long_name": told}
            )
    return common
