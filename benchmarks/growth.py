"""How the product's own time and memory grow with rows, length, shared prefix, adapters and the size of a file.

    python benchmarks/growth.py            about five minutes on two cores; then `bench.py --cases help --docs`
    python benchmarks/growth.py --shape tiny --rounds 1

Within a sweep the points are measured in turns in one process; the last sweep starts a process for each file, because
it asks for memory.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bench import RESULTS, machine
from workload import RANK, SHAPES, adapter_folder, make_adapters, make_base, prompts

HERE = Path(__file__).parent
ROWS = (4, 8, 16, 32, 64)  # of 128 tokens
LENGTHS = (64, 128, 256, 512, 1024)  # 2,048 tokens in all
PREFIXES = (0, 64, 128, 256, 512, 1024)  # before 16 rows with 48 tokens of their own
ADAPTERS = (1, 2, 4, 8, 16)  # for 32 requests
MEGABYTES = (4, 64, 256)
ENDING, NEW = 48, 16
Points = dict[int, Callable[[], object]]


def in_turns(points: Points, *, rounds: int) -> list[dict[str, float]]:
    """Median seconds of each point over interleaved rounds; a first round warms up."""
    seconds: dict[int, list[float]] = {at: [] for at in points}
    for number in range(rounds + 1):
        for at, work in points.items():
            started = time.perf_counter()
            work()
            if number:
                seconds[at].append(time.perf_counter() - started)
    return [{"at": at, "seconds": statistics.median(all_)} for at, all_ in seconds.items()]


def training_points(base: Path, vocabulary: int) -> dict[str, Points]:
    """The gradient of a LoRA step over rows of several counts, lengths and shared beginnings."""
    from tunewright.core import catalog
    from tunewright.core.recipe import ModelOptions
    from tunewright.models.forest import Row
    from tunewright.models.opening import open_model
    from tunewright.stages.defaults import MICRO_TOKENS
    from tunewright.training.step import gradients

    model = open_model(ModelOptions(base=str(base)))
    method, objective = catalog.build("methods", {"kind": "lora", "rank": RANK}), catalog.build("objectives", "sft")
    method.attach(model.net)
    draw = np.random.default_rng(17)

    def step(num: int, length: int, shared: int = 0) -> Callable[[], object]:
        beginning = draw.integers(3, vocabulary, shared).tolist()
        units = []
        for number in range(num):
            items = [*beginning, *draw.integers(3, vocabulary, length).tolist()]
            learned = length // 2
            units.append([Row(items, [0.0] * (len(items) - learned) + [1.0] * learned, str(number))])
        return lambda: gradients(model, objective, units, micro_tokens=MICRO_TOKENS["cpu"], share=True)

    return {
        "rows": {num: step(num, 128) for num in ROWS},
        "length": {length: step(2048 // length, length) for length in LENGTHS},
        "prefix": {shared: step(16, ENDING, shared) for shared in PREFIXES},
    }


def adapter_points(base: Path, vocabulary: int) -> Points:
    """32 requests decoded together, spread over several adapters."""
    from tunewright.core.recipe import ModelOptions
    from tunewright.models.engine import Engine
    from tunewright.models.opening import open_model

    engine = Engine(open_model(ModelOptions(base=str(base))))
    for number in range(max(ADAPTERS)):
        engine.model.load_adapter(f"a{number}", adapter_folder(base, number))
    asked = prompts(32, vocabulary)

    def answered(num: int) -> Callable[[], object]:
        names = [f"a{number % num}" for number in range(len(asked))]
        return lambda: engine.generate(asked, max_new_tokens=NEW, stop_ids=[], adapters=names)

    return {num: answered(num) for num in ADAPTERS}


def file_points(folder: Path, sizes: tuple[float, ...]) -> list[dict[str, float]]:
    """Speed and memory of a file on its way to stored rows, from a process for each size."""
    points = []
    for megabytes in sizes:
        out = folder / "facts.json"
        command = [
            sys.executable, str(HERE / "contenders.py"), "tunewright", "--case", "large", "--megabytes",
            str(megabytes), "--units", "2", "--folder", str(folder), "--out", str(out),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        turn = json.loads(out.read_text(encoding="utf-8"))["turns"][0]
        points.append(
            {
                "at": megabytes,
                "mib": turn["memory_bytes"] / 2**20,
                "prepared": turn["megabytes"] / turn["prepare_seconds"],
                "speed": turn["tokens"] / turn["encode_seconds"],
            }
        )
    return points


def sweep(title: str, what: str, points: list[dict[str, float]], units: dict[str, str] | None = None) -> dict[str, Any]:
    """One sweep, printed; the first of its units is drawn."""
    units = units or {"seconds": "s"}
    print(title)
    for point in points:
        print(f"  {point['at']:>6g} {what:30}" + "".join(f" {point[key]:12.4g} {unit}" for key, unit in units.items()))
    return {"title": title, "what": what, "units": units, "points": points}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--shape", choices=[*SHAPES], default="42m")
    parser.add_argument("--megabytes", type=float, nargs="+", default=MEGABYTES)
    parser.add_argument("--out", type=Path, default=RESULTS / "growth.json")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    about = machine(options.threads)
    vocabulary = SHAPES[options.shape].vocabulary
    with tempfile.TemporaryDirectory(prefix="tunewright-growth-") as folder:
        base = Path(folder) / options.shape
        make_base(base, SHAPES[options.shape])
        make_adapters(base, max(ADAPTERS))
        training = training_points(base, vocabulary)
        found = {name: in_turns(points, rounds=options.rounds) for name, points in training.items()}
        found["adapters"] = in_turns(adapter_points(base, vocabulary), rounds=options.rounds)
        found["file"] = file_points(Path(folder), tuple(options.megabytes))
    sweeps = [
        sweep("Gradient of a step, by rows", "rows of 128 tokens", found["rows"]),
        sweep("Gradient of 2,048 tokens, by length", "tokens in a row", found["length"]),
        sweep("Gradient of 16 rows, by shared prefix", "shared tokens before 48 own", found["prefix"]),
        sweep("32 answers of 16 tokens, by adapters", "adapters in the batch", found["adapters"]),
        sweep(
            "Preparing and storing a file, by size",
            "MB of JSONL",
            found["file"],
            {"mib": "MiB more than for 1 MB", "prepared": "MB/s prepared", "speed": "tokens/s stored"},
        ),
    ]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    written = {"machine": about, "shape": options.shape, "rounds": options.rounds, "sweeps": sweeps}
    options.out.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
