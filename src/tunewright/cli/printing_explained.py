"""An explanation as a person likes to read it in a terminal: words in shades, rows below each other."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tunewright.cli.printing import beside
from tunewright.core.report import Report
from tunewright.data.showing import short

MOST_GROUPS = 12


def show(report: Report, *, console: Console | None = None) -> None:
    """Print the explanation of an answer, or of failures."""
    console = console or Console(highlight=False)
    if "failures" in report.numbers:
        _failures(report.numbers["failures"], console)
    else:
        _answer(report.numbers, console)
    for finding in report.findings:
        console.print(beside("note", finding.message))


def _answer(numbers: dict[str, Any], console: Console) -> None:
    console.print(beside("asked", _shaded(numbers) if numbers.get("words") else short(numbers["asked"], 2000)))
    if numbers.get("words"):
        rather = f" rather than '{numbers['against']}'" if numbers["against"] else ""
        least = min(numbers["words"], key=lambda word: word["adds"])
        most = max(numbers["words"], key=lambda word: word["adds"])
        told = (
            f"green speaks for this answer{rather}, red against it; most: {most['text'].strip()!r} "
            f"({most['adds']:+.2f} nats), least: {least['text'].strip()!r} ({least['adds']:+.2f}); "
            f"the parts miss the whole by {numbers['missed']:.0%}"
        )
        console.print(beside("", Text(told, style="dim")))
    sure = f"  ({numbers['confidence']:.1%} sure)" if numbers.get("confidence") is not None else ""
    console.print(beside("answer", Text.assemble((numbers["answer"], "bold"), sure)))
    if numbers.get("expected") is not None:
        console.print(beside("expected", numbers["expected"]))
    if len(numbers["labels"]) > 1:
        console.print(beside("labels", ", ".join(f"{one['label']} {one['share']:.1%}" for one in numbers["labels"])))
    if numbers.get("tokens"):
        least_sure = sorted(numbers["tokens"], key=lambda token: token["probability"])[:4]
        told = ", ".join(f"{token['text']!r} {token['probability']:.0%}" for token in least_sure)
        console.print(beside("unsure", f"tokens it was least sure of: {told}"))
    for place, row in enumerate(numbers["nearest"]):
        told = f"{row['likeness']:.2f}  {row['asked']} -> {row['answer']}  ({row['id']})"
        console.print(beside("nearest" if place == 0 else "", told))


def _shaded(numbers: dict[str, Any]) -> Text:
    """The words of the message: the more a word adds or takes, the stronger its colour."""
    text = Text()
    largest = max(abs(word["adds"]) for word in numbers["words"]) or 1.0
    for word in numbers["words"]:
        share = word["adds"] / largest
        style = "green" if share > 0.15 else "red" if share < -0.15 else ""
        text.append(word["text"], f"bold {style}" if abs(share) > 0.5 else style)
    return text


def _failures(failed: dict[str, Any], console: Console) -> None:
    console.print(beside("failures", f"{failed['failing']:,} of {failed['rows']:,} test rows"))
    groups = sorted(failed["groups"], key=lambda group: (not group["weak"], group["p"]))[:MOST_GROUPS]
    table = Table("rows", "", "fail", "95 % interval", "elsewhere", "p (Holm)", box=None, header_style="dim")
    for group in groups:
        style = "bold red" if group["weak"] else ""
        interval = f"{group['low']:.2f} to {group['high']:.2f}"
        cells = (f"{group['failing']} of {group['n']}", interval, f"{group['elsewhere']:.2f}", f"{group['p']:.2g}")
        table.add_row(group["kind"], Text(short(group["name"], 40), style), *cells)
    console.print(table)
    for place, cluster in enumerate(failed["clusters"][:6]):
        told = Text(f"{cluster['n']} alike: {', '.join(cluster['words'])}")
        for row in cluster["examples"]:
            told.append(f"\n  {short(row['asked'], 70)} -> {row['answered']} (expected {row['expected']})", "dim")
        console.print(beside("clusters" if place == 0 else "", told))
    for place, row in enumerate(failed["hardest"][:5]):
        told = Text(f"{row['id']}: {short(row['asked'], 70)} -> {row['answered']} (expected {row['expected']})")
        console.print(beside("hardest" if place == 0 else "", told))
    doubtful = failed["labels"]
    for place, row in enumerate(doubtful["rows"][:8] if doubtful else []):
        told = Text(f"{row['id']}: {short(row['asked'], 70)} is '{row['expected']}', perhaps '{row['answered']}'")
        console.print(beside("labels" if place == 0 else "", told))
