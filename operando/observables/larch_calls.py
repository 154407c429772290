"""How larch is asked: its groups, its answers, and its complaints turned into exceptions.

What it prints is caught by way of the standard output of the whole process: not for threads.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.errors import RequestError
from operando.observables.fourier import K_STEP
from operando_readers._larch import larch

Array = npt.NDArray[np.float64]


def group_of(chi: xr.DataArray) -> Any:
    """Return chi(k) as a group of larch."""
    arguments.array("chi", chi, "k")
    k = np.array(chi["k"].values, np.float64)
    steps = np.diff(k)
    if k.size < 20 or abs(k[0]) > 1e-6 or np.ptp(steps) > 1e-6 or abs(steps[0] - K_STEP) > 1e-6:
        raise RequestError(
            f"k: {k.size} points from {k[:1]}; expected even steps of {K_STEP:g} 1/angstrom from 0"
        )
    return larch("symboltable").Group(k=k, chi=finite("chi", chi))


def finite(name: str, array: xr.DataArray) -> Array:
    """Return the values of `array`, a copy; RequestError where they are not finite."""
    values = np.array(array.values, np.float64)
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise RequestError(
            f"{name}: {bad} of {values.size} points are not finite; leave out the frame, or cut it"
        )
    return values


def ask(name: str, *given: Any, **settings: Any) -> Any:
    """Call a function of `larch.xafs`, which tells its troubles on the screen, for its answer.

    Raises
    ------
    RequestError
        It raised, or said something and returned nothing.
    """
    function: Callable[..., Any] = getattr(larch("xafs"), name)
    # larch asks the standard output for its encoding, also where it writes nothing.
    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    with warnings.catch_warnings(), contextlib.redirect_stdout(said), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            answer = function(*given, **settings)
        except Exception as error:
            raise RequestError(f"larch {name}: {' '.join(str(error).split())}") from error
    said.seek(0)
    text = " ".join(said.read().split())
    if answer is None and text:
        raise RequestError(f"larch {name}: {text}")
    return answer


def left_in(group: Any, name: str, member: str) -> Array:
    """Return what a function of larch left in its group."""
    values = getattr(group, member, None)
    if values is None or not np.isfinite(values).all():
        raise RequestError(f"larch {name}: no {member} came of it")
    return np.asarray(values, np.float64)


def software() -> dict[str, str]:
    """Return what the result came from, as an attribute."""
    return {"software": f"xraylarch {version('xraylarch')}"}
