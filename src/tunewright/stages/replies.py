"""Asks a model many questions, at an endpoint or here, and keeps every reply in a file as it comes.

What was paid for is never lost: a question that was answered before is not asked again.
"""

from __future__ import annotations

import itertools
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.core import storage
from tunewright.core.endpoint import Client, Endpoint, Question, Reply
from tunewright.core.errors import DataError, EndpointError, NotThere, Stopped

if TYPE_CHECKING:
    from tunewright.models.decode import Decode
    from tunewright.models.engine import Engine

_AT_ONCE = 64  # questions that a model here is asked together


@dataclass(frozen=True)
class Budget:
    """What may be spent in all, earlier calls with the same file included. None: no limit."""

    tokens: int | None = None
    money: float | None = None


@dataclass
class Spent:
    """What the replies in the file used; `estimated`: some servers count no tokens."""

    questions: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    money: float = 0.0
    estimated: bool = False

    def add(self, row: dict[str, Any]) -> None:
        """Count a row of the file."""
        self.questions += 1
        self.prompt_tokens += row["prompt_tokens"]
        self.completion_tokens += row["completion_tokens"]
        self.money += row.get("money") or 0.0
        self.estimated |= not row["counted"]


class Speaker(ABC):
    """Who is asked."""

    name: str

    @abstractmethod
    def answers(self, questions: Iterator[Question]) -> Iterator[tuple[int, Reply | EndpointError]]:
        """The replies as they come, with the question's number. Questions are taken as they can be worked on."""

    def money(self, reply: Reply) -> float | None:
        """What a reply cost; None where nobody knows."""
        return None


class AtEndpoint(Speaker):
    """A server of chat completions."""

    def __init__(self, endpoint: Endpoint, *, stop: threading.Event | None = None) -> None:
        endpoint.secret()  # a missing key is told before any work
        self.endpoint = endpoint
        self.stop = stop or threading.Event()
        self.name = endpoint.model

    def answers(self, questions: Iterator[Question]) -> Iterator[tuple[int, Reply | EndpointError]]:
        """From the server, several under way together."""
        with Client(self.endpoint, stop=self.stop) as client:
            yield from client.ask_all(questions)

    def money(self, reply: Reply) -> float | None:
        """By the endpoint's prices."""
        return self.endpoint.cost(reply.prompt_tokens, reply.completion_tokens)


class Here(Speaker):
    """A release of ours, or a base, on this machine. It is opened with the first question."""

    def __init__(self, name: str, *, runs: str | Path = "runs", stop: threading.Event | None = None) -> None:
        self.name, self.runs = name, runs
        self.stop = stop or threading.Event()
        self._opened: tuple[Engine, Decode, str] | None = None

    def answers(self, questions: Iterator[Question]) -> Iterator[tuple[int, Reply | EndpointError]]:
        """From the engine, in batches."""
        number = 0
        while batch := list(itertools.islice(questions, _AT_ONCE)):
            if self.stop.is_set():
                raise Stopped("Stopped on request. What was answered is kept; the same command goes on from here.")
            for reply in self._batch(batch):
                yield number, reply
                number += 1

    def _batch(self, batch: Sequence[Question]) -> list[Reply | EndpointError]:
        from tunewright.models.decode import prompt_ids
        from tunewright.models.sequences import Request

        self._opened = self._opened or _open(self.name, self.runs)
        engine, decode, adapter = self._opened
        chat = engine.model.chat
        prompts = [prompt_ids(chat, decode, question.messages) for question in batch]
        fitting = [n for n, prompt in enumerate(prompts) if len(prompt) < engine.model.longest(adapter)]
        found: list[Reply | EndpointError] = [
            EndpointError(f"{self.name} cannot read {len(prompt)} tokens.", of_question=True) for prompt in prompts
        ]
        if fitting:
            stops = tuple(decode.stop_ids or chat.stop_ids)
            asked = [
                Request(
                    prompts[n], batch[n].max_tokens, temperature=batch[n].temperature, seed=batch[n].seed or 0,
                    stop_ids=stops, adapter=adapter,
                )
                for n in fitting
            ]  # fmt: skip
            sequences = [engine.admit(request) for request in asked]
            while not engine.is_idle:
                engine.step()
            for n, made in zip(fitting, sequences, strict=True):
                found[n] = Reply(chat.answer_text(made.ids), made.finish or "stop", len(prompts[n]), len(made.ids))
        return found


def _open(name: str, runs: str | Path) -> tuple[Engine, Decode, str]:
    """A release by its run, number or folder; else a base."""
    from tunewright.core.recipe import ModelOptions
    from tunewright.models.decode import Decode
    from tunewright.models.opening import open_model
    from tunewright.models.seq2seq_engine import engine_for
    from tunewright.stages import answering

    try:
        release = answering.find_release(name, runs=runs)
    except NotThere as missing:
        try:
            return engine_for(open_model(ModelOptions(base=name))), Decode(), ""
        except NotThere as error:
            raise NotThere(f"{error} Nor is it a run with a release: {missing}") from None
    opened = answering.Speaker.open(release)
    if opened.decode.kind != "generate":
        raise DataError(
            f"'{name}' chooses among labels or answers by a head, and writes no texts. Name a release or a base that "
            "writes, or an endpoint."
        )
    return opened.engine, opened.decode, opened.adapter


@dataclass
class Replies:
    """Replies of one speaker, kept in a file. told: called with how many of how many are answered."""

    path: Path
    speaker: Speaker
    budget: Budget = field(default_factory=Budget)
    told: Callable[[int, int], None] = lambda done, total: None
    spent: Spent = field(default_factory=Spent)
    over: str = ""  # why no more is asked
    refused: list[str] = field(default_factory=list)  # the sentences about questions that got no answer
    _known: dict[str, str] = field(default_factory=dict)
    _under_way: dict[str, tuple[int, int]] = field(default_factory=dict)  # the most tokens each may use

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for row in storage.read_jsonl(self.path):
            self.spent.add(row)
            self._known[row["key"]] = row["text"]

    def ask(self, questions: Sequence[Question]) -> list[str | None]:
        """The replies in the order of the questions; None where one was refused, or would have been beyond the budget
        (`over` says so then). Raises EndpointError and Stopped; what came before is kept.
        """
        keys = [self._key(question) for question in questions]
        of_key = dict(zip(keys, questions, strict=True))
        waiting = [key for key in of_key if key not in self._known]
        while waiting:
            asked = self._ask(waiting, of_key)
            waiting = waiting[asked:]
            if not self.over or asked == 0:
                break
            self.over = ""  # those under way may have used less than they were allowed
        return [self._known.get(key) for key in keys]

    def _ask(self, waiting: Sequence[str], of_key: dict[str, Question]) -> int:
        """Ask as many of the questions, from the first on, as can be afforded beside each other; how many."""
        stopped: list[Stopped] = []
        asked = 0

        def affordable() -> Iterator[Question]:
            nonlocal asked
            for key in waiting:
                self.over = self._beyond(of_key[key])
                if self.over or stopped:
                    return
                self._under_way[key] = _estimate(of_key[key])
                asked += 1
                yield of_key[key]

        self._under_way.clear()
        done = len(of_key) - len(waiting)
        for number, reply in self.speaker.answers(affordable()):
            key = waiting[number]
            self._under_way.pop(key, None)
            if isinstance(reply, Reply):
                self._keep(key, of_key[key], reply)
            else:
                self.refused.append(str(reply))
            done += 1
            try:
                self.told(done, len(of_key))
            except Stopped as stop:  # what is under way was paid for: it is waited for, and kept
                stopped.append(stop)
        if stopped:
            raise stopped[0]
        return asked

    def _beyond(self, question: Question) -> str:
        """Why a question can't be afforded beside those under way: each may use all the tokens it is allowed."""
        used = self.spent.prompt_tokens + self.spent.completion_tokens
        coming = [*self._under_way.values(), _estimate(question)]
        if self.budget.tokens is not None and used + sum(map(sum, coming)) > self.budget.tokens:
            return f"the budget of {self.budget.tokens:,} tokens is used up ({used:,} used)"
        if self.budget.money is not None:
            cost = sum(self.speaker.money(Reply("", "", *tokens)) or 0.0 for tokens in coming)
            if self.spent.money + cost > self.budget.money:
                return f"the budget of {self.budget.money:g} is used up ({self.spent.money:.4f} spent)"
        return ""

    def _key(self, question: Question) -> str:
        asked = [question.messages, question.max_tokens, question.temperature, question.seed]
        return storage.digest([self.speaker.name, *asked])

    def _keep(self, key: str, question: Question, reply: Reply) -> None:
        row: dict[str, Any] = {
            "key": key,
            "text": reply.text,
            "finish": reply.finish,
            "prompt_tokens": reply.prompt_tokens,
            "completion_tokens": reply.completion_tokens,
            "counted": reply.counted,
            "money": self.speaker.money(reply),
            "model": self.speaker.name,
            "messages": question.messages,
        }
        storage.append_jsonl(self.path, row, point="replies")
        self.spent.add(row)
        self._known[key] = reply.text


def _estimate(question: Question) -> tuple[int, int]:
    """The tokens that a question may use: four characters a token are sent, and the longest answer comes back."""
    return sum(len(str(message["content"])) for message in question.messages) // 4, question.max_tokens
