"""Compares training speed with other tools on the same random model and rows, and writes the figures as JSON.

    python benchmarks/train.py                     all cases, 3 rounds (the machine must be otherwise idle)
    python benchmarks/train.py --quick             the first case, 1 round
    python benchmarks/train.py --cases shared labels --rounds 5 --steps 8

Each contender runs in a process of its own; rounds are interleaved, so that a slow minute hits all alike.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from page import fill
from workload import BATCH, SHAPES, ceiling, make_base

HERE = Path(__file__).parent
OURS = "tunewright"


@dataclass(frozen=True)
class Case:
    """A piece of work and who does it."""

    title: str
    work: str
    shape: str
    contenders: tuple[str, ...]
    method: str = "lora"
    figure: str = "tokens_per_second"


CASES = {
    "instructions": Case(
        "LoRA r=16 on all linear layers, 42M, instruction rows",
        "instructions",
        "42m",
        (OURS, "flattening", "trl-packing", "trl"),
    ),
    "shared": Case("LoRA r=16, 42M, rows that share a 256-token system prompt", "shared", "42m", (OURS, "flattening")),
    "labels": Case(
        "77 labels scored under a message of 60 tokens, 42M",
        "labels",
        "42m",
        (OURS, "padded"),
        figure="messages_per_second",
    ),
    "small": Case("LoRA r=16, 12M, instruction rows", "instructions", "12m", (OURS, "flattening")),
    "full": Case("full tuning, 42M, instruction rows", "instructions", "42m", (OURS, "trl-packing"), method="full"),
}


def measure(case: Case, name: str, *, base: Path, steps: int, threads: int, folder: Path) -> dict[str, Any]:
    """One contender's figures, from a fresh process."""
    out = folder / "facts.json"
    out.unlink(missing_ok=True)
    command = [
        sys.executable, str(HERE / "contenders.py"), name, "--case", case.work, "--shape", case.shape,
        "--method", case.method, "--steps", str(steps), "--base", str(base), "--out", str(out), "--folder", str(folder),
        "--born", repr(time.time()),
    ]  # fmt: skip
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{name} failed in case '{case.work}':\n{done.stderr[-3000:]}")
    return dict(json.loads(out.read_text(encoding="utf-8")))


def run_case(case: Case, *, rounds: int, steps: int, threads: int, folder: Path) -> dict[str, Any]:
    """All contenders of a case, interleaved; medians, ratios and the ceiling of each round."""
    base = folder / case.shape
    if not base.exists():
        make_base(base, SHAPES[case.shape])
    measured: dict[str, list[dict[str, Any]]] = {name: [] for name in case.contenders}
    ceilings = []
    for number in range(rounds):
        ceilings.append(ceiling(SHAPES[case.shape]))
        for name in rotated(case.contenders, number):
            facts = measure(case, name, base=base, steps=steps, threads=threads, folder=folder)
            measured[name].append(facts)
            print(
                f"  round {number + 1}  {name:12} {facts[case.figure]:10.1f} {case.figure.replace('_', ' ')}",
                flush=True,
            )
    return summary(case, measured, ceilings)


def rotated(names: tuple[str, ...], number: int) -> tuple[str, ...]:
    """Another contender begins each round."""
    at = number % len(names)
    return names[at:] + names[:at]


def summary(case: Case, measured: dict[str, list[dict[str, Any]]], ceilings: list[float]) -> dict[str, Any]:
    """Medians over rounds; each ratio is the median of the rounds' own ratios."""
    found: dict[str, Any] = {"title": case.title, "ceiling_flops": statistics.median(ceilings), "contenders": {}}
    for name, rounds in measured.items():
        figures = {key: statistics.median(facts[key] for facts in rounds) for key in rounds[0] if key != "losses"}
        if "flops_per_second" in figures:
            figures["share_of_ceiling"] = statistics.median(
                facts["flops_per_second"] / top for facts, top in zip(rounds, ceilings, strict=True)
            )
        pairs = zip(measured[OURS], rounds, strict=True)
        figures["ours_is_times_faster"] = statistics.median(
            ours[case.figure] / facts[case.figure] for ours, facts in pairs
        )
        found["contenders"][name] = {**figures, "first_loss": rounds[0]["losses"][0], "rounds": rounds}
    return found


def show(case: Case, found: dict[str, Any]) -> None:
    """The table of one case."""
    unit = "tokens/s" if case.figure == "tokens_per_second" else "messages/s"
    print(f"\n{found['title']}   (ceiling {found['ceiling_flops'] / 1e9:.0f} GFLOP/s)")
    heads = ("", unit, "of ceiling", "peak memory", "first step", "we are", "first loss")
    print("  " + " ".join(f"{head:>{width}}" for head, width in zip(heads, (12, 11, 11, 12, 11, 8, 11), strict=True)))
    for name, figures in found["contenders"].items():
        share = f"{figures['share_of_ceiling']:.0%}" if "share_of_ceiling" in figures else "-"
        print(
            f"  {name:12} {figures[case.figure]:11.1f} {share:>11} {figures['peak_memory_bytes'] / 2**30:8.2f} GiB "
            f"{figures['first_step_seconds']:9.1f} s {figures['ours_is_times_faster']:7.2f}x "
            f"{figures['first_loss']:11.4f}"
        )
    check(found)


def check(found: dict[str, Any]) -> None:
    """Contenders that get the same first batch must report the same first loss; packing sees other rows first."""
    truth = found["contenders"][OURS]["first_loss"]
    for name, figures in found["contenders"].items():
        bound = 0.02 if name == "trl" else 1e-3  # TRL's own default is bfloat16
        if name != "trl-packing" and abs(figures["first_loss"] / truth - 1) > bound:
            raise SystemExit(f"{name} does other work: its first loss is {figures['first_loss']}, ours is {truth}.")


def machine(threads: int) -> dict[str, Any]:
    """What the figures were taken on."""
    cpu = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in cpu.read_text().splitlines() if line.startswith("model name")]
        if cpu.exists()
        else []
    )
    return {
        "date": datetime.now().isoformat(timespec="seconds"),
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": {
            name: version(name) for name in ("tunewright", "torch", "transformers", "peft", "trl", "accelerate")
        },
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=[*CASES], default=["instructions", "shared", "labels"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--steps", type=int, default=6, help=f"optimizer steps of {BATCH} rows, or messages; the first only warms up"
    )
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--quick", action="store_true", help="the first case, one round, three steps")
    parser.add_argument(
        "--shape", choices=[*SHAPES], help="another model for every case: 'tiny' tries the benchmark itself"
    )
    parser.add_argument("--out", type=Path, default=HERE / "results" / "train.json")
    parser.add_argument("--docs", action="store_true", help="put the figures into docs/performance.md too")
    options = parser.parse_args()
    if options.quick:
        options.cases, options.rounds, options.steps = options.cases[:1], 1, 3
    if options.steps < 2:
        raise SystemExit("--steps must be at least 2: the first step only warms up.")
    import torch

    torch.set_num_threads(options.threads)
    about = machine(options.threads)
    if about["load_before"] > 0.5:
        print(f"The machine is busy (load {about['load_before']}): these figures will not be fair.")
    results = {}
    with tempfile.TemporaryDirectory(prefix="tunewright-bench-") as folder:
        for name in options.cases:
            case = CASES[name]
            if options.shape:
                case = Case(
                    case.title.replace(case.shape.upper(), options.shape),
                    case.work,
                    options.shape,
                    case.contenders,
                    case.method,
                    case.figure,
                )
            steps = 4 * options.steps if case.work == "labels" else options.steps
            print(f"{case.title}", flush=True)
            results[name] = run_case(
                case, rounds=options.rounds, steps=steps, threads=options.threads, folder=Path(folder)
            )
            show(case, results[name])
            print()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    settings = {"rounds": options.rounds, "steps": options.steps, "shape": options.shape}
    written = {"machine": about, "settings": settings, "cases": results}
    options.out.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    print(f"Written to {options.out}")
    if options.docs:
        fill(HERE.parent / "docs" / "performance.md", written)


if __name__ == "__main__":
    main()
