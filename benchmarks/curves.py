"""Learning curves put to the test: python benchmarks/curves.py [--data DIR]

Simulated: how often the 80 % interval of the gain holds the truth, and the back-test what comes. With --data: what the
proxy's curve on bank intents foretells from parts of the rows, against what came from all.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from tunewright.core import power_law
from tunewright.core.power_law import PowerLaw

SIZES = np.repeat([500, 1000, 2000, 4000, 8000], [2, 2, 2, 2, 1]).astype(float)
LAWS = [(0.05, 8, 0.45), (0.0, 8, 0.45), (0.1, 20, 0.6), (0.02, 3, 0.3), (0.2, 100, 0.9), (0.15, 60, 0.9), (0, 2, 0.25)]
TRIALS = 60


def simulated() -> None:
    """A line for each law and number of validation rows, and the mean over all."""
    print("law                     rows   true gain   held   back-test held   mean width")
    draw, all_held = np.random.default_rng(0), []
    for values in LAWS:
        for rows in (500, 2000):
            law, held, tested, widths = PowerLaw(*values), [], [], []
            true = law.error(8000) - law.error(16000)
            for _ in range(TRIALS):
                errors = draw.binomial(rows, [law.error(size) for size in SIZES]) / rows
                noise = np.diag(np.maximum(errors * (1 - errors), 1 / rows) / rows)
                gain = power_law.fit(SIZES, errors, noise).gain(8000, 16000)
                held.append(gain.low <= true <= gain.high)
                widths.append(gain.high - gain.low)
                tested.append(power_law.back_test(SIZES, errors, noise).off <= 1)
            all_held += held
            named = "{:g} + {:g} n^-{:g}".format(*values)
            figures = f"{rows:>6}   {true:9.4f}   {np.mean(held):4.2f}   {np.mean(tested):14.2f}"
            print(f"{named:<20} {figures}   {np.mean(widths):10.4f}")
    print(f"held in all: {np.mean(all_held):.3f}")


def of_bank_intents(data: Path) -> None:
    """The proxy's curve, and each size as the smaller ones foretell it."""
    import tempfile

    import tunewright

    folder = data / "intent-banking77"
    with tempfile.TemporaryDirectory() as home:
        recipe = {
            "name": "bank",
            "data": {"sources": [str(folder / "train.jsonl")], "validation": str(folder / "validation.jsonl"),
                     "test": str(folder / "test.jsonl")},
            "choose": {"learning_curve": {"model": "proxy", "points": 6}},
        }  # fmt: skip
        path = Path(home) / "bank.json"
        path.write_text(json.dumps(recipe), encoding="utf-8")
        curve = tunewright.choose(path, runs=Path(home) / "runs").numbers["learning_curve"]
    for point in curve["points"]:
        print(f"{point['rows']:>6} rows: {point['value']:.3f} ({point['low']:.3f} to {point['high']:.3f})")
    told = curve["back_test"]["foretold"]
    print(f"foretold for all: {told['value']:.3f} ({told['low']:.3f} to {told['high']:.3f})", curve["sentence"])
    print(f"seconds: {curve['seconds']}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="the folder that holds intent-banking77")
    given = parser.parse_args()
    simulated()
    if given.data:
        of_bank_intents(given.data)
