"""One request from its parameters to its answer: the model is held, work is queued, events become JSON or a stream."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from tunewright.core.errors import DataError
from tunewright.models.chat import Chat
from tunewright.models.decode import Decode
from tunewright.models.sequences import Request
from tunewright.server import replies
from tunewright.server.budgets import Budget, Reservation
from tunewright.server.caller import LOCAL, Caller
from tunewright.server.loading import Served
from tunewright.server.protocol import (
    COMPLETION_TOKENS,
    ApiError,
    Asked,
    ChatRequest,
    CompletionRequest,
    completion_prompts,
    conversation,
    grammar,
    prompt_ids,
    room_for,
)
from tunewright.server.registry import Registry
from tunewright.server.replies import Head, Outcome
from tunewright.server.worker import Choosing, End, Failed, Job, Piece, Writing


@dataclass(eq=False)
class Exchange:
    """A request whose work is queued. Must be closed, whatever happens; then `told` are called with it.

    heard: the answers as far as they came. first: when their first text did, by the monotonic clock.
    """

    asked: Asked
    registry: Registry
    served: Served
    job: Job
    head: Head
    count: int  # answers to come
    prompt_tokens: int
    reservation: Reservation
    closed: bool = field(default=False, init=False)
    heard: list[Outcome] = field(init=False)
    first: float | None = field(default=None, init=False)
    failed: bool = field(default=False, init=False)
    told: list[Callable[[Exchange], None]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.heard = [Outcome() for _ in range(self.count)]

    def close(self) -> None:
        """Give the model back, stop what is still being worked on, and count what was used."""
        if not self.closed:
            self.closed = True
            self.served.worker.cancel(self.job)
            self.reservation.settle(self.prompt_tokens + self.job.num_tokens)
            self.registry.give(self.served)
            for tell in self.told:
                tell(self)

    async def events(self) -> AsyncIterator[Piece | End]:
        """What the engine tells, until every answer is over. Raises ApiError when it failed."""
        left = self.count
        while left:
            event = await self.job.events.get()
            if isinstance(event, Failed):
                self.failed = True
                raise _failure(event.error)
            self._hear(event)
            left -= isinstance(event, End)
            yield event

    async def outcomes(self) -> list[Outcome]:
        """The whole answers, in order."""
        async for _ in self.events():
            pass
        return self.heard

    def _hear(self, event: Piece | End) -> None:
        one = self.heard[event.index]
        if isinstance(event, Piece):
            self.first = self.first or time.monotonic()
            one.text += event.text
            one.tokens += event.tokens
        else:
            one.finish, one.num_tokens, one.scores = event.finish, event.num_tokens, event.scores
            one.confidence, one.escalate = event.confidence, event.escalate


def _failure(error: Exception) -> ApiError:
    if isinstance(error, DataError):
        return ApiError(400, str(error))
    return ApiError(500, "The model failed while it was answering; the server's log says why.", type="server_error")


# --- from parameters to work ---


async def begin(
    registry: Registry, asked: ChatRequest | CompletionRequest, *, caller: Caller = LOCAL, session: str | None = None
) -> Exchange:
    """Hold the model, take what the answer may need from the caller's budget, and queue the work. session: to whose
    requests an alias gives the same release, where the body names nobody. Raises ApiError or DataError.
    """
    served = await registry.take(asked.model, caller=caller, user=asked.who or session)
    try:
        if isinstance(asked, ChatRequest):
            return await _begin_chat(registry, asked, served, caller.budget)
        return await _begin_text(registry, asked, served, caller.budget)
    except BaseException:
        registry.give(served)
        raise


async def _begin_chat(registry: Registry, asked: ChatRequest, served: Served, budget: Budget) -> Exchange:
    decode, worker = served.decode, served.worker
    prompt = await worker.read(lambda chat: prompt_ids(chat, decode, asked.messages, asked.offered))
    context = worker.model.longest(served.adapter)
    head = Head("chat.completion", served.name, f"fp_{served.fingerprint[:12]}")
    count = asked.n or 1
    if decode.kind != "generate":
        longest = await worker.read(lambda chat: _longest_label(chat, decode))
        _refuse_for_labels(asked, served.name, longest)
        if not decode.by_head:
            room_for(prompt, asked=longest, default=longest, context=context, param="messages")
        said, with_scores = conversation(asked.messages), bool(asked.logprobs)
        sure = registry.tells_confidence
        choosing = Choosing(decode, said, asked.offered, served.adapter, count, with_scores, sure)
        job, held = _submit(served, choosing, budget, len(prompt) + count * longest)
        return Exchange(asked, registry, served, job, head, count, len(prompt), held)
    room = room_for(prompt, asked=asked.longest, default=decode.max_new_tokens, context=context, param="messages")
    requests = await _requests(asked, served, [prompt], [room], asked.top_logprobs or 0)
    writing = Writing(requests, asked.stops, strip=True, logprobs=asked.wants_logprobs)
    job, held = _submit(served, writing, budget, len(prompt) + count * room)
    return Exchange(asked, registry, served, job, head, count, len(prompt), held)


async def _begin_text(registry: Registry, asked: CompletionRequest, served: Served, budget: Budget) -> Exchange:
    if served.decode.kind != "generate" or served.worker.model.is_encoder:
        message = f"Model '{served.name}' answers a message as a whole, not token by token. Use /v1/chat/completions."
        raise ApiError(400, message, param="model", code="unsupported_model")
    worker = served.worker
    prompts = await worker.read(lambda chat: completion_prompts(chat, asked.prompt))
    context, default = worker.model.longest(served.adapter), COMPLETION_TOKENS
    rooms = [room_for(p, asked=asked.longest, default=default, context=context, param="prompt") for p in prompts]
    requests = await _requests(asked, served, prompts, rooms, asked.logprobs or 0)
    writing = Writing(requests, asked.stops, strip=False, logprobs=asked.wants_logprobs)
    read = sum(map(len, prompts))
    job, held = _submit(served, writing, budget, read + sum(rooms) * (asked.n or 1))
    head = Head("text_completion", served.name, f"fp_{served.fingerprint[:12]}")
    return Exchange(asked, registry, served, job, head, len(requests), read, held)


def _submit(served: Served, work: Writing | Choosing, budget: Budget, tokens: int) -> tuple[Job, Reservation]:
    held = budget.reserve(tokens)
    try:
        return served.worker.submit(work), held
    except ApiError:
        held.settle(0)
        raise


async def _requests(
    asked: Asked, served: Served, prompts: list[list[int]], rooms: list[int], likeliest: int
) -> list[Request]:
    """n requests for each prompt, each with a seed of its own."""
    held_to = await asyncio.to_thread(grammar, asked)
    seed = asked.seed if asked.seed is not None else secrets.randbits(62)
    return [
        Request(
            prompt,
            room,
            temperature=served.decode.temperature if asked.temperature is None else asked.temperature,
            top_p=1.0 if asked.top_p is None else asked.top_p,
            top_k=asked.top_k or 0,
            seed=(seed + number) % 2**63,
            stop_ids=tuple(served.decode.stop_ids or served.worker.model.chat.stop_ids),
            adapter=served.adapter,
            grammar=held_to,
            logprobs=asked.wants_logprobs,
            likeliest=likeliest,
        )
        for prompt, room in zip(prompts, rooms, strict=True)
        for number in range(asked.n or 1)
    ]


def _longest_label(chat: Chat, decode: Decode) -> int:
    return 0 if decode.by_head else max(len(chat.answer_ids(label)) for label in decode.labels)


def _refuse_for_labels(asked: ChatRequest, name: str, longest: int) -> None:
    """A release that chooses, or whose head answers, has one answer: what would change that is refused, not ignored."""
    given: dict[str, Any] = {
        "temperature": asked.temperature,
        "stop": asked.stop,
        "top_k": asked.top_k,
        "top_logprobs": asked.top_logprobs,
        "structured_outputs": asked.structured_outputs,
    }
    if asked.response_format and asked.response_format.type != "text":
        given["response_format"] = asked.response_format
    if asked.top_p != 1:
        given["top_p"] = asked.top_p
    for param, value in given.items():
        if value:
            message = (
                f"Model '{name}' answers with the likeliest of its labels, or what its head says; '{param}' cannot "
                "change that. Leave it out."
            )
            raise ApiError(400, message, param=param, code="unsupported_parameter")
    if asked.longest is not None and asked.longest < longest:
        message = f"The labels of model '{name}' have up to {longest} tokens; you allow {asked.longest}. Ask for more."
        raise ApiError(400, message, param="max_tokens", code="invalid_value")


# --- from events to JSON ---


async def whole(exchange: Exchange) -> dict[str, Any]:
    """The answer as one object."""
    outcomes = await exchange.outcomes()
    asked = exchange.asked
    if isinstance(asked, ChatRequest):
        choices = [replies.chat_choice(i, one, logprobs=bool(asked.logprobs)) for i, one in enumerate(outcomes)]
    else:
        choices = [replies.text_choice(i, one.text, one.finish, one.tokens) for i, one in enumerate(outcomes)]
    spent = replies.usage(exchange.prompt_tokens, sum(one.num_tokens for one in outcomes))
    return exchange.head.body(choices) | {"usage": spent}


async def stream(exchange: Exchange) -> AsyncIterator[str]:
    """The answer as server-sent events. A failure in the middle is told as an event."""
    parts = _chat_parts(exchange) if isinstance(exchange.asked, ChatRequest) else _text_parts(exchange)
    empty = {"usage": None} if exchange.asked.with_usage else {}
    num_tokens = 0
    try:
        async for choice, spent in parts:
            num_tokens += spent
            yield replies.event(exchange.head.body([choice], chunk=True) | empty)
    except ApiError as error:
        yield replies.event(error.body)
        return
    if exchange.asked.with_usage:
        spent_all = {"usage": replies.usage(exchange.prompt_tokens, num_tokens)}
        yield replies.event(exchange.head.body([], chunk=True) | spent_all)
    yield replies.DONE


async def _chat_parts(exchange: Exchange) -> AsyncIterator[tuple[dict[str, Any], int]]:
    assert isinstance(exchange.asked, ChatRequest)
    for index in range(exchange.count):
        yield replies.chat_delta(index, {"role": "assistant", "content": ""}), 0
    async for event in exchange.events():
        if isinstance(event, Piece):
            yield replies.chat_delta(event.index, {"content": event.text}, tokens=event.tokens), 0
        else:
            yield replies.chat_end(event.index, event.finish, replies.ours(event)), event.num_tokens


async def _text_parts(exchange: Exchange) -> AsyncIterator[tuple[dict[str, Any], int]]:
    offsets = [0] * exchange.count
    async for event in exchange.events():
        if isinstance(event, Piece):
            yield replies.text_choice(event.index, event.text, None, event.tokens, offset=offsets[event.index]), 0
            offsets[event.index] += len(event.text)
        else:
            yield replies.text_choice(event.index, "", event.finish, None), event.num_tokens
