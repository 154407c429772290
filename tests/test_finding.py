"""Proposed windows: lines where they are, none in noise, room for motion, a real series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from operando.errors import RequestError
from operando.observables import track_peaks
from operando.observables.lines.finding import find_lines
from operando.observables.lines.windows import Window

Array = npt.NDArray[np.float64]

X: Array = np.asarray(8.0 + 0.01 * np.arange(2000))


def line(area: Any, centre: Any, fwhm: float = 0.08, eta: float = 0.4, x: Array = X) -> Array:
    """A pseudo-Voigt from the textbook."""
    u = 2 * (x - centre) / fwhm
    gauss = np.sqrt(np.log(2) / np.pi) * np.exp(-np.log(2) * u**2)
    return np.asarray(2 * area / fwhm * ((1 - eta) * gauss + eta / np.pi / (1 + u**2)))


def hump(frames: int) -> Array:
    drift = 1 + 0.3 * np.sin(np.arange(frames) / 40)[:, None]
    return np.asarray(150 + 60 * drift * np.exp(-(((X - 16) / 6) ** 2)))


def dataset(values: Array, *, units: str = "count", sigma: Array | None = None) -> xr.Dataset:
    both = ("time", "two_theta")
    frames = xr.Dataset(
        {"intensity": (both, values, {"units": units})},
        {
            "time": np.datetime64("2025-01-01", "ns")
            + np.arange(len(values)) * np.timedelta64(60, "s"),
            "two_theta": ("two_theta", X, {"units": "degree"}),
        },
    )
    return frames if sigma is None else frames.assign(intensity_sigma=(both, sigma))


def experiment(frames: int = 200, seed: int = 0) -> xr.Dataset:
    """A line that moves, a pair that exchanges, one that never changes, one that is born."""
    t = np.linspace(0, 1, frames)[:, None]
    clean = hump(frames) + line(70, 9.4 - 0.3 * t) + line(90, 23.5)
    clean = clean + line(40 * (1 - t), 17.0) + line(38 * t, 17.16)
    clean = clean + line(np.where(t > 0.6, 6.0, 0.0), 20.3)
    return dataset(np.random.default_rng(seed).poisson(clean).astype(float))


def all_lines(windows: list[Window]) -> list[float]:
    return [place for window in windows for place in window.lines]


@pytest.mark.parametrize("units", ["count", "1"])
def test_every_line_is_found_once_where_it_first_is(units: str) -> None:
    frames = experiment()
    frames["intensity"].attrs["units"] = units
    windows = find_lines(frames)
    np.testing.assert_allclose(all_lines(windows), [9.4, 17.0, 17.16, 20.3, 23.5], atol=0.015)
    assert [len(window.lines) for window in windows] == [1, 2, 1, 1]
    assert [window.name for window in windows][-1] == f"{windows[-1].lines[0]:.2f}"


def test_windows_have_room_for_motion_and_background() -> None:
    moving, *others = find_lines(experiment())
    assert moving.low < 9.1 - 2 * 0.08
    assert moving.high > 9.4 + 2 * 0.08
    for window in others:
        assert window.high - max(window.lines) > 0.2
        assert min(window.lines) - window.low > 0.2
    edges = np.array([(window.low, window.high) for window in (moving, *others)])
    assert (edges[1:, 0] >= edges[:-1, 1]).all()


def test_proposals_can_be_tracked() -> None:
    frames = experiment()
    tracks = track_peaks(frames["intensity"], windows=find_lines(frames))
    moving = tracks["centre"].isel(line=0)
    assert float(moving[0] - moving[-1]) == pytest.approx(0.3, abs=0.01)
    assert tracks.sizes["line"] == 5


def test_noise_has_no_lines() -> None:
    """20 series of a drifting background: 33 patterns of 2000 points each."""
    found = [
        find_lines(dataset(np.random.default_rng(seed).poisson(hump(64)).astype(float)))
        for seed in range(20)
    ]
    assert found == [[]] * 20


def test_weak_lines_are_found_at_the_sigma_asked_for() -> None:
    """Of 36 frames together the line has some 13 times its sigma, of one about 2."""
    rng = np.random.default_rng(3)
    frames = dataset(rng.poisson(hump(36) + line(1.1, 14.0)).astype(float))
    assert all_lines(find_lines(frames)) == pytest.approx([14.0], abs=0.02)
    assert find_lines(frames, minimum=25) == []


def test_strong_lines_have_no_ghosts() -> None:
    clean = np.tile(100 + line(20_000, 12.0) + line(300, 18.0, fwhm=0.4), (4, 1))
    windows = find_lines(dataset(np.random.default_rng(0).poisson(clean).astype(float)))
    np.testing.assert_allclose(all_lines(windows), [12.0, 18.0], atol=0.05)


def test_an_edge_of_a_detector_is_no_line() -> None:
    clean = np.tile(np.where(X < 20, 400.0, 50.0), (4, 1)) + line(60, 12.0)
    windows = find_lines(dataset(np.random.default_rng(0).poisson(clean).astype(float)))
    assert all_lines(windows) == pytest.approx([12.0], abs=0.02)


def test_sigma_of_the_file_counts() -> None:
    rng = np.random.default_rng(5)
    values = 1e-3 * (hump(10) + line(30, 14.0) + 12 * rng.normal(size=(10, X.size)))
    honest = dataset(values, units="1", sigma=np.full(values.shape, 0.012))
    assert len(find_lines(honest)) == 1
    assert find_lines(dataset(values, units="1", sigma=np.full(values.shape, 1.0))) == []


def test_masked_lines_are_left_out_and_windows_keep_clear() -> None:
    masks = [(16.5, 17.08), (23.0, 24.0)]
    windows = find_lines(experiment(), masked=masks)
    assert all_lines(windows) == pytest.approx([9.4, 17.16, 20.3], abs=0.015)
    assert windows[1].low >= 17.08


def test_gaps_and_missing_frames_are_passed_over() -> None:
    frames = experiment()
    frames["intensity"][:, 500:560] = np.nan
    frames["intensity"][3] = np.nan
    windows = find_lines(frames)
    assert all_lines(windows) == pytest.approx([9.4, 17.0, 17.16, 20.3, 23.5], abs=0.015)


def test_it_is_deterministic_lazy_or_not_and_in_any_order_of_dimensions() -> None:
    frames = experiment(60)
    windows = find_lines(frames)
    assert find_lines(frames.chunk(time=7)) == windows
    assert find_lines(frames.transpose("two_theta", "time")) == windows


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"minimum": 1}, "minimum: 1"),
        ({"masked": [(3.0, 2.0)]}, "low below high"),
        ({"masked": [3.0]}, "pairs of low and high"),
    ],
)
def test_an_impossible_request_is_refused(wrong: dict[str, Any], message: str) -> None:
    frames = experiment(3)
    with pytest.raises(RequestError, match=message):
        find_lines(frames, **wrong)
    with pytest.raises(RequestError, match="intensity"):
        find_lines(frames.rename(intensity="counts"))
    with pytest.raises(RequestError, match="expected time and one axis"):
        find_lines(frames.isel(time=0))
    with pytest.raises(RequestError, match="not ascending"):
        find_lines(frames.isel(two_theta=slice(None, None, -1)))


@pytest.mark.shared_data
def test_lines_of_zinc_hydroxide_sulfate_are_proposed(shared_data: Path) -> None:
    """Its basal lines 2.600, 5.204 and 7.808 are of the beamline's own reference."""
    folder = shared_data / "operando" / "xrd_zn_mno2_mspd" / "Data"
    table = np.array([np.loadtxt(path) for path in sorted(folder.glob("17_Da_f*.xye"))])
    both = ("time", "two_theta")
    frames = xr.Dataset(
        {
            "intensity": (both, table[:, :, 1], {"units": "1"}),
            "intensity_sigma": (both, table[:, :, 2], {"units": "1"}),
        },
        {
            "time": np.datetime64("2025-09-23", "ns")
            + np.arange(len(table)) * np.timedelta64(16, "m"),
            "two_theta": table[0, :, 0],
        },
    )
    windows = find_lines(frames, minimum=20)
    places = np.array(all_lines(windows))
    for basal in (2.600, 5.204, 7.808):
        assert np.abs(places - basal).min() < 0.01
    assert 10 <= len(places) <= 40
    assert places.max() < 57  # beyond, the file is filled with zeros
