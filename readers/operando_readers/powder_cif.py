"""Powder patterns in CIF: the powder dictionary of the IUCr (pdCIF), and its dotted names.

File structure (B. H. Toby, International Tables G, 3.3 and 4.2): a data block with a loop of
intensities, and positions in a loop of the same length or as a range (``.._range_min _max _inc``).
Taken is the first that is there of

* positions: ``_pd_proc_2theta_corrected``, ``_pd_meas_2theta_scan``, the ranges of both, then
  ``_pd_proc_recip_len_Q``. "Corrected" is corrected for the zero and the displacement that a
  refinement found; the option `axis` asks for "measured" instead. d-spacing and time of flight
  are refused;
* intensities: ``_pd_meas_counts_total``, ``_pd_meas_intensity_total``,
  ``_pd_proc_intensity_total``, ``_pd_meas_counts_net``, ``_pd_meas_intensity_net``,
  ``_pd_proc_intensity_net``; attrs say which.

Uncertainty: the digits in parentheses, 5540(160); where there are none 1/sqrt(weight) of
``_pd_proc_ls_weight``, NaN where the weight is 0: an excluded point.

Time: ``_pd_meas_datetime_initiated`` is when the measurement began, mostly local and without zone.
``_pd_proc_info_datetime`` and ``_audit_creation_date`` tell when the file was made and are never
taken for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._diffraction import NO_CLOCK, Axis, kelvin, pattern, stepped
from operando_readers._fixed_width import MOST
from operando_readers._reader import File, FormatError, Reader, clock
from operando_readers._stamps import moments

if TYPE_CHECKING:
    from gemmi import cif

Array = npt.NDArray[np.float64]
Wanted = Literal["corrected", "measured", "q"]

POSITIONS: tuple[tuple[Wanted, str], ...] = (
    ("corrected", "_pd_proc_2theta_corrected"),
    ("measured", "_pd_meas_2theta_scan"),
    ("corrected", "_pd_proc_2theta_range"),
    ("measured", "_pd_meas_2theta_range"),
    ("q", "_pd_proc_recip_len_Q"),
)
INTENSITIES = (
    "_pd_meas_counts_total",
    "_pd_meas_intensity_total",
    "_pd_proc_intensity_total",
    "_pd_meas_counts_net",
    "_pd_meas_intensity_net",
    "_pd_proc_intensity_net",
)
WEIGHT = "_pd_proc_ls_weight"
UNFIT = {
    "_pd_proc_d_spacing": "d-spacing",
    "_pd_meas_time_of_flight": "time of flight",
    "_pd_proc_energy_incident": "energy",
}
VALUE = re.compile(r"([-+]?(?:\d+\.?(\d*)|\.(\d+))(?:[eE]([-+]?\d{1,3}))?)(?:\((\d{1,9})\))?")
LONGEST_WORD = 1000
MOST_WORDS = 2000
SNIFFED = re.compile(rb"^\s*_pd_(?:meas|proc)[_.]", re.MULTILINE)


class _Found(NamedTuple):
    """Where the positions of a block are."""

    kind: Wanted
    item: str
    values: Array


def read(file: File, *, block: str | None = None, axis: Wanted | None = None) -> xr.Dataset:
    """Read one pattern.

    Parameters
    ----------
    block
        Name of the data block, where several hold a pattern.
    axis
        Which positions, where there are several kinds.

    Returns
    -------
    `intensity` (time 1, two_theta in degree or q in 1/angstrom), in counts where the item says so,
    `intensity_sigma` where the file has deviations or weights; `temperature` (K) on time.

    Raises
    ------
    FormatError
        Not CIF, no block with a pattern or several and none chosen (lists them), positions that
        are d, time of flight or energy, loops of different lengths, or a value that is no number.
    """
    document = _parsed(file.read_text())
    data = _chosen(document, block)
    item, texts = _intensities(data)
    intensity, sigma = _with_deviations(texts, item)
    found = _positions(data, axis, intensity.size)
    source = "parentheses" if np.isfinite(sigma).any() else ""
    if not source:
        sigma = _from_weights(data, intensity.size)
        source = WEIGHT if np.isfinite(sigma).any() else ""
    name: Axis = "q" if found.kind == "q" else "two_theta"
    dataset = pattern(
        name,
        found.values,
        intensity,
        sigma=sigma if source else None,
        units="count" if "_counts_" in item else "1",
        metadata=_words(data),
        told=_temperature(data),
        exposure=_exposure(data, intensity.size),
        axis_item=found.item,
        intensity_item=item,
        sigma_source=source or None,
        **_facts(data, document),
    )
    promised = _number(data, "_pd_meas_number_of_points") if "_meas_" in item else None
    if promised and intensity.size < promised:
        dataset.attrs["truncated"] = f"{intensity.size} of {promised:g} points"
    return dataset


def _parsed(text: str) -> cif.Document:
    from gemmi import cif

    try:
        return cif.read_string(text)
    except Exception as error:  # of the grammar, or of a value it cannot hold
        reason = " ".join(str(error).split())
        raise FormatError(f"not CIF or damaged ({reason[:200]})") from error


def _chosen(document: cif.Document, name: str | None) -> cif.Block:
    """Return the one block with a pattern, or the one that is asked for."""
    having = [block for block in document if any(_values(block, item) for item in INTENSITIES)]
    names = [block.name for block in having]
    if not having:
        raise FormatError(f"no intensities (_pd_meas_.., _pd_proc_..) in {len(document)} blocks")
    if name is None and len(having) == 1:
        return having[0]
    if name not in names:
        raise FormatError(f"block: {name!r}; patterns are in {names[:20]}, choose with block=")
    return having[names.index(name)]


def _values(block: cif.Block, item: str) -> list[str]:
    """Return the values of an item in a loop or alone, under its old or its dotted name."""
    found = list(block.find_values(item))
    return found or list(block.find_values(re.sub(r"^(_[a-z]+_[a-z]+)_", r"\1.", item)))


def _intensities(block: cif.Block) -> tuple[str, list[str]]:
    return next((item, found) for item in INTENSITIES if (found := _values(block, item)))


def _with_deviations(texts: Sequence[str], item: str) -> tuple[Array, Array]:
    """Return numbers and what stands in parentheses behind them, NaN where it does not."""
    values = np.full(len(texts), np.nan)
    sigma = np.full(len(texts), np.nan)
    for at, text in enumerate(texts):
        if text in ("?", "."):
            continue
        match = VALUE.fullmatch(text)
        if match is None:
            raise FormatError(f"{item}, value {at + 1}: {text[:40]!r}; expected a number")
        number, digits, more, power, deviation = match.groups()
        values[at] = float(number)
        if deviation is not None:
            sigma[at] = float(f"{deviation}e{int(power or 0) - len(digits or more or '')}")
    return values, sigma


def _from_weights(block: cif.Block, count: int) -> Array:
    """Return deviations from the weights of a refinement, NaN where a point was excluded."""
    texts = _values(block, WEIGHT)
    if len(texts) != count:
        return np.full(count, np.nan)
    weight, _ = _with_deviations(texts, WEIGHT)
    known = weight > 0
    return np.where(known, 1 / np.sqrt(np.where(known, weight, 1.0)), np.nan)


def _positions(block: cif.Block, wanted: Wanted | None, count: int) -> _Found:
    """Return positions as long as the intensities, of the kind that is asked for."""
    there = []
    for kind, item in POSITIONS:
        ranged = item.endswith("_range")
        values = _range(block, item, count) if ranged else _listed(block, item)
        if values is None:
            continue
        there.append(f"{item} ({kind})")
        if wanted in (None, kind):
            if values.size != count:
                raise FormatError(f"{item}: {values.size} positions for {count} intensities")
            return _Found(kind, item, values)
    unfit = [name for item, name in UNFIT.items() if _values(block, item)]
    if unfit and not there:
        raise FormatError(f"positions: {', '.join(unfit)} only; expected two theta or q")
    raise FormatError(f"axis: {wanted!r}; the block has {', '.join(there) or 'no positions'}")


def _listed(block: cif.Block, item: str) -> Array | None:
    texts = _values(block, item)
    return _with_deviations(texts, item)[0] if texts else None


def _range(block: cif.Block, item: str, count: int) -> Array | None:
    """Return evenly spaced positions; a file that was cut has fewer than its range says."""
    low, step, high = (_number(block, f"{item}_{name}") for name in ("min", "inc", "max"))
    if low is None or step is None:
        return None
    if not step > 0 or (high is not None and count > min((high - low) / step + 1.5, MOST)):
        raise FormatError(f"{item}: {low} to {high} by {step} for {count} intensities")
    return stepped(low, step, count)


def _number(block: cif.Block, item: str) -> float | None:
    """Return a number that stands alone, None where there is none."""
    texts = _values(block, item)
    match = VALUE.fullmatch(texts[0]) if len(texts) == 1 else None
    return float(match[1]) if match is not None else None


def _word(block: cif.Block, item: str) -> str | None:
    from gemmi import cif

    texts = _values(block, item)
    word = " ".join(cif.as_string(texts[0]).split())[:LONGEST_WORD] if texts else ""
    return word if word not in ("", "?", ".") else None


def _facts(block: cif.Block, document: cif.Document) -> dict[str, Any]:
    """Return clock, wavelength and radiation; what the block lacks may be in another one."""
    started = _word(block, "_pd_meas_datetime_initiated")
    facts: dict[str, Any] = {"clock": NO_CLOCK}
    if started is not None:
        stamp = moments([started], what="_pd_meas_datetime_initiated")
        facts["clock"] = clock(
            start=stamp.iso(0),
            zone=stamp.zone,
            marks="start",
            source="header",
            sigma_s=stamp.resolution_s / 2 or None,
        )
    told = [_wavelengths(one) for one in (block, *document)]
    facts |= next((found for found in told if found), {})
    facts["probe"] = _word(block, "_diffrn_radiation_probe")
    facts["instrument"] = _word(block, "_diffrn_measurement_device_type")
    return facts


def _wavelengths(block: cif.Block) -> dict[str, float]:
    """Return the wavelength, or both of a doublet and the ratio of their intensities."""
    item = "_diffrn_radiation_wavelength"
    values = _listed(block, item)
    values = values[np.isfinite(values) & (values > 0)] if values is not None else np.empty(0)
    if values.size == 1:
        return {"wavelength_angstrom": float(values[0])}
    if values.size != 2:
        return {}
    first, second = np.argsort(values)
    found = {
        "wavelength_angstrom": float(values[first]),
        "wavelength_alpha2_angstrom": float(values[second]),
    }
    weights = _listed(block, f"{item}_wt")
    if weights is not None and weights.size == 2 and weights[first] > 0:
        found["alpha2_ratio"] = float(weights[second] / weights[first])
    return found


def _temperature(block: cif.Block) -> dict[str, xr.Variable]:
    value = _number(block, "_diffrn_ambient_temperature")
    return kelvin(value) if value is not None and value > 0 else {}


def _exposure(block: cif.Block, count: int) -> float | None:
    """Return the length of a scan: of every step, or of the one exposure of a fixed detector."""
    each = _number(block, "_pd_meas_step_count_time")
    method = _word(block, "_pd_meas_scan_method")
    if each is None or not each > 0 or method not in ("step", "fixed"):
        return None
    return each * count if method == "step" else each


def _words(block: cif.Block) -> dict[str, str]:
    """Return the items that stand alone."""
    return dict(list(_pairs(block))[:MOST_WORDS])


def _pairs(block: cif.Block) -> Iterator[tuple[str, str]]:
    from gemmi import cif

    for item in block:
        if item.pair is not None:
            pair: Any = item.pair
            name, value = str(pair[0]), pair[1]
            if word := str(cif.as_string(value))[:LONGEST_WORD]:
                yield name, word


def sniff(head: bytes, name: str) -> bool:
    """Whether it is CIF and has items of a powder measurement."""
    return (
        name.lower().endswith((".cif", ".pdcif", ".rtv"))
        and b"data_" in head.lower()
        and SNIFFED.search(head) is not None
    )


READER = Reader(
    technique="xrd",
    suffixes=(".cif", ".pdcif", ".rtv"),
    sniff=sniff,
    read=read,
    description="powder CIF (pdCIF), X-rays or neutrons",
)
