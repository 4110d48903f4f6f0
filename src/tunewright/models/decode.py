"""How a release turns a conversation into an answer. Evaluation, batch inference and the server all call `answer`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from tunewright.core.errors import DataError
from tunewright.models import head_answers, scoring
from tunewright.models.chat import Chat
from tunewright.models.engine import Engine
from tunewright.models.tunable import TunableModel

Conversation = list[dict[str, Any]]


class Escalation(BaseModel):
    """Which answers go to a person: those less sure than what evaluation found to be right in `at` of all cases."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float | None  # a confidence; None: no answer is sure enough
    at: float

    def asks_for(self, confidence: float) -> bool:
        """Whether an answer of this confidence goes to a person."""
        return self.threshold is None or confidence < self.threshold


class Decode(BaseModel):
    """Recorded in the release and obeyed wherever it answers.

    choices: the label with the highest summed log-prob (with its end of turn) is the answer. generate: tokens one by
    one until a stop id. The others ask the head that was trained. classify: the likeliest label, with `multi` a JSON
    list of those likelier than not. regress: a number, brought back by mean and std. tag: a JSON list of entities.
    reward: how good the conversation's last answer is, a number. system: the one system message of the training data,
    put before a conversation that has none.

    embed: vectors of texts (models/vectors.py), from the hidden state that `pool` names, which may be cut to `sizes`;
    with labels the likeliest of them is the answer.

    escalation: where answers are labels, and evaluation measured from which confidence on they may go out without a
    person.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["generate", "choices", "classify", "regress", "tag", "reward", "embed"] = "generate"
    labels: list[str] = []
    multi: bool = False
    mean: float = 0.0
    std: float = 1.0
    pool: str = "last"
    sizes: list[int] = []
    max_new_tokens: int = 256
    temperature: float = 0.0
    stop_ids: list[int] = []
    system: str | None = None
    escalation: Escalation | None = None

    @property
    def by_head(self) -> bool:
        """Whether a head answers, and no tokens are said."""
        return self.kind not in ("generate", "choices")

    def with_system(self, messages: Sequence[dict[str, Any]]) -> Conversation:
        """The conversation as the model is used to seeing it."""
        if self.system is None or any(message["role"] in ("system", "developer") for message in messages):
            return list(messages)
        return [{"role": "system", "content": self.system}, *messages]


def prompt_ids(
    chat: Chat, decode: Decode, messages: Sequence[dict[str, Any]], tools: list[dict[str, Any]] | None = None
) -> list[int]:
    """The token ids a request's messages become: the one way in, for evaluation, batch inference, chat and server."""
    said = decode.with_system(messages)
    ids = head_answers.asked_ids(chat, decode, said, tools) if decode.by_head else None
    return chat.prompt_ids(said, tools) if ids is None else ids


class Answer(BaseModel):
    """One answer. Where it was chosen from labels, and they were asked for: scores, the log-prob (nats) of every label;
    confidence, the probability of the answer among the labels, and the next likeliest with theirs (models/scoring.py
    tells how sharp they are). escalate: whether a person should look at it, where the release says from which
    confidence on nobody needs to.
    """

    model_config = ConfigDict(frozen=True)

    text: str
    finish: str
    scores: dict[str, float] | None = None
    confidence: float | None = None
    alternatives: dict[str, float] | None = None
    escalate: bool | None = None
    prompt_tokens: int
    completion_tokens: int

    def shares(self, *, multi: bool = False) -> list[tuple[str, float]]:
        """The labels of an answer chosen with scores, likeliest first, each with its share of the probability; multi:
        where a text may have several labels, each with its own probability.
        """
        ranked = sorted((self.scores or {}).items(), key=lambda item: -item[1])
        if multi:
            return [(label, math.exp(score)) for label, score in ranked]
        top = ranked[0][1] if ranked else 0.0
        total = sum(math.exp(score - top) for _, score in ranked)
        return [(label, math.exp(score - top) / total) for label, score in ranked]


def answer(
    engine: Engine,
    decode: Decode,
    conversations: Sequence[Sequence[dict[str, Any]]],
    *,
    tools: Sequence[list[dict[str, Any]] | None] | None = None,
    adapter: str = "",
    with_scores: bool = False,
    with_confidence: bool = False,
    seeds: Sequence[int] | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Answer]:
    """Answer conversations as the release would. Raises DataError when one does not fit the model's context.

    with_scores: tell the scores of all labels, too, which takes longer than finding the best one. with_confidence: tell
    how sure the choice of a label is, which costs little; always told where the release escalates by it. seeds: of each
    conversation, where tokens are drawn.
    """
    with_confidence = with_confidence or decode.escalation is not None
    chat = engine.model.chat
    offered = tools or [None] * len(conversations)
    prompts = [prompt_ids(chat, decode, m, t) for m, t in zip(conversations, offered, strict=True)]
    if decode.by_head:
        said = head_answers.answers(engine.model, decode, conversations, prompts, adapter=adapter, progress=progress)
        return [
            Answer(
                text=one.text,
                finish="stop",
                scores=one.scores if with_scores else None,
                **(_sureness(decode, one.scores) if with_confidence and one.scores and not decode.multi else {}),
                prompt_tokens=one.num_tokens,
                completion_tokens=0,
            )
            for one in said
        ]
    if decode.kind == "choices":
        return _chosen(engine.model, decode, prompts, adapter, with_scores, with_confidence, progress)
    made = engine.generate(
        prompts,
        max_new_tokens=decode.max_new_tokens,
        temperature=decode.temperature,
        seeds=seeds,
        stop_ids=decode.stop_ids or None,
        adapters=[adapter] * len(prompts),
        progress=progress,
    )
    return [
        Answer(text=chat.answer_text(g.ids), finish=g.finish, prompt_tokens=len(p), completion_tokens=len(g.ids))
        for p, g in zip(prompts, made, strict=True)
    ]


def _chosen(
    model: TunableModel,
    decode: Decode,
    prompts: list[list[int]],
    adapter: str,
    with_scores: bool,
    with_confidence: bool,
    progress: Callable[[int], None] | None,
) -> list[Answer]:
    endings = [model.chat.answer_ids(label) for label in decode.labels]
    longest = max(map(len, endings))
    for prompt in prompts:
        if len(prompt) + longest > model.longest(adapter):
            raise DataError(
                f"A message of {len(prompt)} tokens with a label of {longest} does not fit the model's "
                f"{model.longest(adapter)}. Shorten it."
            )
    rows: list[dict[str, float]] | None = None
    sure: list[dict[str, Any]] = [{}] * len(prompts)
    if with_scores:
        rows = [
            dict(zip(decode.labels, row, strict=True))
            for row in scoring.scores(model, prompts, endings, adapter=adapter, progress=progress)
        ]
        chosen = [decode.labels.index(max(row, key=row.__getitem__)) for row in rows]
        sure = [_sureness(decode, row) for row in rows] if with_confidence else sure
    elif with_confidence:
        found = scoring.likely(model, prompts, endings, adapter=adapter, progress=progress)
        chosen = [next(iter(one.shares)) for one in found]
        sure = [_told(decode, {decode.labels[number]: share for number, share in one.shares.items()}) for one in found]
    else:
        chosen = scoring.best(model, prompts, endings, adapter=adapter, progress=progress)
    return [
        Answer(
            text=decode.labels[number],
            finish="stop",
            scores=rows[place] if rows else None,
            **sure[place],
            prompt_tokens=len(prompts[place]),
            completion_tokens=len(endings[number]),
        )
        for place, number in enumerate(chosen)
    ]


def _sureness(decode: Decode, scores: dict[str, float]) -> dict[str, Any]:
    """From the log-probs of all labels: their softmax."""
    highest = max(scores.values())
    shares = {label: math.exp(score - highest) for label, score in scores.items()}
    total, best = sum(shares.values()), sorted(shares, key=lambda label: -shares[label])[:4]
    return _told(decode, {label: shares[label] / total for label in best})


def _told(decode: Decode, shares: dict[str, float]) -> dict[str, Any]:
    """Shares of labels, best first, as an answer tells them."""
    (_, first), *others = shares.items()
    confidence = round(first, 6)
    escalate = decode.escalation.asks_for(confidence) if decode.escalation else None
    alternatives = {label: round(share, 6) for label, share in others}
    return {"confidence": confidence, "alternatives": alternatives, "escalate": escalate}
