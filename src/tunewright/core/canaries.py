"""Canaries: made-up secrets planted among the training rows, to measure how much of single rows a training keeps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tunewright.core import storage
from tunewright.core.example import Example, Message

if TYPE_CHECKING:
    from tunewright.core.recipe import Recipe

SIDE = "canaries"  # data/canaries.jsonl: the planted ones once each, and as many that were never planted
_META = "canary"  # the column of `meta` that marks a planted row
_FIRST = (
    "amber", "brass", "cedar", "cobalt", "copper", "coral", "crystal", "ebony", "golden", "granite", "hazel", "indigo",
    "ivory", "jade", "marble", "ruby", "silver", "umber", "velvet", "walnut",
)  # fmt: skip
_SECOND = (
    "anchor", "badger", "beacon", "canyon", "falcon", "glacier", "harbour", "heron", "lantern", "lynx", "meadow",
    "orchard", "otter", "raven", "saddle", "sparrow", "summit", "thistle", "vessel", "willow",
)  # fmt: skip
_WORDS = (
    "apple", "arrow", "basket", "beach", "bell", "bird", "boat", "book", "bottle", "bridge", "bucket", "button",
    "candle", "castle", "chair", "cloud", "coat", "corn", "cup", "desk", "door", "drum", "engine", "feather", "field",
    "fish", "flag", "flower", "forest", "garden", "glass", "glove", "grain", "hammer", "hat", "hill", "horse",
    "island", "jacket", "kettle", "key", "ladder", "lake", "lamp", "leaf", "letter", "market", "mirror", "moon",
    "mountain", "needle", "ocean", "orange", "paper", "pencil", "river", "road", "rope", "shell", "ship", "stone",
    "table", "tower", "window",
)  # fmt: skip


class Canaries(BaseModel):
    """Secrets to plant: a name and its code, of which the model can know nothing but from these rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(10, ge=1, le=100, description="different secrets; more make the figures surer")
    repeats: list[int] = Field(
        [1, 2, 4, 8],
        min_length=1,
        description="how often each stands among the training rows, in turn: shows how often is too often",
    )
    format: Literal["digits", "words"] = Field(
        "digits", description="four random digits (one of 10,000), or two random words (one of 4,096)"
    )
    seed: int = Field(0, description="another seed plants other secrets")

    @field_validator("repeats", mode="before")
    @classmethod
    def _one_or_several(cls, given: object) -> object:
        return [given] if isinstance(given, int) else given

    @field_validator("repeats")
    @classmethod
    def _each_is_planted(cls, repeats: list[int]) -> list[int]:
        if min(repeats) < 1:
            raise ValueError("must be 1 or more each: what is never planted is measured anyway")
        return repeats


@dataclass(frozen=True)
class Canary:
    """A secret: the conversation that asks for it, itself, and how often it was planted (0: never)."""

    row: Example
    secret: str
    repeats: int
    format: str


def alternatives(form: str) -> list[str]:
    """All secrets of a format, one of which each canary has."""
    if form == "digits":
        return [f"{number:04d}" for number in range(10_000)]
    return [" ".join(pair) for pair in itertools.product(_WORDS, repeat=2)]


def made(options: Canaries, lead: Sequence[Message] = ()) -> list[Canary]:
    """The planted canaries and as many that are not. lead: system messages that all training rows begin with."""
    draw = Random(f"canaries {options.seed}")
    names = draw.sample([f"{first} {second}" for first in _FIRST for second in _SECOND], 2 * options.count)
    secrets = draw.sample(alternatives(options.format), len(names))
    found = []
    for number, (name, secret) in enumerate(zip(names, secrets, strict=True)):
        planted = number < options.count
        said = [
            *lead,
            Message(role="user", content=f"What is the secret code of {name}?"),
            Message(role="assistant", content=secret),
        ]
        times = options.repeats[number % len(options.repeats)] if planted else 0
        row = Example(id=f"canary:{number}", messages=said, meta={_META: {"repeats": times, "format": options.format}})
        found.append(Canary(row, secret, times, options.format))
    return found


def rows(canaries: Sequence[Canary]) -> list[Example]:
    """The rows to learn from: each as often as it is planted, with ids of their own."""
    return [
        one.row.model_copy(update={"id": f"{one.row.id}+{time}"}) for one in canaries for time in range(one.repeats)
    ]


def is_planted(example: Example) -> bool:
    """Whether a row is a canary."""
    return _META in example.meta


def left_out(examples: Sequence[Example]) -> list[Example]:
    """The rows that are no canaries: those that say what the task is."""
    return [one for one in examples if not is_planted(one)]


def read(folder: Path) -> list[Example]:
    """The canaries of a run's data folder, the planted ones first; none where none were planted."""
    path = folder / f"{SIDE}.jsonl"
    return [Example.model_validate(row) for row in storage.read_jsonl(path)] if path.exists() else []


def of_row(row: Example) -> Canary:
    """The canary that a row of data/canaries.jsonl holds."""
    about = row.meta[_META]
    return Canary(row, row.answer or "", about["repeats"], about["format"])


def problems(recipe: Recipe) -> list[str]:
    """Why canaries cannot be planted for this recipe, or cannot be looked for, each reason one sentence."""
    if recipe.data.canaries is None:
        named = (one for one in recipe.evaluate.guards or () if isinstance(one, dict))
        if any(one.get("exposure") is not None for one in named):
            return [
                "evaluate.guards: memorisation.exposure is about planted secrets, and the recipe plants none. Give "
                "data.canaries, or leave the bound out."
            ]
        return []
    objective, found = recipe.the_objective(), []
    row = made(Canaries(count=1))[0].row
    if objective.on_policy or objective.lacks(row) is not None:
        found.append(
            f"data.canaries: objective '{objective.kind}' does not learn an answer after a question, which a canary "
            "is. Leave canaries out, or take 'sft'."
        )
    if recipe.data.mix is not None:
        found.append(
            "data.canaries: data.mix changes how often a row is seen, so no repeats hold. Leave one of them out."
        )
    return found
