"""The verdict page of five jobs on real public data: contestants, intervals, guards and what would change the answer.

    python benchmarks/results_verdicts.py                 all five, about an hour on two quiet cores
    python benchmarks/results_verdicts.py --only bank     one: bank, clinc, generation, names, harmless
    python benchmarks/results_verdicts.py --only bank --train   only as far as training goes

Every job is an ordinary `tunewright run` in a process of its own; finished stages are kept in runs/results, so the
script can be resumed. Figures go to benchmarks/results/verdicts/, the tables into docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from results import DATA, OUT, ROOT, WORK, first_rows, measured_on, portable, three, written
from results_heads import packaged

from tunewright.core.run import Run

KEPT = ("rows", "grader", "comparisons", "goal", "need", "changes", "failures", "looks")
LORA = {"kind": "lora", "rank": 16}
FEW = {"kind": "few_shot", "k": 4}
PASSAGES = {"kind": "retrieval", "over": "rows"}
USUAL = ["forgetting", "memorisation", "confidence"]


def jobs() -> dict[str, dict[str, Any]]:
    """The recipes by name."""
    bank, clinc, e2e = (DATA / name for name in ("intent-banking77", "intent-clinc150", "generation-e2e-nlg"))
    names, harmless = DATA / "ner-wnut17", DATA / "preference-hh-harmless"
    answers = ["exact", "label_f1"]
    return {
        "bank": {
            "data": three(bank, first_rows(bank / "test.jsonl", 1000)),
            "model": "nano",
            "method": "full",
            "train": {"epochs": 4},
            "evaluate": {
                "graders": answers,
                "against": ["base", FEW, PASSAGES],
                "goal": {"grader": "exact", "at_least": 0.85, "beat": ["base", "few_shot", "retrieval"]},
                "guards": [*USUAL, "robustness", "fairness", "safety"],
            },
        },
        "clinc": {
            "data": {
                "sources": [str(clinc / "train.jsonl"), str(clinc / "oos_train.jsonl")],
                "validation": str(
                    joined("clinc-validation", clinc / "validation.jsonl", clinc / "oos_validation.jsonl", 900)
                ),
                "test": str(joined("clinc-test", clinc / "test.jsonl", clinc / "oos_test.jsonl", 1500)),
            },
            "model": "nano",
            "method": "full",
            "train": {"epochs": 2},
            "evaluate": {
                "graders": answers,
                "against": ["base", FEW],
                "goal": {"grader": "exact", "at_least": 0.8, "beat": ["base", "few_shot"]},
                "guards": USUAL,
            },
        },
        "generation": {
            "data": three(e2e, first_rows(e2e / "test.jsonl", 500))
            | {"format": "completion", "fields": {"prompt": "mr", "completion": "text"}},
            "model": "nano",
            "method": "full",
            "train": {"epochs": 3},
            "evaluate": {
                "graders": ["rouge", "bleu"],
                "against": ["base", FEW],
                "goal": {"grader": "rouge", "at_least": 0.4, "beat": ["base", "few_shot"]},
                "guards": ["forgetting", "memorisation", "robustness"],
            },
        },
        "names": {
            "data": three(names, names / "test.jsonl"),
            "model": str(packaged().resolve()),
            "objective": "tag",
            "method": LORA,
            "train": {"epochs": 10},
            "evaluate": {"against": [], "goal": {"grader": "entity_f1", "at_least": 0.5}},
        },
        "harmless": {
            "data": three(harmless, harmless / "test.jsonl") | {"format": "preference"},
            "model": "nano",
            "objective": "reward",
            "method": LORA,
            "train": {"epochs": 2},
            "evaluate": {"against": [], "goal": {"grader": "pair_accuracy", "at_least": 0.6}},
        },
    }


def joined(name: str, first: Path, second: Path, count: int) -> Path:
    """`count` rows spread over the first file, and half as many (all, where there are fewer) of the second."""
    lines = []
    for source, most in ((first, count), (second, count // 2)):
        rows = source.read_text(encoding="utf-8").splitlines()
        kept = min(most, len(rows))
        lines += [rows[i * len(rows) // kept] for i in range(kept)]
    path = WORK / f"{name}-{len(lines)}.jsonl"
    WORK.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def main() -> None:
    """Carry the jobs out and keep their figures."""
    recipes = jobs()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[*recipes])
    parser.add_argument("--train", action="store_true")
    asked = parser.parse_args()
    for name in [asked.only] if asked.only else recipes:
        recipe = {"name": f"verdict-{name}", **recipes[name]}
        path = written(recipe)
        command = [sys.executable, "-m", "tunewright.cli", "train" if asked.train else "run", str(path), "--json"]
        done = subprocess.run([*command, "--runs", str(WORK)], stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False)
        if done.returncode not in (0, 3, 4):
            sys.exit(f"{recipe['name']} failed with exit code {done.returncode}.")
        if asked.train:
            continue
        judged = Run(WORK / recipe["name"]).report("evaluate")
        assert judged is not None
        report = judged.model_dump()
        report["numbers"] = {key: report["numbers"].get(key) for key in KEPT}
        report["next"] = None
        for guard in report["guards"]:
            guard["samples"] = []
        report["numbers"]["failures"] = figures_alone(report["numbers"]["failures"])
        classes = (judged.numbers["summaries"].get("label_f1") or {}).get("tuned", {}).get("classes", {})
        report["out_of_scope"] = classes.get("oos")
        kept = {**measured_on(), "recipe": plain(recipe), "report": report}
        (OUT / "verdicts").mkdir(parents=True, exist_ok=True)
        (OUT / "verdicts" / f"{name}.json").write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
        print(f"{recipe['name']}: {report['verdict']}. {report['reason']}", flush=True)


def figures_alone(failed: dict[str, Any] | None) -> dict[str, Any] | None:
    """Where it fails, without a text of any row."""
    if failed is None:
        return None
    kept = {key: failed[key] for key in ("rows", "failing")}
    kept["groups"] = [group for group in failed["groups"] if group["weak"]]
    labels = failed["labels"]
    if labels is not None:
        rows = [{key: row[key] for key in ("id", "expected", "answered")} for row in labels["rows"][:3]]
        labels = {"n": labels["n"], "rows": rows}
    return kept | {"labels": labels}


def plain(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe with names that hold on any machine."""
    text = json.dumps(portable(recipe)).replace(str(packaged().resolve()), "all-MiniLM-L6-v2")
    found: dict[str, Any] = json.loads(text)
    return found


if __name__ == "__main__":
    main()
