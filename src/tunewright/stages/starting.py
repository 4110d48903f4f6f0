"""The way in: starter recipes, and a check of a recipe before anything is spent on it."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

import yaml

from tunewright.core import checks, storage
from tunewright.core.errors import DataError, NotThere, RecipeError, RunError, unknown
from tunewright.core.recipe import Recipe, default_reasons
from tunewright.core.report import Report
from tunewright.data.intake import Taker
from tunewright.models.bases import base_folder
from tunewright.stages import flow

TEMPLATES = Path(__file__).parent.parent / "resources" / "recipes"
# The starter that fits each format of the data.
FITTING = {
    "labels": "labels",
    "instruction": "instruction",
    "completion": "generation",
    "prompts": "grpo",
    "segments": "chat",
    "captions": "generation",
    "chat": "chat",
    "sharegpt": "chat",
    "preference": "dpo",
    "pairs": "embed",
    "entities": "tag",
    "spans": "tag",
    "text": "pretrain",
}
PROBED_ROWS = 50


def templates() -> dict[str, str]:
    """The starter recipes: name -> what it is for, from its first comment line."""
    return {path.stem: _first_comment(path) for path in sorted(TEMPLATES.glob("*.yaml"))}


def listing() -> Report:
    """The starters as a report."""
    return Report(stage="init", run="", numbers=dict(templates()), next="tunewright init --template NAME")


def init(path: str | Path = "recipe.yaml", *, template: str | None = None, data: str | Path | None = None) -> Report:
    """Write a starter recipe; with `data` its format is detected and filled in. Never overwrites: raises RunError."""
    path = recipe_path(path)
    found = detect_format(data) if data is not None else None
    name = template or FITTING.get(found or "instruction", "instruction")
    if name not in templates():
        raise RecipeError(unknown("starter", name, templates()))
    text = (TEMPLATES / f"{name}.yaml").read_text(encoding="utf-8")
    named = run_name(path, Path(data) if data is not None else None)
    if named:
        text = _put(text, "name", named)
    if data is not None and found is not None:
        text = _put(text, "  sources", f"[{_quoted(relative(Path(data), path.parent))}]")
        text = _put(text, "  format", found)
    storage.write_text(path, text)
    numbers = {"recipe": str(path), "template": name} | ({"format": found} if found else {})
    return Report(stage="init", run=named or name, numbers=numbers, next=f"tunewright check {path}")


def recipe_path(path: str | Path) -> Path:
    """Where a recipe is written: a YAML file, or recipe.yaml in a folder. Raises RunError where there is one."""
    path = Path(path)
    if path.is_dir() or path.suffix.lower() not in (".yaml", ".yml"):
        path = path / "recipe.yaml"
    if path.exists():
        raise RunError(f"{path} is there already and is not overwritten. Give another path, or move it away.")
    return path


def check(recipe: str | Path | Recipe, *, changes: list[str] | None = None, runs: str | Path = "runs") -> Report:
    """Everything wrong with a recipe at once (raises RecipeError), else the recipe with its defaults and reasons."""
    given, home = flow.given_recipe(recipe, changes, Path(runs))
    problems = checks.problems(given, runs=home)
    found = None
    if not any(problem.startswith(("data.", "objective")) for problem in problems):
        try:
            found = _format_of(given)
        except (DataError, NotThere) as error:
            problems.append(str(error))
    if given.model.start is None:
        try:
            base_folder(given.model.base)
        except NotThere as error:
            problems.append(str(error))
    if problems:
        raise RecipeError(problems)
    reasons = default_reasons(given) | _open_values(given)
    numbers = {"recipe": given.to_dict(), "reasons": reasons, "yaml": given.to_yaml(reasons), "format": found}
    where = f"tunewright run {recipe}" if not isinstance(recipe, Recipe) else None
    return Report(stage="check", run=given.name, numbers=numbers, next=where)


def _open_values(recipe: Recipe) -> dict[str, str]:
    """What `choose` will fill, each with what it is."""
    train = recipe.train.model_dump(exclude={"epochs"} if recipe.train.steps is not None else {"steps"})
    values = {f"train.{key}": value for key, value in train.items()} | {
        "method": recipe.method,
        "evaluate.graders": recipe.evaluate.graders,
        "evaluate.against": recipe.evaluate.against,
        "evaluate.max_new_tokens": recipe.evaluate.max_new_tokens,
        "deploy.formats": recipe.deploy.formats,
    }
    what = default_reasons(Recipe(name=recipe.name, data=recipe.data)) | {"method": "which weights change"}
    return {
        key: f"choose fills it: {what[key].removeprefix('default: ')}" for key, value in values.items() if value is None
    }


def detect_format(data: str | Path) -> str:
    """The format of a file or folder of examples, from its first rows. Raises NotThere or DataError."""
    from tunewright.data import formats, sources

    if not Path(data).exists():
        raise NotThere(f"There is no file or folder {data}.")
    rows = _first_rows(sources.read([str(data)], limit=PROBED_ROWS))
    if not rows:
        raise DataError(
            f"{data} has no row that can be read. Give a file of examples, one JSON object a line for instance."
        )
    return str(formats.detect(rows, {}))


def _format_of(recipe: Recipe) -> str:
    """The format that preparing will find, from the first rows. Raises NotThere or DataError as preparing will, also
    where these rows lack what the objective needs.
    """
    from tunewright.stages import prepare

    given = (*recipe.data.sources, recipe.data.test or "", recipe.data.validation or "")
    if any(source.startswith("hub:") for source in given):
        return recipe.data.format  # nothing is downloaded for a check
    lacking = checks.Lacking(recipe.the_objective())
    taken = prepare.take_all(
        recipe.data, lambda what: Taker() if what == "test" else Taker(keep=lacking.see), first=PROBED_ROWS
    )
    for what, intake in taken.items():
        if intake.read < PROBED_ROWS:  # these are all
            intake.refuse_if_bad(f"data.{what}", recipe.data.max_bad)
    lacking.refuse()
    return " + ".join(dict.fromkeys(name for intake in taken.values() for name in intake.formats))


def _first_rows(rows: object) -> list[dict[str, object]]:
    return [row.values for row in itertools.islice(rows, PROBED_ROWS) if row.values is not None]  # type: ignore[call-overload]


def _put(text: str, key: str, value: str) -> str:
    """Replace the value of a top-level (or, with two spaces, data) key; its comment stays."""
    changed, count = re.subn(rf"(?m)^{key}:[^#\n]*?(?=\s*(#|$))", lambda _: f"{key}: {value}", text, count=1)
    assert count == 1, f"the starter has no '{key.strip()}:'"
    return changed


def run_name(path: Path, data: Path | None) -> str | None:
    """A name for the run: the recipe's own, else its folder's, else the data's; None where none says anything."""
    for word in (path.stem, data.stem if data is not None else "", path.resolve().parent.name):
        slug = re.sub(r"[^a-z0-9._-]+", "-", word.lower()).strip("-._")[:64]
        if slug and slug not in ("recipe", "train", "data", "examples", "rows"):
            return slug
    return None


def relative(data: Path, folder: Path) -> str:
    """A path as it is written into a recipe in a folder: relative to it where that is near."""
    inside = os.path.relpath(data.resolve(), folder.resolve())
    return str(data.resolve()) if inside.startswith(os.path.join("..", "..", "..")) else Path(inside).as_posix()


def _quoted(text: str) -> str:
    return yaml.safe_dump([text], default_flow_style=True, width=10**6).strip()[1:-1]


def _first_comment(path: Path) -> str:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.lstrip("# ").strip()
