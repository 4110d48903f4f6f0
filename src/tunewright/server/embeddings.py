"""POST /v1/embeddings: vectors of texts, from releases that make them."""

from __future__ import annotations

import asyncio
import base64
from typing import Any, Literal

from pydantic import Field, field_validator

from tunewright.models.decode import prompt_ids
from tunewright.models.vectors import vectors
from tunewright.server.account import Account
from tunewright.server.budgets import Budget
from tunewright.server.caller import LOCAL, Caller
from tunewright.server.loading import Served
from tunewright.server.protocol import ApiError, Body
from tunewright.server.registry import Registry
from tunewright.server.worker import Worker

MAX_INPUTS = 2048  # texts in one request, as the API allows
AT_ONCE = 16  # texts between which the engine writes on for others


class EmbeddingsRequest(Body):
    """What is asked for. input: a text or several; token ids are refused, since they depend on a tokenizer."""

    model: str = Field(min_length=1, max_length=512)
    input: list[str] = Field(min_length=1, max_length=MAX_INPUTS)
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(None, ge=1)
    user: Any = None

    @field_validator("input", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("input")
    @classmethod
    def _say_something(cls, value: list[str]) -> list[str]:
        if not all(value):
            raise ValueError("a text must have at least one character")
        return value


async def answered(
    registry: Registry,
    asked: EmbeddingsRequest,
    *,
    caller: Caller = LOCAL,
    session: str | None = None,
    account: Account | None = None,
) -> dict[str, Any]:
    """The answer as one object. session, account: as in exchange.begin. Raises ApiError or DataError."""
    user = asked.user if isinstance(asked.user, str) else None
    account = account or Account()
    served = await registry.take(asked.model, caller=caller, user=user or session)
    account.model = served.name
    try:
        return await _answered(served, asked, caller.budget, account)
    finally:
        registry.give(served)


async def _answered(served: Served, asked: EmbeddingsRequest, budget: Budget, account: Account) -> dict[str, Any]:
    decode, worker = served.decode, served.worker
    if decode.kind != "embed":
        message = f"Model '{served.name}' makes no vectors. Ask a release of a run with the objective 'embed'."
        raise ApiError(400, message, param="model", code="unsupported_model")
    conversations = [[{"role": "user", "content": text}] for text in asked.input]
    prompts = await worker.read(lambda chat: [prompt_ids(chat, decode, messages) for messages in conversations])
    assert isinstance(worker, Worker)  # other engines serve no vectors
    spent = account.prompt_tokens = sum(map(len, prompts))
    budget.reserve(spent)
    data: list[dict[str, Any]] = []
    for start in range(0, len(prompts), AT_ONCE):
        some = prompts[start : start + AT_ONCE]
        made = await asyncio.to_thread(
            worker.run,
            lambda model, some=some: vectors(model, decode, some, adapter=served.adapter, size=asked.dimensions),
        )
        for vector in made:
            told: Any = vector.tolist()
            if asked.encoding_format == "base64":
                told = base64.b64encode(vector.numpy().astype("<f4").tobytes()).decode()
            data.append({"object": "embedding", "index": len(data), "embedding": told})
    usage = {"prompt_tokens": spent, "total_tokens": spent}
    return {"object": "list", "data": data, "model": served.name, "usage": usage}
