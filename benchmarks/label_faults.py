"""What the detectors of labels and answers find in real sets, as tables for docs/data-faults.md.

    python benchmarks/label_faults.py                    wrong labels planted, and findings of sets as they are
    python benchmarks/label_faults.py --encoder FOLDER   wrong labels by the vectors of an encoder, too (minutes)
    python benchmarks/label_faults.py --cleanlab         the confident joint beside cleanlab's (pip install cleanlab)

Reads the sets in TUNEWRIGHT_DATA.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tunewright.core.recipe import Recipe
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.data import confident, guessing
from tunewright.data.features import tfidf
from tunewright.stages.prepare import prepare

DATA = Path(os.environ.get("TUNEWRIGHT_DATA", Path(__file__).parents[2] / "shared" / "data"))
FLIPPED = ("intent-banking77", "sentiment-sentence-polarity")
RATES = (0.0, 0.05, 0.1)
ODDS = (9, 4, 1)
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


@dataclass(frozen=True)
class Found:
    """What preparing told: the report, the rows of each finding (finding, line), and how long it took."""

    report: Report
    rows: list[tuple[str, int]]
    seconds: float


def prepared(folder: Path, data: dict[str, object]) -> Found:
    """Prepare, with paths relative to a folder."""
    recipe = Recipe.parse({"name": "faults", "data": data}, folder=folder)
    with tempfile.TemporaryDirectory() as runs:
        begin = time.monotonic()
        run = Run.begin(recipe, runs=Path(runs))
        report = prepare(recipe, run)
        lines = map(json.loads, run.path("data", "findings.jsonl").read_text(encoding="utf-8").splitlines())
        return Found(report, [(line["finding"], line["line"]) for line in lines], time.monotonic() - begin)


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
                ways: list[dict[str, object]] = [{"odds": odds} for odds in ODDS]
                if encoder and rate == RATES[1]:
                    ways.append({"odds": ODDS[0], "encoder": encoder})
                for way in ways:
                    checks = [*OFF, {"kind": "label_errors", **way}]
                    found = prepared(Path(folder), {"sources": [str(path)], "checks": checks})
                    told = {line for finding, line in found.rows if finding in ("label_errors", "suspicious_labels")}
                    by = "encoder" if "encoder" in way else "words"
                    _line(f"| {name} | {rate:.0%} | {by} | {way['odds']} |", told, planted, found.seconds)


def _line(begin: str, told: set[int], planted: set[int], seconds: float) -> None:
    right = len(told & planted)
    precision = f"{right / len(told):.0%}" if told and planted else "-"
    recall = f"{right / len(planted):.0%}" if planted else "-"
    print(f"{begin} {len(told):,} | {precision} | {recall} | {seconds:.1f} |", flush=True)


def beside_cleanlab() -> None:
    """Rows off the diagonal of the confident joint, here and by cleanlab, from the same probabilities."""
    find = importlib.import_module("cleanlab.filter").find_label_issues
    print("| set | planted | off the diagonal | by cleanlab | told otherwise |\n|---|---|---|---|---|")
    for name in FLIPPED:
        for rate in RATES:
            rows = [row for row, _ in flipped(rows_of(name), rate)]
            label = np.unique([row["label"] for row in rows], return_inverse=True)[1]
            classes = int(label.max()) + 1
            fold = guessing.folds(np.arange(len(rows)))
            features = tfidf([row["text"] for row in rows], guessing.features_for(classes))
            scores = guessing.bayes_scores(features, label, classes, fold)
            probability = guessing.probabilities(scores, label, fold >= 0)
            counted = confident.counted_as(probability, confident.thresholds(probability, label))
            own = (counted >= 0) & (counted != label)
            theirs = np.asarray(find(label, probability, filter_by="confident_learning"))
            print(f"| {name} | {rate:.0%} | {own.sum():,} | {theirs.sum():,} | {(own != theirs).sum():,} |", flush=True)


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
        report = prepared(DATA, data).report
        found = ", ".join(f"`{f.name}` {f.count:,}" for f in report.findings if f.name in OURS and f.count is not None)
        print(f"| {name} | {report.numbers['rows_kept']:,} | {found or 'none'} |", flush=True)


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--encoder", help="folder of an encoder")
    options.add_argument("--cleanlab", action="store_true", help="compare with cleanlab instead")
    given = options.parse_args()
    if not DATA.is_dir():
        sys.exit(f"There is no folder {DATA}. Set TUNEWRIGHT_DATA.")
    if given.cleanlab:
        beside_cleanlab()
        return
    wrong_labels(given.encoder)
    as_they_are()


if __name__ == "__main__":
    main()
