"""What can be wrong with a line in a frame, and which of it only calls for caution."""

from __future__ import annotations

ASSESSMENT: dict[str, int] = {
    "weak": 1,
    "at_bound": 2,
    "not_converged": 4,
    "no_data": 8,
    "poor_fit": 16,
    "lost": 32,
    "merged": 64,
    "masked": 128,
    "misfit": 256,
    "reacquired": 512,
    "shape_frozen": 1024,
    "extrapolated_start": 2048,
}
"""`assessment` of a line; 0 is success.

Not to be believed: `weak`: its area is below 4 sigma (6 after it was weak), so that centre and
width cannot be measured; they are NaN, the area is fitted with the shape it last had and may be
negative, area + 1.645 sigma is its upper limit at 95 %. `at_bound`: the line left its window or is
narrower than the grid can show; sigma says too little. `not_converged`. `no_data`: too few finite
points. `poor_fit`: reduced chi-square above 10. `lost`: it was there, and something is in the
window that it could not be fitted to. `merged`: closer than half a width to another line of the
window; only the sum of their areas is known. `masked`: half of the line lies in masked points.

Cautions: `misfit`: reduced chi-square above 1.5; sigma was scaled with its root. `reacquired`: the
line jumped within a block of frames, and was found again with a wider start or a search.
`shape_frozen`: centre and width are held: of a weak line, or of a cell part. `extrapolated_start`:
the line was not seen at the head of its block of frames, whose start is that of other blocks.
"""

CAUTIONS = sum(
    ASSESSMENT[name] for name in ("misfit", "reacquired", "shape_frozen", "extrapolated_start")
)
"""Bits of `ASSESSMENT` beside which the numbers may be used; attribute `cautions` of it."""
