"""Three label sets learned one after the other by the bundled base, with and without ways of keeping the earlier ones.

    python benchmarks/results_continual.py                 every way, three orders
    python benchmarks/results_continual.py --only replay   one way
    python benchmarks/results_continual.py --rows 200 --orders 1   a quick look

The data is found by TUNEWRIGHT_DATA (default: ../shared/data beside the repository): bank intents, sentence polarity
and intents of an assistant, ten labels at most of each. Every way and order is an ordinary `tunewright run` of one
recipe with three phases; finished ones are kept, so the script can be resumed. Writes
benchmarks/results/continual.json and prints a table: the mean accuracy over the three test sets at the end, backward
and forward transfer (Lopez-Paz & Ranzato 2017).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from itertools import permutations
from pathlib import Path
from typing import Any

import yaml
from results import DATA, OUT, ROOT, _processor
from results_tables import continual

WORK = ROOT / "runs" / "continual"
SETS = {"bank": "intent-banking77", "polarity": "sentiment-sentence-polarity", "assistant": "intent-clinc150"}
LABELS = 10  # of each set: its most frequent, ties by name
WAYS: dict[str, Any] = {
    "none": [],
    "replay": [{"kind": "replay", "share": 0.3}],
    "ewc": ["ewc"],
    "anchor": ["anchor"],
    "orthogonal": ["orthogonal"],
}
KEYS = ("average", "backward", "forward")


def main() -> None:
    """Carry every way through every order asked for, then tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=WAYS, action="append")
    parser.add_argument("--rows", type=int, default=600, help="training rows of each set; a third as many to test")
    parser.add_argument("--orders", type=int, default=3, help="how many orders of the sets, of six")
    asked = parser.parse_args()
    if not DATA.exists():
        sys.exit(f"Skipped: there is no data in {DATA}. Set TUNEWRIGHT_DATA; docs/results.md names each source.")
    folders = {name: _subset(name, asked.rows) for name in SETS}
    orders = list(permutations(SETS))[:: max(1, 6 // asked.orders)][: asked.orders]
    path = OUT / "continual.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for way in asked.only or WAYS:
        for order in orders:
            name = f"{way}-{'-'.join(order)}-{asked.rows}"
            kept[name] = _carry(_written(name, way, order, folders))
            path.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
            print(name, {key: kept[name][key] for key in KEYS}, flush=True)
    print(continual({name: one for name, one in kept.items() if name.endswith(f"-{asked.rows}")}))


def _subset(name: str, count: int) -> Path:
    """The first rows of the set that have one of its commonest labels, evenly by label."""
    folder = WORK / "data" / f"{name}-{count}"
    folder.mkdir(parents=True, exist_ok=True)
    rows = _rows(DATA / SETS[name] / "train.jsonl")
    labels = sorted(sorted(Counter(row["label"] for row in rows).items()), key=lambda pair: -pair[1])[:LABELS]
    for side, most in (("train", count), ("validation", count // 6), ("test", count // 3)):
        each = {label: most // len(labels) for label, _ in labels}
        chosen = []
        for row in _rows(DATA / SETS[name] / f"{side}.jsonl"):
            if each.get(row["label"], 0) > 0:
                each[row["label"]] -= 1
                chosen.append(row)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in chosen)
        (folder / f"{side}.jsonl").write_text(text, encoding="utf-8")
    return folder


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _written(name: str, way: str, order: tuple[str, ...], folders: dict[str, Path]) -> Path:
    phases = []
    for task in order:
        files = {side: str(folders[task] / f"{side}.jsonl") for side in ("train", "validation", "test")}
        data = {"sources": [files["train"]], "validation": files["validation"], "test": files["test"]}
        phases.append({"name": task, "data": {**data, "format": "labels"}})
    recipe = {
        "name": name,
        "model": "nano",
        "method": {"kind": "lora", "rank": 16},
        "retention": WAYS[way],
        "train": {"epochs": 4, "batch": 16, "lr": 0.004},
        "evaluate": {"graders": ["exact"], "against": []},
        "deploy": {"formats": ["adapter"]},
        "phases": phases,
    }
    path = WORK / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    return path


def _carry(path: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tunewright.cli", "run", str(path), "--runs", str(WORK), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    if done.returncode not in (0, 3, 4):
        sys.exit(f"{path.stem} failed with exit code {done.returncode}.")
    numbers = json.loads(done.stdout)["numbers"]
    found: dict[str, Any] = numbers["evaluate"]["continual"]
    return {**found, "training_seconds": numbers["train"]["training_seconds"], "machine": _processor()}


if __name__ == "__main__":
    main()
