"""Compares speed and memory with other tools on the same random models and work, and writes the figures as JSON.

    python benchmarks/bench.py                          all cases (about a quarter of an hour on two cores)
    python benchmarks/bench.py --quick                  four cases, one round
    python benchmarks/bench.py --cases shared labels --rounds 5 --docs
    python benchmarks/bench.py --cases large --rounds 1 --megabytes 200

Every contender has a process of its own; they work in turns, so that a slow minute hits all alike. The machine must be
otherwise idle.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from dataclasses import replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import page
from cases import CASES, DEFAULT, QUICK
from measuring import run_case
from workload import SHAPES

RESULTS = Path(__file__).parent / "results" / "speed"
BUSY = 0.5  # load at which figures are not fair


def machine(threads: int) -> dict[str, Any]:
    """What the figures were taken on."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    packages = ("tunewright", "torch", "transformers", "peft", "trl", "accelerate")
    return {
        "date": datetime.now().isoformat(timespec="seconds"),
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=[*CASES], default=DEFAULT)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--quick", action="store_true", help=f"one round of {', '.join(QUICK)}; nothing is written")
    parser.add_argument("--shape", choices=[*SHAPES], help="one model for all: 'tiny' tries the benchmark itself")
    parser.add_argument("--megabytes", type=float, help="size of the file that is read, instead of the case's own")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder of the figures, one file a case")
    parser.add_argument("--docs", action="store_true", help="put all figures of that folder into docs/performance.md")
    options = parser.parse_args()
    if options.quick:
        options.cases, options.rounds = QUICK, 1
    import torch

    torch.set_num_threads(options.threads)
    about = machine(options.threads)
    if about["load_before"] > BUSY:
        print(f"The machine is busy (load {about['load_before']}): these figures will not be fair.")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tunewright-bench-") as folder:
        for name in options.cases:
            case = CASES[name]
            if options.shape and case.shape:
                case = replace(case, shape=options.shape, title=f"{case.title} (tried with {options.shape})")
            if options.megabytes and not case.shape:
                title = f"{case.title} (tried with {options.megabytes:g} MB)"
                case = replace(case, megabytes=options.megabytes, title=title)
            print(case.title, flush=True)
            found = run_case(case, rounds=options.rounds, threads=options.threads, folder=Path(folder))
            print("\n".join(page.lines(found)), end="\n\n", flush=True)
            if not options.quick:
                options.out.mkdir(parents=True, exist_ok=True)
                written = json.dumps({"case": name, "machine": about, **found}, indent=2)
                (options.out / f"{name}.json").write_text(written + "\n", encoding="utf-8")
    print(f"Took {time.monotonic() - begun:.0f} s.")
    if options.docs:
        page.fill(options.out)


if __name__ == "__main__":
    main()
