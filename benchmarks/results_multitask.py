"""One model for five jobs beside a model for each: the bundled base, the same rows, the same passes over them.

    python benchmarks/results_multitask.py               300 training rows a set, about ten minutes on one free core
    python benchmarks/results_multitask.py --rows 1000   more of them

Five public sets are written as prompts and completions: bank intents, sentence polarity and an assistant's intents (ten
labels at most of each), names in posts (WNUT-17), and a sentence from a restaurant's facts (E2E). All answers are
written out token by token, also labels, so that one model can do all five. Every job is an ordinary `tunewright run`;
the mixed one has `data.mix`. Writes benchmarks/results/multitask.json and prints a table.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from results import DATA, OUT, ROOT, carry, portable
from results_continual import _rows, _subset
from results_tables import MULTITASK, multitask

WORK = ROOT / "runs" / "multitask"
ASKED = {
    "bank": "Bank intent: ",
    "polarity": "Mood: ",
    "assistant": "Intent: ",
    "names": "Names in this post: ",
    "facts": "Write a sentence: ",
}
EPOCHS, TEST = 4, 200


def main() -> None:
    """Carry out the mixed job and the five single ones, then tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300, help="training rows of each set")
    asked = parser.parse_args()
    if not DATA.exists():
        sys.exit(f"Skipped: there is no data in {DATA}. Set TUNEWRIGHT_DATA; docs/results.md names each source.")
    files = {name: _files(name, asked.rows) for name in MULTITASK}
    together = {
        side: _joined(side, [one[side] for one in files.values()], asked.rows) for side in ("validation", "test")
    }
    jobs = {"mixed": recipe("mixed", [one["train"] for one in files.values()], **together, rows=asked.rows)}
    for name, one in files.items():
        jobs[name] = recipe(name, [one["train"]], one["validation"], one["test"], asked.rows)
    path = OUT / "multitask.json"
    kept: dict[str, Any] = {}
    for name, job in jobs.items():
        kept[name] = carry(_written(job), WORK) | {"recipe": portable(job)}
        path.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    print(multitask(kept))


def recipe(name: str, sources: list[str], validation: str, test: str, rows: int) -> dict[str, Any]:
    """The job of one set, or of all."""
    data: dict[str, Any] = {"sources": sources, "validation": validation, "test": test, "format": "completion"}
    if len(sources) > 1:
        data["mix"] = {"by": "task"}
    return {
        "name": f"multitask-{name}-{rows}",
        "data": data,
        "model": "nano",
        "method": {"kind": "lora", "rank": 16},
        "train": {"epochs": EPOCHS, "batch": 16},
        "evaluate": {"graders": ["exact", "rouge"], "against": []},
    }


def _files(name: str, count: int) -> dict[str, str]:
    """The three files of a set as prompts and completions."""
    found = {}
    for side, rows in _chosen(name, count).items():
        made = [{"task": name, "prompt": ASKED[name] + prompt, "completion": said} for prompt, said in rows]
        found[side] = _kept(f"{name}-{side}-{count}", [json.dumps(row, ensure_ascii=False) for row in made])
    return found


def _chosen(name: str, count: int) -> dict[str, list[tuple[str, str]]]:
    most = {"train": count, "validation": max(30, count // 6), "test": TEST}
    if name in ("names", "facts"):
        folder = DATA / {"names": "ner-wnut17", "facts": "generation-e2e-nlg"}[name]
        pairs = {side: [_pair(name, row) for row in _rows(folder / f"{side}.jsonl")] for side in most}
        return {side: [_at(pairs[side], i, most[side]) for i in range(most[side])] for side in most}
    labelled = {side: _rows(_subset(name, max(count, 3 * TEST)) / f"{side}.jsonl") for side in most}
    pairs = {side: [(row["text"], row["label"]) for row in rows] for side, rows in labelled.items()}
    return {side: [_at(pairs[side], i, most[side]) for i in range(most[side])] for side in most}


def _at(pairs: list[tuple[str, str]], number: int, count: int) -> tuple[str, str]:
    """One of `count` rows spread evenly over the file."""
    return pairs[number * len(pairs) // count]


def _pair(name: str, row: dict[str, Any]) -> tuple[str, str]:
    if name == "facts":
        return row["mr"], row["text"]
    names: list[str] = []
    for token, tag in zip(row["tokens"], row["tags"], strict=True):
        if tag.startswith("B-"):
            names.append(token)
        elif tag.startswith("I-") and names:
            names[-1] += f" {token}"
    return " ".join(row["tokens"]), ", ".join(names) or "none"


def _joined(side: str, files: list[str], count: int) -> str:
    return _kept(f"all-{side}-{count}", [line for file in files for line in Path(file).read_text("utf-8").splitlines()])


def _kept(name: str, lines: list[str]) -> str:
    path = WORK / "data" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def _written(job: dict[str, Any]) -> Path:
    path = WORK / f"{job['name']}.yaml"
    path.write_text(json.dumps(job, indent=2), encoding="utf-8")  # JSON is YAML
    return path


if __name__ == "__main__":
    main()
