"""Frames in delimited text, as its caller describes them: an axis and signals, or a matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NotRequired, Required, TypedDict

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._absorption import energy_of_angle, spectrum
from operando_readers._reader import FormatError, clock
from operando_readers._table import Table, numbers

Array = npt.NDArray[np.float64]


class ColumnSpec(TypedDict, total=False):
    """Where a variable is in the file and what it is measured in."""

    name: Required[str | int]
    units: Required[str]
    averaging: NotRequired[Literal["backward", "instantaneous"]]
    states: NotRequired[Mapping[str, str]]


class MatrixSpec(TypedDict, total=False):
    """What the columns behind the axis are, and whether the first row holds their seconds."""

    variable: Required[str]
    units: Required[str]
    seconds: NotRequired[bool]


Columns = Mapping[str, ColumnSpec]

AXES: dict[str, tuple[str, Mapping[str, float]]] = {
    "two_theta": ("degree", {"degree": 1.0}),
    "q": ("1/angstrom", {"1/angstrom": 1.0, "1/nm": 0.1}),
    "raman_shift": ("1/cm", {"1/cm": 1.0}),
    "energy": ("eV", {"eV": 1.0, "keV": 1e3}),
}
ANGLE = "degree"
TECHNIQUES = {"xrd": ("two_theta", "q"), "raman": ("raman_shift",), "xas": ("energy",)}
LARGEST_SPACING = 1e3
RESERVED = ("time", "elapsed", "exposure", "position")
NO_TIME = clock(start=None, zone=None, marks="start", source="none")


def picked(table: Table, name: str | int, *, what: str) -> list[str]:
    """Return the fields of a column by its name, or its number from 0.

    Raises
    ------
    FormatError
        There is none (lists those there are), or several of that name.
    """
    return table.columns[_place(table, name, what=what)]


def _place(table: Table, name: str | int, *, what: str) -> int:
    if isinstance(name, int) and 0 <= name < len(table.names):
        return name
    if isinstance(name, int) or name not in table.names:
        raise FormatError(f"{what}: no column {name!r}; there are {table.names}")
    if table.names.count(name) > 1:
        raise FormatError(f"{what}: several columns {name!r}; give its number from 0")
    return table.names.index(name)


def factor_of(spec: ColumnSpec, units: Mapping[str, float], *, what: str) -> float:
    """Return what the unit of a column is in ours, or raise when it is not among `units`."""
    if spec.get("units") not in units:
        raise FormatError(f"{what}: units {spec.get('units')!r}; expected one of {list(units)}")
    return units[spec["units"]]


def axis_of(
    table: Table,
    columns: Columns,
    technique: str,
    *,
    decimal: str,
    d_spacing: float | None,
) -> tuple[xr.Variable, int]:
    """Return the axis in the order of the file and in our unit, and the number of its column.

    Raises
    ------
    FormatError
        Not exactly one axis of the technique, a unit that is none, or an angle without spacing.
    """
    axes = [name for name in columns if name in TECHNIQUES[technique]]
    if len(axes) != 1:
        raise FormatError(f"columns: axes {axes}; expected one of {TECHNIQUES[technique]}")
    name = axes[0]
    unit, units = AXES[name]
    spec = columns[name]
    at = _place(table, spec.get("name", ""), what=name)
    values = numbers(table.columns[at], what=name, decimal=decimal)
    if name == "energy" and spec.get("units") == ANGLE:
        return xr.Variable(name, _bragg(values, d_spacing), {"units": unit}), at
    if d_spacing is not None:
        raise FormatError(f"d_spacing: {d_spacing}; the {name} is in {spec.get('units')!r}")
    known = {**units, ANGLE: 1.0} if name == "energy" else units
    return xr.Variable(name, values * factor_of(spec, known, what=name), {"units": unit}), at


def _bragg(degree: Array, d_spacing: float | None) -> Array:
    if d_spacing is None or not 0 < d_spacing < LARGEST_SPACING:
        raise FormatError(f"d_spacing: {d_spacing}; an energy in {ANGLE!r} needs it, in angstrom")
    if not ((degree > 0) & (degree < 90)).all():
        raise FormatError("energy: angles beyond 0 to 90 degree")
    return energy_of_angle(degree, d_spacing)


def frame(table: Table, columns: Columns, axis: xr.Variable, *, decimal: str) -> xr.Dataset:
    """Return one frame of signals on a monotonic axis."""
    name = str(axis.dims[0])
    order = _ascending(axis.values, what=name)
    dataset = xr.Dataset(coords={name: axis[order]})
    for ours, (values, unit) in _signals(table, columns, name, decimal=decimal).items():
        dataset[ours] = (("time", name), values[np.newaxis, order], {"units": unit})
    return _linked(dataset)


def _signals(
    table: Table, columns: Columns, axis: str, *, decimal: str
) -> dict[str, tuple[Array, str]]:
    """Return values and unit of every column but the axis."""
    found = {}
    for ours, spec in columns.items():
        if ours == axis:
            continue
        if ours in RESERVED:
            raise FormatError(f"columns: {ours!r}; expected a signal")
        fields = picked(table, spec.get("name", ""), what=ours)
        found[ours] = (numbers(fields, what=ours, decimal=decimal), _unit(spec, ours))
    return found


def _linked(dataset: xr.Dataset) -> xr.Dataset:
    """Name the uncertainties of variables, and say that the file has no time."""
    for name in dataset.data_vars:
        if f"{name}_sigma" in dataset:
            dataset[name].attrs["ancillary_variables"] = f"{name}_sigma"
    return dataset.assign_attrs(clock=dict(NO_TIME))


def absorption(table: Table, columns: Columns, axis: xr.Variable, *, decimal: str) -> xr.Dataset:
    """Return an absorption spectrum, from counters where the file has no absorption."""
    signals = _signals(table, columns, "energy", decimal=decimal)
    if "mu_sigma" in signals and "mu" not in signals:
        raise FormatError("columns: 'mu_sigma' without 'mu'")
    dataset = spectrum(
        axis.values,
        {name: values for name, (values, _) in signals.items()},
        clock=NO_TIME,
        instrument="unknown",
        metadata={},
    )
    for name, (_, unit) in signals.items():
        dataset[name].attrs["units"] = unit
    return _linked(dataset)


def matrix_of(
    table: Table,
    columns: Columns,
    spec: MatrixSpec,
    axis: xr.Variable,
    *,
    at: int,
    decimal: str,
) -> xr.Dataset:
    """Return one frame for each column that is not the axis, which is column `at`.

    Raises
    ------
    FormatError
        A key that is not known, a second declared column, no frame, or seconds that are none.
    """
    extra = sorted(set(spec) - MatrixSpec.__annotations__.keys())
    if extra or not {"variable", "units"} <= set(spec):
        raise FormatError(f"matrix: {dict(spec)}; expected {[*MatrixSpec.__annotations__]}")
    name, ours = str(axis.dims[0]), spec["variable"]
    if ours in (name, *RESERVED) or len(columns) > 1:
        raise FormatError(f"matrix: {ours!r} beside columns {[*columns]}; expected the axis alone")
    frames = [number for number in table.columns if number != at]
    if not frames:
        raise FormatError(f"matrix: no column beside {name}")
    labels = [table.names[number] for number in frames]
    seconds = np.zeros(len(frames))
    if spec.get("seconds", False):
        seconds = numbers(labels, what="seconds", decimal=decimal)
        if not np.isfinite(seconds).all():
            raise FormatError(f"seconds: {labels[int(np.argmin(np.isfinite(seconds)))]!r}")
    rows = [numbers(table.columns[n], what=table.names[n], decimal=decimal) for n in frames]
    order = _ascending(axis.values, what=name)
    values = np.ascontiguousarray(np.stack(rows)[:, order])
    dataset = xr.Dataset(
        {ours: (("time", name), values, {"units": spec["units"]})},
        {name: axis[order], "elapsed": ("time", seconds, {"units": "s"})},
    )
    if ours == "mu":
        dataset["mu"].attrs["mode"] = "file"
    return _linked(dataset)


def _unit(spec: ColumnSpec, ours: str) -> str:
    if not spec.get("units"):
        raise FormatError(f"{ours}: no units")
    return spec["units"]


def _ascending(axis: Array, *, what: str) -> slice:
    if axis.size > 1 and np.all(np.diff(axis) < 0):
        return slice(None, None, -1)
    if not axis.size or not np.isfinite(axis).all() or np.any(np.diff(axis) <= 0):
        raise FormatError(f"{what}: empty or not monotonic; sort and merge it")
    return slice(None)
