"""Real text patterns with flipped bits: refused, or a valid dataset of no more points.

Conformance cuts these files; here single bits are turned, in the header and among the numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operando.model import axes_of, signal_of
from operando.reading import formats
from operando_readers._reader import File, FormatError

FLIPS = 60
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "gsas_fxye": ("nac/11BM_NAC.fxye", {}),
    "gsas_fxye std": ("lab6/NIST660CBI.gsas", {}),
    "ill_d1a": ("vendor/D1A5.dat", {}),
    "psi_dmc": ("vendor/PSI_DMC.dat", {}),
    "powder_cif": ("vendor/1517474.cif", {}),
    "spec_powder": ("spec/33bm_spec.dat", {"scans": "8", "counter": "I00"}),
    "xy_text": ("nexus/DLS_I18_twotheta-intensity.dat", {}),
    "xy_text bz2": ("lab6/LaB6_d500_si_psd.xye.bz2", {}),
}


@pytest.mark.shared_data
@pytest.mark.parametrize("case", CASES)
def test_flipped_bits(shared_data: Path, tmp_path: Path, case: str) -> None:
    path, options = CASES[case]
    reader = formats()[case.split()[0]]
    source = File(shared_data / "formats" / "xrd" / path)
    raw = source.read_bytes()[: 1 << 18]
    target = File(tmp_path / source.name)
    target.path.write_bytes(raw)
    try:
        most = signal_of(reader.read(target, **options)).size
    except FormatError:  # cut to a quarter of a megabyte, as no other test does
        most = signal_of(reader.read(source, **options)).size
        raw = source.read_bytes()
    rng = np.random.default_rng(20)
    places = [
        *rng.integers(0, min(2000, len(raw)), FLIPS // 2),
        *rng.integers(0, len(raw), FLIPS // 2),
    ]
    for at in places:
        flipped = bytearray(raw)
        flipped[int(at)] ^= 1 << int(rng.integers(0, 8))
        target.path.write_bytes(flipped)
        try:
            dataset = reader.read(target, **options)
        except FormatError:
            continue
        [axis] = axes_of(dataset)
        assert np.all(np.diff(dataset[axis].values) > 0)
        assert signal_of(dataset).size <= most
