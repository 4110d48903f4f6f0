"""Another server that writes the answers in the engine's place, with the same front: it has the face of a Worker.

What it is sent are the token ids that training and evaluation made of the messages, never the messages: so no template
of its own can say something else.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx

from tunewright.models.chat import Chat
from tunewright.models.engine import Request
from tunewright.models.fair_queue import FairQueue
from tunewright.server.admission import Admission
from tunewright.server.protocol import ApiError
from tunewright.server.words import Token, Words
from tunewright.server.worker import Choosing, End, Failed, Job, Piece, Writing

log = logging.getLogger("tunewright.server")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Step:
    """What came since the last one. finish: "stop" or "length", with the last."""

    text: str = ""
    num_tokens: int = 0
    tokens: Sequence[Token] = ()
    finish: str | None = None


class Writer(Protocol):
    """How a server is asked."""

    def write(self, request: Request, form: dict[str, Any] | None) -> AsyncIterator[Step]:
        """The answer to one request, in steps. Raises ApiError."""

    async def scores(self, prompt: list[int], endings: list[list[int]], adapter: str) -> list[float]:
        """The summed log-prob (nats) of each ending after a prompt. Raises ApiError."""

    def load(self, name: str, folder: Path) -> None:
        """Make an adapter answer under a name. Raises TunewrightError."""

    def drop(self, name: str) -> None:
        """Forget an adapter."""

    def stop(self) -> None:
        """End it, where it was begun here."""


@dataclass(frozen=True)
class Face:
    """What a request is told of a model that is elsewhere."""

    chat: Chat
    context: int
    is_encoder: bool = field(default=False, init=False)

    def longest(self, adapter: str = "") -> int:
        """Longest row in tokens."""
        return self.context


@dataclass(frozen=True)
class Turn:
    """One answer of a job, which waits."""

    job: Job
    number: int


class Upstream:
    """A Writer with a queue before it: so many answers at once, then in fair turns between parties."""

    reads_grammars = False
    scores_prompts = False

    def __init__(self, writer: Writer, face: Face, *, max_live: int = 32, max_waiting: int = 256) -> None:
        """max_live: answers written at once. max_waiting: how many more of each party may wait."""
        self.writer = writer
        self.model = face
        self.max_live = max_live
        self.admission = Admission(max_live=max_live, max_waiting=max_waiting)
        self.chat = type(face.chat)(copy.deepcopy(face.chat.tokenizer))
        self.num_live = 0  # sequences being written
        self._waiting: FairQueue[Turn] = FairQueue()
        self._tasks: dict[Job, set[asyncio.Task[None]]] = {}
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="tokenize")

    @property
    def load(self) -> int:
        """Sequences taken in and not ended."""
        return self.admission.load

    async def read(self, make: Callable[[Chat], Result]) -> Result:
        """Turn text into ids, beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, make, self.chat)

    def submit(self, work: Writing | Choosing, *, party: str = "") -> Job:
        """Queue work. Raises ApiError 429 when the party's part of the queue is full."""
        job = Job(work, party)
        self.admission.take(party, job.size)
        for number in range(job.size):
            self._waiting.put(Turn(job, number), party=party)
        self._go_on()
        return job

    def cancel(self, job: Job) -> None:
        """Stop working on a job; nothing happens when it is over."""
        for turn in [turn for turn in self._waiting if turn.job is job]:
            self._waiting.remove(turn)
            self.admission.give(job.party, 1)
        for task in self._tasks.get(job, ()):
            task.cancel()

    def stop(self) -> None:
        """End the server, where it was begun here."""
        self.writer.stop()
        self._reader.shutdown(wait=False)

    def _go_on(self) -> None:
        """Begin what there is room for."""
        while self._waiting and self.num_live < self.max_live:
            turn = self._waiting.take()
            self.num_live += 1
            task = asyncio.create_task(self._carry_out(turn.job, turn.number))
            self._tasks.setdefault(turn.job, set()).add(task)
            # not at the task's own end: one that is cancelled before it began never comes there
            task.add_done_callback(partial(self._over, turn.job))

    def _over(self, job: Job, task: asyncio.Task[None]) -> None:
        self.num_live -= 1
        self.admission.give(job.party, 1)
        self._tasks[job].discard(task)
        if not self._tasks[job]:
            del self._tasks[job]
        self._go_on()

    async def _carry_out(self, job: Job, number: int) -> None:
        try:
            if isinstance(job.work, Writing):
                await self._write(job, job.work, number, job.work.requests[number])
            else:
                await self._choose(job, job.work)
            self.admission.ended()
        except Exception as error:
            if not isinstance(error, ApiError):
                log.exception("the server behind this one failed")
            job.events.put_nowait(Failed(_gone() if isinstance(error, httpx.TransportError) else error))

    async def _write(self, job: Job, work: Writing, number: int, request: Request) -> None:
        words = Words(self.chat, stops=work.stops, strip=work.strip)
        count, finish = 0, "length"
        steps = self.writer.write(request, work.form)
        async for step in steps:
            count += step.num_tokens
            job.num_tokens += step.num_tokens
            finish = step.finish or finish
            said = words.add_text(step.text, step.tokens)
            if said.text:
                job.events.put_nowait(Piece(number, said.text, said.tokens))
            if words.stopped:
                await steps.aclose()  # type: ignore[attr-defined]
                finish = "stop"
                break
        rest = words.end()
        if rest.text or rest.tokens:
            job.events.put_nowait(Piece(number, rest.text, rest.tokens))
        job.events.put_nowait(End(number, finish, count))

    async def _choose(self, job: Job, work: Choosing) -> None:
        from tunewright.models import decode as decoding

        decode = work.decode

        def ids(chat: Chat) -> tuple[list[int], list[list[int]]]:
            prompt = decoding.prompt_ids(chat, decode, work.conversation, work.tools)
            return prompt, [chat.answer_ids(label) for label in decode.labels]

        prompt, endings = await self.read(ids)
        scores = dict(zip(decode.labels, await self.writer.scores(prompt, endings, work.adapter), strict=True))
        best = max(scores, key=scores.__getitem__)
        size = len(endings[decode.labels.index(best)])
        job.num_tokens += size
        for number in range(work.copies):
            job.events.put_nowait(Piece(number, best, []))
            job.events.put_nowait(End(number, "stop", size, scores=scores if work.with_scores else None))


def _gone() -> ApiError:
    message = "The engine behind this server does not answer just now. Try again in a moment."
    return ApiError(503, message, type="server_error", code="engine_unavailable", headers={"retry-after": "2"})


async def refuse_refused(answer: httpx.Response) -> None:
    """Raise ApiError where the server refused; what it said goes to the log."""
    if answer.status_code != 200:
        said = (await answer.aread()).decode(errors="replace")
        log.warning("the engine answered %s: %s", answer.status_code, said[:300].replace("\n", " "))
        status = 400 if answer.status_code in (400, 422) else 503
        message = f"The engine behind this server refused the request (status {answer.status_code})."
        raise ApiError(status, message, type="invalid_request_error" if status == 400 else "server_error")


async def events_of(answer: httpx.Response) -> AsyncIterator[str]:
    """The data of server-sent events. Raises ApiError where the server refused."""
    await refuse_refused(answer)
    async for line in answer.aiter_lines():
        if line.startswith("data:"):
            yield line.removeprefix("data:").strip()
