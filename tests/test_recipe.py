"""The recipe: what is written is what is meant, and a typo names its key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from operando.cli import main
from operando.errors import RecipeError
from operando.recipe import Recipe

ROOT = Path(__file__).parents[1]

GOOD = """
name = "cell"
[electrochemistry]
path = "echem/*.mpt"
tz = "Europe/Paris"
[[measurement]]
name = "xas"
path = "xas/*.dat"
  [[measurement.observe]]
  kind = "edge"
  name = "zr_k"
  e0 = 18003.0
  pre = [-140.0, -40.0]
  post = [60.0, 400.0]
  [[measurement.detect]]
  kind = "departure"
  observable = "zr_k.edge_energy"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_recipe_survives_json(tmp_path: Path) -> None:
    recipe = Recipe.load(write(tmp_path, GOOD))
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("e0 = 18003.0", "e_0 = 18003.0", r"measurement\[0\]\.observe\[0\]\.e_0: unknown key"),
        ("e0 = 18003.0", "", r"measurement\[0\]\.observe\[0\]\.e0: Field required"),
        ('kind = "edge"', 'kind = "edges"', r"measurement\[0\]\.observe\[0\].*'edges'"),
        ("e0 = 18003.0", 'e0 = "high"', r"observe\[0\]\.e0: .*found 'high'"),
        ("pre = [-140.0, -40.0]", "", "pre and post belong together"),
        ("zr_k.edge_energy", "ni_k.edge", "'ni_k.edge' is not <name>.<variable>"),
        (
            'tz = "Europe/Paris"',
            'timezone = "Europe/Paris"',
            r"electrochemistry\.timezone: unknown",
        ),
        ('name = "xas"', 'name = "events"', "neither 'electrochemistry' nor 'events'"),
        ("[electrochemistry]", "[electrochemistry", "not valid TOML"),
        ('name = "cell"', 'name = "../cell"', "name"),
    ],
)
def test_a_fault_names_file_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as raised:
        Recipe.load(write(tmp_path, GOOD.replace(old, new, 1)))
    assert "recipe.toml" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_scheduler_is_a_kind_or_an_address(tmp_path: Path) -> None:
    for good in ("threads", "processes", "tcp://127.0.0.1:8786"):
        text = GOOD + f'[compute]\nscheduler = "{good}"\n'
        assert Recipe.load(write(tmp_path, text)).compute.scheduler == good
    with pytest.raises(RecipeError, match=r"compute\.scheduler: 'thread'"):
        Recipe.load(write(tmp_path, GOOD + '[compute]\nscheduler = "thread"\n'))


def test_missing_recipe_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["run", str(tmp_path / "none.toml"), "-o", str(tmp_path)])
    assert result.exit_code == 2
    assert "none.toml: cannot be read" in result.output


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "recipes").glob("*.toml")), ids=str)
def test_recipes_of_the_documentation_are_valid(path: Path) -> None:
    assert Recipe.load(path).name == path.stem


def test_schema_is_json_and_complete() -> None:
    result = CliRunner().invoke(main, ["schema"])
    schema = json.loads(result.output)
    assert {"Edge", "Peaks", "Pores", "NewPeaks", "Departure"} <= set(schema["$defs"])
