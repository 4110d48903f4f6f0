"""Training steps with float32 products by torch's own choice and by oneDNN, in turns: tokens a second and losses.

    python benchmarks/libraries.py                       nano, 12m and 42m, LoRA and full tuning
    python benchmarks/libraries.py --shapes nano --rounds 20

Both are one model each in one process, with the same rows. The machine must be otherwise idle.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import training
from workload import BATCH, RANK, SHAPES, instruction_rows, make_base

MICRO_TOKENS = 2048


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=[*SHAPES], default=["nano", "12m", "42m"])
    parser.add_argument("--methods", nargs="+", choices=["lora", "full"], default=["lora", "full"])
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    from tunewright.models.products import one_dnn_knows_more

    print(f"Here oneDNN {'is' if one_dnn_knows_more() else 'is not'} taken.")
    with tempfile.TemporaryDirectory(prefix="tunewright-libraries-") as folder:
        for shape in options.shapes:
            make_base(Path(folder) / shape, SHAPES[shape])
            for method in options.methods:
                print(compared(Path(folder) / shape, shape, method, options.rounds), flush=True)


def stepper(base: Path, method: str) -> Any:
    """The product's own optimizer step."""
    from tunewright.core import catalog
    from tunewright.core.recipe import ModelOptions, TrainOptions
    from tunewright.models.opening import open_model
    from tunewright.training.step import Stepper

    model = open_model(ModelOptions(base=str(base)))
    tuned = catalog.build("methods", method if method == "full" else {"kind": method, "rank": RANK})
    tuned.attach(model.net)
    train = TrainOptions(lr=training.LR, micro_tokens=MICRO_TOKENS)
    return Stepper(model, tuned, catalog.build("objectives", "sft"), train)


def compared(base: Path, shape: str, method: str, rounds: int) -> str:
    """One line: the first step of each warms up."""
    from tunewright.models import products
    from tunewright.models.forest import Row

    steppers = [stepper(base, method) for _ in range(2)]
    rows = instruction_rows(BATCH * (rounds + 1), SHAPES[shape].vocabulary)
    units = [[Row(r.items, [0.0] * r.prompt + [1.0] * r.learned, str(n))] for n, r in enumerate(rows)]
    speeds: list[list[float]] = [[], []]
    gap = 0.0
    for step in range(rounds + 1):
        losses = []
        for one_dnn in (False, True):
            products.one_dnn_knows_more = lambda one_dnn=one_dnn: one_dnn  # type: ignore[assignment]
            began = time.perf_counter()
            made = steppers[one_dnn].take(units[step * BATCH : (step + 1) * BATCH], factor=1.0, seed=step)
            speeds[one_dnn].append(made.tokens / (time.perf_counter() - began))
            losses.append(made.loss)
        gap = max(gap, abs(losses[0] - losses[1]))
    own, other = (one[1:] for one in speeds)
    ratio = statistics.median(b / a for a, b in zip(own, other, strict=True))
    middle = f"{statistics.median(own):,.0f} and {statistics.median(other):,.0f} tokens/s"
    return f"{shape:5} {method:5} {middle}: {ratio:.2f} times as fast; losses differ by at most {gap:.1e}"


if __name__ == "__main__":
    main()
