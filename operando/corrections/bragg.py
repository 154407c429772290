"""Energy and angle of a crystal monochromator."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operando_readers._absorption import HC_EV_ANGSTROM

Array = npt.NDArray[np.float64]


def bragg_angle(energy: npt.ArrayLike, *, spacing: float) -> Array:
    """Return the Bragg angle in radian of an energy in eV, sin theta = hc / (2 d E).

    NaN below the energy that the planes, `spacing` angstrom apart, can reflect.
    """
    sine = HC_EV_ANGSTROM / (2 * spacing * np.asarray(energy, dtype=float))
    return np.asarray(np.arcsin(np.where(sine <= 1, sine, np.nan)))


def bragg_energy(angle: npt.ArrayLike, *, spacing: float) -> Array:
    """Return the energy in eV reflected at an angle in radian, E = hc / (2 d sin theta)."""
    return np.asarray(HC_EV_ANGSTROM / (2 * spacing * np.sin(np.asarray(angle, dtype=float))))


def shifted_energy(
    energy: npt.ArrayLike, shift: npt.ArrayLike, *, spacing: float | None, at: float
) -> Array:
    """Return what a scale that reads `shift` eV too high at the energy `at` reads at `energy`.

    With a spacing its angles are wrong by one offset, theta(at + shift) - theta(at); without one
    all its energies are wrong by `shift`. The arguments broadcast.

    >>> shifted_energy(9000.0, 1.0, spacing=None, at=8333.0).item()
    9001.0
    >>> round(shifted_energy(9000.0, 1.0, spacing=3.13555, at=8333.0).item(), 2)
    9001.17
    """
    true, wrong = np.asarray(energy, dtype=float), np.asarray(shift, dtype=float)
    if spacing is None:
        return np.asarray(true + wrong)
    offset = bragg_angle(at + wrong, spacing=spacing) - bragg_angle(at, spacing=spacing)
    return bragg_energy(bragg_angle(true, spacing=spacing) + offset, spacing=spacing)
