"""The variables of an electrochemical log, from columns of text and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from operando_readers._reader import STATES

Array = npt.NDArray[np.float64]
Variable = tuple[str, npt.NDArray[Any], dict[str, Any]]


def counted(values: npt.NDArray[Any], *, meaning: str = "") -> Variable:
    """Return numbers of cycles or steps as integers; what cannot be one is -1."""
    numbers = values.astype(np.float64)
    countable = np.isfinite(numbers) & (np.abs(numbers) < np.iinfo(np.int32).max)
    attributes = {"units": "1"} | ({"long_name": meaning} if meaning else {})
    return "time", np.where(countable, numbers, -1).astype(np.int32), attributes


def flagged(codes: npt.NDArray[Any]) -> Variable:
    """Return codes of `STATES` with the attributes that tell what they mean (CF, section 3.5)."""
    attributes = {
        "flag_values": np.array(list(STATES.values()), np.int32),
        "flag_meanings": " ".join(STATES),
        "units": "1",
    }
    return "time", codes.astype(np.int32), attributes


def stated(words: Sequence[str], meanings: Mapping[str, str]) -> Variable:
    """Return words of an instrument as `STATES`, unknown where they mean nothing to us."""
    codes = {word: STATES[meaning] for word, meaning in meanings.items()}
    return flagged(np.array([codes.get(word.strip(), STATES["unknown"]) for word in words]))


def signed_counter(
    capacity: Array, current: Array, labels: Sequence[npt.NDArray[Any]]
) -> tuple[Array, str]:
    """Return a capacity column as a charge that grows on charge and falls on discharge.

    Testers that write one capacity column either count the balance (falling on discharge) or the
    magnitude (growing in both directions, from zero at every step or for ever). The rows with
    negative current decide. A magnitude is summed up in the direction of its step: of the rows
    between two changes of a label (step, cycle, state), falls of the capacity, or changes of the
    sign of the current.

    Parameters
    ----------
    capacity, current
        A h (n,) and A (n,), the current with the sign of the file.
    labels
        Integers (n,) that stay the same within a step.

    Returns
    -------
    counter : A h (n,)
    comment : what was found
    """
    known = np.isfinite(capacity)
    value, flow = capacity[known], np.nan_to_num(current)[known]
    if not value.size:
        return capacity, "nothing counted"
    sign = np.sign(flow)
    new = np.diff(sign, prepend=sign[:1]) != 0
    for label in labels:
        new |= np.diff(label[known], prepend=label[known][:1]) != 0
    change = np.diff(value, prepend=0.0)
    if np.sum(change[~new & (sign < 0)]) <= 0:
        return capacity, "as it is; it does not grow on discharge"
    new |= change < 0
    step = np.cumsum(new)
    direction = np.sign(np.bincount(step, flow))[step]
    counter = np.full(capacity.shape, np.nan)
    counter[known] = np.cumsum(np.where(change < 0, value, change) * direction)
    return counter, "a magnitude, summed up in the direction of each step"
