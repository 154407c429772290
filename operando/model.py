"""What an operando dataset is: the names, units and flags everything else relies on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando.errors import ContractError
from operando_readers._reader import STATES as STATES


@dataclass(frozen=True, kw_only=True)
class Technique:
    """The axes a technique may be measured on, and the variables that carry its signal."""

    axes: tuple[tuple[tuple[str, str], ...], ...]
    """Alternatives; each is a tuple of (coordinate, unit) in the order of the dimensions."""
    signals: tuple[tuple[str, ...], ...]
    """Alternatives; each is a tuple of variables that must all be there."""


TECHNIQUES: dict[str, Technique] = {
    "electrochemistry": Technique(axes=((),), signals=(("voltage",),)),
    "xrd": Technique(
        axes=((("two_theta", "degree"),), (("q", "1/angstrom"),)), signals=(("intensity",),)
    ),
    "xrd_images": Technique(
        axes=((("row", "pixel"), ("column", "pixel")),), signals=(("intensity",),)
    ),
    "raman": Technique(axes=((("raman_shift", "1/cm"),),), signals=(("intensity",),)),
    "xas": Technique(axes=((("energy", "eV"),),), signals=(("mu",), ("i0", "i1"))),
    "tomography": Technique(
        axes=((("z", "micrometre"), ("y", "micrometre"), ("x", "micrometre")),),
        signals=(("attenuation",),),
    ),
    "impedance": Technique(axes=((("frequency", "Hz"),),), signals=(("impedance",),)),
}

FRAME_FLAGS: dict[str, int] = {
    "unreadable": 1,
    "truncated": 2,
    "nonfinite": 4,
    "regridded": 8,
    "clock_suspect": 16,
}
"""`frame_flag`: what is wrong with a frame itself; an unreadable frame is all NaN.

`truncated`: shorter than its series, the missing part is NaN. `nonfinite`: more missing points than
the series usually has. `regridded`: interpolated linearly onto the axis of the series (no fault).
"""

FAULTS = (
    FRAME_FLAGS["unreadable"]
    | FRAME_FLAGS["truncated"]
    | FRAME_FLAGS["nonfinite"]
    | FRAME_FLAGS["clock_suspect"]
)
"""The bits of `frame_flag` that make a run partial."""

ALIGNMENT_FLAGS: dict[str, int] = {
    "outside": 1,
    "partial": 2,
    "in_gap": 4,
    "mixed_state": 8,
    "time_uncertain": 16,
    "clock_unverified": 32,
    "charge_uncertain": 64,
    "duplicate_frame": 128,
}
"""`alignment_flag`: what is wrong with the electrochemical state given to a frame."""


def flag_attributes(flags: dict[str, int]) -> dict[str, object]:
    """CF attributes of an integer bit mask."""
    return {
        "flag_masks": np.array(list(flags.values()), np.int32),
        "flag_meanings": " ".join(flags),
        "units": "1",
    }


def category_attributes(categories: dict[str, int]) -> dict[str, object]:
    """CF attributes of an integer category."""
    return {
        "flag_values": np.array(list(categories.values()), np.int32),
        "flag_meanings": " ".join(categories),
        "units": "1",
    }


def flag_names(mask: int, flags: dict[str, int]) -> list[str]:
    """Return the names of the bits that are set.

    >>> flag_names(5, ALIGNMENT_FLAGS)
    ['outside', 'in_gap']
    """
    return [name for name, bit in flags.items() if mask & bit]


def count_flags(mask: npt.ArrayLike, flags: dict[str, int]) -> dict[str, int]:
    """Count how often each flag is set; flags never set are left out."""
    values = np.asarray(mask)
    counts = {name: int(np.count_nonzero(values & bit)) for name, bit in flags.items()}
    return {name: count for name, count in counts.items() if count}


def technique_of(dataset: xr.Dataset) -> str:
    """Return the technique of a dataset.

    Raises
    ------
    ContractError
        `attrs['technique']` is missing or unknown.
    """
    technique = dataset.attrs.get("technique")
    if technique not in TECHNIQUES:
        raise ContractError(
            f"attrs['technique']: found {technique!r}; expected one of {sorted(TECHNIQUES)}"
        )
    return str(technique)


def signal_of(dataset: xr.Dataset) -> xr.DataArray:
    """Return the variable that carries the signal of a dataset (intensity, mu, attenuation ...)."""
    for names in TECHNIQUES[technique_of(dataset)].signals:
        if all(name in dataset.data_vars for name in names):
            return dataset[names[0]]
    raise ContractError(f"no signal among {list(dataset.data_vars)}")


def axes_of(dataset: xr.Dataset) -> tuple[str, ...]:
    """Return the names of the measurement axes of a dataset, outermost first."""
    for axes in TECHNIQUES[technique_of(dataset)].axes:
        if all(name in dataset.coords for name, _ in axes):
            return tuple(name for name, _ in axes)
    raise ContractError(f"no axis of {dataset.attrs['technique']} among {list(dataset.coords)}")


def averaged_backward(log: xr.Dataset) -> npt.NDArray[np.bool_]:
    """Mark the rows of a log whose current is the mean since the row before.

    `current.attrs["averaging"]` says "backward" or "instantaneous" of all rows; "mixed" leaves it
    to the variable `current_averaged`, as for techniques of one experiment that record differently.
    """
    averaging = log["current"].attrs.get("averaging") if "current" in log else None
    if averaging == "mixed":
        return np.asarray(log["current_averaged"].values == 1)
    return np.full(log.sizes["time"], averaging == "backward")


def positions(frames: xr.Dataset | xr.DataArray) -> dict[str, npt.NDArray[np.intp]]:
    """Return position -> indices of its frames, in order of first appearance; "" without any."""
    if "position" not in frames.coords:
        return {"": np.arange(frames.sizes["time"])}
    names = np.broadcast_to(frames["position"].values.astype(str), frames.sizes["time"])
    return {name: np.flatnonzero(names == name) for name in dict.fromkeys(names.tolist())}


PARTS = ("line", "arc", "component", "phase")
"""Dimensions, after time, of an observable that has several numbers a frame."""


def parts_of(dataset: xr.Dataset, name: str) -> list[tuple[str, xr.Dataset]]:
    """Return label and dataset of each line, arc, component or phase; one part "" without any."""
    several = [dim for dim in PARTS if dim in dataset[name].dims]
    if not several:
        return [("", dataset)]
    [dim] = several
    prefix = "arc " if dim == "arc" else ""
    labels = [f"{prefix}{label}" for label in dataset[dim].values]
    parts = []
    for at, label in enumerate(labels):
        part = dataset.isel({dim: at})
        told = str(part[name].attrs.get("long_name", name))
        if prefix:
            part[name] = part[name].assign_attrs(
                long_name=f"{told.removesuffix(' of the arc')}, {label}"
            )
        parts.append((label, part))
    return parts


def check(dataset: xr.Dataset) -> xr.Dataset:
    """Return `dataset` unchanged, or raise if it breaks the contract. Never loads lazy data.

    The contract (DESIGN.md §4): a known technique with its axes, in their units, ascending; `time`
    first on every variable that has it, UTC, in order; `time_start <= time <= time_end`; a unit on
    every number; CF flags on every integer mask and category; every `<name>_sigma` beside its
    `<name>`, linked by `ancillary_variables`.

    Raises
    ------
    ContractError
        Names what was found and what was expected.
    """
    technique = technique_of(dataset)
    _check_axes(dataset, technique)
    _check_signals(dataset, technique)
    _check_time(dataset, strictly=technique != "electrochemistry")
    for name in [*dataset.data_vars, *dataset.coords]:
        _check_variable(dataset, str(name))
    return dataset


def _check_axes(dataset: xr.Dataset, technique: str) -> None:
    alternatives = TECHNIQUES[technique].axes
    for axes in alternatives:
        if all(name in dataset.coords for name, _ in axes):
            break
    else:
        raise ContractError(
            f"{technique}: coordinates {list(dataset.coords)}; expected "
            + " or ".join(str([name for name, _ in axes]) for axes in alternatives)
        )
    for name, unit in axes:
        coordinate = dataset[name]
        if coordinate.attrs.get("units") != unit:
            raise ContractError(
                f"{name}: units {coordinate.attrs.get('units')!r}; expected {unit!r}"
            )
        if coordinate.dims != (name,) or not np.all(np.diff(coordinate.values) > 0):
            raise ContractError(f"{name}: not a strictly ascending 1-D axis; sort and merge it")


def _check_signals(dataset: xr.Dataset, technique: str) -> None:
    alternatives = TECHNIQUES[technique].signals
    if not any(all(name in dataset.data_vars for name in names) for names in alternatives):
        raise ContractError(
            f"{technique}: variables {list(dataset.data_vars)}; expected "
            + " or ".join(str(list(names)) for names in alternatives)
        )


def _check_time(dataset: xr.Dataset, *, strictly: bool) -> None:
    """Frames are strictly ordered; a log may hold two rows at the instant of a current step."""
    if "time" not in dataset.dims or "time" not in dataset.coords:
        raise ContractError(f"no 'time' dimension with a coordinate; found {dict(dataset.sizes)}")
    time = dataset["time"].values
    if time.dtype != np.dtype("datetime64[ns]"):
        raise ContractError(f"time: dtype {time.dtype}; expected datetime64[ns] in UTC")
    if np.isnat(time).any():
        raise ContractError(f"time: {int(np.isnat(time).sum())} stamps missing")
    step = np.diff(time).astype(np.int64)
    if np.any(step < 0) or (strictly and np.any(step == 0)):
        at = int(np.flatnonzero(step <= 0)[0])
        raise ContractError(f"time: not increasing at row {at + 1} ({time[at]}, {time[at + 1]})")
    if technique_of(dataset) == "electrochemistry":
        return
    for name in ("time_start", "time_end"):
        if name not in dataset.coords or dataset[name].dims != ("time",):
            raise ContractError(f"{name}: missing; every frame is an interval of time")
    start, end = dataset["time_start"].values, dataset["time_end"].values
    if np.any(end < start):
        at = int(np.flatnonzero(end < start)[0])
        raise ContractError(f"time_end: before time_start at frame {at} ({start[at]}, {end[at]})")


def _check_variable(dataset: xr.Dataset, name: str) -> None:
    variable = dataset[name]
    if "time" in variable.dims and variable.dims[0] != "time":
        raise ContractError(f"{name}: dims {variable.dims}; 'time' comes first")
    kind = variable.dtype.kind
    if kind in "iufc" and "units" not in variable.attrs:
        raise ContractError(f"{name}: no units attribute; dimensionless numbers have units '1'")
    if (name.endswith("flag") or name in ("state", "state_instrument")) and not (
        {"flag_masks", "flag_values"} & set(variable.attrs) and "flag_meanings" in variable.attrs
    ):
        raise ContractError(f"{name}: no CF flag_masks or flag_values with flag_meanings")
    if name.endswith("_sigma"):
        owner = name.removesuffix("_sigma")
        if owner not in dataset or name not in str(
            dataset[owner].attrs.get("ancillary_variables", "")
        ):
            raise ContractError(f"{name}: {owner!r} does not name it in ancillary_variables")
