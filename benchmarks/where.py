"""Where the time of a training step goes: the operations of one step by kind, from torch's profiler.

python benchmarks/where.py                                     LoRA, 42M, instruction rows
python benchmarks/where.py --case shared --method full
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import defaultdict
from pathlib import Path

import training
from bench import RESULTS, machine
from turns import Turns
from workload import SHAPES, make_base

KINDS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::mv", "aten::dot"),
    "attention": ("aten::_scaled_dot_product",),
    "optimizer and clipping": ("aten::_fused_adamw", "aten::_foreach"),
    "softmax of the head": ("aten::_log_softmax", "aten::_softmax", "aten::logsumexp", "aten::exp"),
    "copies and gathers": ("aten::copy_", "aten::cat", "aten::index", "aten::gather", "aten::fill_", "aten::zero_"),
}
REST = "element-wise and all else"


def main() -> None:
    """Profile, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=["instructions", "shared"], default="instructions")
    parser.add_argument("--shape", choices=[*SHAPES], default="42m")
    parser.add_argument("--method", choices=["lora", "full"], default="lora")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=RESULTS / "where.json")
    options = parser.parse_args()
    import torch
    from torch.profiler import ProfilerActivity, profile

    torch.set_num_threads(options.threads)
    about = machine(options.threads)
    options.units, options.micro_tokens = 3, None
    with tempfile.TemporaryDirectory(prefix="tunewright-where-") as folder:
        options.base = str(Path(folder) / options.shape)
        make_base(Path(options.base), SHAPES[options.shape])
        profiler = profile(activities=[ProfilerActivity.CPU])
        turns = Profiled(profiler)
        training.tunewright(options, turns)
    profiler.stop()
    spent: dict[str, float] = defaultdict(float)
    for event in profiler.key_averages():
        spent[kind(event.key)] += event.self_cpu_time_total / 1e6
    total = sum(spent.values())
    rows = [{"what": what, "share": seconds / total} for what, seconds in sorted(spent.items(), key=lambda s: -s[1])]
    for row in rows:
        print(f"{row['what']:32} {row['share']:6.1%}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    settings = {key: getattr(options, key) for key in ("case", "shape", "method")}
    written = json.dumps({"machine": about, **settings, "rows": rows}, indent=2)
    options.out.write_text(written + "\n", encoding="utf-8")


class Profiled(Turns):
    """Begins to watch when the first step has warmed up."""

    def __init__(self, profiler: object) -> None:
        super().__init__(born=0.0, size=1)
        self.profiler = profiler

    def end(self, amounts: dict[str, float]) -> None:
        """After a unit."""
        super().end(amounts)
        if self.done == 1:
            self.profiler.start()  # type: ignore[attr-defined]


def kind(name: str) -> str:
    """The kind of an operation. What Python itself does between operations is not among them."""
    return next((what for what, starts in KINDS.items() if name.startswith(starts)), REST)


if __name__ == "__main__":
    main()
