"""llama.cpp as the engine: a GGUF release in a process of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from tunewright.core.errors import DataError
from tunewright.models.engine import Request
from tunewright.models.llama_process import LlamaProcess
from tunewright.server.protocol import ApiError
from tunewright.server.upstream import Step, events_of
from tunewright.server.words import Token


class LlamaCpp:
    """Asks one llama.cpp process; begins it anew when it has died."""

    def __init__(self, file: Path, *, parallel: int, context: int) -> None:
        """Start it. Raises MissingPackage, or TunewrightError when it does not open the file."""
        self.file = file
        self.shape = {"parallel": parallel, "context": context}
        self.process = LlamaProcess(file, **self.shape)
        self._starting = asyncio.Lock()

    async def write(self, request: Request, form: dict[str, Any] | None) -> AsyncIterator[Step]:
        """The answer in steps. Ends at a stop id of the release, or at a token that ends a turn in the file."""
        async with self._starting:
            if not self.process.alive:
                self.process = await asyncio.to_thread(LlamaProcess, self.file, **self.shape)
        body = _body(request, form)
        async with (
            httpx.AsyncClient(base_url=self.process.url, headers=self.process.headers, timeout=None) as client,
            client.stream("POST", "/completion", json=body) as answer,
        ):
            counted = 0
            async for data in events_of(answer):
                step = json.loads(data)
                if step.get("stop"):
                    # tokens that were parts of characters came without their ids
                    rest = step["tokens_predicted"] - (step["stop_type"] == "eos") - counted
                    yield Step(
                        step["content"], max(0, rest), finish="length" if step["stop_type"] == "limit" else "stop"
                    )
                    return
                ids = step.get("tokens", [])
                if any(token in request.stop_ids for token in ids):
                    yield Step(finish="stop")
                    return
                counted += len(ids)
                yield Step(step["content"], len(ids), _tokens(step, request) if request.logprobs else ())

    async def scores(self, prompt: list[int], endings: list[list[int]], adapter: str) -> list[float]:
        """Not to be had: llama.cpp tells no log-probs of a text that is given."""
        raise ApiError(400, f"{CANNOT_CHOOSE} Use the engine of tunewright.", code="unsupported_model")

    def load(self, name: str, folder: Path) -> None:
        """Not to be had: a GGUF file holds merged weights."""
        raise DataError("llama.cpp serves GGUF releases only. Deploy with the format 'gguf'.")

    def drop(self, name: str) -> None:
        """Nothing is ever loaded beside the file."""

    def stop(self) -> None:
        """End the process."""
        self.process.stop()


CANNOT_CHOOSE = "This release weighs its labels by their probabilities, which llama.cpp does not tell."


def _body(request: Request, form: dict[str, Any] | None) -> dict[str, Any]:
    """A request in llama.cpp's words: its own samplers off but for those asked for, in the engine's order."""
    body: dict[str, Any] = {
        "prompt": request.prompt,
        "n_predict": request.max_new_tokens,
        "temperature": request.temperature,
        "samplers": ["top_k", "temperature", "top_p"],
        "top_k": request.top_k,
        "top_p": request.top_p,
        "seed": request.seed % 2**32,
        "stream": True,
        "return_tokens": True,
        "cache_prompt": False,  # one tenant must not learn from the time taken what another asked
    }
    if request.logprobs:
        body["n_probs"] = max(1, request.likeliest)
    if form:
        body |= {"json_schema": form["json"]} if "json" in form else {"grammar": _one_of(form["choice"])}
    return body


def _one_of(texts: list[str]) -> str:
    return "root ::= " + " | ".join(json.dumps(text) for text in texts)


def _tokens(step: dict[str, Any], request: Request) -> list[Token]:
    def likeliest(one: dict[str, Any]) -> list[tuple[str, float]]:
        return [(top["token"], top["logprob"]) for top in one["top_logprobs"][: request.likeliest]]

    return [Token(one["token"], one["logprob"], likeliest(one)) for one in step.get("completion_probabilities", [])]
