"""Findings of the detectors of texts on real sets: what is found in data that people hold to be good, as a table.

python benchmarks/data_faults.py                     all sets; about a minute on two cores
python benchmarks/data_faults.py --set intent-banking77 --examples
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from tunewright.core import catalog
from tunewright.core.recipe import Recipe
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.stages.prepare import prepare

DATA = Path(os.environ.get("TUNEWRIGHT_DATA", Path(__file__).parents[2] / "shared" / "data"))
DETECTORS = (
    "text_damage", "lengths", "repetition", "poor_diversity", "language_mix", "toxicity", "secrets",
    "assistant_words", "trigger_phrases",
)  # fmt: skip
SETS: dict[str, dict[str, Any]] = {  # options beside the sources
    "instruction-alpaca-en-demo": {},
    "instruction-gsm8k": {},
    "instruction-p3-sample": {"fields": {"prompt": "prompt", "completion": "completion"}},
    "instruction-self-instruct-seed": {},
    "intent-banking77": {},
    "intent-clinc150": {},
    "sentiment-movie-reviews-long": {},
    "sentiment-sentence-polarity": {},
    "ner-wnut17": {},
    "pii-presidio-synth": {},
    "qa-xquad": {"format": "completion", "fields": {"prompt": "question", "completion": "answer"}},
    "translate-multi30k": {"format": "completion", "fields": {"prompt": "en", "completion": "de"}},
    "generation-e2e-nlg": {"format": "completion", "fields": {"prompt": "mr", "completion": "text"}},
    "summarise-dialogsum": {"format": "completion", "fields": {"prompt": "dialogue", "completion": "summary"}},
    "preference-dpo-en-demo": {},
    "preference-hh-harmless": {},
    "toolcalls-glaive-demo": {},
    "lm-us-speeches": {},
    "lm-shakespeare": {},
}


def prepared(name: str, folder: Path) -> tuple[Report, float]:
    """The report of a set, and the seconds that it took."""
    sources = sorted(str(path) for path in (DATA / name).glob("train.jsonl*"))
    values = {"name": name, "data": {"sources": sources, **SETS[name]}}
    recipe = Recipe.parse(values | ({"objective": "pretrain"} if name.startswith("lm-") else {}), folder=folder)
    began = time.perf_counter()
    report = prepare(recipe, Run.begin(recipe, runs=folder))
    return report, time.perf_counter() - began


def main() -> None:
    """Prepare each set and print its findings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=[*SETS], action="append", dest="sets")
    parser.add_argument("--examples", action="store_true", help="an example of each finding, too")
    options = parser.parse_args()
    logging.disable(logging.INFO)
    names = {"poor_diversity", *(name for kind in DETECTORS for name in catalog.build("detectors", kind).fixes)}
    print("| set | rows | seconds | findings (rows) |\n|---|---|---|---|")
    for name in options.sets or SETS:
        with tempfile.TemporaryDirectory() as folder:
            report, seconds = prepared(name, Path(folder))
        told = [one for one in report.findings if one.name in names]
        found = [f"`{one.name}` {one.count:,}" if one.count else f"`{one.name}`" for one in told]
        print(f"| {name} | {report.numbers['rows_kept']:,} | {seconds:.1f} | {', '.join(found)} |", flush=True)
        if options.examples:
            for one in told:
                print(f"    {one.name}: {one.message}\n        {one.example}")


if __name__ == "__main__":
    main()
