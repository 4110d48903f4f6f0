"""A grader of OpenAI's JSON computed for one answer. Models that grade are this server's own, or at the workspace's
endpoint.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor, wait
from dataclasses import dataclass, field
from typing import Any

from tunewright.core import catalog, openai_graders
from tunewright.core.endpoint import REFUSED, Endpoint, Question, Reply, ask_once
from tunewright.core.errors import EndpointError, RecipeError, Stopped
from tunewright.core.openai_graders import AnyGrader, LabelModel, Multi, ScoreModel, TextSimilarity
from tunewright.core.parts import Desk
from tunewright.graders.openai import OpenAI
from tunewright.server import exchange
from tunewright.server.caller import Caller
from tunewright.server.front import Front
from tunewright.server.protocol import ApiError, ChatRequest, parse

HERE = Endpoint(url="http://localhost", model="")  # stands for this server until a grader's model is known
_LOOK_SECONDS = 0.2  # between looks whether the request was given up
_FAULTS = (
    "formula_parse_error",
    "sample_parse_error",
    "truncated_observation_error",
    "unresponsive_reward_error",
    "invalid_variable_error",
    "other_error",
    "python_grader_server_error",
    "python_grader_runtime_error",
    "model_grader_server_error",
    "model_grader_refusal_error",
    "model_grader_parse_error",
)


async def check(
    front: Front, caller: Caller, given: dict[str, Any], *, param: str = "grader", rewards: bool = True
) -> openai_graders.AnyGrader:
    """The grader, unless it cannot be computed here. rewards: it is to give numbers, which a label_model by itself does
    not. Raises ApiError 400 with every problem.
    """
    options = front.place.config.graders
    try:
        grader = openai_graders.read(given, reinforcement=rewards)
    except RecipeError as error:
        raise ApiError(400, " ".join(error.problems), param=param, code="invalid_grader") from None
    singles = [*openai_graders.singles(grader), *([grader] if isinstance(grader, Multi) else [])]
    found = [f"The {one.type} grader has no name. Give it one." for one in singles if not one.name]
    cosine = [one for one in singles if isinstance(one, TextSimilarity) and one.evaluation_metric == "cosine"]
    if cosine and options.encoder is None:
        found.append(
            f"'{cosine[0].name}': cosine needs an encoder, which this server has not. "
            "Its owner sets graders.encoder in workspace.yaml."
        )
    asked = [one for one in singles if isinstance(one, ScoreModel | LabelModel)]
    if asked and options.endpoint is None:
        known = {one.model for one in asked if await front.models.has(one.model, caller=caller)}
        found += [
            f"'{one.name}': this server has no model '{one.model[:100]}' to grade with. Take one of GET /v1/models, or "
            "its owner sets graders.endpoint in workspace.yaml."
            for one in asked
            if one.model not in known
        ]
    if found:
        raise ApiError(400, " ".join(found), param=param, code="invalid_grader")
    return grader


def part_of(front: Front, given: dict[str, Any]) -> OpenAI:
    """A checked grader as it is computed here."""
    options = front.place.config.graders
    part = catalog.build(
        "graders",
        {
            "kind": "openai",
            "grader": given,
            "endpoint": HERE.model_dump(),
            "encoder": options.encoder,
            "seconds": options.seconds,
            "memory": options.memory,
        },
    )
    assert isinstance(part, OpenAI)
    return part


async def run(
    front: Front, caller: Caller, given: dict[str, Any], item: Any, answer: str, pool: Executor
) -> dict[str, Any]:
    """What a checked grader says of an answer, as the API tells it. Raises ApiError 400."""
    part = part_of(front, given)
    loop = asyncio.get_running_loop()
    asking = Asking(front, caller, loop)
    started = time.perf_counter()
    try:
        found = await loop.run_in_executor(pool, _outcome, part, item, answer, asking)
    finally:
        asking.stop.set()
    seconds = time.perf_counter() - started
    return _told(part.the_grader(), found, asking, seconds)


@dataclass
class Told:
    """A grader's value, by the API's names: the reward, why there is none, and the parts of a multi grader."""

    value: float | None
    why: str = ""
    error: str = ""
    parts: dict[str, float | None] = field(default_factory=dict)


@dataclass
class Asking:
    """Answers a grader's questions, from a thread that is not the server's loop, with what the caller may ask."""

    front: Front
    caller: Caller
    loop: asyncio.AbstractEventLoop
    stop: threading.Event = field(default_factory=threading.Event)
    used: dict[str, list[int]] = field(default_factory=dict)  # model -> tokens of prompts and answers
    asked: Counter[str] = field(default_factory=Counter)  # model -> questions
    refused: int = 0
    again: float | None = None  # seconds after which a question may be put that was refused for now

    def __call__(self, endpoint: Endpoint, questions: Sequence[Question]) -> list[Reply]:
        """One reply a question. Raises EndpointError, Stopped."""
        future = asyncio.run_coroutine_threadsafe(self._here(endpoint, questions), self.loop)
        while not wait([future], timeout=_LOOK_SECONDS).done:
            if self.stop.is_set():
                future.cancel()
                raise Stopped("The request was given up.")
        replies = future.result()
        if replies is None:
            given = self.front.place.config.graders.endpoint
            if given is None:  # it was there when the grader was checked
                raise EndpointError(f"This server has no model '{endpoint.model[:100]}' any more. Name another one.")
            there = {"model": given.model or endpoint.model, "extra": {**endpoint.extra, **given.extra}}
            replies = ask_once(given.model_copy(update=there), questions)
        used = self.used.setdefault(endpoint.model, [0, 0])
        used[0] += sum(reply.prompt_tokens for reply in replies)
        used[1] += sum(reply.completion_tokens for reply in replies)
        self.asked[endpoint.model] += len(replies)
        self.refused += sum(reply.finish == REFUSED for reply in replies)
        return replies

    async def _here(self, endpoint: Endpoint, questions: Sequence[Question]) -> list[Reply] | None:
        """Replies of this server's model of that name; None where it has none."""
        known = await self.front.models.has(endpoint.model, caller=self.caller)
        if not known:
            return None
        told = await asyncio.gather(*(self._reply(endpoint, one) for one in questions), return_exceptions=True)
        for one in told:
            if isinstance(one, BaseException):
                raise one
        return [one for one in told if isinstance(one, Reply)]

    async def _reply(self, endpoint: Endpoint, question: Question) -> Reply:
        asked = {"model": endpoint.model, "messages": question.messages, "max_tokens": question.max_tokens}
        asked |= {"temperature": question.temperature, "seed": question.seed, **endpoint.extra}
        try:
            checked = parse(ChatRequest, json.dumps(asked).encode())
            begun = await exchange.begin(self.front.models, checked, caller=self.caller)
            try:
                body = await exchange.whole(begun)
            finally:
                begun.close()
        except ApiError as error:
            self.again = error.again or self.again
            raise EndpointError(str(error)) from None
        choice, spent = body["choices"][0], body["usage"]
        said = choice["message"]["content"] or ""
        return Reply(said, choice["finish_reason"], spent["prompt_tokens"], spent["completion_tokens"])


def _outcome(part: OpenAI, item: Any, answer: str, asking: Asking) -> Told:
    try:
        found = part.outcome(item, answer, Desk(ask=asking))
    except EndpointError as error:
        return Told(None, str(error), "model_grader_server_error")
    fault = "model_grader_refusal_error" if found.value is None and asking.refused else found.error
    return Told(found.value, found.why, fault, {name: one.value for name, one in found.parts.items()})


def _told(grader: AnyGrader, found: Told, asking: Asking, seconds: float) -> dict[str, Any]:
    why: dict[str, str | None] = {"python_grader_server_error_type": None}
    for name in ("python_grader_runtime_error", "model_grader_server_error"):
        why[f"{name}_details"] = found.why if found.error == name else None
    usage = {
        model: {
            "prompt_tokens": sent,
            "completion_tokens": said,
            "total_tokens": sent + said,
            "cached_tokens": 0,
        }
        for model, (sent, said) in asking.used.items()
    }
    return {
        "reward": 0.0 if found.value is None else found.value,
        "sub_rewards": found.parts,
        "metadata": {
            "name": grader.name,
            "type": grader.type,
            "scores": found.parts,
            "execution_time": seconds,
            "sampled_model_name": next(iter(usage), None),
            "token_usage": sum(one["total_tokens"] for one in usage.values()) if usage else None,
            "errors": {**{name: name == found.error for name in _FAULTS}, **why},
            "tunewright": {"why": found.why},
        },
        "model_grader_token_usage_per_model": usage,
    }
