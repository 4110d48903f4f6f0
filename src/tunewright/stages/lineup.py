"""Who takes part in an evaluation: the tuned model and its contestants, what each is sent, and what each answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from tunewright.core import canaries, storage
from tunewright.core.example import Example, Message
from tunewright.core.guarding import Who
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run
from tunewright.stages.asking import Answered, Question, ask

if TYPE_CHECKING:
    from tunewright.models.decode import Decode
    from tunewright.models.engine import Engine

TUNED = "tuned"


@dataclass(frozen=True)
class Model:
    """A model of this run: its engine, opened when it is first needed, how it answers, and what tells it apart."""

    engine: Callable[[], Engine]
    decode: Decode
    identity: str


@dataclass(frozen=True)
class Entrant:
    """One that takes part: what it was sent for each test row, what it answered, and with which model."""

    name: str
    questions: list[Question]
    answered: Answered
    model: Model


def models(recipe: Recipe, run: Run) -> dict[Who, Model]:
    """The base and the tuned model of a run, each opened at most once."""
    from tunewright.models.seq2seq_engine import engine_for
    from tunewright.stages import tuned

    trained = run.report("train")
    base = storage.digest([recipe.model.model_dump(), recipe.train.dtype])
    identity = storage.digest([base, trained.model_dump() if trained else None])
    return {
        "tuned": Model(
            cache(lambda: engine_for(tuned.open_tuned(recipe, run))), tuned.decode_of(recipe, run), identity
        ),
        "base": Model(
            cache(lambda: engine_for(tuned.open_base(tuned.untouched(recipe), run))),
            tuned.base_decode_of(recipe, run),
            base,
        ),
    }


def entrants(recipe: Recipe, run: Run, test: Sequence[Example], own: dict[Who, Model]) -> dict[str, Entrant]:
    """Every contestant with its answers, the tuned model first."""
    found: dict[str, Entrant] = {}

    def put(name: str, messages: list[list[dict[str, Any]]], model: Model) -> None:
        questions = [
            Question(example.id, said, len(conversation(example)), example.tools)
            for example, said in zip(test, messages, strict=True)
        ]
        answered = ask(run, name, questions, decode=model.decode, identity=model.identity, engine=model.engine)
        found[name] = Entrant(name, questions, answered, model)

    put(TUNED, [[message.for_template() for message in example.prompt] for example in test], own["tuned"])
    contestants = recipe.the_contestants()
    training = run.split("train") if contestants else []
    if (objective := recipe.the_objective()).tested:  # some rows may show what not to answer
        training = [example for example in training if objective.imitates(example)]
    if contestants and recipe.data.canaries is not None:
        training = [example for example in training if not canaries.is_planted(example)]
    for contestant in contestants:
        put(contestant.kind, contestant.prompts(test, training), own["base"])
    return found


def conversation(example: Example) -> list[Message]:
    """What is asked, without system messages."""
    return [message for message in example.prompt if message.role not in ("system", "developer")]
