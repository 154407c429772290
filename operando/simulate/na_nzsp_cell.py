"""A simulated Na | Na3Zr2Si2PO12 | cathode cell, followed by four techniques on two clocks."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from operando.simulate import diffraction, eclab, raman, tomography, xanes
from operando.simulate.description import RECIPE, SOURCE
from operando.simulate.noise import stream
from operando.simulate.scenario import (
    BEAMLINE,
    CELL,
    GAP,
    PHASE_ONSET_MAH,
    PORES_ONSET_MAH,
    POTENTIOSTAT,
    START,
    STEPS,
    ZR_ONSET_MAH,
    frame,
    local,
    metal_fraction,
    onset,
    phase_amount,
    pore_growth,
    utc,
)

SPOTS = ("interface", "bulk")
LAYERS = ("PE", "SSE", "NE")
RAYS = (17, 40, 58)
"""Raman spectra that a cosmic ray hits."""
VOLUMES_S = (2000.81, 12000.81, 18950.81, 34260.81, 52000.81, 67100.81)
"""When scans begin: fresh, in charge 1, and after charge 1, discharge 1, charge 2, discharge 2."""
SCAN_S = 480.0


def write(folder: Path, *, seed: int = 2026) -> dict[str, Any]:
    """Write the experiment into `folder` and return its truth, which is also in truth.json.

    The same seed gives the same bytes on every machine.
    """
    truth: dict[str, Any] = {
        "name": "na_nzsp_cell",
        "seed": seed,
        "zones": {"potentiostat": POTENTIOSTAT, "beamline": BEAMLINE},
        "electrochemistry": _write_electrochemistry(folder / "echem", seed),
        "onsets": {
            "zr_reduction": onset(ZR_ONSET_MAH),
            "new_phase": onset(PHASE_ONSET_MAH),
            "irreversible_pores": onset(PORES_ONSET_MAH),
        },
        "xas": _write_xas(folder / "xas", seed),
        "xrd": _write_xrd(folder / "xrd", seed),
        "raman": _write_raman(folder / "raman", seed),
        "tomography": _write_tomography(folder / "tomography", seed),
    }
    _text(folder / "truth.json", json.dumps(truth, indent=1) + "\n")
    _text(folder / "recipe.toml", RECIPE)
    source = SOURCE.format(
        gap=STEPS[GAP].seconds / 60.0,
        potentiostat=POTENTIOSTAT,
        beamline=BEAMLINE,
        zr=truth["onsets"]["zr_reduction"]["voltage_V"],
        phase=truth["onsets"]["new_phase"]["voltage_V"],
    )
    _text(folder / "SOURCE.md", source)
    return truth


def _write_electrochemistry(folder: Path, seed: int) -> dict[str, Any]:
    bits = stream(seed, 0)
    files = []
    parts = (range(GAP), range(GAP + 1, len(STEPS)))
    for number, steps in enumerate(parts, start=1):
        name = f"na_nzsp_{number:02d}"
        start = float(CELL.bounds[steps.start])
        record = eclab.log(CELL, steps=steps, bits=bits)
        stamp = local(start, POTENTIOSTAT, "%m/%d/%Y %H:%M:%S.%f")[:-3]
        _bytes(
            folder / f"{name}.mpt",
            eclab.text(CELL, record, name=name, start=stamp, comma=number == 2),
        )
        files.append(
            {
                "name": f"{name}.mpt",
                "start": utc(start),
                "end": utc(start + float(record.elapsed[-1])),
                "rows": int(record.elapsed.size),
                "counter_end_mAh": round(float(record.counter_mah[-1]), 6),
            }
        )
    steps_of = [
        {
            "name": step.name,
            "start": utc(float(begin)),
            "current_mA": step.current_ma,
            "recorded": step.recorded,
            "net_charge_at_start_mAh": round(float(CELL.net_mah(begin)), 6),
        }
        for step, begin in zip(STEPS, CELL.bounds, strict=False)
    ]
    gap = {"start": files[0]["end"], "end": files[1]["start"], "seconds": STEPS[GAP].seconds}
    return {"files": files, "gap": gap, "steps": steps_of}


def _write_xas(folder: Path, seed: int) -> dict[str, Any]:
    bits = stream(seed, 1)
    found: dict[str, Any] = {
        "edge_ion_eV": xanes.ION_EV,
        "edge_metal_eV": xanes.METAL_EV,
        **{spot: [] for spot in SPOTS},
    }
    for number in range(80):
        start = 300.0 + 850.0 * number
        spot = SPOTS[number % 2]
        passed = float(CELL.passed_mah(np.array(start + xanes.SCAN_S / 2)))
        fraction = metal_fraction(passed) if spot == "interface" else 0.0
        name = f"NZSP_Zr_K_{spot}_{number // 2 + 1:04d}"
        scan = xanes.scan(
            fraction=fraction,
            unix=(START + timedelta(seconds=start)).timestamp(),
            ring_ma=250.0 - 0.8 * (number % 7),
            name=name,
            bits=bits,
        )
        _bytes(folder / f"{name}.dat", scan)
        found[spot].append(
            {
                "file": f"{name}.dat",
                **frame(start, xanes.SCAN_S),
                "charge_passed_mAh": round(passed, 6),
                "metal_fraction": round(fraction, 7),
            }
        )
    return found


def _write_xrd(folder: Path, seed: int) -> dict[str, Any]:
    bits = stream(seed, 2)
    frames = []
    for number in range(60):
        start = 420.81 + 1135.0 * number
        mid = np.array(start + diffraction.EXPOSURE_S / 2)
        amount = phase_amount(float(CELL.passed_mah(mid)))
        lines = {
            "electrode": diffraction.electrode(float(CELL.state_of_charge(mid))),
            **dict(zip(("product_1", "product_2"), diffraction.new_phase(amount), strict=True)),
        }
        name = f"na_nzsp_{number + 1:05d}"
        stamp = local(start, BEAMLINE, "%Y-%m-%d_%H:%M:%S")
        everything = (*diffraction.ELECTROLYTE, *lines.values())
        _bytes(
            folder / f"{name}.xye",
            diffraction.pattern(everything, local=stamp, name=name, bits=bits),
        )
        frames.append(
            {
                "file": f"{name}.xye",
                **frame(start, diffraction.EXPOSURE_S),
                "lines": {
                    key: {
                        "two_theta": round(diffraction.angle(line.spacing), 6),
                        "area": round(line.area, 4),
                    }
                    for key, line in lines.items()
                },
            }
        )
    born = next(at for at, entry in enumerate(frames) if entry["lines"]["product_1"]["area"] > 0)
    return {
        "wavelength_angstrom": diffraction.WAVELENGTH,
        "fwhm_degree": diffraction.FWHM,
        "product_spacings_angstrom": [line.spacing for line in diffraction.new_phase(1.0)],
        "electrolyte": [
            {
                "two_theta": round(diffraction.angle(line.spacing), 6),
                "area": line.area,
            }
            for line in diffraction.ELECTROLYTE
        ],
        "first_frame_of_new_phase": born,
        "frames": frames,
    }


def _write_raman(folder: Path, seed: int) -> dict[str, Any]:
    bits = stream(seed, 3)
    found: dict[str, Any] = {name: [] for name in LAYERS}
    for number in range(75):
        start = 200.81 + 900.0 * number
        layer = LAYERS[number % 3]
        state = float(CELL.state_of_charge(np.array(start + raman.EXPOSURE_S / 2)))
        bands = raman.layer(layer, state)
        name = f"na_nzsp_{layer}_{number // 3 + 1:04d}"
        written, ray = raman.spectrum(
            bands,
            local=local(start, BEAMLINE, "%d.%m.%Y %H:%M:%S"),
            title=name,
            ray=number in RAYS,
            bits=bits,
        )
        _bytes(folder / f"{name}.txt", written)
        found[layer].append(
            {
                "file": f"{name}.txt",
                **frame(start, raman.EXPOSURE_S),
                "state_of_charge": round(state, 6),
                "bands": [
                    {"centre": round(band.centre, 4), "height": round(band.height, 3)}
                    for band in bands
                ],
                "cosmic_ray_at": ray,
            }
        )
    return found


def _write_tomography(folder: Path, seed: int) -> dict[str, Any]:
    bits = stream(seed, 4)
    folder.mkdir(parents=True, exist_ok=True)
    pores = tomography.pack(20, smallest=3.2, largest=5.4, bits=bits)
    frames = []
    rows = ["name,start_time,end_time"]
    for number, start in enumerate(VOLUMES_S, start=1):
        mid = np.array(start + SCAN_S / 2)
        passed = float(CELL.passed_mah(mid))
        factor = pore_growth(float(CELL.state_of_charge(mid)), passed)
        spheres = tomography.grown(pores, factor=factor)
        name = f"na_nzsp_tomo_{number:02d}"
        tomography.write(folder / f"{name}.tif", tomography.volume(spheres, bits=bits))
        begin, end = (
            local(moment, BEAMLINE, "%Y-%m-%dT%H:%M:%S") for moment in (start, start + SCAN_S)
        )
        rows.append(f"{name},{begin},{end}")
        frames.append(
            {
                "file": f"{name}.tif",
                **frame(start, SCAN_S),
                "charge_passed_mAh": round(passed, 6),
                "porosity": round(tomography.porosity(spheres), 7),
                "pores": len(spheres),
            }
        )
    _text(folder / "scans.csv", "\n".join(rows) + "\n")
    return {"voxel_um": tomography.VOXEL_UM, "shape": list(tomography.SHAPE), "volumes": frames}


def _text(path: Path, text: str) -> None:
    _bytes(path, text.encode("utf-8"))


def _bytes(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
