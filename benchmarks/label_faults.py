"""What the detectors of labels and answers find in real sets, as tables for docs/data-faults.md.

    python benchmarks/label_faults.py                    wrong labels planted, and findings of sets as they are
    python benchmarks/label_faults.py --encoder FOLDER   wrong labels by the vectors of an encoder, too (minutes)

Reads the sets in TUNEWRIGHT_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tunewright.core.recipe import Recipe
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.stages.prepare import prepare

DATA = Path(os.environ.get("TUNEWRIGHT_DATA", Path(__file__).parents[2] / "shared" / "data"))
FLIPPED = ("intent-banking77", "sentiment-sentence-polarity")
RATES = (0.0, 0.05, 0.1)
LOOKS: tuple[dict[str, float], ...] = ({"odds": 9}, {"odds": 4}, {"odds": 1})
AS_THEY_ARE: dict[str, dict[str, str]] = {
    "intent-banking77": {}, "intent-clinc150": {}, "sentiment-sentence-polarity": {}, "ner-wnut17": {},
    "instruction-alpaca-en-demo": {}, "instruction-gsm8k": {"prompt": "question", "completion": "answer"},
    "generation-e2e-nlg": {"prompt": "mr", "completion": "text"}, "preference-hh-harmless": {},
    "qa-xquad": {"prompt": "question", "completion": "answer"},
}  # fmt: skip
OURS = (
    "label_spellings", "irregular_labels", "label_errors", "suspicious_labels", "rare_labels", "imbalance",
    "labels_not_in_training", "labels_not_in_test", "empty_values", "constant_columns", "missing_groups",
    "label_in_prompt", "label_by_column", "label_by_code", "label_by_length", "label_by_source", "boilerplate",
    "constant_answer", "echoed_prompts", "copied_answers", "ordered_rows", "sides_differ", "outliers",
)  # fmt: skip
OFF = [{"kind": kind, "off": True} for kind in ("near_twins", "same_question", "unused_columns")]


def rows_of(name: str, side: str = "train") -> list[dict[str, str]]:
    """The rows of a set."""
    with (DATA / name / f"{side}.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def prepared(folder: Path, data: dict[str, object]) -> tuple[Report, float]:
    """The report of preparing, and its seconds."""
    recipe = Recipe.parse({"name": "faults", "data": data}, folder=folder)
    with tempfile.TemporaryDirectory() as runs:
        begin = time.monotonic()
        report = prepare(recipe, Run.begin(recipe, runs=Path(runs)))
        return report, time.monotonic() - begin


def flipped(rows: Sequence[dict[str, str]], rate: float) -> Iterator[tuple[dict[str, str], bool]]:
    """Rows of which a share has another label, drawn evenly."""
    names = sorted({row["label"] for row in rows})
    draw = np.random.default_rng(1)
    for row, wrong in zip(rows, draw.random(len(rows)) < rate, strict=True):
        other = names[(names.index(row["label"]) + int(draw.integers(1, len(names)))) % len(names)]
        yield ({"text": row["text"], "label": other if wrong else row["label"]}), bool(wrong)


def wrong_labels(encoder: str | None) -> None:
    """Precision and recall of label_errors and suspicious_labels on planted flips."""
    print("| set | planted | by | `odds` | told | of them planted | planted ones told | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for name in FLIPPED:
        for rate in RATES:
            pairs = list(flipped(rows_of(name), rate))
            planted = {number for number, (_, wrong) in enumerate(pairs, 1) if wrong}
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "rows.jsonl"
                path.write_text("".join(json.dumps(row) + "\n" for row, _ in pairs), encoding="utf-8")
                for by in [None, encoder] if encoder else [None]:
                    for look in LOOKS:
                        own = {"kind": "label_errors", **look, **({"encoder": by} if by else {})}
                        data: dict[str, object] = {"sources": [str(path)], "checks": [*OFF, own]}
                        report, seconds = prepared(Path(folder), data)
                        told = {
                            json.loads(line)["line"]
                            for line in _findings(report)
                            if json.loads(line)["finding"] in ("label_errors", "suspicious_labels")
                        }
                        _line(name, rate, "encoder" if by else "words", look["odds"], told, planted, seconds)


def _findings(report: Report) -> list[str]:
    """Lines of the rows that findings name; each has at most a thousand in the report, which suffices here."""
    return [
        json.dumps({"finding": finding.name, "line": place.line})
        for finding in report.findings
        for place in finding.rows
    ]


def _line(name: str, rate: float, by: str, odds: float, told: set[int], planted: set[int], seconds: float) -> None:
    right = len(told & planted)
    precision = f"{right / len(told):.0%}" if told and planted else "-"
    recall = f"{right / len(planted):.0%}" if planted else "-"
    print(
        f"| {name} | {rate:.0%} | {by} | {odds:g} | {len(told):,} | {precision} | {recall} | {seconds:.1f} |",
        flush=True,
    )


def as_they_are() -> None:
    """Findings of real sets."""
    print("\n| set | rows | findings (rows) |")
    print("|---|---|---|")
    for name, fields in AS_THEY_ARE.items():
        data: dict[str, object] = {
            "sources": [str(DATA / name / "train.jsonl")], "test": str(DATA / name / "test.jsonl"), "fields": fields,
            "checks": OFF,
        }  # fmt: skip
        if fields:
            data["format"] = "completion"
        report, _ = prepared(DATA, data)
        found = ", ".join(f"`{f.name}` {f.count:,}" for f in report.findings if f.name in OURS and f.count is not None)
        print(f"| {name} | {report.numbers['rows_kept']:,} | {found or 'none'} |", flush=True)


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--encoder", help="folder of an encoder")
    given = options.parse_args()
    if not DATA.is_dir():
        sys.exit(f"There is no folder {DATA}. Set TUNEWRIGHT_DATA.")
    wrong_labels(given.encoder)
    as_they_are()


if __name__ == "__main__":
    main()
