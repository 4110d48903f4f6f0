"""Preferences learned from public pairs: does the tuned model hold the chosen answer likelier, on pairs it never saw?

    python benchmarks/results_dpo.py              a reward model, a short sft, and dpo from there: some minutes
    python benchmarks/results_dpo.py --rows 300   the first rows of the training file

HH-RLHF's harmless pairs (Anthropic, MIT): one file of 2,308 pairs, parted once. `reward` scores answers; `sft` learns
the chosen ones; `dpo` goes on from there. Every job is an ordinary `tunewright run` in a process of its own; finished
ones are kept in runs/results. Writes benchmarks/results/preferences.json and prints a table.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from results import DATA, OUT, ROOT, WORK, carry, portable, written
from results_tables import preferences

from tunewright.core.run import Run


def main() -> None:
    """Carry the three jobs out, then tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int)
    asked = parser.parse_args()
    if not DATA.exists():
        sys.exit(f"Skipped: there is no data in {DATA}. Set TUNEWRIGHT_DATA; docs/results.md names each source.")
    kept: dict[str, Any] = {}
    for recipe in jobs(asked.rows):
        path = written(recipe)
        found = carry(path, WORK)
        trained = Run(WORK / recipe["name"]).report("train")
        assert trained is not None
        about = {"metrics": trained.numbers.get("metrics", {}), "test_pairs": trained.numbers.get("test_examples")}
        command = f"tunewright run {path.relative_to(ROOT)} --runs {WORK.relative_to(ROOT)}"
        kept[recipe["name"]] = {**found, **about, "command": command, "recipe": portable(recipe)}
        (OUT / "preferences.json").write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    print(preferences(kept))


def jobs(rows: int | None) -> list[dict[str, Any]]:
    """The recipes, in order: dpo begins where sft ended."""
    folder = DATA / "preference-hh-harmless"
    data: dict[str, Any] = {"sources": [str(folder / "train.jsonl")], "format": "preference"}
    data |= {side: str(folder / f"{side}.jsonl") for side in ("validation", "test")}
    if rows is not None:
        data["limit"] = rows
    plain: dict[str, Any] = {"data": data, "model": "nano", "method": {"kind": "lora", "rank": 16}}
    answers = {"graders": ["rouge"], "against": []}
    return [
        {"name": "hh-reward", **plain, "objective": "reward", "train": {"epochs": 2}, "evaluate": {"against": []}},
        {"name": "hh-sft", **plain, "method": "full", "train": {"epochs": 1}, "evaluate": answers},
        {
            "name": "hh-dpo",
            **plain,
            "model": {"base": "nano", "from": str(WORK / "hh-sft")},
            "objective": {"kind": "dpo", "beta": 0.1},
            "train": {"epochs": 1},
            "evaluate": answers,
        },
    ]


if __name__ == "__main__":
    main()
