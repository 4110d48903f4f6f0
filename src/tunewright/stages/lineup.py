"""Who takes part in an evaluation: the tuned model and its contestants, what each is sent, and what each answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.core import canaries, repeated, storage
from tunewright.core.contesting import Rehearsed, Tried
from tunewright.core.endpoint import Endpoint
from tunewright.core.errors import RecipeError
from tunewright.core.example import Example, Message
from tunewright.core.guarding import Who
from tunewright.core.parts import Contestant
from tunewright.core.recipe import Recipe
from tunewright.core.releases import find_release
from tunewright.core.run import Run
from tunewright.stages import rehearsing
from tunewright.stages.asking import Answered, Question, ask
from tunewright.stages.asking_servers import ask_server
from tunewright.stages.latency import latencies

if TYPE_CHECKING:
    from tunewright.models.decode import Decode
    from tunewright.models.engine import Engine

TUNED = "tuned"
LABEL_TOKENS = 64  # room for a label or a number as any server spells it


@dataclass(frozen=True)
class Model:
    """A model of this run: its engine, opened when it is first needed, how it answers, and what tells it apart."""

    engine: Callable[[], Engine]
    decode: Decode
    identity: str
    adapter: str = ""  # who of the engine answers, where several are beside its base


@dataclass(frozen=True)
class Entrant:
    """One that takes part: what it was sent for each test row, what it answered, and who answered. rehearsed: what the
    report tells of what it tried out first.
    """

    name: str
    questions: list[Question]
    answered: Answered
    model: Model | Endpoint
    rehearsed: dict[str, Any] = field(default_factory=dict)

    def speaks_as(self, recipe: Recipe) -> str:
        """The name of the model that answered: a server's, else the base's."""
        return self.model.model if isinstance(self.model, Endpoint) else recipe.model.base


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


def entrants(recipe: Recipe, run: Run, test: Sequence[Example], own: Mapping[Who, Model]) -> dict[str, Entrant]:
    """Every contestant with its answers, the tuned model first. Raises DataError, EndpointError, NotThere, RecipeError
    (where answers cannot be drawn several times), Stopped.
    """
    options, free = recipe.evaluate, own["tuned"].decode.kind == "generate"
    if wrong := repeated.problems(options.samples, options.temperature, free=free):
        raise RecipeError(wrong)
    asking = Asking(recipe, run, own, samples=options.samples)
    found = {TUNED: asking.answers(TUNED, own["tuned"], test, [sent(example) for example in test])}
    contestants = recipe.the_contestants()
    training = asking.training() if contestants else []
    scene = rehearsing.Scene(recipe, run, training, run.split("validation")) if contestants else None
    for contestant in contestants:
        assert scene is not None
        found[contestant.label] = asking.entrant(contestant, test, training, scene)
    return found


def sent(example: Example) -> list[dict[str, Any]]:
    """The example's own messages before its answer."""
    return [message.for_template() for message in example.prompt]


@dataclass(frozen=True)
class Asking:
    """Asks contestants, each whoever answers for it. folder: where answers are kept, the run's `evaluate/` if None.
    samples: how many answers each row gets from whoever draws them.
    """

    recipe: Recipe
    run: Run
    own: Mapping[Who, Model]
    folder: Path | None = None
    samples: int = 1

    def training(self) -> Sequence[Example]:
        """The rows that may be shown: not those that say what not to answer, and no planted secrets."""
        training = canaries.left_out(self.run.split("train"))
        objective = self.recipe.the_objective()
        return [one for one in training if objective.imitates(one)] if objective.tested else training

    def entrant(
        self, contestant: Contestant, rows: Sequence[Example], training: Sequence[Example], scene: rehearsing.Scene
    ) -> Entrant:
        """A contestant with its answers to rows, after it has rehearsed."""
        model = self._who(contestant)
        rehearsed = Rehearsed(contestant)
        if contestant.rehearses:
            rehearsed = contestant.rehearse(scene.of(contestant, self._trial(contestant, model, training)))
        messages = rehearsed.contestant.prompts(rows, training)
        made = self.answers(contestant.label, model, rows, messages)
        return replace(made, rehearsed=rehearsed.told)

    def answers(
        self, name: str, model: Model | Endpoint, rows: Sequence[Example], messages: Sequence[list[dict[str, Any]]]
    ) -> Entrant:
        """What one answers to messages for rows, with the time of single requests and what it all cost."""
        questions = _questions(rows, messages)
        answered = self._put(name, model, questions, self.folder, f"{name} answers", self._samples(model))
        if isinstance(model, Model):
            price = self.recipe.evaluate.hour_price
            answered = replace(
                answered,
                money=None if price is None else price * answered.seconds / 3600,
                latencies=latencies(
                    self.run,
                    name,
                    questions,
                    decode=model.decode,
                    identity=model.identity,
                    engine=model.engine,
                    adapter=model.adapter,
                    folder=self.folder,
                ),
            )
        return Entrant(name, questions, answered, model)

    def _trial(
        self, contestant: Contestant, model: Model | Endpoint, training: Sequence[Example]
    ) -> Callable[[Contestant, Sequence[Example], str], Tried]:
        """Asks rows as a variant of the contestant does; answers are kept under a mark."""
        folder = (self.folder or self.run.path("evaluate")) / "contestants" / contestant.label

        def trial(variant: Contestant, rows: Sequence[Example], mark: str) -> Tried:
            questions = _questions(rows, variant.prompts(rows, training))
            answered = self._put(mark, model, questions, folder, f"{contestant.label} tries prompts")
            return Tried(answered.texts, answered.seconds)

        return trial

    def _samples(self, model: Model | Endpoint) -> int:
        """How many answers are drawn: a release that takes the likeliest token or a label would say the same again."""
        draws = isinstance(model, Endpoint) or (model.decode.kind == "generate" and model.decode.temperature > 0)
        return self.samples if draws else 1

    def _put(
        self,
        name: str,
        model: Model | Endpoint,
        questions: list[Question],
        folder: Path | None,
        what: str,
        samples: int = 1,
    ) -> Answered:
        if isinstance(model, Model):
            return ask(
                self.run,
                name,
                questions,
                decode=model.decode,
                identity=model.identity,
                engine=model.engine,
                adapter=model.adapter,
                folder=folder,
                what=what,
                samples=samples,
            )
        labels = self.own["base"].decode.labels
        most = self.recipe.evaluate.max_new_tokens
        assert most is not None, "choose fills it"
        return ask_server(
            self.run,
            name,
            questions,
            model,
            max_tokens=max(most, LABEL_TOKENS) if labels or self.own["tuned"].decode.by_head else most,
            temperature=self.recipe.evaluate.temperature,
            labels=labels,
            folder=folder,
            what=what,
            samples=samples,
        )

    def _who(self, contestant: Contestant) -> Model | Endpoint:
        who = contestant.who
        if isinstance(who, Endpoint):
            return who
        return self.own[who] if who in ("base", "tuned") else _released(self.recipe, self.run, who)


def _released(recipe: Recipe, run: Run, named: str | Path) -> Model:
    """A release, beside the base that is open where it stands on the same."""
    from tunewright.models.release import check_release
    from tunewright.models.seq2seq_engine import engine_for
    from tunewright.stages import tuned

    folder = find_release(named, runs=run.folder.parent)
    checked = check_release(folder)
    identity = storage.digest([checked.name, storage.sha256(folder / "manifest.json")])
    return Model(
        cache(lambda: engine_for(tuned.open_released(recipe, checked).model)),
        checked.decode,
        identity,
        checked.name if checked.has_adapter else "",
    )


def _questions(rows: Sequence[Example], messages: Sequence[list[dict[str, Any]]]) -> list[Question]:
    return [
        Question(example.id, said, len(conversation(example)), example.tools)
        for example, said in zip(rows, messages, strict=True)
    ]


def conversation(example: Example) -> list[Message]:
    """What is asked, without system messages."""
    return [message for message in example.prompt if message.role not in ("system", "developer")]


def asked(example: Example) -> str:
    """The question as a person reads it: the user's message, or the whole exchange with its roles."""
    said = conversation(example)
    if len(said) == 1:
        return said[0].content
    return "\n".join(f"{message.role}: {message.content}" for message in said)
