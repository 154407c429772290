"""Tracks of lines as arrays: which numbers may be believed, and how far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.errors import RequestError

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One number of every line in every frame, (n, k); NaN where it is not believed."""

    value: Array
    sigma: Array
    """Of everything: the one to weight by."""
    stat: Array
    syst: Array

    def scaled(self, slope: Array, value: Array) -> Measured:
        """Return `value`, a function of this number, with the sigmas its slope gives."""
        steep = np.abs(slope)
        return Measured(
            value=value, sigma=steep * self.sigma, stat=steep * self.stat, syst=steep * self.syst
        )


def checked(tracks: xr.Dataset, *names: str) -> xr.Dataset:
    """Return `tracks` on (time, line), in memory, or raise where `track_peaks` made no such thing.

    A lazy one is computed as a whole: its numbers come out of one fit.

    Raises
    ------
    RequestError
        No Dataset on time, no lines, or a number that is missing.
    """
    arguments.dataset("tracks", tracks)
    missing = [n for n in (*names, *(f"{n}_sigma" for n in names)) if n not in tracks]
    if "line" not in tracks.dims or "line" not in tracks.coords or missing:
        raise RequestError(
            f"tracks: {list(tracks.data_vars)} on {tuple(map(str, tracks.dims))!r}; expected "
            f"{list(names)} with their sigma on time and line, as track_peaks returns them"
        )
    return tracks.compute().transpose("time", "line", ...)


def chosen_lines(tracks: xr.Dataset, names: list[str], *, of: str) -> xr.Dataset:
    """Return the tracks of some lines in the order they are named.

    Raises
    ------
    RequestError
        No name, one that is none of a line, or one named twice.
    """
    known = [str(name) for name in tracks["line"].values]
    unknown = [name for name in names if name not in known]
    if not names or unknown or len(set(names)) < len(names):
        raise RequestError(f"{of}: lines {names!r}; expected some of {known!r}, each once")
    return tracks.isel(line=[known.index(name) for name in names])


def meanings(tracks: xr.Dataset) -> tuple[str, ...]:
    """Return every word that the assessment of these tracks knows."""
    if "assessment" not in tracks:
        return ()
    return tuple(str(tracks["assessment"].attrs.get("flag_meanings", "")).split())


def believed(tracks: xr.Dataset, *, despite: tuple[str, ...] = ()) -> Mask:
    """Mark the lines and frames (n, k) whose assessment does not forbid their use.

    Bits named in attribute `cautions` never forbid; `despite` names others that do not here.
    """
    if "assessment" not in tracks:
        return np.ones((tracks.sizes["time"], tracks.sizes["line"]), dtype=bool)
    assessment = tracks["assessment"]
    code = assessment.values
    words = meanings(tracks)
    if "flag_masks" in assessment.attrs:
        bits = dict(zip(words, np.atleast_1d(assessment.attrs["flag_masks"]), strict=True))
        allowed = int(assessment.attrs.get("cautions", 0))
        allowed |= sum(int(bits[name]) for name in despite if name in bits)
        return np.asarray((code & ~allowed) == 0)
    values = dict(zip(words, np.atleast_1d(assessment.attrs["flag_values"]), strict=True))
    fine = [values[name] for name in ("success", *despite) if name in values]
    return np.asarray(np.isin(code, fine))


def measured(tracks: xr.Dataset, name: str, *, despite: tuple[str, ...] = ()) -> Measured:
    """Return a number and its sigmas; without a systematic part all of sigma is statistical."""
    value, sigma = (tracks[n].values.astype(np.float64) for n in (name, f"{name}_sigma"))
    with np.errstate(invalid="ignore"):
        usable = believed(tracks, despite=despite) & np.isfinite(value) & (sigma > 0)
    usable &= np.isfinite(sigma)
    parts = [
        tracks[f"{name}_sigma_{part}"].values.astype(np.float64)
        if f"{name}_sigma_{part}" in tracks
        else default
        for part, default in (("stat", sigma), ("syst", np.zeros_like(sigma)))
    ]
    # one layout, so that sums over lines do not depend on how the series was cut
    value, sigma, stat, syst = (
        np.ascontiguousarray(np.where(usable, a, np.nan)) for a in (value, sigma, *parts)
    )
    return Measured(value=value, sigma=sigma, stat=stat, syst=syst)
