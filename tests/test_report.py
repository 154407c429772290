"""Reports: one page, nothing outside it, nothing unescaped, everything said."""

from __future__ import annotations

import base64
import csv
import json
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from operando import plots, report
from operando.detect.event import Event, State
from operando.model import category_attributes
from operando.report.html import POLICY, text, with_sigma

HOSTILE = '<script>alert("1")</script>\u202eabc\nnext <img src=http://evil.example/x>'
HEADINGS = [
    "What was found",
    "Figures",
    "Observables",
    "Clocks",
    "Coverage and flags",
    "Inputs and checksums",
    "Recipe as resolved",
    "Versions",
]


class Page(HTMLParser):
    """Tags, attributes and text of a page, as a browser would see them."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.headings: list[str] = []
        self.words = ""
        self.feed(source)
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)
        if "style" not in self.open:
            self.words += data


def make_event(**changes: Any) -> Event:
    moment = np.datetime64("2026-05-04T21:12:00", "ns")
    facts: dict[str, Any] = {
        "kind": "new_peak",
        "measurement": "xrd",
        "technique": "xrd",
        "observable": "intensity",
        "position": "surface",
        "onset": State(time=moment, voltage=3.274, cycle=1, half_cycle=2, state="charge"),
        "onset_earliest": moment - np.timedelta64(20, "m"),
        "onset_latest": moment + np.timedelta64(10, "m"),
        "size": 0.81234,
        "size_sigma": 0.0512,
        "size_units": "counts degree",
        "score": 9.0,
        "threshold": 4.0,
        "calibration": "1 false alarm in 10000 frames",
        "evidence": (150, 151, 152),
        "controls": {"bulk": "passed", "reference": "missing: no reference channel"},
        "detail": {"centre": 7.1, "units": "degree"},
    }
    return Event(**(facts | changes))


def make_figure(folder: Path) -> Path:
    figure = Figure(figsize=(3, 2))
    figure.add_subplot().plot([0, 1], [1, 0])
    plots.save(figure, folder / "heat")
    return folder / "heat.png"


def arguments(folder: Path) -> dict[str, Any]:
    clock = {"source": "header", "zone": "Europe/Paris", "marks": "start", "exposure": "file"}
    return {
        "title": "Na | Na3Zr2Si2PO12 | cathode",
        "cell": {"electrolyte": "Na3Zr2Si2PO12", "stack_pressure_MPa": 2.5},
        "events": [make_event()],
        "candidates": [
            {
                "onset": "2026-05-04T21:12:00Z",
                "evidence": [{"event": "new_peak:xrd", "size": 0.8}],
                "controls": {"bulk": "passed", "dose": "missing: no dose recorded"},
            }
        ],
        "detectors": ["xrd at surface: new_peaks: calibrated"],
        "figures": [
            report.FigureEntry(title="Heat map", caption="All frames.", path=make_figure(folder))
        ],
        "clocks": {
            "xrd": {**clock, "sigma_s": 0.5, "offset_s": -12.25, "drift_ppm": 3.0},
            "electrochemistry": {
                "source": "header",
                "start": "2026-05-04T10:00:00",
                "sigma_s": None,
            },
        },
        "counts": {
            "xrd": {
                "frames": 1234,
                "faulty": 2,
                "outside_coverage": 17,
                "quarantined": 1,
                "frame_flags": {"truncated": 2},
                "alignment_flags": {"outside": 17, "in_gap": 3},
            }
        },
        "problems": [{"file": "scan_007.xye", "reason": "line 12: not a number"}],
        "provenance": {
            "status": "partial",
            "inputs": [{"path": "xrd/scan_001.xye", "bytes": 4096, "sha256": "ab" * 32}],
            "recipe": {"name": "cell", "measurement": [{"name": "xrd", "tz": "Europe/Paris"}]},
            "versions": {"operando": "0.2.0", "numpy": "2.4.6"},
            "finished": "2026-05-05T08:00:00+00:00",
            "fingerprint": "cd" * 32,
        },
    }


def written(folder: Path, **changes: Any) -> str:
    report.write(folder / "report.html", **(arguments(folder) | changes))
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_page_tells_everything_in_order(tmp_path: Path) -> None:
    page = Page(written(tmp_path))
    assert page.headings == HEADINGS
    for told in (
        "Na | Na3Zr2Si2PO12 | cathode",
        "partial",
        "2026-05-04 21:12:00",
        "2026-05-04 20:52:00 and 2026-05-04 21:22:00",
        "3.274 V, charge, cycle 1",
        "0.812 ± 0.051 counts degree",
        "1 false alarm in 10000 frames",
        "3 frames, index 150 to 152",
        "missing: no reference channel",
        "missing: no dose recorded",
        "xrd at surface: new_peaks: calibrated",
        "-12.25",
        "not stated",
        "1234",
        "outside 17, in_gap 3",
        "line 12: not a number",
        "ab" * 32,
        '"tz": "Europe/Paris"',
        "2.4.6",
    ):
        assert told in page.words, told


def test_nothing_is_asked_from_outside(tmp_path: Path) -> None:
    source = written(tmp_path, title=HOSTILE)
    page = Page(source)
    policy = [dict(a) for t, a in page.tags if t == "meta" and a.get("http-equiv")]
    assert str(policy[0]["content"]).startswith("default-src 'none'; img-src data:;")
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {
        tag for tag, _ in page.tags
    }
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "srcset", "action", "data", "poster", "background"):
                assert str(value).startswith("data:image/"), (tag, name)
    assert "url(" not in source
    assert "@import" not in source


def test_images_are_inside_whole_and_described(tmp_path: Path) -> None:
    png = make_figure(tmp_path)
    entries = [
        report.FigureEntry(title="Heat map", caption="All frames.", path=path)
        for path in (png, png.with_suffix(".svg"))
    ]
    page = Page(written(tmp_path, figures=entries))
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [image["alt"] for image in images] == ["Heat map. All frames."] * 2
    for image, entry in zip(images, entries, strict=True):
        head, data = str(image["src"]).split(",")
        media = {"png": "image/png", "svg": "image/svg+xml"}[entry.path.suffix[1:]]
        assert head == f"data:{media};base64"
        assert base64.b64decode(data, validate=True) == entry.path.read_bytes()


def test_hostile_names_stay_names(tmp_path: Path) -> None:
    given_ = arguments(tmp_path)
    source = written(
        tmp_path,
        title=HOSTILE,
        cell={HOSTILE: HOSTILE},
        events=[make_event(position=HOSTILE, controls={HOSTILE: HOSTILE}, detail={"x": [HOSTILE]})],
        candidates=[{HOSTILE: [{HOSTILE: HOSTILE}]}],
        detectors=[HOSTILE],
        figures=[report.FigureEntry(title=HOSTILE, caption=HOSTILE, path=make_figure(tmp_path))],
        tables=[report.Table(title=HOSTILE, columns=(HOSTILE,), rows=((HOSTILE,),))],
        clocks={HOSTILE: {"zone": HOSTILE}},
        counts={HOSTILE: {"frames": 1, "frame_flags": {HOSTILE: 1}}},
        problems=[{"file": HOSTILE + "\udcff", "reason": HOSTILE}],
        provenance={**given_["provenance"], "recipe": {HOSTILE: HOSTILE}, "status": HOSTILE},
    )
    page = Page(source)
    assert not {tag for tag, _ in page.tags} & {"script"}
    assert len([tag for tag, _ in page.tags if tag == "img"]) == 1
    assert "\u202e" not in source
    assert source.count("&lt;script&gt;") > 15
    assert "\\udcff" in source


@given(st.text())
def test_any_text_comes_back_as_text(value: str) -> None:
    page = Page(f"<p>{text(value)}</p>")
    assert [tag for tag, _ in page.tags] == ["p"]
    if value.isprintable() and value:
        assert page.words == value


@pytest.mark.parametrize(
    ("value", "sigma", "expected"),
    [
        (18003.12345, 0.0234, "18003.123 ± 0.023 eV"),
        (12345.6, 321.0, "12350 ± 320 eV"),
        (-0.5, 1.0, "-0.5 ± 1.0 eV"),
        (2.0, float("nan"), "2 eV"),
        (float("nan"), 1.0, "– eV"),
        (1e-9, 1e-10, "1e-09 ± 1e-10 eV"),
    ],
)
def test_a_number_is_written_to_the_second_figure_of_its_sigma(
    value: float, sigma: float, expected: str
) -> None:
    assert with_sigma(value, sigma, "eV") == expected


def test_candidates_may_speak_for_themselves(tmp_path: Path) -> None:
    class Spoken:
        def to_json(self) -> str:
            return json.dumps({"severity": "strong", "score": None})

    assert "strong" in Page(written(tmp_path, candidates=[Spoken()])).words


def test_an_empty_experiment_has_a_report(tmp_path: Path) -> None:
    report.write(tmp_path / "r.html", title="", cell={}, clocks={}, counts={}, provenance={})
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert page.headings == HEADINGS
    assert "Interphase candidates: 0" in page.words
    assert "Events: 0" in page.words
    assert "Every input could be used as it was." in page.words


def test_a_failed_write_leaves_the_old_page(tmp_path: Path) -> None:
    before = written(tmp_path)
    missing = report.FigureEntry(title="", caption="", path=tmp_path / "none.png")
    with pytest.raises(FileNotFoundError):
        written(tmp_path, figures=[missing])
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == before
    assert before == written(tmp_path)
    assert not list(tmp_path.glob(".*"))


def test_observables_are_counted_and_ranged_over_what_is_believed() -> None:
    value = np.array([[1.0, 10.0], [2.0, 20.0], [99.0, 30.0], [4.0, np.nan]])
    names = {"success": 0, "no_convergence": 1}
    dataset = xr.Dataset(
        {
            "area": (("time", "line"), value, {"units": "counts"}),
            "area_sigma": (("time", "line"), value / 10, {"units": "counts"}),
            "assessment": (
                ("time", "line"),
                np.array([[0, 0], [0, 0], [1, 0], [0, 0]], np.int32),
                category_attributes(names),
            ),
        },
        {"line": ["a", "b"], "position": ("time", ["p", "q", "p", "p"])},
    )
    table = report.observables_table({"xrd": {"peaks": dataset}})
    rows = {(row[1], row[2]): row[4:] for row in table.rows}
    assert rows[("a", "p")] == (3, 2, 1.0, 4.0, 1.0, 4.0, 0.25)
    assert rows[("b", "p")] == (3, 2, 10.0, 30.0, 10.0, 30.0, 2.0)
    assert rows[("a", "q")] == (1, 1, 2.0, 2.0, 2.0, 2.0, 0.2)
    assert {row[0] for row in table.rows} == {"xrd.peaks.area"}
    assert len(table.columns) == len(table.rows[0])


def test_a_batch_is_summed_up_with_links_that_stay_at_home(tmp_path: Path) -> None:
    base = {"frames": 10, "flagged": 1, "outside_coverage": 2, "events": 3, "candidates": 1}
    rows = [
        {**base, "name": "a", "status": "complete", "message": "", "report": "a/report.html"},
        {**base, "name": HOSTILE, "status": "failed", "message": "tz: missing, 'x'", "report": ""},
        {**base, "name": "j", "status": "partial", "message": "", "report": "javascript:1/r.html"},
    ]
    report.write_summary(tmp_path / "summary.html", tmp_path / "summary.csv", rows)
    page = Page((tmp_path / "summary.html").read_text(encoding="utf-8"))
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert links == ["./a/report.html", "./javascript%3A1/r.html"]
    assert "3 experiments, 1 failed." in page.words
    with (tmp_path / "summary.csv").open(newline="", encoding="utf-8") as stream:
        back = list(csv.DictReader(stream))
    assert [row["name"] for row in back] == ["a", HOSTILE, "j"]
    assert back[1]["message"] == "tz: missing, 'x'"
    assert back[0]["outside_coverage"] == "2"


def asked_by(page: Path, *, browser: str) -> set[str]:
    """Show a page in a browser without a network; return what the page itself asked for."""
    log = page.with_suffix(".net.json")
    shown = subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={page.with_suffix('.profile')}",
            f"--log-net-log={log}",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "What was found" in shown.stdout
    requests = [event.get("params", {}) for event in json.loads(log.read_text("utf-8"))["events"]]
    # The browser asks for things of its own; what a page asks for has the page's origin.
    return {
        request["url"]
        for request in requests
        if request.get("initiator", "not an origin") != "not an origin"
    }


def test_a_browser_asks_nobody_even_if_a_name_got_through(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine")
    source = written(tmp_path, title=HOSTILE)
    assert POLICY in source
    probe = '<img src="http://probe.example/x.png"></body>'
    guarded, open_ = tmp_path / "guarded.html", tmp_path / "open.html"
    guarded.write_text(source.replace("</body>", probe), encoding="utf-8")
    open_.write_text(source.replace("</body>", probe).replace(POLICY, ""), encoding="utf-8")
    assert asked_by(open_, browser=browser) == {"http://probe.example/x.png"}
    assert asked_by(guarded, browser=browser) == set()
