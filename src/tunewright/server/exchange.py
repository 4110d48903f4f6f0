"""One request from its parameters to its answer: the model is held, work is queued, events become JSON or a stream."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from tunewright.core.errors import DataError
from tunewright.models.chat import Chat
from tunewright.models.decode import Decode
from tunewright.models.sequences import Request
from tunewright.server import given_texts, replies, tools
from tunewright.server.account import Account
from tunewright.server.budgets import Reservation
from tunewright.server.caller import LOCAL, Caller
from tunewright.server.given_texts import Echo
from tunewright.server.loading import Served
from tunewright.server.protocol import (
    COMPLETION_TOKENS,
    ApiError,
    Asked,
    ChatRequest,
    CompletionRequest,
    conversation,
    form,
    grammar,
    prompt_ids,
    room_for,
)
from tunewright.server.registry import Registry
from tunewright.server.replies import Head, Outcome
from tunewright.server.tools import Growing, Tools
from tunewright.server.worker import Choosing, End, Event, Failed, Job, Piece, Scored, Writing


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
    account: Account
    reservation: Reservation
    closed: bool = field(default=False, init=False)
    heard: list[Outcome] = field(init=False)
    first: float | None = field(default=None, init=False)
    failed: bool = field(default=False, init=False)
    told: list[Callable[[Exchange], None]] = field(default_factory=list, init=False)
    tools: Tools | None = field(default=None, init=False)
    echoes: list[Echo] = field(default_factory=list, init=False)  # of each prompt, where it is told before its answers

    def __post_init__(self) -> None:
        self.heard = [Outcome() for _ in range(self.count)]

    def close(self) -> None:
        """Give the model back, stop what is still being worked on, and count what was used."""
        if not self.closed:
            self.closed = True
            self.served.worker.cancel(self.job)
            self.reservation.settle(self.account.prompt_tokens + self.job.num_tokens)
            self.registry.give(self.served)
            for tell in self.told:
                tell(self)

    def echo(self, index: int) -> Echo | None:
        """What is told before an answer."""
        return self.echoes[index // (self.asked.n or 1)] if self.echoes else None

    async def events(self) -> AsyncIterator[Scored | Piece | End]:
        """What the engine tells, until every answer is over. Raises ApiError when it failed."""
        left, queue = self.count, self.job.events
        while left:
            ready = [await queue.get(), *(queue.get_nowait() for _ in range(queue.qsize()))]
            for event in _joined(ready):
                if isinstance(event, Failed):
                    self.failed = True
                    raise _failure(event.error)
                if isinstance(event, Scored):
                    await self._hear_scores(event)
                else:
                    self._hear(event)
                left -= isinstance(event, End)
                yield event

    async def outcomes(self) -> list[Outcome]:
        """The whole answers, in order."""
        async for _ in self.events():
            pass
        return self.heard

    async def _hear_scores(self, event: Scored) -> None:
        echo = self.echo(event.index)
        assert echo is not None, "prompts are scored where they are told"
        # the texts of thousands of tokens are made beside the event loop and the engine
        self.heard[event.index].given = await self.served.worker.read(
            lambda chat: given_texts.logprobs(chat, echo, event)
        )

    def _hear(self, event: Piece | End) -> None:
        one = self.heard[event.index]
        if isinstance(event, Piece):
            self.first = self.first or time.monotonic()
            self.account.first_token_at(self.first)
            one.text += event.text
            one.tokens += event.tokens
        else:
            one.finish, one.num_tokens, one.scores = event.finish, event.num_tokens, event.scores
            one.confidence, one.escalate = event.confidence, event.escalate
            self.account.completion_tokens += event.num_tokens
            if event.index % (self.asked.n or 1) == 0:  # a prompt counts once, however many answers it has
                self.account.cached_tokens += event.cached


def _joined(ready: list[Event]) -> list[Event]:
    """Events, with the pieces of each answer that came together as one: fewer are sent when there is much to do."""
    joined: list[Event] = []
    place: dict[int, int] = {}
    for event in ready:
        before = joined[place[event.index]] if isinstance(event, Piece) and event.index in place else None
        if isinstance(event, Piece) and isinstance(before, Piece):
            text, tokens = before.text + event.text, before.tokens + event.tokens
            joined[place[event.index]] = Piece(event.index, text, tokens)
            continue
        if isinstance(event, Piece):
            place[event.index] = len(joined)
        joined.append(event)
    return joined


def _failure(error: Exception) -> ApiError:
    if isinstance(error, DataError):
        return ApiError(400, str(error))
    return ApiError(500, "The model failed while it was answering; the server's log says why.", type="server_error")


# --- from parameters to work ---


@dataclass(frozen=True)
class Asking:
    """Who asks which model, and what comes of it."""

    caller: Caller
    served: Served
    registry: Registry
    account: Account

    def exchange(self, asked: Asked, work: Writing | Choosing, *, count: int, longest: int) -> Exchange:
        """Queue the work, whose answers have so many tokens at most, within the caller's budget."""
        served, account = self.served, self.account
        held = self.caller.budget.reserve(account.prompt_tokens + longest)
        try:
            job = served.worker.submit(work, party=self.caller.key_id)
        except ApiError:
            held.settle(0)
            raise
        kind = "chat.completion" if isinstance(asked, ChatRequest) else "text_completion"
        head = Head(kind, served.name, f"fp_{served.fingerprint[:12]}")
        return Exchange(asked, self.registry, served, job, head, count, account, held)


async def begin(
    registry: Registry,
    asked: ChatRequest | CompletionRequest,
    *,
    caller: Caller = LOCAL,
    session: str | None = None,
    account: Account | None = None,
) -> Exchange:
    """Hold the model, take what the answer may need from the caller's budget, and queue the work. session: to whose
    requests an alias gives the same release, where the body names nobody. account: of the request that asks. Raises
    ApiError or DataError.
    """
    served = await registry.take(asked.model, caller=caller, user=asked.who or session)
    asking = Asking(caller, served, registry, account or Account())
    asking.account.model = served.name
    try:
        if isinstance(asked, ChatRequest):
            return await _begin_chat(asked, asking)
        return await _begin_text(asked, asking)
    except BaseException:
        registry.give(served)
        raise


async def _begin_chat(asked: ChatRequest, asking: Asking) -> Exchange:
    served = asking.served
    decode, worker = served.decode, served.worker
    prompt = await worker.read(lambda chat: prompt_ids(chat, decode, asked.messages, asked.offered))
    asking.account.prompt_tokens = len(prompt)
    context = worker.model.longest(served.adapter)
    count = asked.n or 1
    if decode.kind != "generate":
        longest = await worker.read(lambda chat: _longest_label(chat, decode))
        _refuse_for_labels(asked, served.name, longest)
        if not decode.by_head:
            room_for(prompt, asked=longest, default=longest, context=context, param="messages")
        said, with_scores = conversation(asked.messages), bool(asked.logprobs)
        sure = asking.registry.tells_confidence
        choosing = Choosing(decode, said, asked.offered, served.adapter, count, with_scores, sure)
        return asking.exchange(asked, choosing, count=count, longest=count * longest)
    room = room_for(prompt, asked=asked.longest, default=decode.max_new_tokens, context=context, param="messages")
    offered = await tools.of(asked, worker)
    requests = await _requests(asked, asking, [prompt], [room], asked.top_logprobs or 0)
    if offered and offered.grammar:
        requests = [replace(request, grammar=offered.grammar) for request in requests]
    writing = Writing(requests, asked.stops, strip=True, logprobs=asked.wants_logprobs, form=form(asked))
    begun = asking.exchange(asked, writing, count=count, longest=count * room)
    begun.tools = offered
    return begun


async def _begin_text(asked: CompletionRequest, asking: Asking) -> Exchange:
    served = asking.served
    if served.decode.kind != "generate" or served.worker.model.is_encoder:
        message = f"Model '{served.name}' answers a message as a whole, not token by token. Use /v1/chat/completions."
        raise ApiError(400, message, param="model", code="unsupported_model")
    worker = served.worker
    scored = bool(asked.echo and asked.wants_logprobs)
    if (scored or asked.max_tokens == 0) and not worker.scores_prompts:
        message = f"Unsupported parameter: the engine of model '{served.name}' does not say what a given text is worth."
        raise ApiError(400, message, param="echo" if scored else "max_tokens", code="unsupported_parameter")
    given = await worker.read(lambda chat: given_texts.prompts(chat, asked.prompt))
    prompts = [one.ids for one in given]
    context, default = worker.model.longest(served.adapter), COMPLETION_TOKENS
    rooms = [room_for(p, asked=asked.longest, default=default, context=context, param="prompt") for p in prompts]
    asking.account.prompt_tokens = sum(map(len, prompts))
    # one by one, so that the texts of other requests come in between
    echoes = [await worker.read(partial(given_texts.echo, prompt=one)) for one in given if asked.echo]
    requests = await _requests(asked, asking, prompts, rooms, asked.logprobs or 0)
    requests = [replace(request, scores_prompt=True) for request in requests] if scored else requests
    writing = Writing(requests, asked.stops, strip=False, logprobs=asked.wants_logprobs, form=form(asked))
    begun = asking.exchange(asked, writing, count=len(requests), longest=sum(rooms) * (asked.n or 1))
    begun.echoes = echoes
    return begun


async def _requests(
    asked: Asked, asking: Asking, prompts: list[list[int]], rooms: list[int], likeliest: int
) -> list[Request]:
    """n requests for each prompt, each with a seed of its own."""
    served = asking.served
    held_to = await asyncio.to_thread(grammar, asked) if served.worker.reads_grammars else ""
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
            tenant=asking.caller.project,
            party=asking.caller.key_id,
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
        choices = [
            replies.chat_choice(i, one, logprobs=bool(asked.logprobs), called=_called(exchange, one))
            for i, one in enumerate(outcomes)
        ]
    else:
        choices = [_text_choice(exchange, i, one) for i, one in enumerate(outcomes)]
    return exchange.head.body(choices) | {"usage": replies.usage(exchange.account)}


async def stream(exchange: Exchange) -> AsyncIterator[str]:
    """The answer as server-sent events. A failure in the middle is told as an event."""
    parts = _chat_parts(exchange) if isinstance(exchange.asked, ChatRequest) else _text_parts(exchange)
    empty = {"usage": None} if exchange.asked.with_usage else {}
    try:
        async for choice in parts:
            yield replies.event(exchange.head.body([choice], chunk=True) | empty)
    except ApiError as error:
        yield replies.event(error.body)
        return
    if exchange.asked.with_usage:
        yield replies.event(exchange.head.body([], chunk=True) | {"usage": replies.usage(exchange.account)})
    yield replies.DONE


async def _chat_parts(exchange: Exchange) -> AsyncIterator[dict[str, Any]]:
    assert isinstance(exchange.asked, ChatRequest)
    for index in range(exchange.count):
        yield replies.chat_delta(index, {"role": "assistant", "content": ""})
    growing = [Growing(exchange.tools) for _ in range(exchange.count)] if exchange.tools else []
    async for event in exchange.events():
        if isinstance(event, Piece):
            text = growing[event.index].more(event.text) if growing else event.text
            if text or event.tokens:
                yield replies.chat_delta(event.index, {"content": text}, tokens=event.tokens)
            continue
        assert isinstance(event, End), "the prompts of chats are not scored"
        finish = event.finish
        rest, said = growing[event.index].end() if growing else ("", None)
        if rest:
            yield replies.chat_delta(event.index, {"content": rest})
        if said:
            finish = "tool_calls"
            calls = [{"index": number, **call} for number, call in enumerate(tools.told(said))]
            yield replies.chat_delta(event.index, {"tool_calls": calls})
        yield replies.chat_end(event.index, finish, replies.ours(event))


def _called(exchange: Exchange, one: Outcome) -> tuple[str, list[dict[str, Any]]] | None:
    said = exchange.tools.calls(one.text) if exchange.tools else None
    return (said.content, tools.told(said)) if said else None


def _text_choice(exchange: Exchange, index: int, one: Outcome) -> dict[str, Any]:
    before = echo.text if (echo := exchange.echo(index)) else ""
    return replies.text_choice(index, before + one.text, one.finish, one.tokens, offset=len(before), given=one.given)


async def _text_parts(exchange: Exchange) -> AsyncIterator[dict[str, Any]]:
    echoed = [echo.text if (echo := exchange.echo(index)) else "" for index in range(exchange.count)]
    offsets = [len(text) for text in echoed]
    if exchange.echoes and not exchange.asked.wants_logprobs:
        for index, text in enumerate(echoed):
            yield replies.text_choice(index, text, None, None)
    async for event in exchange.events():
        if isinstance(event, Scored):
            given = exchange.heard[event.index].given
            yield replies.text_choice(event.index, echoed[event.index], None, None, given=given)
        elif isinstance(event, Piece):
            yield replies.text_choice(event.index, event.text, None, event.tokens, offset=offsets[event.index])
            offsets[event.index] += len(event.text)
        else:
            yield replies.text_choice(event.index, "", event.finish, None)
