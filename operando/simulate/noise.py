"""Random numbers that are the same on every machine and with every version of numpy.

Numpy keeps the raw output of a bit generator for ever, but not what its distributions make of it;
so the raw bits are turned into numbers here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

Array = npt.NDArray[np.float64]

ENOUGH = 50.0
"""Expected counts from which a Poisson number is a rounded normal one to within its own error."""


def stream(seed: int, number: int) -> np.random.PCG64:
    """Return one of many independent sources of random bits of a seed."""
    return np.random.PCG64(np.random.SeedSequence([seed, number]))


def uniform(bits: np.random.PCG64, shape: int | tuple[int, ...]) -> Array:
    """Return numbers between 0 and 1, neither of them included."""
    raw = np.asarray(bits.random_raw(int(np.prod(shape))), np.uint64)
    numbers: Array = ((raw >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return numbers.reshape(shape)


def normal(bits: np.random.PCG64, shape: int | tuple[int, ...]) -> Array:
    """Return standard normal numbers, by the inverse of their distribution."""
    numbers: Array = ndtri(uniform(bits, shape))
    return numbers


def counts(bits: np.random.PCG64, expected: Array) -> Array:
    """Return Poisson counts, in their normal limit.

    Raises
    ------
    ValueError
        An expectation is too small for the limit.
    """
    if expected.min() < ENOUGH:
        raise ValueError(f"expected counts: {expected.min():g}; at least {ENOUGH:g} for the limit")
    drawn: Array = np.rint(expected + np.sqrt(expected) * normal(bits, expected.shape))
    return drawn
