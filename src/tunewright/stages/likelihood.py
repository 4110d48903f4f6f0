"""How likely a contestant finds texts in place of its answers: for graders that weigh them. Kept in the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tunewright.core import storage
from tunewright.core.example import Example
from tunewright.core.parts import LogProb, LogProbs
from tunewright.core.run import Run
from tunewright.stages.asking import Question, fitting
from tunewright.stages.lineup import Entrant, Model

if TYPE_CHECKING:
    from tunewright.models.forest import Row

AT_ONCE = 64  # rows whose figures are kept together
MICRO_TOKENS = 4096


def logprobs(run: Run, entrant: Entrant) -> LogProbs | None:
    """Of texts said after exactly what the contestant was sent, going on from evaluate/logprobs.<name>.jsonl where an
    earlier try stopped; None where a head answers, or a server.
    """
    model = entrant.model
    if not isinstance(model, Model) or model.decode.by_head:
        return None
    asked = {question.id: question for question in entrant.questions}

    def weigh(examples: Sequence[Example], texts: Sequence[Sequence[str]]) -> list[list[LogProb] | None]:
        questions = [asked[example.id] for example in examples]
        return _kept(run, entrant.name, model, questions, texts)

    return weigh


def remembered(run: Run, name: str) -> LogProbs | None:
    """Those that an evaluation of the run kept, for rows that were sent as they are; None where it kept none."""
    path = run.path("evaluate", f"logprobs.{name}.jsonl")
    if not path.exists():
        return None
    kept = {row["key"]: row["logprobs"] for row in storage.read_jsonl(path)}

    def weigh(examples: Sequence[Example], texts: Sequence[Sequence[str]]) -> list[list[LogProb] | None]:
        sent = [([message.for_template() for message in example.prompt], example.tools) for example in examples]
        return _read(kept, [_key(*asked, some) for asked, some in zip(sent, texts, strict=True)])

    return weigh


def _key(messages: Sequence[dict[str, Any]], tools: list[dict[str, Any]] | None, texts: Sequence[str]) -> str:
    return storage.digest([list(messages), tools, list(texts)])


def _read(kept: Mapping[str, list[Any] | None], keys: Sequence[str]) -> list[list[LogProb] | None]:
    return [None if (one := kept.get(key)) is None else [LogProb(*pair) for pair in one] for key in keys]


def _kept(
    run: Run, name: str, model: Model, questions: Sequence[Question], texts: Sequence[Sequence[str]]
) -> list[list[LogProb] | None]:
    path = run.path("evaluate", f"logprobs.{name}.jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    who = storage.digest([model.identity, model.decode.model_dump()])
    storage.keep_rows(path, lambda row: row["model"] == who)
    kept: dict[str, list[Any] | None] = {row["key"]: row["logprobs"] for row in storage.read_jsonl(path)}
    keys = [_key(question.messages, question.tools, some) for question, some in zip(questions, texts, strict=True)]
    waiting = {key: at for at, key in enumerate(keys) if key not in kept}
    places = list(waiting.values())
    for start in range(0, len(places), AT_ONCE):
        run.stop_if_asked()
        batch = places[start : start + AT_ONCE]
        found = _weighed(model, [questions[at] for at in batch], [texts[at] for at in batch])
        for at, one in zip(batch, found, strict=True):
            kept[keys[at]] = one
            storage.append_jsonl(path, {"key": keys[at], "model": who, "logprobs": one}, point="answers")
        done = len(keys) - len(places) + start + len(batch)
        run.progress("evaluate", done=done, total=len(keys), what=f"{name} log-probs")
    return _read(kept, keys)


def _weighed(
    model: Model, questions: Sequence[Question], texts: Sequence[Sequence[str]]
) -> list[list[tuple[float, int]] | None]:
    """For each question the log-prob and tokens of each of its texts; None where the longest does not fit."""
    import torch

    from tunewright.models.decode import prompt_ids
    from tunewright.models.forest import Row

    engine = model.engine()
    tunable = engine.model
    tunable.net.train(False)
    units: list[list[Row]] = []
    found: list[list[tuple[float, int]] | None] = [None] * len(questions)
    for at, (question, some) in enumerate(zip(questions, texts, strict=True)):
        messages, _ = fitting(engine, model.decode, question, model.adapter)
        if messages is None:
            continue
        prompt = prompt_ids(tunable.chat, model.decode, messages, question.tools)
        ends = [tunable.chat.answer_ids(text) for text in some]
        if len(prompt) + max(map(len, ends)) > tunable.longest(model.adapter):
            continue
        found[at] = [(0.0, len(end)) for end in ends]
        units.append(
            [
                Row([*prompt, *end], [0.0] * len(prompt) + [1.0] * len(end), str(at), model.adapter, slot=number)
                for number, end in enumerate(ends)
            ]
        )
    with torch.no_grad():
        for batch in tunable.micro_batches(units, MICRO_TOKENS):
            for row, total in zip(batch, tunable.logprobs(tunable.forest(batch)).tolist(), strict=True):
                told = found[int(row.example)]
                assert told is not None
                told[row.slot] = (total, told[row.slot][1])
    return found
