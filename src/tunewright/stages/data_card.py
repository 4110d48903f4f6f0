"""What the report page shows of the data: rows by split, labels, lengths, what was put aside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunewright.core.report import Finding, Report
from tunewright.stages import drawing, wording

MOST_LABELS = 24
MOST_SOURCES = 8
SPLITS = ("train", "validation", "test")
Numbers = dict[str, Any]


@dataclass(frozen=True)
class DataCard:
    """What the data is like."""

    shares: list[tuple[str, int, float]]
    counts: list[tuple[str, int]]
    reasons: list[tuple[str, int]]
    labels: list[dict[str, Any]]
    num_labels: int
    histograms: list[drawing.Histogram]
    facts: list[tuple[str, str]]
    findings: list[Finding]


def data_card(report: Report | None) -> DataCard | None:
    """The data card of a prepare report; None before that stage."""
    if report is None:
        return None
    numbers, rows = report.numbers, report.numbers.get("rows", {})
    total = sum(rows.get(split, 0) for split in SPLITS) or 1
    reasons = numbers.get("quarantine") or {}
    labels = numbers.get("labels") or {}
    return DataCard(
        shares=[(split, rows[split], round(100 * rows[split] / total, 3)) for split in SPLITS if rows.get(split)],
        counts=[(name.replace("_", " "), number) for name, number in rows.items() if name not in SPLITS],
        reasons=sorted(((str(why), int(number)) for why, number in reasons.items()), key=lambda pair: -pair[1]),
        labels=_labels(labels),
        num_labels=len(labels),
        histograms=_histograms(numbers.get("lengths") or {}),
        facts=_data_facts(numbers),
        findings=report.findings,
    )


def _data_facts(numbers: Numbers) -> list[tuple[str, str]]:
    names = [Path(name).name for name in numbers.get("sources", {})]
    more = f" and {len(names) - MOST_SOURCES:,} more" if len(names) > MOST_SOURCES else ""
    found = [("sources", (", ".join(names[:MOST_SOURCES]) or "none") + more)]
    if "format" in numbers:
        found.append(("format", numbers["format"]))
    turns = numbers.get("turns")
    if turns and turns["max"] > 1:
        found.append(("answers in a conversation", f"{turns['median']} (at most {turns['max']})"))
    if numbers.get("imbalance"):
        found.append(("largest to smallest label", f"{numbers['imbalance']:.3g} to 1"))
    share = (numbers.get("diversity") or {}).get("distinct_4grams_share")
    if share is not None:
        found.append(("runs of four words that differ", f"{share:.0%}"))
    systems = numbers.get("system_messages") or []
    if len(systems) == 1 and systems[0]:
        found.append(("system message of every row", systems[0]))
    return found


def _labels(labels: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    """The largest labels, each with the widths of its bar by split."""
    sums = {label: sum(by_split.get(split, 0) for split in SPLITS) for label, by_split in labels.items()}
    largest = max(sums.values(), default=1) or 1
    ordered = sorted(labels, key=lambda label: -sums[label])[:MOST_LABELS]
    return [
        {
            "name": label,
            "n": sums[label],
            "parts": [
                (split, labels[label].get(split, 0), round(100 * labels[label].get(split, 0) / largest, 3))
                for split in SPLITS
            ],
        }
        for label in ordered
    ]


def _histograms(lengths: Numbers) -> list[drawing.Histogram]:
    found = []
    is_text = not lengths.get("answer")  # documents
    for name, one in lengths.items():
        if isinstance(one, dict) and one.get("histogram"):
            facts = [(key, wording.count(one[key])) for key in ("median", "p95", "max") if key in one]
            found.append(
                drawing.histogram(
                    "text" if is_text else name, one["histogram"]["edges"], one["histogram"]["counts"], facts
                )
            )
    return found
