"""Serves a workspace with many tuned models on one base, a few of them asked in turns, and watches speed and memory.

    python benchmarks/serving_adapters.py                                  1,000 models, 50 asked, 64 kept in memory
    python benchmarks/serving_adapters.py --kept 16                        fewer than are asked: they come and go
    python benchmarks/serving_adapters.py --models 100 --asked 20 --seconds 10

Adapters are random LoRA of rank 8 on the bundled base. First every model is asked once, then the few in turns by
several clients at once. Prints JSON: errors, answers and tokens a second, latency, what listing costs, and memory over
time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import psutil
import torch
from safetensors.torch import load_file, save_file

from tunewright.core import catalog, storage
from tunewright.core.recipe import ModelOptions
from tunewright.models.bases import base_folder, weights_digest
from tunewright.models.opening import open_model
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import Job, Model

MIB = 2**20
JOB: dict[str, Any] = {"model": "nano", "base": "nano", "status": "succeeded", "training_file": "f", "seed": 0}
JOB |= {"method": {"type": "supervised"}}
SERVE = """
from tunewright.server.app import serve
serve(workspace={place!r}, port=0, listening_at=lambda address: print(address, flush=True))
"""


def make(place: Workspace, models: int) -> list[str]:
    """So many tuned models, each with weights of its own; their names."""
    base = open_model(ModelOptions(base="nano"))
    method = catalog.build("methods", {"kind": "lora", "rank": 8})
    method.attach(base.net, seed=0)
    method.save(base.net, place.folder / "first")
    first = load_file(place.folder / "first" / "adapter_model.safetensors")
    about: dict[str, Any] = {
        "release": 1,
        "created": "2026-01-02T03:04:05+00:00",
        "base": "nano",
        "base_digest": weights_digest(base_folder("nano")),
        "chat_digest": base.chat.digest,
        "dtype": "float32",
        "root": None,
        "decode": {"kind": "generate", "max_new_tokens": 16, "stop_ids": base.chat.stop_ids},
    }
    names = []
    with place.database.writing() as session:
        for number in range(models):
            torch.manual_seed(number)
            tensors = {k: torch.randn_like(v) * 0.02 if "lora_B" in k else v for k, v in first.items()}
            folder = place.runs / f"job-{number}" / "releases" / "001"
            storage.write_json(folder.parent.parent / "run.json", {"name": f"job-{number}"})
            with storage.new_folder(folder, about=about | {"run": f"job-{number}"}) as target:
                (target / "adapter").mkdir()
                config = place.folder / "first" / "adapter_config.json"
                (target / "adapter" / "adapter_config.json").write_bytes(config.read_bytes())
                save_file(tensors, target / "adapter" / "adapter_model.safetensors")
            names.append(f"ft:nano:local::{number}")
            session.add(Model(name=names[-1], folder=f"job-{number}/releases/001", base="nano"))
            session.add(Job(id=f"ftjob-{number}", run=f"job-{number}", **JOB))
    return names


class Load:
    """Requests, and what became of them."""

    def __init__(self, url: str, process: psutil.Process) -> None:
        self.client = httpx.Client(base_url=url, timeout=120, limits=httpx.Limits(max_connections=64))
        self.process = process
        self.seconds: list[float] = []
        self.outcomes: Counter[str] = Counter()
        self.tokens = 0
        self.memory: list[float] = []
        self._guard = threading.Lock()

    def ask(self, name: str) -> None:
        """One short chat."""
        body = {"model": name, "messages": [{"role": "user", "content": "Where is my card?"}], "max_tokens": 16}
        begun = time.monotonic()
        try:
            answer = self.client.post("chat/completions", json=body)
            right = answer.status_code == 200 and answer.json()["model"] == name
            outcome = "answered" if right else f"{answer.status_code} {answer.text[:200]}"
        except httpx.HTTPError as error:
            outcome = repr(error)
        with self._guard:
            self.seconds.append(time.monotonic() - begun)
            self.outcomes[outcome] += 1
            if outcome == "answered":
                self.tokens += answer.json()["usage"]["completion_tokens"]

    def note_memory(self) -> None:
        """How much the server holds now."""
        self.memory.append(round(self.process.memory_info().rss / MIB, 1))

    def told(self, took: float) -> dict[str, Any]:
        """Figures."""
        latency = np.quantile(self.seconds, [0.5, 0.95, 0.99]).round(3).tolist()
        return {
            "outcomes": dict(self.outcomes),
            "answers_a_second": round(self.outcomes["answered"] / took, 1),
            "tokens_a_second": round(self.tokens / took, 1),
            "latency_seconds": dict(zip(("p50", "p95", "p99"), latency, strict=True)),
            "memory_mib": self.memory,
        }


def once_each(load: Load, names: list[str], clients: int) -> dict[str, Any]:
    """Ask every model once."""
    begun = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        for start in range(0, len(names), max(1, len(names) // 8)):
            list(pool.map(load.ask, names[start : start + max(1, len(names) // 8)]))
            load.note_memory()
    return load.told(time.monotonic() - begun)


def in_turns(load: Load, names: list[str], clients: int, seconds: float) -> dict[str, Any]:
    """Ask these, one after the other, by several clients, for so long."""
    turns, guard, begun = itertools.cycle(names), threading.Lock(), time.monotonic()

    def go_on() -> None:
        while time.monotonic() - begun < seconds:
            with guard:
                name = next(turns)
            load.ask(name)

    with ThreadPoolExecutor(clients) as pool:
        going = [pool.submit(go_on) for _ in range(clients)]
        for part in range(1, 9):
            time.sleep(max(0.0, begun + part * seconds / 8 - time.monotonic()))
            load.note_memory()
        for one in going:
            one.result()
    return load.told(time.monotonic() - begun)


def main() -> None:
    """Make, serve, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--asked", type=int, default=50)
    parser.add_argument("--kept", type=int, default=64, help="serving.adapters_in_memory")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Workspace.open(folder)
        settings = f"serving: {{adapters_in_memory: {chosen.kept}}}\n"
        storage.write_text(place.state / "workspace.yaml", settings)
        names = make(place, chosen.models)
        command = [sys.executable, "-c", SERVE.format(place=folder)]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            try:
                listing = []
                for _ in range(5):
                    begun = time.monotonic()
                    listed = httpx.get(f"{url}/models", timeout=120).json()["data"]
                    listing.append(round(time.monotonic() - begun, 3))
                watched = psutil.Process(process.pid)
                figures: dict[str, Any] = {"settings": vars(chosen), "listed": len(listed), "listing_seconds": listing}
                figures["once each"] = once_each(Load(url, watched), names, chosen.clients)
                some = names[: chosen.asked]
                figures["in turns"] = in_turns(Load(url, watched), some, chosen.clients, chosen.seconds)
            finally:
                process.send_signal(signal.SIGTERM)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
