"""vLLM as the engine: a server in its own environment, begun here or found running.

Wire: vLLM's OpenAI-compatible server, /v1/completions with token ids as prompts, `return_token_ids`, `stop_token_ids`,
`structured_outputs` and `prompt_logprobs`; adapters by /v1/load_lora_adapter (docs.vllm.ai, "LoRA adapters").
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from tunewright.core import storage
from tunewright.core.errors import EndpointError, NotThere
from tunewright.models.engine import Request
from tunewright.models.own_servers import Address, end
from tunewright.server.upstream import Step, events_of, refuse_refused
from tunewright.server.words import Token

START_SECONDS = 900.0  # vLLM compiles and captures graphs before it answers
BASE = "base"  # what it calls the model that it was begun with


class VllmProcess:
    """A vLLM server of this server's own."""

    def __init__(self, base: str, *, command: str, arguments: Sequence[str], context: int, log: Path) -> None:
        """Start it over a base, with room for adapters. Raises NotThere where the command is not to be found, and
        EndpointError where it ends before it answers.
        """
        program = shutil.which(command)
        if program is None:
            raise NotThere(
                f"There is no command '{command}' to start vLLM with. Install vLLM in an environment of its own, and "
                "name its program: engine.command in workspace.yaml, or --engine-command."
            )
        address = Address()
        self.url, self.headers = address.url, address.headers
        # the key by the environment: others on this machine can read a command line
        environment = {**os.environ, "VLLM_API_KEY": address.key, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}
        environment |= {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
        line = [program, "serve", base, "--host", "127.0.0.1", "--port", str(address.port), "--served-model-name", BASE]
        line += ["--enable-lora", "--max-model-len", str(context), *arguments]
        with storage.open_log(log) as file:
            self.process = subprocess.Popen(line, stdout=file, stderr=file, env=environment)
        if not address.answers(self.process, seconds=START_SECONDS):
            self.stop()
            raise EndpointError(f"'{command} serve' did not come up; what it said is in {log}.")

    def stop(self) -> None:
        """End it."""
        end(self.process, seconds=30)


class Vllm:
    """Asks one vLLM server."""

    def __init__(
        self, url: str, headers: dict[str, str], *, model: str = BASE, process: VllmProcess | None = None
    ) -> None:
        self.url = url
        self.headers = headers
        self.base = model
        self.process = process

    async def write(self, request: Request, form: dict[str, Any] | None) -> AsyncIterator[Step]:
        """The answer in steps; ends at a stop id of the release, and at no other token."""
        body = self._body(request, form)
        async with self._client() as client, client.stream("POST", "/v1/completions", json=body) as answer:
            async for data in events_of(answer):
                if data == "[DONE]":
                    return
                for choice in json.loads(data)["choices"]:
                    ids = [token for token in choice.get("token_ids") or [] if token not in request.stop_ids]
                    tokens = _tokens(choice.get("logprobs"), len(ids), request.likeliest)
                    yield Step(choice["text"], len(ids), tokens, choice.get("finish_reason"))

    async def scores(self, prompt: list[int], endings: list[list[int]], adapter: str) -> list[float]:
        """The summed log-prob of each ending, from what vLLM tells of the tokens of a prompt. Their shared beginning is
        in its prefix cache.
        """
        body: dict[str, Any] = {"model": adapter or self.base, "prompt": [prompt + ending for ending in endings]}
        body |= {"max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
        async with self._client() as client:
            answer = await client.post("/v1/completions", json=body)
            await refuse_refused(answer)
        choices = sorted(answer.json()["choices"], key=lambda choice: choice["index"])
        return [
            sum(
                places[str(token)]["logprob"]
                for token, places in zip(ending, choice["prompt_logprobs"][len(prompt) :], strict=True)
            )
            for ending, choice in zip(endings, choices, strict=True)
        ]

    def load(self, name: str, folder: Path) -> None:
        """Let vLLM read an adapter's folder, which must be on a disk that it sees. Raises EndpointError."""
        self._tell("load_lora_adapter", {"lora_name": name, "lora_path": str(folder.resolve())})

    def drop(self, name: str) -> None:
        """Forget an adapter."""
        self._tell("unload_lora_adapter", {"lora_name": name})

    def stop(self) -> None:
        """End it, if it was begun here."""
        if self.process is not None:
            self.process.stop()

    def _tell(self, path: str, body: dict[str, str]) -> None:
        try:
            answer = httpx.post(f"{self.url}/v1/{path}", json=body, headers=self.headers, timeout=300)
        except httpx.TransportError as error:
            raise EndpointError(f"vLLM at {self.url} does not answer: {error}. Check that it runs.") from None
        if answer.status_code != 200:
            raise EndpointError(
                f"vLLM refused {path} for '{body['lora_name']}' ({answer.status_code}): {answer.text[:200]}. It must "
                "run with --enable-lora, a --max-lora-rank that suffices, and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True."
            )

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers=self.headers, timeout=None)

    def _body(self, request: Request, form: dict[str, Any] | None) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": request.adapter or self.base,
            "prompt": request.prompt,
            "max_tokens": request.max_new_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "top_k": request.top_k,
            # said, since vLLM takes what is left out from the base's generation_config.json
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "seed": request.seed,
            "stop_token_ids": list(request.stop_ids),
            "ignore_eos": True,  # what ends an answer is what the release says, and that stands above
            "skip_special_tokens": True,
            "return_token_ids": True,
            "stream": True,
        }
        if request.tenant:
            body["cache_salt"] = request.tenant  # one tenant must not learn from the time taken what another asked
        if request.logprobs:
            body["logprobs"] = request.likeliest
        if form:
            body["structured_outputs"] = form
        return body


def _tokens(logprobs: dict[str, Any] | None, count: int, likeliest: int) -> list[Token]:
    if not logprobs:
        return []
    tops = logprobs.get("top_logprobs") or [{}] * len(logprobs["tokens"])
    told = [
        Token(text, logprob, sorted((top or {}).items(), key=lambda one: -one[1])[:likeliest])
        for text, logprob, top in zip(logprobs["tokens"], logprobs["token_logprobs"], tops, strict=True)
    ]
    return told[:count]  # without the stop token
