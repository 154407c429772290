"""What a caller passed to a verb: looked at where it comes in, refused in one line.

Types are promised in signatures, but a notebook does not check them; a wrong one would fail deep
inside, far from the call that has to be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando.errors import RequestError

LONGEST = 60
"""Values whose text is longer, or more than a line, are told by their type."""


def number(name: str, value: object, allowed: Callable[[float], bool], expected: str) -> float:
    """Return one real number that is allowed; not-a-number and truth values are none.

    Raises
    ------
    RequestError
        Names the argument, what was found and what was expected.
    """
    found = _numbers(value)
    if found.shape or not allowed(float(found)):
        raise refusal(name, value, expected)
    return float(found)


def whole(name: str, value: object, allowed: Callable[[int], bool], expected: str) -> int:
    """Return one whole number that is allowed, or raise as `number` does."""
    found = number(name, value, lambda real: real.is_integer() and allowed(int(real)), expected)
    return int(found)


def pair(name: str, value: object, expected: str) -> tuple[float, float]:
    """Return two real numbers, or raise as `number` does."""
    found = _numbers(value)
    if found.shape != (2,):
        raise refusal(name, value, expected)
    return float(found[0]), float(found[1])


def chosen(name: str, value: object, choices: Sequence[str]) -> str:
    """Return one of the words there are to choose from, or raise as `number` does."""
    if not isinstance(value, str) or value not in choices:
        raise refusal(name, value, " or ".join(map(repr, choices)))
    return value


def switch(name: str, value: object) -> bool:
    """Return a truth value, or raise as `number` does."""
    if not isinstance(value, bool | np.bool_):
        raise refusal(name, value, "True or False")
    return bool(value)


def dataset(name: str, value: object) -> xr.Dataset:
    """Return a Dataset on `time`, or raise as `number` does."""
    if not isinstance(value, xr.Dataset) or "time" not in value.dims or "time" not in value.coords:
        raise refusal(name, value, "an xarray.Dataset with a time axis")
    return value


def array(name: str, value: object, *dims: str) -> xr.DataArray:
    """Return a DataArray of these dimensions in any order, or raise as `number` does."""
    expected = f"an xarray.DataArray on {' and '.join(dims)}"
    if not isinstance(value, xr.DataArray):
        raise refusal(name, value, expected)
    found = tuple(map(str, value.dims))
    others = [dim for dim in found if dim not in dims]
    if others:
        raise RequestError(f"{name}: dimensions {found!r}; expected {expected}: select {others}")
    if set(found) != set(dims) or not set(dims) <= set(value.coords):
        raise RequestError(f"{name}: dimensions {found!r}; expected {expected}, with their axes")
    return value


def _numbers(value: object) -> npt.NDArray[np.float64]:
    """Return what consists of real numbers as an array; an empty one where it does not."""
    try:
        found = np.asarray(value)
    except (TypeError, ValueError):
        return np.array([])
    if found.dtype.kind not in "iuf" or np.isnan(found).any():
        return np.array([])
    return found.astype(np.float64)


def refusal(name: str, value: object, expected: str) -> RequestError:
    """Return the exception that says what was found and what was expected, in one line."""
    text = repr(value)
    if len(text) > LONGEST or "\n" in text:
        text = f"a {type(value).__name__}"
    return RequestError(f"{name}: {text}; expected {expected}")
