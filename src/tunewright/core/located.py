"""Makes the files and folders that a recipe names absolute: they are relative to the recipe's own folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.core import catalog, harvested, judging, phases, rewards

if TYPE_CHECKING:
    from tunewright.core.part import PartChoice
    from tunewright.core.recipe import DataOptions, Recipe


def with_absolute_paths(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe, relative paths taken from the folder."""

    def absolute(text: str) -> str:
        if text.startswith(harvested.TRAFFIC):
            return harvested.located(text, folder)
        return text if ":" in text.split("/")[0] else str((folder / Path(text).expanduser()).resolve())

    def existing(text: str) -> str:
        return str((folder / text).resolve()) if (folder / text).exists() else text

    data = _data(recipe.data, folder, absolute, existing)
    model = recipe.model
    local = {
        key: existing(value)
        for key, value in (("base", model.base), ("start", model.start))
        if value and existing(value) != value
    }

    def whole(choice: PartChoice) -> PartChoice:
        """An objective with the files and runs that it names made absolute."""
        return rewards.with_absolute_paths(catalog.located("objectives", choice, folder), folder)

    vault = recipe.privacy.vault
    if vault is not None and vault.passphrase != "ask":
        named = {key: absolute(text) for key, text in vault.model_dump(exclude_none=True).items()}
        recipe = recipe.changed("privacy", vault=vault.model_copy(update=named))

    changes: dict[str, Any] = {"data": data, "model": model.model_copy(update=local)}
    changes["objective"] = whole(recipe.objective)
    families = {"against": "contestants", "graders": "graders", "guards": "guards"}
    found = recipe.evaluate.model_dump(include=set(families))
    if placed := {
        key: [catalog.located(families[key], one, folder) for one in given] for key, given in found.items() if given
    }:
        changes["evaluate"] = recipe.evaluate.model_copy(update=placed)
    changes["evaluate"] = judging.located(changes.get("evaluate", recipe.evaluate), folder)
    curve = recipe.choose.learning_curve
    if curve is not None and curve.without is not None:
        curve = curve.model_copy(update={"without": existing(curve.without)})
        changes["choose"] = recipe.choose.model_copy(update={"learning_curve": curve})
    if recipe.retention:
        changes["retention"] = phases.absolute_parts(recipe.retention, absolute, existing)
    if recipe.phases:
        own = [phases.with_absolute_paths(values, absolute, existing) for values in recipe.phases]
        changes["phases"] = [
            {**one, "objective": whole(one["objective"])} if "objective" in one else one for one in own
        ]
    return recipe.model_copy(update=changes)


def _data(
    data: DataOptions, folder: Path, absolute: Callable[[str], str], existing: Callable[[str], str]
) -> DataOptions:
    data = data.model_copy(
        update={
            "sources": [absolute(source) for source in data.sources],
            "test": absolute(data.test) if data.test else None,
            "validation": absolute(data.validation) if data.validation else None,
            "checks": [catalog.located("detectors", choice, folder) for choice in data.checks],
        }
    )

    if data.select is not None and data.select.like not in ("validation", "test"):
        data = data.model_copy(update={"select": data.select.model_copy(update={"like": absolute(data.select.like)})})

    if data.retrieval is not None:
        data = data.model_copy(update={"retrieval": data.retrieval.located(absolute)})
    if data.scrub is not None:
        data = data.model_copy(update={"scrub": data.scrub.located(absolute)})
    if data.more:
        data = data.model_copy(update={"more": [absolute(path) for path in data.more]})
    if data.augment is not None:
        edits = [catalog.located("edits", choice, folder) for choice in data.augment.edits]
        asked = existing(data.augment.model) if data.augment.model else None
        data = data.model_copy(update={"augment": data.augment.model_copy(update={"edits": edits, "model": asked})})
    return data
