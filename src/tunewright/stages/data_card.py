"""What the report page shows of the data: where rows went, what is wrong with them, and what they are like."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from tunewright.core.report import Finding, Place, Report
from tunewright.core.run import Run
from tunewright.stages import drawing, flowing, preview, remedies, wording

MOST_LABELS = 24
MOST_SOURCES = 8
MOST_LANGUAGES = 12
SHOWN_LINES = 6  # of a finding, by number
OPEN_ROWS = 5  # rows that are shown before the reader asks for more
SPLITS = ("train", "validation", "test")
SEVERITIES = ("problem", "warning", "info")
NOT_DROPPED = ("read", "kept", *SPLITS)
FATES = {
    "quarantined": "quarantined",
    "duplicates": "exact copies",
    "twins_dropped": "twins of rows that measure",
    "fixed": "left out by fixes",
}
Numbers = dict[str, Any]


@dataclass(frozen=True)
class FoundFault:
    """A finding with the places of its first rows and the command that mends it."""

    finding: Finding
    places: str
    command: str | None


@dataclass(frozen=True)
class DataCard:
    """What the data is like."""

    funnel: flowing.Funnel | None
    faults: list[FoundFault]
    remarks: list[FoundFault]  # those of severity info
    fixes: list[tuple[str, Numbers]]
    sources: list[tuple[str, Numbers]]
    reasons: list[tuple[str, int]]
    labels: list[dict[str, Any]]
    num_labels: int
    histograms: list[drawing.Histogram]
    languages: list[tuple[str, float]]
    facts: list[tuple[str, str]]
    summaries: list[tuple[str, list[str]]]
    rows: list[preview.DrawnRow] = field(default_factory=list)

    @property
    def num_fixes(self) -> int:
        """Findings that a command can mend."""
        return sum(one.command is not None for one in (*self.faults, *self.remarks))


def data_card(report: Report | None, run: Run | None = None, chosen: Report | None = None) -> DataCard | None:
    """The data card of a prepare report; None before that stage. run: for rows and commands. chosen: for tokens."""
    if report is None:
        return None
    numbers = report.numbers
    reasons = numbers.get("quarantine") or {}
    labels = numbers.get("labels") or {}
    faults = [_found(finding, run) for finding in _worst_first(report.findings)]
    return DataCard(
        funnel=_funnel(numbers.get("rows", {})),
        faults=[one for one in faults if one.finding.severity != "info"],
        remarks=[one for one in faults if one.finding.severity == "info"],
        fixes=list((numbers.get("fixes") or {}).items()),
        sources=_sources(numbers.get("sources") or {}),
        reasons=sorted(((str(why), int(number)) for why, number in reasons.items()), key=lambda pair: -pair[1]),
        labels=_labels(labels),
        num_labels=len(labels),
        histograms=_histograms(numbers.get("lengths") or {}),
        languages=_languages(numbers.get("languages") or {}),
        facts=_data_facts(numbers) + _token_facts(chosen.numbers if chosen else _counted(numbers.get("tokens") or {})),
        summaries=_summaries(numbers),
        rows=preview.drawn(run) if run is not None else [],
    )


def funnel_words(rows: Numbers) -> list[tuple[str, str, int]]:
    """Each way in which rows were lost: its words, its name and how many; those of no row are left out."""
    return [
        (FATES.get(name, name.replace("_", " ")), name, int(number))
        for name, number in rows.items()
        if name not in NOT_DROPPED and number
    ]


def places(found: Iterable[Place], count: int | None) -> str:
    """The first places of a finding, by file: `train.jsonl: 3, 17, 29; more.csv: 4 and 120 more`."""
    shown = list(found)
    few = shown[:SHOWN_LINES]
    text = "; ".join(
        f"{Path(source).name}: {', '.join(str(place.line) for place in group)}"
        for source, group in groupby(few, key=lambda place: place.source)
    )
    more = max(len(shown), count or 0) - len(few)
    return f"{text} and {more:,} more" if text and more > 0 else text


def _worst_first(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), -(finding.count or 0)))


def _found(finding: Finding, run: Run | None) -> FoundFault:
    command = remedies.fix_command(run, finding) if run is not None else None
    return FoundFault(finding, places(finding.rows, finding.count), command)


def _funnel(rows: Numbers) -> flowing.Funnel | None:
    sides = [(name, int(rows.get(name, 0))) for name in SPLITS]
    return flowing.funnel(int(rows.get("read", 0)), funnel_words(rows), sides)


def _sources(sources: Numbers) -> list[tuple[str, Numbers]]:
    """Each file with what became of its rows, those that lost most first; none where one file lost nothing."""
    counted = [(name, one) for name, one in sources.items() if isinstance(one, dict) and "rows_read" in one]
    if len(counted) == 1 and counted[0][1]["rows_read"] == counted[0][1]["rows_kept"]:
        return []
    return sorted(counted, key=lambda pair: pair[1]["rows_kept"] - pair[1]["rows_read"])


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


def _counted(tokens: Numbers) -> Numbers:
    """What preparing counted in tokens, in the words of `choose`."""
    rows = tokens.get("rows") or {}
    if not rows:
        return {}
    share = tokens.get("learned_share")
    return {"lengths": {"median": rows["median"], "longest": rows["max"], "learned_share": share}}


def _token_facts(chosen: Numbers) -> list[tuple[str, str]]:
    """What the rows come to in tokens and in training time, once `choose` knows."""
    found: list[tuple[str, str]] = []
    lengths = chosen.get("lengths") or {}
    if "median" in lengths:
        longest = f", at most {wording.count(lengths['longest'])}" if "longest" in lengths else ""
        found.append(("tokens in a row", f"{wording.count(lengths['median'])}{longest}"))
    if lengths.get("learned_share") is not None:
        found.append(("tokens that are learned", f"{lengths['learned_share']:.0%}"))
    if "tokens" in chosen:
        found.append(("tokens read in training", wording.many(chosen["tokens"])))
    if "seconds" in chosen:
        found.append(("expected training time", wording.took(chosen["seconds"])))
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


def _languages(figures: Numbers) -> list[tuple[str, float]]:
    """Shares of languages, largest first: of all rows, or of prompts and answers apart."""
    found = _shares(figures)
    for name, value in figures.items():
        if isinstance(value, dict):
            found |= {f"{code} ({name})": share for code, share in _shares(value).items()}
    return sorted(found.items(), key=lambda pair: -pair[1])[:MOST_LANGUAGES]


def _shares(figures: Numbers) -> dict[str, float]:
    """Shares by code, of shares or counts by code."""
    plain = {
        str(code): float(number)
        for code, number in figures.items()
        if isinstance(number, int | float) and not str(code).startswith("rows")
    }
    total = sum(plain.values())
    return {code: number / total for code, number in plain.items()} if total else {}


def _summaries(numbers: Numbers) -> list[tuple[str, list[str]]]:
    """What was found of groups of people, and what was done with personal data, in sentences."""
    found = []
    groups = numbers.get("groups")
    if isinstance(groups, dict) and groups.get("sentences"):
        found.append(("Groups of people", [str(sentence) for sentence in groups["sentences"]]))
    scrubbed = numbers.get("scrub")
    if isinstance(scrubbed, dict) and "replaced" in scrubbed:
        types = ", ".join(f"{type} {wording.count(number)}" for type, number in (scrubbed.get("types") or {}).items())
        text = f"{wording.count(scrubbed['replaced'])} pieces of personal data in "
        text += f"{wording.count(scrubbed.get('rows_changed', 0))} rows were replaced{f': {types}' if types else ''}."
        gone = scrubbed.get("rows_dropped")
        found.append(("Personal data", [text, *([f"{wording.count(gone)} rows were left out."] if gone else [])]))
    return found
