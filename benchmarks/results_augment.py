"""Whether made rows help: bank intents with few rows a class; figures into benchmarks/results/augment.json.

    python benchmarks/results_augment.py                    10 rows a class, 5 draws, a few minutes on one thread
    python benchmarks/results_augment.py --shots 5 --draws 2

Logistic regression (C = 1) over the vectors of an untouched all-MiniLM-L6-v2, on the 3,080 official test rows as they
are, and on the same rows with typos of another seed. Each way of making rows adds as many as there are. `twice` copies
every row: what more weight alone does. `more real rows` draws as many again: what as many real rows are worth.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

from results import OUT
from results_embed import FOLDER, Frozen, drawn
from results_heads import packaged

WAYS: dict[str, list[str | dict[str, Any]]] = {
    "typos": ["typos"],
    "typos, casing, punctuation": ["typos", "casing", "punctuation"],
    "dropout, order, synonyms": ["dropout", "order", "synonyms"],
}


def main() -> None:
    """Run the draws asked for and print their means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--shots", type=int, default=10)
    parser.add_argument("--draws", type=int, default=5)
    asked = parser.parse_args()
    started, encoder = time.monotonic(), Frozen(str((asked.encoder or packaged()).resolve()))
    noisy = encoder.of([{"text": typed(row["text"], number)} for number, row in enumerate(encoder.test)])
    found: dict[str, list[list[float]]] = {}
    for draw in range(asked.draws):
        for way, rows in ways(asked.shots, draw).items():
            found.setdefault(way, []).append(accuracies(encoder, rows, noisy))
    table = {way: summary(values) for way, values in found.items()}
    told = {"shots": asked.shots, "draws": asked.draws, "seconds": round(time.monotonic() - started), "ways": table}
    (OUT / "augment.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    print("| training rows | accuracy, mean | against plain, draw by draw | accuracy with typos in the test rows |")
    print("|---|---|---|---|")
    plain = found["as they are"]
    for way, values in found.items():
        gains = [one[0] - other[0] for one, other in zip(values, plain, strict=True)]
        means = [statistics.mean(column) for column in zip(*values, strict=True)]
        print(f"| {way} | {means[0]:.3f} | {min(gains):+.3f} to {max(gains):+.3f} | {means[1]:.3f} |")
    print(f"\n{told['seconds']} s")


def ways(shots: int, draw: int) -> dict[str, list[dict[str, str]]]:
    """The training rows of each way."""
    rows = drawn(shots, draw)
    found = {"as they are": rows, "twice": rows * 2}
    for way, edits in WAYS.items():
        found[way] = [*rows, *made(rows, edits, draw)]
    return found | {"more real rows": drawn(2 * shots, draw)}


def made(rows: list[dict[str, str]], edits: list[str | dict[str, Any]], seed: int) -> list[dict[str, str]]:
    """One row of each, by the edits in turn."""
    from tunewright.core.augment import Augment
    from tunewright.data.admit import Gate
    from tunewright.stages.augmenting import Grower

    training = examples(rows)
    grower = Grower(Augment(edits=edits, per_row=1, seed=seed), Gate({"train": training}, threshold=0.8), None)
    return [{"text": one.messages[0].content, "label": str(one.label)} for one in grower.grow(training).made]


def examples(rows: list[dict[str, str]]) -> list[Any]:
    """The rows as prepare makes them."""
    from tunewright.data.formats import to_example

    return [to_example("labels", row, {}, f"rows:{number}") for number, row in enumerate(rows, 1)]


def typed(text: str, number: int) -> str:
    """A text as somebody in a hurry types it."""
    from tunewright.core import catalog
    from tunewright.data import augment

    example = examples([{"text": text, "label": "none"}])[0].model_copy(update={"id": f"test:{number}"})
    edit = catalog.build("edits", {"kind": "typos", "rate": 0.06})
    row = augment.made(example, edit, seed=99, copy=0)
    return row.messages[0].content if row is not None else text


def accuracies(encoder: Frozen, rows: list[dict[str, str]], noisy: Any) -> list[float]:
    """Accuracy on the test rows, and on the noisy ones."""
    import torch

    from tunewright.models.logistic import logistic

    labels = sorted({row["label"] for row in rows})
    wanted = [row["label"] for row in encoder.test]
    numbers = torch.tensor([labels.index(row["label"]) for row in rows])
    weight, bias = logistic(encoder.of(rows), numbers, classes=len(labels))
    found = []
    for vectors in (encoder.vectors, noisy):
        chosen = (vectors.double() @ weight.T + bias).argmax(-1).tolist()
        found.append(statistics.mean(labels[one] == label for one, label in zip(chosen, wanted, strict=True)))
    return found


def summary(values: list[list[float]]) -> dict[str, list[float]]:
    """Accuracy of each draw, plain and noisy."""
    return {"accuracy": [round(one, 4) for one, _ in values], "with_typos": [round(one, 4) for _, one in values]}


if __name__ == "__main__":
    print(f"{FOLDER.name}, all-MiniLM-L6-v2")
    main()
