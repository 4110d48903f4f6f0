"""What the serving benchmark asks, and whom: releases over nano, a server process, and chats by the official client."""

from __future__ import annotations

import asyncio
import json
import os
import random
import string
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

RUNS = ("red", "blue", "green", "grey")
NEVER = 10**6  # a stop token that is never said: every answer has its full length
WORDS = "card account transfer fee arrived lost bank payment rate abroad refund limit phone"


@dataclass(frozen=True)
class Reply:
    """One answer as its client saw it. gap: the longest time between two pieces of text, in seconds."""

    model: str
    text: str
    tokens: int
    cached: int
    first: float
    gap: float
    seconds: float


def make_runs(folder: Path, runs: Sequence[str] = RUNS, *, versions: int = 2) -> None:
    """A run for each name with one release over nano, and beside it the adapters of further versions."""
    import torch

    from tunewright.core import catalog, storage
    from tunewright.core.recipe import ModelOptions
    from tunewright.models import lora_layers
    from tunewright.models.opening import open_model

    for number, run in enumerate(runs):
        for version in range(versions):
            model = open_model(ModelOptions(base="nano"))
            method = catalog.build("methods", {"kind": "lora", "rank": 16})
            method.attach(model.net, seed=number)
            generator = torch.Generator().manual_seed(100 * number + version)
            with torch.no_grad():
                for _, layer in lora_layers.layers(model.net):
                    layer.B["default"].normal_(std=0.02, generator=generator)
            method.save(model.net, folder / f"{run}-{version}")
        storage.write_json(folder / run / "run.json", {"name": run, "state": "done"})
        release(folder, run, version=0)


def release(folder: Path, run: str, *, version: int) -> str:
    """Deploy the next release of a run, with the weights of a version; its name."""
    import shutil

    from tunewright.core import storage
    from tunewright.core.recipe import ModelOptions
    from tunewright.models.bases import base_folder, weights_digest
    from tunewright.models.opening import open_chat

    number = 1 + len(list((folder / run / "releases").glob("[0-9]*")))
    about = {
        "run": run,
        "release": number,
        "created": "2026-01-02T03:04:05+00:00",
        "base": "nano",
        "base_digest": weights_digest(base_folder("nano")),
        "chat_digest": open_chat(ModelOptions(base="nano")).digest,
        "dtype": "float32",
        "root": None,
        "verdict": "GO",
        "decode": {"kind": "generate", "max_new_tokens": 64, "stop_ids": [NEVER]},
    }
    with storage.new_folder(folder / run / "releases" / f"{number:03d}", about=about) as target:
        shutil.copytree(folder / f"{run}-{version}", target / "adapter")
    return f"{run}:{number:03d}"


@dataclass
class Server:
    """A running `tunewright serve`."""

    process: subprocess.Popen[bytes]
    address: str

    def client(self) -> AsyncOpenAI:
        """The official client."""
        return AsyncOpenAI(base_url=self.address, api_key="none", max_retries=0, timeout=120)

    def memory(self) -> int:
        """Bytes that the process holds."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


@contextmanager
def served(folder: Path, *, threads: int, options: Sequence[str] = ()) -> Iterator[Server]:
    """A server of the runs in a folder, as a process of its own."""
    command = [sys.executable, "-m", "tunewright.cli", "serve", *RUNS, "--runs", str(folder), "--port", "0", "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=log, env=environment)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"The server did not start:\n{(folder / 'server.log').read_text()[-3000:]}")
        yield Server(process, json.loads(line)["numbers"]["address"])
    finally:
        process.terminate()
        process.wait(timeout=60)


async def chat(client: AsyncOpenAI, model: str, messages: Any, *, tokens: int) -> Reply:
    """Ask and read the stream to its end."""
    began = last = time.perf_counter()
    first = gap = 0.0
    text, named, usage = "", "", None
    stream = await client.chat.completions.create(
        model=model, messages=messages, max_tokens=tokens, stream=True, stream_options={"include_usage": True}
    )
    async for chunk in stream:
        named, usage = chunk.model, chunk.usage or usage
        if chunk.choices and chunk.choices[0].delta.content:
            now = time.perf_counter()
            first, gap = (first, max(gap, now - last)) if text else (now - began, gap)
            text, last = text + chunk.choices[0].delta.content, now
    assert usage is not None and usage.prompt_tokens_details is not None
    cached = usage.prompt_tokens_details.cached_tokens or 0
    return Reply(named, text, usage.completion_tokens, cached, first, gap, time.perf_counter() - began)


async def together(asks: Sequence[Callable[[], Awaitable[Reply]]], *, at_once: int) -> list[Reply]:
    """Ask all, so many at a time; the answers in order."""
    waiting = iter(enumerate(asks))
    found: dict[int, Reply] = {}

    async def one_after_another() -> None:
        for number, ask in waiting:
            found[number] = await ask()

    await asyncio.gather(*(one_after_another() for _ in range(at_once)))
    return [found[number] for number in range(len(asks))]


def question(draw: random.Random, words: int = 12) -> str:
    """A message like a client's, about one token a word."""
    return " ".join(draw.choices(WORDS.split(), k=words)) + " " + "".join(draw.choices(string.digits, k=4)) + "?"


def said(text: str, system: str = "") -> list[dict[str, str]]:
    """A conversation of one message."""
    begun = [{"role": "system", "content": system}] if system else []
    return [*begun, {"role": "user", "content": text}]
