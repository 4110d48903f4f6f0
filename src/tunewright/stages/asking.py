"""Puts the test set to a contestant through the engine. Answers are kept as they come, so that a stop loses none."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.core import storage
from tunewright.core.run import Run

if TYPE_CHECKING:
    from tunewright.models.decode import Decode
    from tunewright.models.engine import Engine

Messages = list[dict[str, Any]]
Kept = dict[tuple[str, int], dict[str, Any]]  # by question and sample
AT_ONCE = 64  # conversations whose answers are kept together


@dataclass(frozen=True)
class Question:
    """What a contestant is sent for one test row; the last `own` messages without system roles are the row's."""

    id: str
    messages: Messages
    own: int
    tools: list[dict[str, Any]] | None = None


@dataclass
class Answered:
    """A contestant's answers in the order of the questions, and what they cost.

    samples: all answers to each question, where there are several; `texts` are the first ones.
    """

    texts: list[str] = field(default_factory=list)
    samples: list[list[str]] = field(default_factory=list)
    confidences: list[float | None] = field(default_factory=list)  # of each answer, where it is one of the labels
    shares: list[dict[str, float]] = field(default_factory=list)  # of the likeliest labels, the answer first
    seconds: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    shortened: list[str] = field(default_factory=list)  # ids whose shown examples did not all fit the context
    too_long: list[str] = field(default_factory=list)  # ids whose question alone does not fit: an empty answer
    cut: list[str] = field(default_factory=list)  # ids whose answer ended at max_new_tokens
    refused: list[str] = field(default_factory=list)  # ids whose question a server refused: an empty answer
    latencies: list[float] = field(default_factory=list)  # seconds of requests made one at a time, or as a server took
    money: float | None = None  # what all answers cost; None where no price is known

    @property
    def num_samples(self) -> int:
        """How many answers each question got."""
        return len(self.samples[0]) if self.samples else 1

    @property
    def num_answers(self) -> int:
        """How many answers there are in all."""
        return len(self.texts) * self.num_samples

    @property
    def cost_per_1000(self) -> float | None:
        """What 1,000 answers cost."""
        return None if self.money is None or not self.texts else self.money / self.num_answers * 1000

    def latency(self, share: float) -> float | None:
        """Seconds within which this share of requests was answered (linear between the ranks); None without any."""
        if not self.latencies:
            return None
        ranked = sorted(self.latencies)
        place = share * (len(ranked) - 1)
        low = int(place)
        high = min(low + 1, len(ranked) - 1)
        return ranked[low] + (place - low) * (ranked[high] - ranked[low])

    def costs(self) -> dict[str, Any]:
        """What answering took: seconds in all and of single requests, tokens, and money for 1,000 answers if known."""
        found = {
            "seconds": self.seconds,
            "answers_per_second": self.num_answers / self.seconds if self.seconds else None,
            "latency_p50": self.latency(0.5),
            "latency_p95": self.latency(0.95),
            "cost_per_1000": self.cost_per_1000,
        }
        rounded = {key: None if value is None else float(f"{value:.5g}") for key, value in found.items()}
        rounded |= {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens}
        return rounded | ({"samples": self.num_samples} if self.samples else {})


def ask(
    run: Run,
    name: str,
    questions: Sequence[Question],
    *,
    decode: Decode,
    identity: str,
    engine: Callable[[], Engine],
    folder: Path | None = None,
    adapter: str = "",
    what: str | None = None,
    samples: int = 1,
) -> Answered:
    """Every question answered, going on from answers.<name>.jsonl in the folder (the run's `evaluate/`) where an
    earlier try was stopped.

    identity: tells the model apart, so that answers of another one are asked again. engine: opened when first needed.
    adapter: who of the engine answers, where several are beside its base. what: tells in progress what is asked.
    samples: answers to each question, drawn with seeds that hang on the question alone.
    """
    path = (folder or run.path("evaluate")) / f"answers.{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    model = [decode.model_dump(), identity]
    keys = {question.id: storage.digest([question.messages, question.tools, model]) for question in questions}
    storage.keep_rows(path, lambda row: keys.get(row["id"]) == row["key"])
    kept = read_kept(path)
    places = [(question, sample) for question in questions for sample in range(samples)]
    waiting = [(question, sample) for question, sample in places if (question.id, sample) not in kept]
    done = len(places) - len(waiting)
    for start in range(0, len(waiting), AT_ONCE):
        run.stop_if_asked()
        batch = waiting[start : start + AT_ONCE]
        seeds = [seed_of(question.id, keys[question.id], sample) for question, sample in batch]
        found = _answer([question for question, _ in batch], seeds, engine(), decode, run, adapter)
        for row, (question, sample) in zip(found, batch, strict=True):
            row |= {"key": keys[question.id], **sample_field(sample)}
            storage.append_jsonl(path, row, point="answers")
            kept[question.id, sample] = row
        done += len(batch)
        run.progress("evaluate", done=done, total=len(places), what=what or f"{name} answers")
    return together(kept, questions, samples)


def read_kept(path: Path) -> Kept:
    """The answers of a file, by question and sample."""
    return {(row["id"], row.get("sample", 0)): row for row in storage.read_jsonl(path)}


def sample_field(sample: int) -> dict[str, int]:
    """What tells a kept answer from the first one to its question."""
    return {"sample": sample} if sample else {}


def seed_of(id: str, key: str, sample: int) -> int:
    """The seed of a question's sample, the same whenever it is asked. key: of what is asked, and of whom. It has 31
    bits, since some servers take no more.
    """
    return int(storage.digest([id, key, sample])[:8], 16) >> 1


def _answer(
    batch: Sequence[Question], seeds: Sequence[int], engine: Engine, decode: Decode, run: Run, adapter: str
) -> list[dict[str, Any]]:
    """One row a question: id, text, finish, tokens, seconds, and how many shown messages were dropped."""
    from tunewright.models.decode import answer

    started = time.monotonic()
    rows: list[dict[str, Any]] = []
    asked: list[Messages] = []
    tools: list[list[dict[str, Any]] | None] = []
    drawn: list[int] = []
    for question, seed in zip(batch, seeds, strict=True):
        messages, dropped = fitting(engine, decode, question, adapter)
        rows.append({"id": question.id, "text": "", "finish": "too_long", "dropped": dropped})
        rows[-1] |= {"prompt_tokens": 0, "completion_tokens": 0, "confidence": None, "alternatives": None}
        if messages is not None:
            asked.append(messages)
            tools.append(question.tools)
            drawn.append(seed)
            rows[-1]["finish"] = ""
    if asked:
        stop = run.stop_if_asked
        told = answer(
            engine,
            decode,
            asked,
            tools=tools,
            adapter=adapter,
            with_confidence=True,
            seeds=drawn,
            progress=lambda _: stop(),
        )
        answers = iter(told)
    for row in rows:
        if row["finish"] == "":
            row |= next(answers).model_dump(exclude={"scores"})
    seconds = (time.monotonic() - started) / len(batch)
    return [row | {"seconds": round(seconds, 5)} for row in rows]


def fitting(engine: Engine, decode: Decode, question: Question, adapter: str = "") -> tuple[Messages | None, int]:
    """What of a question is sent, and how many shown messages were dropped to get there; None where it is too long."""
    room, most = room_of(engine, decode, adapter)
    return fit(question, measuring(engine, decode, question), room=room, most=most)


def fit(question: Question, length: Callable[[Messages], int], *, room: int, most: int) -> tuple[Messages | None, int]:
    """The messages that fit into `room` tokens, and how many shown ones were dropped from the front to get there.

    A question without any shown ones may fill up to `most` tokens; None when it is longer.
    """
    messages = list(question.messages)
    dropped = 0
    while (size := length(messages)) > room:
        first = next((place for place, said in enumerate(messages) if said["role"] not in ("system", "developer")), 0)
        last = len(messages) - question.own
        if first >= last:
            return (messages if size <= most else None), dropped
        following = next((place for place in range(first + 1, last) if messages[place]["role"] == "user"), last)
        del messages[first:following]
        dropped += following - first
    return messages, dropped


def measuring(engine: Engine, decode: Decode, question: Question) -> Callable[[Messages], int]:
    """How many tokens messages take, sent in the place of a question's."""
    from tunewright.models.decode import prompt_ids

    return lambda messages: len(prompt_ids(engine.model.chat, decode, messages, question.tools))


def room_of(engine: Engine, decode: Decode, adapter: str = "") -> tuple[int, int]:
    """The longest prompt that leaves a whole answer its place in the context, and the longest that can be sent."""
    from tunewright.models.head_answers import longest_prompt

    positions = engine.model.longest(adapter)
    if decode.by_head:
        room = longest_prompt(engine.model, decode)
        return room, room
    if decode.kind == "choices":
        room = positions - max(len(engine.model.chat.answer_ids(label)) for label in decode.labels)
        return room, room
    return positions - decode.max_new_tokens, positions - 1


def together(kept: Mapping[tuple[str, int], dict[str, Any]], questions: Sequence[Question], samples: int) -> Answered:
    """Kept rows as what a contestant answered to the questions."""
    several = [[kept[question.id, sample] for sample in range(samples)] for question in questions]
    first = [rows[0] for rows in several]
    rows = [row for rows in several for row in rows]

    def ids(finish: str) -> list[str]:
        return list(dict.fromkeys(row["id"] for row in rows if row["finish"] == finish))

    return Answered(
        texts=[row["text"] for row in first],
        samples=[[row["text"] for row in rows] for rows in several] if samples > 1 else [],
        confidences=[row.get("confidence") for row in first],
        shares=[_shares(row) for row in first],
        seconds=sum(row["seconds"] for row in rows),
        prompt_tokens=sum(row["prompt_tokens"] for row in rows),
        completion_tokens=sum(row["completion_tokens"] for row in rows),
        shortened=[row["id"] for row in first if row.get("dropped") and row["finish"] != "too_long"],
        too_long=ids("too_long"),
        cut=[row["id"] for row in rows if row["finish"] == "length"],
        refused=ids("refused"),
        latencies=[row["latency"] for row in rows if "latency" in row],
    )


def _shares(row: dict[str, Any]) -> dict[str, float]:
    return {} if row.get("confidence") is None else {row["text"]: row["confidence"], **(row["alternatives"] or {})}
