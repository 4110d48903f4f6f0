"""The one thread that drives an engine: everything that touches a base, its adapters and its cache happens in it."""

from __future__ import annotations

import asyncio
import copy
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from tunewright.core.errors import DataError
from tunewright.models.chat import Chat
from tunewright.models.decode import Answer, Decode, answer
from tunewright.models.engine import Engine
from tunewright.models.fair_queue import FairQueue
from tunewright.models.hardware import serving_threads
from tunewright.models.seq2seq_engine import engine_for
from tunewright.models.sequences import Live, Request
from tunewright.models.tunable import TunableModel
from tunewright.server.admission import Admission
from tunewright.server.words import Token, Words

log = logging.getLogger("tunewright.server")
Result = TypeVar("Result")

CHOSEN_AT_ONCE = 16  # conversations whose labels are scored together
KEPT_BYTES = 2**28  # of keys and values of earlier prompts
TOLD_SECONDS = 0.04  # between two times at which the event loop is told of several answers
PAUSE = 0.05  # seconds that answers may wait while prompts are read


@dataclass(frozen=True)
class Piece:
    """More text of one answer."""

    index: int
    text: str
    tokens: list[Token]


@dataclass(frozen=True)
class Scored:
    """What a prompt's tokens are worth to the model, from the second on: log-probs (nats), and the likeliest tokens at
    each place. Comes before all pieces of its answer.
    """

    index: int
    logprobs: list[float]
    likeliest: list[list[tuple[int, float]]]


@dataclass(frozen=True)
class End:
    """One answer is over. finish: "stop" or "length"; scores: of every label, where one was chosen; confidence: its
    probability among them; both where they were asked for. escalate: whether a person should look at it, where the
    release says so.
    """

    index: int
    finish: str
    num_tokens: int
    cached: int = 0  # tokens of its prompt that were kept from earlier ones
    scores: dict[str, float] | None = None
    confidence: float | None = None
    escalate: bool | None = None


@dataclass(frozen=True)
class Failed:
    """The whole job came to nothing."""

    error: Exception


Event = Scored | Piece | End | Failed


@dataclass(frozen=True)
class Writing:
    """Answers to be generated, one a request."""

    requests: Sequence[Request]
    stops: Sequence[str] = ()
    strip: bool = True
    logprobs: bool = False
    form: dict[str, Any] | None = None  # what the answer is held to, for engines that do not read Request.grammar


@dataclass(frozen=True)
class Choosing:
    """A label to be chosen, exactly as evaluation chooses it; told `copies` times, with all scores where asked for."""

    decode: Decode
    conversation: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None
    adapter: str
    copies: int = 1
    with_scores: bool = False
    with_confidence: bool = False


@dataclass(eq=False)
class Job:
    """Work for the engine, and the events that come back: a Scored where it was asked for, Piece after Piece, an End
    for each answer; or Failed.
    """

    work: Writing | Choosing
    party: str = ""  # who takes turns with others
    events: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    open: int = 0  # sequences not ended yet; the worker's thread alone changes it
    num_tokens: int = 0  # written so far; as `open`

    @property
    def size(self) -> int:
        """How many sequences the engine must work on."""
        return len(self.work.requests) if isinstance(self.work, Writing) else 1


class Worker:
    """An engine with its thread and its queue. `chat` is a copy for the HTTP side: tokenizers are not thread-safe."""

    reads_grammars = True

    def __init__(
        self, model: TunableModel, *, max_live: int = 32, max_waiting: int = 256, keep: int = KEPT_BYTES
    ) -> None:
        """max_live: answers written at once. max_waiting: how many more of each party may wait. keep: see `Engine`."""
        self.model = model
        self.max_live = max_live
        self.keep = keep
        self.engine = self._fresh_engine()
        self.chat = type(model.chat)(copy.deepcopy(model.chat.tokenizer))
        self.admission = Admission(max_live=max_live, max_waiting=max_waiting)
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._outbox: list[tuple[Job, Event]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told = 0.0  # when events were handed over last
        self._begun = False  # whether the first token of an answer is among those that are not
        self._writing: dict[Live, tuple[Job, int, Words]] = {}
        self._choosing: FairQueue[Job] = FairQueue()
        self._texts: dict[int, str] = {}
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="tokenize")
        self._thread = threading.Thread(target=self._drive, name=f"engine {model.base}", daemon=True)
        self._thread.start()

    # --- called from other threads ---

    @property
    def num_live(self) -> int:
        """Sequences being written."""
        return len(self.engine.live)

    @property
    def scores_prompts(self) -> bool:
        """Whether it can tell what the tokens of a prompt are worth."""
        return not self.model.is_encoder_decoder

    async def read(self, make: Callable[[Chat], Result]) -> Result:
        """Turn text into ids, beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, make, self.chat)

    @property
    def load(self) -> int:
        """Sequences taken in and not ended."""
        return self.admission.load

    def submit(self, work: Writing | Choosing, *, party: str = "") -> Job:
        """Queue work: first come first served within a party, in fair turns between parties. Raises ApiError 429 when
        the party's part of the queue is full.
        """
        job = Job(work, party)
        self.admission.take(party, job.size)
        self._loop = asyncio.get_running_loop()
        self._inbox.put(lambda: self._begin(job))
        return job

    def cancel(self, job: Job) -> None:
        """Stop working on a job; nothing happens when it is over."""
        self._inbox.put(lambda: self._cancel(job))

    def run(self, work: Callable[[TunableModel], Result]) -> Result:
        """Do something with the model between two steps, and wait for it."""
        done: Future[Result] = Future()

        def do() -> None:
            try:
                done.set_result(work(self.model))
            except BaseException as error:  # whatever it is belongs to the caller
                done.set_exception(error)
            self.engine.forget_dropped()

        self._inbox.put(do)
        return done.result()

    def stop(self) -> None:
        """End the thread after its present step."""
        self._inbox.put(None)
        self._thread.join(timeout=10)
        self._reader.shutdown(wait=False)

    # --- the engine's thread ---

    def _drive(self) -> None:
        torch.set_num_threads(serving_threads())  # holds for the thread that computes
        while True:
            while (command := self._command()) is not None:
                if command is STOP:
                    return
                command()
            self._choose()
            try:
                self._step()
            except Exception as error:
                self._start_again(error)
            self._tell()

    def _command(self) -> Callable[[], None] | None:
        """The next command; waits for one when there is nothing else to do."""
        busy = bool(self._writing or self._choosing)
        try:
            command = self._inbox.get(block=not busy)
        except queue.Empty:
            return None
        return STOP if command is None else command

    def _start_again(self, error: Exception) -> None:
        """Survive a failing step: what was being written fails with it, the next requests find a fresh engine."""
        log.exception("a step of the engine failed")
        for job in dict.fromkeys(job for job, _, _ in self._writing.values()):
            self._fail(job, error)
        self._writing = {}
        self.engine = self._fresh_engine()

    def _fresh_engine(self) -> Engine:
        return engine_for(self.model, max_live=self.max_live, keep=self.keep, pause=PAUSE)

    def _begin(self, job: Job) -> None:
        job.open = job.size
        if isinstance(job.work, Choosing):
            self._choosing.put(job, party=job.party)
            return
        try:
            for index, request in enumerate(job.work.requests):
                words = Words(self.model.chat, stops=job.work.stops, strip=job.work.strip, texts=self._texts)
                self._writing[self.engine.admit(request)] = (job, index, words)
        except DataError as error:
            self._cancel(job)
            self._outbox.append((job, Failed(error)))

    def _cancel(self, job: Job) -> None:
        if not job.open:
            return
        for sequence in [sequence for sequence, (owner, _, _) in self._writing.items() if owner is job]:
            self.engine.cancel(sequence)
            del self._writing[sequence]
        self._choosing.remove(job)
        self._left(job, job.open)

    def _fail(self, job: Job, error: Exception) -> None:
        self._outbox.append((job, Failed(error)))
        self._left(job, job.open)

    def _left(self, job: Job, count: int) -> None:
        job.open -= count
        self.admission.give(job.party, count)

    def _choose(self) -> None:
        """Score the labels for the first conversation that waits and for others of the same release."""
        if not self._choosing:
            return
        batch = [self._choosing.take()]
        first = batch[0].work
        assert isinstance(first, Choosing)
        batch += [job for job in self._choosing if _alike(job.work, first)][: CHOSEN_AT_ONCE - 1]
        for job in batch[1:]:
            self._choosing.remove(job)
            self._choosing.charge(job.party, 1)
        works = [job.work for job in batch if isinstance(job.work, Choosing)]
        conversations, tools = [work.conversation for work in works], [work.tools for work in works]
        try:
            answers = answer(
                self.engine,
                first.decode,
                conversations,
                tools=tools,
                adapter=first.adapter,
                with_scores=first.with_scores,
                with_confidence=first.with_confidence,
            )
        except Exception as error:
            log.exception("labels could not be scored")
            for job in batch:
                self._fail(job, error)
            return
        for job, work, given in zip(batch, works, answers, strict=True):
            self._tell_chosen(job, work, given)
            self.admission.ended()
            self._left(job, 1)

    def _tell_chosen(self, job: Job, work: Choosing, given: Answer) -> None:
        for index in range(work.copies):
            job.num_tokens += given.completion_tokens
            self._outbox.append((job, Piece(index, given.text, [])))
            about: dict[str, Any] = {"scores": given.scores, "confidence": given.confidence, "escalate": given.escalate}
            self._outbox.append((job, End(index, given.finish, given.completion_tokens, **about)))

    def _step(self) -> None:
        if not self._writing:
            return
        for sequence, token_id in self.engine.step():
            job, index, words = self._writing[sequence]
            job.num_tokens += 1
            if len(sequence.ids) == 1:
                self._begun = True
                self._tell_scores(sequence)
            assert isinstance(job.work, Writing)
            if not (words.stops or job.work.logprobs):
                words.add_later(token_id)
                continue
            said = words.add(token_id, self._token(sequence, job))
            if said.text:
                self._outbox.append((job, Piece(index, said.text, said.tokens)))
            if words.stopped and sequence.finish is None:
                self.engine.cancel(sequence)
        for sequence in [sequence for sequence in self._writing if sequence.finish]:
            if not sequence.ids:
                self._tell_scores(sequence)
            job, index, words = self._writing.pop(sequence)
            rest = words.end()
            if rest.text or rest.tokens:
                self._outbox.append((job, Piece(index, rest.text, rest.tokens)))
            finish = "stop" if words.stopped else str(sequence.finish)
            self._outbox.append((job, End(index, finish, len(sequence.ids), sequence.cached)))
            self.admission.ended()
            self._left(job, 1)

    def _tell_scores(self, sequence: Live) -> None:
        if sequence.request.scores_prompt:
            job, index, _ = self._writing[sequence]
            self._outbox.append((job, Scored(index, sequence.given, sequence.likeliest_given)))

    def _token(self, sequence: Live, job: Job) -> Token | None:
        assert isinstance(job.work, Writing)
        if not job.work.logprobs:
            return None
        shown = self.model.chat.decode
        likeliest = [(shown([token], keep_control=True), logprob) for token, logprob in sequence.likeliest]
        return Token(shown([sequence.ids[-1]], keep_control=True), sequence.logprobs[-1], likeliest)

    def _tell(self) -> None:
        """Hand all events to the event loop at once. While several answers are written, some steps together: each wakes
        the loop, which sends a chunk for each answer, and takes from the time of the next step.
        """
        waits = len(self._writing) > 1 and not self._begun and all(isinstance(one, Piece) for _, one in self._outbox)
        if waits and time.monotonic() - self._told < TOLD_SECONDS:
            return
        for job, index, words in self._writing.values():
            if (said := words.more()).text:
                self._outbox.append((job, Piece(index, said.text, said.tokens)))
        if not self._outbox:
            return
        events, self._outbox = self._outbox, []
        self._told, self._begun = time.monotonic(), False
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(_deliver, events)
        except RuntimeError:
            log.info("answers came after the server had ended")


def _stop() -> None:
    """Stands in the queue for the end."""


STOP: Callable[[], None] = _stop


def _deliver(events: list[tuple[Job, Event]]) -> None:
    for job, event in events:
        job.events.put_nowait(event)


def _alike(work: Writing | Choosing, other: Choosing) -> bool:
    """Whether both ask the same release for the same."""
    if not isinstance(work, Choosing) or work.with_scores != other.with_scores:
        return False
    if work.with_confidence != other.with_confidence:
        return False
    return work.adapter == other.adapter and work.decode is other.decode
