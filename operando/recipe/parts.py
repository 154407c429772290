"""What the models of a recipe are made of: strict tables, ascending ranges, positive numbers."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Fact = str | float | int | bool
Paths = Annotated[tuple[str, ...], Field(min_length=1)]
Seconds = Annotated[float, Field(ge=-1e10, le=1e10, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
ObservableName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
"""The name of a table and of a group in the result."""


def ascending(value: tuple[float, float]) -> tuple[float, float]:
    """Return a range, or raise ValueError when its ends are the wrong way round."""
    if not value[0] < value[1]:
        raise ValueError(f"{list(value)} does not ascend; write [low, high]")
    return value


Range = Annotated[tuple[float, float], AfterValidator(ascending)]


class Strict(BaseModel):
    """A table whose keys are all known, and which nobody changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
