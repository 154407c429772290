"""Shells of neighbours fitted to one frame or to the average of a state, by larch's feffit."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.errors import RequestError
from operando.model import flag_attributes
from operando.observables.feff import FeffPath
from operando.observables.larch_calls import ask, group_of, software
from operando_readers._larch import larch

Array = npt.NDArray[np.float64]
Range = tuple[float, float]

ASSESSMENT: dict[str, int] = {
    "no_errors": 1,
    "negative": 2,
    "far": 4,
    "poor_fit": 8,
}
"""Why the fit of a shell should not be believed; 0 is success.

`no_errors`: the fit did not converge, or a parameter does not matter to it. `negative`: amplitude
or sigma2 below zero. `far`: the distance more than 0.2 angstrom, or E0 more than 15 eV, from where
the path has it. `poor_fit`: an R-factor above 0.05.
"""

FAR, FAR_E0, POOR = 0.2, 15.0, 0.05
FIRST_SIGMA2 = 0.003
"""Where a fit starts, in angstrom^2."""
FITTED = {
    "amplitude": ("1", "number of neighbours times S0^2"),
    "distance": ("angstrom", "distance"),
    "sigma2": ("angstrom^2", "mean square variation of the distance"),
}


def fit_shells(
    chi: xr.DataArray,
    paths: Mapping[str, FeffPath | Sequence[FeffPath]],
    *,
    k_range: Range = (3.0, 12.0),
    dk: float = 1.0,
    k_weight: int = 2,
    r_range: Range = (1.0, 2.2),
    s02: float | None = None,
) -> xr.Dataset:
    """Fit shells of neighbours to chi(k) of one spectrum, in R, by `larch.xafs.feffit`.

    Each shell has an amplitude N S0^2, a change of distance and a sigma2, one for all of its paths;
    E0 is common to all shells. The uncertainties are those of feffit: from the covariance, scaled
    by what the fit leaves per independent point, correlations included.

    Parameters
    ----------
    chi
        On k, in even steps from 0: a frame of `track_exafs`, or what
        `operando.observables.exafs_reference.reference_background` makes of an average.
    paths
        Name of each shell, and its path or paths (`operando.observables.feff.feff_paths`); paths
        nearer to each other than pi / (2 k_max - 2 k_min), 0.17 angstrom by default, belong
        together.
    k_range, dk, k_weight
        Window of the transform, in 1/angstrom, and the power of k.
    r_range
        In angstrom, without phase correction: where the fit looks.
    s02
        Amplitude reduction S0^2, from a standard of known structure. With it, `coordination` is
        N = amplitude / S0^2; without, N is not known.

    Returns
    -------
    Dataset
        On shell: `amplitude`, `distance`, `sigma2`, each with `_sigma`, `coordination` if asked
        for, `assessment`; `e0_shift`, `r_factor`, `chi2_reduced`; `chi_model` on k. Attributes:
        independent points, number of variables, settings, versions.

    Raises
    ------
    RequestError
        No path, more variables than independent points, other dimensions or steps of `chi`, points
        that are not finite, or larch could not fit.

    Notes
    -----
    Amplitude and sigma2 are strongly correlated, as are distance and E0: short ranges of k tell
    them apart badly, and the uncertainties say so. A wrong model fitted well is not noticed.
    """
    shells = _shells(paths)
    if s02 is not None:
        arguments.number("s02", s02, lambda one: one > 0, "a positive number")
    variables = 3 * len(shells) + 1
    independent = 1 + 2 * (r_range[1] - r_range[0]) * (k_range[1] - k_range[0]) / np.pi
    if variables >= independent:
        raise RequestError(
            f"paths: {variables} variables for {independent:.1f} independent points of k_range "
            f"{k_range!r} and r_range {r_range!r}; fewer shells, or wider ranges"
        )
    group = group_of(chi)
    if k_range[1] > group.k[-1]:
        raise RequestError(f"k_range: {k_range!r}; chi ends at {group.k[-1]:g} 1/angstrom")
    transform = ask(
        "feffit_transform",
        kmin=k_range[0],
        kmax=k_range[1],
        dk=dk,
        kweight=int(k_weight),
        window="hanning",
        rmin=r_range[0],
        rmax=r_range[1],
        fitspace="r",
    )
    with tempfile.TemporaryDirectory(prefix="operando-paths-") as folder:
        ways = _ways(shells, Path(folder))
        fitted = ask("feffit_dataset", data=group, paths=ways, transform=transform)
        found = ask("feffit", _parameters(len(shells)), fitted)
    settings = {"k_range": k_range, "dk": dk, "k_weight": k_weight, "r_range": r_range}
    return _labelled(found, shells, s02).assign_attrs(settings | software())


def _shells(
    paths: Mapping[str, FeffPath | Sequence[FeffPath]],
) -> dict[str, list[FeffPath]]:
    if not isinstance(paths, Mapping):
        raise arguments.refusal("paths", paths, "a mapping of shell names to paths")
    shells = {
        str(name): [given] if isinstance(given, FeffPath) else list(given)
        for name, given in paths.items()
    }
    if not shells or not all(shells.values()):
        raise RequestError(f"paths: shells {list(shells)!r}; expected one or more, with paths each")
    return shells


def _ways(shells: dict[str, list[FeffPath]], folder: Path) -> list[Any]:
    """Return the paths as larch has them; it reads files only."""
    ways = []
    for number, shell in enumerate(shells.values()):
        for count, path in enumerate(shell):
            file = folder / f"feff{number:02d}{count:02d}.dat"
            file.write_bytes(path.content)
            parameters = {
                "s02": f"amplitude_{number}",
                "deltar": f"shift_{number}",
                "sigma2": f"sigma2_{number}",
                "e0": "e0",
            }
            ways.append(ask("feffpath", str(file), label=file.stem, **parameters))
    return ways


def _parameters(count: int) -> Any:
    """Return the variables of a fit of so many shells, where they start."""
    fitting = larch("fitting")
    variables: dict[str, Any] = {"e0": fitting.param(0.0, vary=True)}
    for number in range(count):
        variables[f"amplitude_{number}"] = fitting.param(1.0, vary=True)
        variables[f"shift_{number}"] = fitting.param(0.0, vary=True)
        variables[f"sigma2_{number}"] = fitting.param(FIRST_SIGMA2, vary=True)
    return fitting.param_group(**variables)


def _labelled(found: Any, shells: dict[str, list[FeffPath]], s02: float | None) -> xr.Dataset:
    count = [sum(path.degeneracy for path in shell) for shell in shells.values()]
    mean = [
        sum(path.degeneracy * path.distance for path in shell) / weight
        for shell, weight in zip(shells.values(), count, strict=True)
    ]
    scale = {"amplitude": np.array(count), "shift": np.ones(len(count)), "sigma2": 1.0}
    values, sigmas = {}, {}
    for name, factor in scale.items():
        each = [found.params[f"{name}_{number}"] for number in range(len(shells))]
        values[name] = np.array([float(one.value) for one in each]) * factor
        sigmas[name] = np.array([_error(one) for one in each]) * factor
    assessment = _assess(found, values, sigmas)
    values["distance"], sigmas["distance"] = values["shift"] + mean, sigmas["shift"]
    about = dict(FITTED)
    if s02 is not None:
        about["coordination"] = ("1", "coordination number")
        values["coordination"] = values["amplitude"] / s02
        sigmas["coordination"] = sigmas["amplitude"] / s02
    dataset = xr.Dataset(coords={"shell": list(shells)})
    for name, (units, meaning) in about.items():
        _add(dataset, name, ("shell", values[name]), ("shell", sigmas[name]), units, meaning)
    e0 = found.params["e0"]
    _add(dataset, "e0_shift", float(e0.value), _error(e0), "eV", "shift of E0 from that of chi")
    for name, value in (("r_factor", found.rfactor), ("chi2_reduced", found.chi2_reduced)):
        dataset[name] = ((), float(value), {"units": "1"})
    [fitted] = found.datasets
    dataset = dataset.assign_coords(k=("k", fitted.model.k, {"units": "1/angstrom"}))
    dataset["chi_model"] = ("k", fitted.model.chi, {"units": "1", "long_name": "chi(k), fitted"})
    dataset["assessment"] = ("shell", assessment, flag_attributes(ASSESSMENT))
    facts = {"independent_points": float(found.n_independent), "variables": int(found.nvarys)}
    facts |= {} if s02 is None else {"s02": s02}
    return dataset.assign_attrs(facts)


def _add(dataset: xr.Dataset, name: str, value: Any, sigma: Any, units: str, meaning: str) -> None:
    """Add a number and its sigma to a dataset."""
    for key, given, told in (
        (name, value, meaning),
        (f"{name}_sigma", sigma, f"standard deviation of the {meaning}"),
    ):
        dims, data = given if isinstance(given, tuple) else ((), given)
        dataset[key] = (dims, data, {"units": units, "long_name": told})
    dataset[name].attrs["ancillary_variables"] = f"{name}_sigma"


def _error(parameter: Any) -> float:
    return float("nan") if parameter.stderr is None else float(parameter.stderr)


def _assess(
    found: Any, values: dict[str, Array], sigmas: dict[str, Array]
) -> npt.NDArray[np.int32]:
    unknown = np.any([~np.isfinite(sigma) for sigma in sigmas.values()], axis=0)
    far = (np.abs(values["shift"]) > FAR) | (abs(float(found.params["e0"].value)) > FAR_E0)
    mask = np.zeros(unknown.shape, np.int32)
    for name, wrong in (
        ("no_errors", unknown | (not found.success)),
        ("negative", (values["amplitude"] < 0) | (values["sigma2"] < 0)),
        ("far", far),
        ("poor_fit", np.full(unknown.shape, not found.rfactor <= POOR)),
    ):
        mask |= np.where(wrong, ASSESSMENT[name], 0).astype(np.int32)
    return mask
