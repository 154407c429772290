"""What the text and the zip of Rigaku's programs have in common."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operando_readers._radiation import Kind

Array = npt.NDArray[np.float64]

UNITS = {"counts": "count", "count": "count", "cps": "count/s"}
"""Of the intensity, in small letters."""
WAVES: dict[str, Kind] = {
    **{"ka1": "alpha1", "ka": "alpha1+alpha2", "ka12": "alpha1+alpha2"},
    **{"kb": "beta", "kbeta": "beta"},
}
"""What reaches the sample, as the program calls it in small letters."""
ATTENUATED = "intensity, multiplied here by the attenuation factors of the file"


def attenuated(table: Array) -> tuple[Array, Array | None]:
    """Return the intensity of rows (position, intensity, factor) times the factor, and the factor.

    The factor is what the intensity is multiplied by to be that without attenuator, as NIST's
    reduction of these files does.
    """
    if table.shape[1] == 2:
        return np.ascontiguousarray(table[:, 1]), None
    return table[:, 1] * table[:, 2], np.ascontiguousarray(table[:, 2])
