"""A Report as a person likes to read it in a terminal: compact, at 80 columns, with colour or without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tunewright.cli import printing_ratings, printing_traffic
from tunewright.cli.printing_contest import contestants_tables
from tunewright.cli.printing_guards import guards_table
from tunewright.cli.printing_monitors import monitors_table
from tunewright.cli.progress import duration
from tunewright.core.report import Finding, ProofResult, Report
from tunewright.data.showing import short

if TYPE_CHECKING:
    from tunewright.stages.showing import ShownRow

VERDICT_STYLES = {"GO": "bold green", "NO-GO": "bold red", "NEED MORE": "bold yellow"}
FEW_REMARKS = 3  # of a whole run that are shown; more stand in the report
SEVERITY_STYLES = {"problem": "bold red", "warning": "yellow", "info": "dim"}
NUM_DRAWN = 5  # rows shown after preparing
MOST_SHOWN = 300  # characters of what one of them says at a time


def print_report(report: Report, *, folder: Path | None = None, console: Console | None = None) -> None:
    """Print a report. folder: the run's, to point at its page."""
    console = console or Console(highlight=False)
    numbers = report.numbers if report.stage == "run" else {report.stage: report.numbers}
    for stage, figures in numbers.items():
        for line in stage_lines(stage, figures):
            console.print(beside(stage.removeprefix("data "), line))
    reasons = numbers.get("choose", {}).get("reasons")
    if reasons and report.stage == "choose":
        console.print(reasons_table(reasons, numbers["choose"]))
    remarks = [one for one in report.findings if one.severity == "info"]
    if report.stage != "run" or len(remarks) <= FEW_REMARKS:
        remarks = []
    if report.findings:
        print_findings([one for one in report.findings if one not in remarks], console, folder=folder)
    if remarks:
        console.print(f"  {len(remarks):,} remarks that may need nothing stand in the report", style="dim")
    if report.stage == "prepare" and folder is not None:
        print_drawn(folder, console)
    if report.contestants:
        console.print(*contestants_tables(report.contestants, width=console.width), sep="\n")
    if report.guards:
        console.print(guards_table(report.guards, brief=report.stage == "run"))
        told = [finding for guard in report.guards for finding in guard.findings]
        print_findings([finding for finding in told if finding.severity != "info"], console)
    if report.stage == "monitor":
        console.print(monitors_table(numbers["monitor"]["monitors"]))
    if report.proofs:
        console.print(proofs_table(report.proofs, brief=report.stage == "run"))
    if report.verdict is not None:
        console.print(verdict_panel(report))
    print_footer(report, folder, console)


def beside(word: str, text: str | Text) -> Table:
    """A word in the margin and a text beside it, wrapped in its own column."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=9, no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    grid.add_row(word, text)
    return grid


def print_footer(report: Report, folder: Path | None, console: Console) -> None:
    """Where to look and what to do next; never wrapped, so that it can be copied."""
    if folder is not None and (folder / "report.html").exists():
        console.print(Text.assemble(("report    ", "bold"), str(folder / "report.html")), soft_wrap=True)
    if report.next:
        console.print(Text.assemble(("next      ", "bold"), (report.next, "cyan")), soft_wrap=True)


def verdict_panel(report: Report) -> Panel:
    """The verdict with its reason."""
    style = VERDICT_STYLES[str(report.verdict)]
    body = Text.assemble((str(report.verdict), style), "  ", report.reason or "")
    return Panel(body, border_style=style.removeprefix("bold "), box=box.ROUNDED, padding=(0, 1), expand=True)


def print_findings(findings: list[Finding], console: Console, *, folder: Path | None = None) -> None:
    """Worst first: what was found, in how many rows, and what to do. folder: of the run, for the commands of fixes."""
    from tunewright.core.run import Run
    from tunewright.stages.remedies import fix_command

    order = list(SEVERITY_STYLES)
    for finding in sorted(findings, key=lambda finding: order.index(finding.severity)):
        rows = (
            f" ({finding.count:,} rows)"
            if finding.count and str(finding.count) not in finding.message.replace(",", "")
            else ""
        )
        text = Text.assemble((f"{finding.severity}: ", SEVERITY_STYLES[finding.severity]), finding.message, rows)
        if finding.remedy:
            text.append(f" {finding.remedy}", style="italic")
        grid = Table.grid(padding=(0, 0))
        grid.add_row("  ", text)
        console.print(grid)
        command = fix_command(Run(folder), finding) if folder is not None else None
        if command is not None:  # never wrapped, so that it can be copied
            console.print(Text.assemble("    ", (command, "cyan"), (f"  # {finding.fix}", "dim")), soft_wrap=True)


def print_drawn(folder: Path, console: Console) -> None:
    """Some rows drawn at random, as the model will see them: learned text green and in [[ ]]."""
    from tunewright.core.run import Run
    from tunewright.stages import preview

    rows = preview.drawn(Run(folder), NUM_DRAWN)
    if not rows:
        return
    console.print(Text("rows drawn at random, what is learned in [[ ]]", style="bold"))
    for row in rows:
        text = Text(f"{row.id}  ", style="dim")
        for number, one in enumerate(row.stretches):
            if one.role:
                text.append(f"{' ' if number else ''}{one.role}: ", style="dim")
            said = short(one.text, MOST_SHOWN)
            text.append(f"[[{said}]]" if one.learned else said, style="green" if one.learned else "")
        grid = Table.grid(padding=(0, 0))
        grid.add_row("  ", text)
        console.print(grid)


def proofs_table(proofs: list[ProofResult], *, brief: bool = False) -> Table:
    """Name, claim, measurement and bound of each proof. brief: one line when all hold."""
    if brief and all(proof.holds for proof in proofs):
        names = ", ".join(dict.fromkeys(proof.name.rpartition(": ")[2] for proof in proofs))  # of phases: once
        return beside("proofs", Text.assemble(("all hold", "green"), f": {names}"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("proof", no_wrap=True)
    for title in ("claim", "measured", "bound"):
        table.add_column(title, overflow="fold", ratio=3 if title == "claim" else 2)
    for proof in sorted(proofs, key=lambda proof: proof.holds):
        mark = Text("holds", style="green") if proof.holds else Text("BROKEN", style="bold red")
        table.add_row(mark, proof.name, proof.claim, _measure(proof.measured), _measure(proof.bound))
    return table


def _measure(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"


def reasons_table(reasons: dict[str, str], numbers: dict[str, Any]) -> Table:
    """What was filled in for the user, and why; plain defaults are left out."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    table.add_column("chosen", no_wrap=True)
    table.add_column("because", ratio=1)
    for key, reason in reasons.items():
        if not reason.startswith("default:"):
            table.add_row(key, reason)
    for rejected in numbers.get("rejected") or []:
        table.add_row(Text(f"not {rejected['what']}", style="dim"), Text(str(rejected["why"]), style="dim"))
    return table


def stage_lines(stage: str, numbers: dict[str, Any]) -> Iterator[str]:
    """The key figures of a stage, a line or two."""
    known = {
        "init": _init_lines,
        "migrate": _migrate_lines,
        "advise": _advise_lines,
        "prepare": _prepare_lines,
        "choose": _choose_lines,
        "train": _train_lines,
        "deploy": _deploy_lines,
        "answer": _answer_lines,
        "rate": printing_ratings.lines,
        "data pairs": _pairs_lines,
        "scrub": _scrub_lines,
        "live": _live_lines,
        "traffic": printing_traffic.traffic_lines,
        "harvest": printing_traffic.harvest_lines,
        "monitor": _monitor_lines,
    }
    if stage in known:
        yield from known[stage](numbers)
    elif stage != "evaluate":  # its figures are the contestants' table
        yield from _plain_lines(numbers)


def _init_lines(numbers: dict[str, Any]) -> Iterator[str]:
    if "from" in numbers:
        carried, left = len(numbers["carried"]), len(numbers["not_carried"])
        yield f"wrote {numbers['recipe']} from a config of {numbers['from']}: {carried} keys carried over, {left} not"
    elif "recipe" in numbers:
        found = f"; the data has the format {numbers['format']}" if "format" in numbers else ""
        yield f"wrote {numbers['recipe']}, the starter '{numbers['template']}'{found}"


def _migrate_lines(numbers: dict[str, Any]) -> Iterator[str]:
    yield f"{numbers['jobs']:,} jobs in {numbers['from']}: {len(numbers['recipes']):,} recipes written"
    for one in numbers["recipes"]:
        carried, left = len(one["carried"]), len(one["not_carried"])
        yield f"{one['recipe']}  {one['objective']}, {carried} keys carried over, {left} not"


def _live_lines(numbers: dict[str, Any]) -> Iterator[str]:
    means = [f"{name} {numbers['means'][name]:.3f} of {n:,}" for name, n in numbers["outcomes"].items()]
    yield f"mean score: {', '.join(means)}{' pairs' if numbers['paired'] else ''}"


def _monitor_lines(numbers: dict[str, Any]) -> Iterator[str]:
    texts = f"{numbers['with_texts']:,} of them with texts" if numbers["requests"] else "none with texts"
    against = {"test": "the test rows", "train": "the training rows", "traffic": "its first traffic"}
    yield f"{numbers['requests']:,} requests to {numbers['release']}, {texts}, beside {against[numbers['reference']]}"


def _advise_lines(numbers: dict[str, Any]) -> Iterator[str]:
    yield f"{numbers['advice']}{'' if numbers['sure'] else ' (the figures do not decide it)'}"
    yield " ".join(numbers["because"])


def _scrub_lines(numbers: dict[str, Any]) -> Iterator[str]:
    rows, done = numbers["rows"], numbers["scrub"]
    what = "found" if "found" in done else "replaced"
    inside = done.get("rows_with_some", done.get("rows_changed", 0))
    dropped = f", {done['rows_dropped']:,} rows dropped" if done.get("rows_dropped") else ""
    yield f"{rows['read']:,} rows read, {done[what]:,} pieces of personal data {what} in {inside:,}{dropped}"
    yield f"{rows['written']:,} rows in {numbers['out']} ({rows['rows_per_second']:,} rows a second)"
    if done["types"]:
        yield ", ".join(f"{count:,} {type}" for type, count in done["types"].items())


def _prepare_lines(numbers: dict[str, Any]) -> Iterator[str]:
    """What became of the rows, as a sum."""
    from tunewright.stages.data_card import funnel_words

    rows = numbers.get("rows") or {}
    parts = [f"{rows[split]:,} {split}" for split in ("train", "validation", "test") if split in rows]
    if {"read", "kept"} <= rows.keys():
        gone = "".join(f" - {number:,} {words}" for words, _, number in funnel_words(rows))
        yield f"{rows['read']:,} rows of {numbers.get('format')}{gone} = {rows['kept']:,} kept"
    labels = numbers.get("labels") or {}
    yield " + ".join(parts) + (f"; {len(labels)} labels" if labels else "")


def _choose_lines(numbers: dict[str, Any]) -> Iterator[str]:
    parts = []
    if numbers.get("trainable_parameters") is not None:
        whole = numbers.get("parameters")
        parts.append(f"{numbers['trainable_parameters']:,} " + (f"of {whole:,} " if whole else "") + "parameters train")
    if numbers.get("memory_bytes") is not None:
        parts.append(f"about {numbers['memory_bytes'] / 2**30:.1f} GiB of memory")
    if numbers.get("seconds") is not None:
        parts.append(f"about {duration(numbers['seconds'])} of training")
    if parts:
        yield ", ".join(parts)


def _phase_words(one: dict[str, Any]) -> str:
    """A phase in a line: what it learned by, its validation loss, how long it took."""
    if "objective" not in one:
        return f"({one['state']})"
    figures = (one["before"], one["after"])
    told = "" if None in figures else ", validation {} {:.3f} -> {:.3f}".format(one["figure"], *figures)
    return f"{one['objective']} with {one['method']}{told}, {duration(one['seconds'])}"


def _train_lines(numbers: dict[str, Any]) -> Iterator[str]:
    for one in numbers.get("phases") or []:
        yield f"{one['name']}: {_phase_words(one)}"
    reward = numbers.get("metrics", {}).get("validation", {}).get("reward")
    if reward is not None:  # the loss is what it lacks
        numbers = numbers | {"validation_loss": reward}
    words = {
        "steps": "{:,} steps",
        "validation_loss": "best validation loss {:.3f}" if reward is None else "best validation reward {:.3f}",
        "best_step": "at step {:,}",
        "tokens_per_second": "{:,.0f} tokens/s",
    }
    line = ", ".join(
        text.format(numbers[key]) for key, text in words.items() if isinstance(numbers.get(key), (int, float))
    )
    if line:
        yield line
    else:
        yield from _plain_lines(numbers)


def _deploy_lines(numbers: dict[str, Any]) -> Iterator[str]:
    if "formats" in numbers:
        formats = ", ".join(f"{name} {size / 1e6:,.1f} MB" for name, size in numbers["formats"].items())
        yield f"release {numbers['release']} in {numbers['folder']}: {formats}"


def _answer_lines(numbers: dict[str, Any]) -> Iterator[str]:
    rows = f"{numbers['answered']:,} of {numbers['rows']:,} rows"
    yield f"{numbers['release']} answered {rows} in {duration(numbers['seconds'])}: {numbers['out']}"


def _pairs_lines(numbers: dict[str, Any]) -> Iterator[str]:
    speak = f"{numbers['rows_that_speak_of_it']:,} of {numbers['rows']:,} rows speak of {numbers['group']}"
    there = numbers["swapped_row_is_there_already"]
    twins = f", {there:,} of them with a row that asks the same about others" if there else ""
    yield f"{speak}: {numbers['pairs']:,} pairs in {numbers['out']}{twins}"


def _plain_lines(numbers: dict[str, Any]) -> Iterator[str]:
    for key, value in numbers.items():
        if isinstance(value, (str, int, float)):
            yield (
                f"{key.replace('_', ' ')}: {value:,}" if isinstance(value, int) else f"{key.replace('_', ' ')}: {value}"
            )


def print_overview(report: Report, *, folder: Path, console: Console | None = None) -> None:
    """What a run holds."""
    console = console or Console(highlight=False)
    numbers = report.numbers
    at = (
        f", {numbers['stage']} step {numbers['step']:,} of {numbers['total']:,}"
        if numbers.get("total") and numbers["state"] != "done"
        else ""
    )
    console.print(Text.assemble(("run       ", "bold"), f"{report.run} ({numbers['state']}{at})"))
    for stage, facts in numbers["stages"].items():
        done = f"done in {duration(facts['seconds'])}" if facts["done"] else Text("not done", style="dim")
        console.print(Text.assemble((f"{stage:<9} ", "bold"), done))
    for one in numbers.get("phases") or []:
        console.print(Text.assemble((f"phase     {one['name']}: ", "bold"), _phase_words(one)), soft_wrap=True)
    if numbers["error"]:
        console.print(Text.assemble(("error     ", "bold red"), numbers["error"]))
    if report.contestants:
        console.print(*contestants_tables(report.contestants, width=console.width), sep="\n")
    for release in numbers["releases"]:
        console.print(Text.assemble(("release   ", "bold"), release), soft_wrap=True)
    print_findings(report.findings, console)
    if report.verdict is not None:
        console.print(verdict_panel(report))
    print_footer(report, folder, console)


def print_rows(rows: list[ShownRow], *, console: Console | None = None) -> None:
    """Rows as the model sees them: learned text green and in [[ ]], context dim."""
    console = console or Console(highlight=False)
    for row in rows:
        head = f"{row.example}  {row.num_tokens:,} tokens, {row.num_learned:,} learned"
        console.print(Text(head, style="bold"))
        text = Text()
        for piece in row.pieces:
            text.append(f"[[{piece.text}]]" if piece.learned else piece.text, style="green" if piece.learned else "dim")
        console.print(text)
        console.print()


def print_starters(starters: dict[str, str], *, console: Console | None = None) -> None:
    """The starter recipes, each with what it is for."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, purpose in starters.items():
        table.add_row(name, purpose)
    (console or Console(highlight=False)).print(table)


def print_yaml(text: str, *, console: Console | None = None) -> None:
    """A resolved recipe, its reasons dim; never wrapped, so that it can be copied."""
    console = console or Console(highlight=False)
    for line in text.splitlines():
        value, mark, reason = line.partition("  # ")
        console.print(Text.assemble(value, (f"{mark}{reason}", "dim")), soft_wrap=True)
