"""Versions, data cards and differences as a person likes to read them in a terminal."""

from __future__ import annotations

import re
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tunewright.cli import printing
from tunewright.core.report import Finding, Report

LONGEST = 1200  # characters of one row
MOST_LABELS = 12
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def visible(text: str) -> str:
    """A text whose control characters are seen rather than obeyed by the terminal."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def print_versions(report: Report, console: Console | None = None) -> None:
    """One line a version, its parents and steps below."""
    console = console or Console(highlight=False)
    for one in report.numbers["versions"]:
        rows = ", ".join(f"{count:,} {side}" for side, count in one["rows"].items())
        name = one["id"] or f"{one['content'][:12]} (not recorded)"
        about = f"  {one['run']}  {one['when'] or ''}  {rows}"
        console.print(Text.assemble((name, "bold cyan"), about), soft_wrap=True)
        if one["parents"]:
            console.print(Text(f"    from {', '.join(one['parents'])}", style="dim"), soft_wrap=True)
        if one["steps"]:
            console.print(Text(f"    {' > '.join(one['steps'])}", style="dim"), soft_wrap=True)
    printing.print_footer(report, None, console)


def print_card(report: Report, console: Console | None = None) -> None:
    """The data card: version, funnel, labels, lengths, findings, then rows."""
    console = console or Console(highlight=False)
    numbers = report.numbers
    version = numbers.get("version")
    named = f", version {version['id']} of {version['created'][:16].replace('T', ' ')}" if version else ""
    console.print(printing.beside("data", visible(f"{numbers['source']}{named}")))
    if version:
        console.print(printing.beside("from", visible(", ".join(version["parents"]) or "nothing known")))
    console.print(printing.beside("rows", _funnel(numbers)))
    for reason, count in list((numbers.get("quarantine") or {}).items())[:5]:
        console.print(printing.beside("", Text(visible(f"{count:,} put aside: {reason}"), style="dim")))
    for name, lengths in (numbers.get("lengths") or {}).items():
        if isinstance(lengths, dict) and "median" in lengths:
            figures = ", ".join(f"{key} {lengths[key]:,}" for key in ("median", "p95", "max") if key in lengths)
            console.print(printing.beside("lengths", f"{name}: {figures} characters"))
    for key in ("languages", "language"):
        if isinstance(numbers.get(key), dict):
            console.print(printing.beside("language", visible(_several(numbers[key]))))
    if numbers.get("labels"):
        console.print(_labels(numbers["labels"]))
    print_findings(report.findings, console)
    where = f" of {numbers['side']}" if "side" in numbers else ""
    console.print(Text(f"{len(numbers['examples'])} random rows{where}\n", style="bold"))
    for row in numbers["examples"]:
        print_row(row, console)
    printing.print_footer(report, None, console)


def print_row(row: dict[str, Any], console: Console) -> None:
    """A row as the model sees it: learned text green and in [[ ]], context dim; very long ones are cut."""
    counts = f"  {row['tokens']:,} tokens, {row['learned']:,} learned" if row["tokens"] else ""
    console.print(Text(f"{row['example']}{counts}", style="bold"), soft_wrap=True)
    text, room = Text(), LONGEST
    for piece in row["pieces"]:
        shown = visible(piece["text"])
        if len(shown) > room:
            shown = f"{shown[:room]} ... ({len(shown) - room:,} more characters)"
        room = max(0, room - len(shown))
        text.append(f"[[{shown}]]" if piece["learned"] else shown, style="green" if piece["learned"] else "dim")
    console.print(text)
    console.print()


def print_findings(findings: list[Finding], console: Console) -> None:
    """Each with its example."""
    for finding in findings:
        safe = finding.model_copy(update={"message": visible(finding.message)})
        printing.print_findings([safe], console)
        if finding.example:
            console.print(Text(f"    e.g. {visible(finding.example)[:300]}", style="dim"), soft_wrap=True)


def print_difference(report: Report, console: Console | None = None) -> None:
    """Counts, then the first rows of each kind, then labels."""
    console = console or Console(highlight=False)
    numbers = report.numbers
    rows = numbers["rows"]
    console.print(printing.beside("rows", f"{numbers['before']['rows']:,} before, {numbers['after']['rows']:,} after"))
    console.print(printing.beside("content", ", ".join(f"{count:,} {name}" for name, count in rows.items())))
    ids = numbers["ids"]
    told = f"{ids['both']:,} in both, {ids['only_before']:,} only before, {ids['only_after']:,} only after"
    console.print(printing.beside("ids", told))
    for name, shown in numbers["examples"].items():
        for one in shown:
            console.print(Text(f"{name}  ", style="bold"), end="")
            console.print(Text(visible(one)), soft_wrap=True)
        if rows[name] > len(shown) > 0:
            console.print(Text(f"  and {rows[name] - len(shown):,} more", style="dim"))
    if numbers["labels"]:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
        for title in ("label", "before", "after"):
            table.add_column(title, justify="left" if title == "label" else "right")
        for label, (before, after) in list(numbers["labels"].items())[:MOST_LABELS]:
            table.add_row(visible(label), f"{before:,}", f"{after:,}")
        console.print(table)
        left = len(numbers["labels"]) - MOST_LABELS
        if left > 0:
            console.print(Text(f"  and {left:,} more labels whose counts differ", style="dim"))
    print_findings(report.findings, console)


def _funnel(numbers: dict[str, Any]) -> str:
    """From read to kept, and how the kept ones are parted."""
    rows = dict(numbers["rows"])
    sides = {side: rows.pop(side) for side in ("train", "validation", "test") if side in rows}
    read, kept = rows.pop("read", None), rows.pop("kept", None)
    parts = [f"{read:,} read"] if read is not None else []
    parts += [f"{count:,} {name.replace('_', ' ')}" for name, count in rows.items() if count or name == "usable"]
    parts += [f"{kept:,} kept"] if kept is not None else []
    of = f" of {numbers['format']}" if numbers.get("format") else ""
    parted = ": " + ", ".join(f"{count:,} {side}" for side, count in sides.items()) if sides else ""
    return " > ".join(parts) + of + parted


def _several(counts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in list(counts.items())[:8])


def _labels(labels: dict[str, dict[str, int]]) -> Table:
    """The most frequent labels by side."""
    sides = list(dict.fromkeys(side for counts in labels.values() for side in counts))
    sums = {label: sum(counts.values()) for label, counts in labels.items()}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    table.add_column(f"{len(labels):,} labels")
    for side in sides:
        table.add_column(side, justify="right")
    for label in sorted(labels, key=lambda name: -sums[name])[:MOST_LABELS]:
        table.add_row(visible(label)[:60], *[f"{labels[label].get(side, 0):,}" for side in sides])
    if len(labels) > MOST_LABELS:
        table.add_row(Text(f"and {len(labels) - MOST_LABELS:,} more", style="dim"), *[""] * len(sides))
    return table


def print_forgotten(report: Report, console: Console | None = None) -> None:
    """What goes, or went, run by run."""
    console = console or Console(highlight=False)
    numbers = report.numbers
    word = "went" if numbers["done"] else "would go"
    lines = f" and {numbers['quarantined_lines']:,} lines put aside" if numbers["quarantined_lines"] else ""
    console.print(printing.beside("forget", f"{numbers['rows']:,} rows{lines} {word}"))
    for one in numbers["runs"]:
        rows = ", ".join(f"{count:,} {name}" for name, count in one["rows"].items()) or "no rows"
        parts = [rows]
        parts += [f"{one['quarantined_lines']:,} lines put aside"] if one["quarantined_lines"] else []
        parts += [f"quoted in {', '.join(one['files'])}"] if one["files"] else []
        parts += [f"caches {', '.join(one['caches'])}"] if one["caches"] else []
        console.print(Text.assemble((f"  {one['name']}  ", "bold"), "; ".join(parts)), soft_wrap=True)
    for file in numbers["other_files"]:
        console.print(Text(f"  quoted in {visible(file)}"), soft_wrap=True)
    for file, count in (numbers.get("changed_sources") or {}).items():
        console.print(Text.assemble((f"  {visible(file)}  ", "bold"), f"{count:,} lines emptied"), soft_wrap=True)
    print_findings(report.findings, console)
    if report.proofs:
        console.print(printing.proofs_table(report.proofs))
    if numbers["done"]:
        told = f"record {numbers['record']} of the audit log, head {numbers['head']} (keep it elsewhere)"
        console.print(Text.assemble(("audit     ", "bold"), told), soft_wrap=True)
    printing.print_footer(report, None, console)


def print_audit(report: Report, console: Console | None = None) -> None:
    """Each record in a line, and whether the chain holds."""
    console = console or Console(highlight=False)
    for record in report.numbers.get("records", []):
        counts = record["counts"]
        told = f"{record['when']}  {record['who']}  {record['action']}  {counts.get('rows', 0):,} rows"
        console.print(Text(visible(f"{record['seq']:>4}  {told}  subject {record['subject'][:12]}")), soft_wrap=True)
    console.print(printing.proofs_table(report.proofs))
    console.print(Text.assemble(("head      ", "bold"), report.numbers["head"]), soft_wrap=True)


def print_exported(report: Report, console: Console | None = None) -> None:
    """The files, what they could not carry, and how they are read again."""
    console = console or Console(highlight=False)
    for path, count in report.numbers["files"].items():
        console.print(Text.assemble(("wrote     ", "bold"), f"{path}: {count:,} rows"), soft_wrap=True)
    print_findings(report.findings, console)
    read = report.numbers["reads_back_with"]
    fields = ", ".join(f"{word}: {column}" for word, column in read.get("fields", {}).items())
    options = f"format: {read['format']}" + (f", fields: {{{fields}}}" if fields else "")
    console.print(Text.assemble(("read with ", "bold"), f"data: {{sources: [FILE], {options}}}"), soft_wrap=True)
