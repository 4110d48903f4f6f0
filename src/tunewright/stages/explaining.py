"""Explains one answer of a tuned model: which words it rests on, how sure it is, and the nearest training rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.core.errors import DataError, NotThere, unknown
from tunewright.core.example import Example, Message
from tunewright.core.report import Finding, Report
from tunewright.core.run import Run
from tunewright.data import showing
from tunewright.data.clean import prompt_text

if TYPE_CHECKING:
    from tunewright.models.attribution import Attribution
    from tunewright.models.chat import Chat
    from tunewright.models.decode import Answer, Decode
    from tunewright.models.tunable import TunableModel

NEAREST = 5
SIDES = ("test", "validation", "train")
EXPLAINED = ("generate", "choices", "classify", "regress")


@dataclass(frozen=True)
class Word:
    """A piece of the last user message and what it adds to the answer's log-prob (nats)."""

    text: str
    adds: float


def explain(
    run: str | Path, row: str | None = None, *, message: str | None = None, runs: str | Path = "runs"
) -> Report:
    """Explain the tuned model's answer to a row of the run (its id, as `evaluate` shows it) or to a message.

    numbers: `asked`, `expected`, `answer`, `confidence`, `labels` (the likeliest with their shares), `tokens` of a
    written answer with their probabilities, `words` (integrated gradients, models/attribution.py), `nearest` training
    rows (cosine of TF-IDF features). Raises NotThere, DataError.
    """
    opened = Run.open(run, runs=runs)
    example = _row(opened, row) if row is not None else _said(message)
    recipe = opened.recipe()
    from tunewright.models.decode import answer
    from tunewright.models.seq2seq_engine import engine_for
    from tunewright.stages import tuned

    engine, decode = engine_for(tuned.open_tuned(recipe, opened)), tuned.decode_of(recipe, opened)
    if decode.kind not in EXPLAINED:
        raise DataError(
            f"Run '{opened.name}' answers by '{decode.kind}', which has no single answer to explain. "
            f"Explained are: {', '.join(EXPLAINED)}."
        )
    asked = [said.for_template() for said in example.prompt]
    (given,) = answer(engine, decode, [asked], tools=[example.tools], with_scores=True)
    findings: list[Finding] = []
    numbers: dict[str, Any] = {
        "row": example.id,
        "asked": prompt_text(example).replace("\x1e", "\n"),
        "expected": example.answer,
        "answer": given.text,
        "nearest": _nearest(example, opened),
    }
    numbers |= _labels(given, decode)
    if engine.model.is_encoder_decoder:
        message = "What words add is not told of an encoder-decoder: its decoder reads no prompt of its own."
        findings.append(Finding(name="no attribution", message=message))
    else:
        numbers |= _words(engine.model, decode, asked, given, example)
    return Report(stage="explain", run=opened.name, numbers=numbers, findings=findings)


def failures_of(run: str | Path, *, runs: str | Path = "runs") -> Report:
    """Where a run's tuned model fails, as its evaluation found. Raises NotThere before that."""
    opened = Run.open(run, runs=runs)
    judged = opened.report("evaluate")
    found = judged.numbers.get("failures") if judged else None
    if found is None:
        raise NotThere(
            f"Run '{opened.name}' has no graded answers to look at. Go on with: tunewright evaluate {opened.folder}"
        )
    return Report(stage="explain", run=opened.name, numbers={"failures": found})


# --- the row ---


def _row(run: Run, wanted: str) -> Example:
    file, _, line = wanted.rpartition(":")  # ids name files by their stems
    wanted = f"{Path(file).stem}:{line}" if line.isdecimal() else wanted
    known: list[str] = []
    for side in SIDES:
        for example in run.split(side):
            if example.id == wanted:
                if not example.prompt:
                    raise DataError(f"Row '{wanted}' asks nothing, so there is no answer to explain. Name another row.")
                return example
            known.append(example.id)
    raise NotThere(unknown("row", wanted, known[:1000]) if known else f"Run '{run.name}' has no rows yet.")


def _said(message: str | None) -> Example:
    if not message or not message.strip():
        raise DataError("There is nothing to explain. Name a row of the run, or give --message TEXT.")
    return Example(id="(message)", messages=[Message(role="user", content=message)], num_answer_messages=0)


def _nearest(example: Example, run: Run) -> list[dict[str, Any]]:
    """The training rows that ask most alike, nearest first."""
    import numpy as np

    from tunewright.data.features import tfidf

    training = run.split("train")
    asked = [(number, text) for number, one in enumerate(training) if (text := prompt_text(one)).strip()]
    if not asked:
        return []
    features = tfidf([prompt_text(example), *(text for _, text in asked)])
    likeness = np.asarray((features[1:] @ features[0].T).todense()).ravel()
    found = []
    for place in np.argsort(-likeness, kind="stable")[:NEAREST].tolist():
        near = training[asked[place][0]]
        if likeness[place] <= 0:
            break
        found.append(
            {
                "id": near.id,
                "likeness": round(float(likeness[place]), 3),
                "asked": showing.short(prompt_text(near), 160),
                "answer": showing.short(near.answer or "", 80),
            }
        )
    return found


# --- confidence ---


def _labels(given: Answer, decode: Decode) -> dict[str, Any]:
    """The likeliest labels with their shares of the probability, and that of the one answered."""
    if not given.scores:
        return {"confidence": None, "labels": []}
    ranked = given.shares(multi=decode.multi)
    return {
        "confidence": None if decode.multi else round(dict(ranked)[given.text], 4),
        "labels": [{"label": label, "share": round(share, 4)} for label, share in ranked[:5]],
    }


# --- words ---


def _words(
    model: TunableModel, decode: Decode, asked: list[dict[str, Any]], given: Answer, example: Example
) -> dict[str, Any]:
    """What each word of the last user message adds, and how sure the model was of each token that it wrote."""
    from tunewright.models import attribution
    from tunewright.models import decode as decoding

    chat = model.chat
    ids = decoding.prompt_ids(chat, decode, asked, example.tools)
    places = _own_tokens(chat, decode, asked, example, ids)
    against = None
    found: dict[str, Any] = {}
    if decode.by_head:
        ranked = sorted(given.scores or {}, key=lambda label: -(given.scores or {})[label])
        against = ranked[1] if len(ranked) > 1 and not decode.multi else None
        number = decode.labels.index(ranked[0]) if ranked else 0
        told = attribution.of_output(model, ids, number, decode.labels.index(against) if against else None, places)
    else:
        others = sorted((label for label in given.scores or {} if label != given.text), key=lambda x: -given.scores[x])  # type: ignore[index]
        against = others[0] if others else None
        said = [chat.answer_ids(text) for text in (given.text, *others[:1])]
        told = attribution.of_answer(model, ids, said, places)
        if not given.scores:
            found["tokens"] = _written(model, ids, said[0])
    pieces = _pieces(chat, ids[places], told)
    return found | {
        "words": [{"text": word.text, "adds": round(word.adds, 4)} for word in pieces],
        "against": against,
        "score": round(told.score, 4),
        "score_without": round(told.without, 4),
        "missed": round(told.missed, 4),
    }


def _own_tokens(chat: Chat, decode: Decode, asked: list[dict[str, Any]], example: Example, ids: Sequence[int]) -> slice:
    """The tokens of the last user message: what differs from the same conversation with nothing in its place."""
    from tunewright.models.decode import prompt_ids

    last = max(place for place, said in enumerate(asked) if said["role"] == "user")
    empty = [said | {"content": ""} if place == last else said for place, said in enumerate(asked)]
    other = prompt_ids(chat, decode, empty, example.tools)
    most = min(len(ids), len(other))
    start = next((at for at in range(most) if ids[at] != other[at]), most)
    end = next((at for at in range(most - start) if ids[-1 - at] != other[-1 - at]), most - start)
    return slice(start, max(start + 1, len(ids) - end))


def _pieces(chat: Chat, ids: Sequence[int], told: Attribution) -> list[Word]:
    """Tokens put together to words: a word begins where its text begins with white space."""
    words: list[Word] = []
    before = ""
    for number, adds in enumerate(told.parts.tolist(), 1):
        text = chat.decode(ids[:number], keep_control=True)
        piece, before = text[len(before) :], text
        if words and not (piece[:1].isspace() or words[-1].text[-1:].isspace()):
            words[-1] = Word(words[-1].text + piece, words[-1].adds + adds)
        else:
            words.append(Word(piece, adds))
    return words


def _written(model: TunableModel, prompt: Sequence[int], said: Sequence[int]) -> list[dict[str, Any]]:
    """Each token of a written answer with the probability that it was given."""
    import torch

    from tunewright.models.forest import Row

    row = Row([*prompt, *said], [0.0] * len(prompt) + [1.0] * len(said), "0", model.route.active)
    with torch.inference_mode():
        found = model.token_logprobs(model.forest([row])).exp().tolist()
    return [
        {"text": model.chat.decode([token], keep_control=True), "probability": round(share, 4)}
        for token, share in zip(said, found, strict=True)
    ]
