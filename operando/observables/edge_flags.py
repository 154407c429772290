"""What can be wrong with an edge, and which of it only calls for caution."""

from __future__ import annotations

ASSESSMENT: dict[str, int] = {
    "no_crossing": 1,
    "preedge_above_level": 2,
    "negative_step": 4,
    "nonfinite": 8,
    "partial_scan": 16,
    "no_match": 32,
    "no_baseline": 64,
    "multi_derivative_max": 128,
    "short_range": 256,
    "glitch": 512,
    "drift_unreferenced": 1024,
    "step_changed": 2048,
    "dose_correlated": 4096,
}
"""`assessment` of an edge; 0 is success.

Not to be believed: `no_crossing`: the spectrum does not rise through the level, or not through the
whole band of the integral. `preedge_above_level`: before the edge something rises to 0.8 of the
level and falls again (pre-edge peaks of Cr6+, V5+, Ti4+), so that level and band may follow the
wrong feature; a matched shift does not mind. `negative_step`: absorption falls at the edge.
`nonfinite`: NaN inside what is used. `partial_scan`: NaN to one end of the scan reach into it.
`no_match`: no shift of the baseline fits. `no_baseline`: none of the frames of the baseline can be
believed, so there is no shift.

Cautions: `multi_derivative_max`: the derivative has a second maximum of 0.8 of the first, as Zr
foil: what is called "the edge" is a choice. `short_range`: the data do not span the normalisation
ranges, or these span less than 30 eV before the edge or end within 120 eV beyond it. `glitch`:
points of the spectrum were interpolated. `drift_unreferenced`: no reference channel says how far
the energy scale is off; sigma has a bound. `step_changed`: by more than 2 %, and 5 sigma, since
the baseline: thickness, gas, another spot. `dose_correlated`: at this position the shift follows
the exposure it had rather than the charge passed (`operando.observables.dose`).
"""

CAUTIONS = sum(
    ASSESSMENT[name]
    for name in (
        "multi_derivative_max",
        "short_range",
        "glitch",
        "drift_unreferenced",
        "step_changed",
        "dose_correlated",
    )
)
"""Bits of `ASSESSMENT` beside which the numbers may be used; attribute `cautions` of it."""
