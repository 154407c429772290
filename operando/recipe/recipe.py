"""One TOML file that says what to read, measure and watch for: the whole job."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from operando.errors import RecipeError
from operando.reading.sidecar import Log
from operando.recipe.correct import STEPS, Correct
from operando.recipe.detect import Detect, NewPeaks
from operando.recipe.lines import OnLines
from operando.recipe.observe import Observe, Peaks
from operando.recipe.parts import Fact, Paths, Positive, Seconds, Strict


class Source(Strict):
    """Files of one instrument and what the user declares about their clock."""

    path: str | Paths
    """File, folder, glob or zip ("a.zip!*.xye"), relative to the recipe."""
    format: str | None = None
    """Name from `operando formats`; recognised from the content when not given."""
    tz: str | None = None
    """IANA zone of stamps without one."""
    fold: Literal[0, 1] | None = None
    """Which one, when a local time occurs twice."""
    clock_offset_s: Seconds = 0.0
    drift_ppm: float = Field(default=0.0, ge=-1e5, le=1e5, allow_inf_nan=False)
    clock_sigma_s: float | None = Field(default=None, ge=0, le=1e10, allow_inf_nan=False)
    first: str | None = None
    """Start of the first frame, or of a log that has no start."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the reader."""


class Electrochemistry(Source):
    """The potentiostat's files."""

    max_gap_s: Positive | None = None
    """A longer silence of the log is a gap; from the log's own rhythm when not given."""
    current_sign: Literal["declared", "oxidation_positive", "oxidation_negative"] = "declared"
    nominal_capacity_Ah: Positive | None = None  # noqa: N815 - the unit as it is written
    """Of the cell: finds currents and charges that are a thousand times too large."""


class SidecarLog(Strict):
    """A table of scan times beside the data."""

    path: str
    name: str
    start: str
    end: str | None = None
    cell_voltage: str | None = None
    """Column of the beamline's own reading of the cell, in V: `operando clocks` uses it."""
    format: str | None = None
    delimiter: str = Field(default=",", min_length=1, max_length=1)


class CellParts(Strict):
    """Parts of the cell in the beam, whose lines say nothing of the sample."""

    names: tuple[str, ...] = Field(min_length=1)
    """Al, Be, Cu, graphite ..."""
    width: Positive
    """Of the stretch of the axis that each reflection takes, in its unit."""


class Measurement(Source):
    """One technique's files, what to measure in them, and what to watch for."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    stamp: Literal["start", "mid", "end"] | None = None
    exposure_s: float | None = Field(default=None, ge=0, le=1e10, allow_inf_nan=False)
    period_s: float | None = Field(default=None, gt=0, le=1e10, allow_inf_nan=False)
    log: SidecarLog | None = None
    stamps: Literal["file", "mtime"] = "file"
    position: str | None = None
    """Regular expression on the file name with one group: the spot or layer."""
    correct: tuple[Correct, ...] = ()
    """What is done to the frames before they are measured, in the order of `STEPS`."""
    cell_parts: CellParts | None = None
    """Left out where new peaks are looked for, and by Rietveld programs."""
    observe: tuple[Observe, ...] = ()
    detect: tuple[Detect, ...] = ()

    @model_validator(mode="after")
    def _one_clock(self) -> Measurement:
        said = [
            name
            for name, given in (
                ("log", self.log is not None),
                ("first and period_s", self.first is not None or self.period_s is not None),
                ("stamps = 'mtime'", self.stamps == "mtime"),
            )
            if given
        ]
        if len(said) > 1:
            raise ValueError(f"times come from one place, found {' and '.join(said)}")
        if (self.first is None) != (self.period_s is None):
            raise ValueError("first and period_s belong together: give both or neither")
        return self

    @model_validator(mode="after")
    def _in_order(self) -> Measurement:
        kinds: list[str] = [step.kind for step in self.correct]
        if kinds and not any(
            kinds == [kind for kind in order if kind in kinds] for order in STEPS.values()
        ):
            orders = " or ".join(str(list(order)) for order in STEPS.values())
            raise ValueError(f"correct: {kinds}; each once, in the order {orders}")
        return self

    @model_validator(mode="after")
    def _known_observables(self) -> Measurement:
        names = [step.name for step in self.observe]
        if len(set(names)) != len(names):
            raise ValueError(f"observe: names must differ, found {names}")
        if any(name.startswith("new_peaks") for name in names):
            raise ValueError("observe: names that begin with new_peaks are those of the detector")
        if sum(isinstance(step, NewPeaks) for step in self.detect) > 1:
            raise ValueError("detect: one new_peaks step a measurement; it takes several masks")
        peaks = [step.name for step in self.observe if isinstance(step, Peaks)]
        for line_step in self.observe:
            if isinstance(line_step, OnLines) and line_step.tracks not in peaks:
                raise ValueError(
                    f"observe {line_step.name!r}: tracks {line_step.tracks!r} are no peaks of this "
                    f"measurement, which has {peaks}"
                )
        for step in self.detect:
            if isinstance(step, NewPeaks):
                if step.tracks is not None and step.tracks not in peaks:
                    raise ValueError(
                        f"detect.tracks: {step.tracks!r} is no peaks of observe, which has {peaks}"
                    )
                continue
            if step.observable.split(".")[0] not in names or "." not in step.observable:
                raise ValueError(
                    f"detect.observable: {step.observable!r} is not <name>.<variable> with a name "
                    f"of observe, which has {names}"
                )
        return self

    def sidecar(self, root: Path) -> Log | None:
        """Return the declared log with its path made absolute."""
        if self.log is None:
            return None
        facts = self.log.model_dump()
        return Log(**{**facts, "path": str(root / facts["path"])})


class Compute(Strict):
    """Where the work is done; results do not depend on it."""

    scheduler: str = "threads"
    """"threads", "processes", or the address of a dask.distributed scheduler."""
    workers: int | None = Field(default=None, ge=1)

    @field_validator("scheduler")
    @classmethod
    def _known(cls, value: str) -> str:
        if value in ("threads", "processes") or "://" in value:
            return value
        raise ValueError(f"{value!r} is neither 'threads', 'processes' nor an address (tcp://...)")


class Output(Strict):
    """How the result is stored."""

    format: Literal["zarr", "netcdf"] = "zarr"


class Recipe(Strict):
    """A whole experiment."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    title: str = ""
    cell: dict[str, Fact] = Field(default_factory=dict)
    """What makes studies comparable: materials, mass_mg, area_cm2, stack_pressure_MPa ..."""
    electrochemistry: Electrochemistry
    measurement: tuple[Measurement, ...] = Field(min_length=1)
    compute: Compute = Compute()
    output: Output = Output()

    @field_validator("name")
    @classmethod
    def _not_the_summary(cls, value: str) -> str:
        if value.startswith("summary."):
            raise ValueError("names that begin with 'summary.' are those of a batch's summary")
        return value

    @field_validator("measurement")
    @classmethod
    def _distinct(cls, value: tuple[Measurement, ...]) -> tuple[Measurement, ...]:
        names = [measurement.name for measurement in value]
        if len(set(names)) != len(names) or {"electrochemistry", "events"} & set(names):
            raise ValueError(
                f"names must differ and be neither 'electrochemistry' nor 'events': {names}"
            )
        return value

    def measurement_named(self, name: str) -> Measurement:
        """Return the measurement called `name`.

        Raises
        ------
        RecipeError
            There is none; names those there are.
        """
        for measurement in self.measurement:
            if measurement.name == name:
                return measurement
        names = [measurement.name for measurement in self.measurement]
        raise RecipeError(f"measurement: no {name!r}; the recipe has {names}")

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """Read and validate a recipe.

        Raises
        ------
        RecipeError
            The file is missing, is not TOML, or a key is wrong: names the file and every key.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"{path}: cannot be read ({error})") from error
        try:
            return cls.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(f"{path}: not valid TOML: {error}") from error
        except ValidationError as error:
            items = error.errors()
            # A measurement with a fault is missing from its list, which is then found too short.
            real = [item for item in items if item["type"] != "too_short" or len(items) == 1]
            faults = "; ".join(dict.fromkeys(_fault(item) for item in real))
            raise RecipeError(f"{path}: {faults}") from error


def _fault(item: Any) -> str:
    """Say what is wrong with one key, as a user wrote it: measurement[0].observe[1].e0."""
    place = ""
    tagged = False
    for part in item["loc"]:
        if isinstance(part, int):
            tagged = place.endswith(("observe", "detect", "correct"))
            place += f"[{part}]"
        elif tagged:
            tagged = False  # the kind, which the user wrote as a value
        else:
            place += f".{part}" if place else part
    if item["type"] == "extra_forbidden":
        return f"{place}: unknown key; see `operando schema`"
    message = item["msg"].removeprefix("Value error, ")
    found = item.get("input")
    shown = f", found {found!r}" if isinstance(found, str | int | float | bool) else ""
    return f"{place or 'recipe'}: {message}{shown}"
