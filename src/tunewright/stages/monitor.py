"""Stage monitor: looks at the traffic of a served release, and says what has changed since it was measured."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.core import statistics, storage
from tunewright.core.errors import NotThere, RecipeError
from tunewright.core.monitor_options import MonitorOptions
from tunewright.core.monitoring import FEWEST, Figure, MonitorResult
from tunewright.core.recipe import Recipe
from tunewright.core.releases import find_release
from tunewright.core.report import Finding, Report, Verdict
from tunewright.core.run import Run
from tunewright.core.spans import moment, span
from tunewright.core.traffic import Exchanged
from tunewright.stages import monitor_scene, traffic_file
from tunewright.stages.monitor_card import LOOKS

if TYPE_CHECKING:
    from tunewright.workspace.place import Workspace

ALARM = "monitor.alarm"  # the type of the event
_IN_FINDINGS: Any = {"monitor": True, "findings": True, "figures": {"__all__": {"told", "remedy", "examples"}}}


def monitor(
    release: str | Path,
    *,
    traffic: str | Path | None = None,
    since: str | float | None = None,
    until: str | float | None = None,
    workspace: str | Path = ".",
    changes: list[str] | None = None,
) -> Report:
    """Look at a window of a release's traffic.

    release: as `find_release` takes it, or the name of a tuned model. traffic: a file of logged requests; left out,
    what the workspace logged. since, until: seconds since 1970, a date, or so long ago (`7d`); left out, the recipe's
    window up to now, or the whole file. changes: `key=value` for keys of the recipe, such as `monitor.alpha=0.01`.

    The verdict is NO-GO where something raises an alarm, NEED MORE where there is too little traffic for any test, else
    GO. Writes monitor/report.json and a line of monitor/looks.jsonl into the run; an alarm in a workspace is an event
    `monitor.alarm` for its webhooks. Raises NotThere, DataError, RecipeError, NoKey.
    """
    started = time.monotonic()
    place = None if traffic is not None else _workspace(workspace)
    if place is None:
        folder, names = find_release(release, runs=Path(workspace) / "runs"), tuple[str, ...]()
    else:
        from tunewright.workspace import logged_releases

        logged = logged_releases.find(place, str(release))
        folder, names = logged.folder, logged.names
    run = Run(folder.parent.parent)
    recipe = _recipe(run, changes)
    window = _window(recipe, place, names, traffic, since, until)
    clean = cleaning(place) if place is not None else None
    looked = monitor_scene.scene(recipe, run, folder, window.traffic, first=window.first, clean=clean)
    results = held([part.watch(looked) for part in recipe.the_monitors()], recipe.monitor.level)
    report = _report(run, folder, recipe, window, results)
    report = report.model_copy(update={"seconds": round(time.monotonic() - started, 2)})
    _keep(run, report)
    if place is not None and report.verdict == "NO-GO":
        _announce(place, report, names)
    return report


# --- what is looked at ---


@dataclass(frozen=True)
class Window:
    """The traffic of a look, and the first traffic where that is the reference. since, until: seconds since 1970, None
    where a file is taken as a whole. failed: rows of a file without an answer.
    """

    traffic: list[Exchanged]
    first: list[Exchanged] | None
    since: float | None
    until: float | None
    failed: int = 0


def _window(
    recipe: Recipe,
    place: Workspace | None,
    names: Sequence[str],
    file: str | Path | None,
    since: str | float | None,
    until: str | float | None,
) -> Window:
    options = recipe.monitor
    end = None if until is None else moment(until, what="until")
    begin = None if since is None else moment(since, what="since")
    if begin is not None and end is not None and begin >= end:
        raise RecipeError("since lies after until, so there is nothing to look at. Exchange them.")
    if place is None:
        assert file is not None
        rows, failed = traffic_file.read(file)
        first, rest = _parted(options, sorted(rows, key=lambda one: one.created))
        kept = [one for one in rest if (begin is None or one.created >= begin) and (end is None or one.created < end)]
        return Window(kept, first, begin, end, failed)
    from tunewright.workspace import traffic

    end = time.time() if end is None else end
    begin = end - span(options.window) if begin is None else begin
    first = None
    if options.reference == "traffic":
        oldest = next(traffic.read(place, release=names, texts=False), None)
        ends = oldest.created + span(options.first) if oldest else begin
        first = [] if oldest is None else list(traffic.read(place, release=names, until=ends))
        begin = max(begin, ends)
    return Window(list(traffic.read(place, release=names, since=begin, until=end)), first, begin, end)


def _parted(options: MonitorOptions, rows: list[Exchanged]) -> tuple[list[Exchanged] | None, list[Exchanged]]:
    """The first traffic, where that is the reference, and what came later."""
    if options.reference != "traffic":
        return None, rows
    ends = rows[0].created + span(options.first) if rows else 0.0
    return [one for one in rows if one.created < ends], [one for one in rows if one.created >= ends]


def _workspace(folder: str | Path) -> Workspace:
    from tunewright.workspace.place import STATE, Workspace

    if not (Path(folder) / STATE).is_dir() and Path(folder).name != STATE:
        raise NotThere(
            f"{Path(folder).resolve()} is no workspace, so no traffic was logged there. Serve one with 'tunewright "
            "serve' and traffic.log in its workspace.yaml, or give a file with --traffic."
        )
    return Workspace.open(folder)


def _recipe(run: Run, changes: list[str] | None) -> Recipe:
    if not run.path("recipe.yaml").exists():
        raise NotThere(
            f"{run.folder} holds no recipe, and traffic is compared with what its run was measured on. Name the run's "
            "own release, not a copy."
        )
    return Recipe.load(run.path("recipe.yaml"), changes)


def cleaning(place: Workspace) -> monitor_scene.Clean:
    """How the texts of a workspace's traffic were scrubbed, for the rows that they are compared with."""
    from tunewright.privacy.scrub import Scrubber

    scrubber = Scrubber(place.config.traffic.scrubbing, key=b"compared with, never kept")

    def clean(text: str) -> str:
        done = scrubber.row([text])
        return "" if done is None else done[0].text

    return clean


# --- what was found ---


def held(results: Sequence[MonitorResult], level: float) -> list[MonitorResult]:
    """The results with their alarms: Holm's correction runs over all tests of the look, which share its level."""
    tests = [(at, number) for at, one in enumerate(results) for number, f in enumerate(one.figures) if f.p is not None]
    p_values = [results[at].figures[number].p or 0.0 for at, number in tests]
    adjusted = dict(zip(tests, statistics.holm(p_values), strict=True))

    def judged(at: int, number: int, figure: Figure) -> Figure:
        p = adjusted.get((at, number))
        alarm = p is not None and p <= level and figure.worth
        return figure.model_copy(update={"adjusted": p, "alarm": alarm})

    return [
        one.model_copy(update={"figures": [judged(at, number, figure) for number, figure in enumerate(one.figures)]})
        for at, one in enumerate(results)
    ]


def _report(run: Run, folder: Path, recipe: Recipe, window: Window, results: Sequence[MonitorResult]) -> Report:
    options, n = recipe.monitor, len(window.traffic)
    alarms = [(one.monitor, figure) for one in results for figure in one.figures if figure.alarm]
    tests = sum(figure.p is not None for one in results for figure in one.figures)
    needs = [one.need for one in results if one.need is not None]
    findings = [_alarm(name, figure) for name, figure in alarms]
    findings += [finding for one in results for finding in one.findings]
    if window.failed:
        message = f"Rows of the file without an answer, which are not looked at: {window.failed:,}."
        findings.append(Finding(name="failed requests", severity="warning", message=message, count=window.failed))
    if needs and n and tests:
        message = (
            f"{max(needs) - n:,} more requests would show a shift of {options.shift:.0%} of the traffic in 80 of 100 "
            "windows; smaller windows show larger ones."
        )
        findings.append(Finding(name="more traffic", message=message))
    verdict: Verdict = "NO-GO" if alarms else "GO" if tests else "NEED MORE"
    numbers = {
        "release": f"{run.name}:{folder.name}",
        "requests": n,
        "with_texts": sum(one.messages is not None for one in window.traffic),
        "since": window.since,
        "until": window.until,
        "last": max((one.created for one in window.traffic), default=0.0) or None,
        "reference": options.reference,
        "alpha": options.alpha,
        "looks": options.looks,
        "level": options.level,
        "tests": tests,
        "alarms": [f"{name}: {figure.name}" for name, figure in alarms],
        "need": max(needs, default=None),
        "monitors": {one.monitor: one.model_dump(exclude=_IN_FINDINGS) for one in results},
    }
    return Report(
        stage="monitor",
        run=run.name,
        verdict=verdict,
        reason=_reason(numbers),
        numbers=numbers,
        findings=findings,
    )


def _alarm(name: str, figure: Figure) -> Finding:
    p = figure.adjusted or 0.0
    return Finding(
        name=f"{name}: {figure.name}",
        severity="problem",
        message=f"{figure.told} Adjusted p {'< 0.0001' if p < 0.0001 else f'= {p:.4f}'}.",
        examples=figure.examples,
        remedy=figure.remedy,
    )


def _reason(numbers: dict[str, Any]) -> str:
    n, tests, alarms = numbers["requests"], numbers["tests"], numbers["alarms"]
    if not tests and n >= FEWEST:
        return f"Nothing could be tested: what {n:,} requests are compared with has fewer than {FEWEST} rows."
    if not tests:
        return f"{n:,} requests are too few for any test: each needs {FEWEST} on both sides."
    many = f"{numbers['looks']} such looks" if numbers["looks"] > 1 else "this look"
    chance = f"The chance of a false alarm in {many} is {numbers['alpha']:.2g} at most ({tests} tests)."
    if alarms:
        return f"Changed in {n:,} requests: {', '.join(alarms)}. {chance}"
    return f"Nothing stands out in {n:,} requests. {chance}"


def _announce(place: Workspace, report: Report, names: Sequence[str]) -> None:
    """Tell the workspace's webhooks of an alarm."""
    from tunewright.workspace import webhooks

    data = {
        "release": report.numbers["release"],
        "models": list(names[1:]),
        "requests": report.numbers["requests"],
        "alarms": report.numbers["alarms"],
        "findings": [finding.message for finding in report.findings if finding.severity == "problem"],
    }
    event = f"evt_{storage.digest([report.numbers['until'], data])[:32]}"
    with place.database.writing() as session:
        webhooks.announce(session, ALARM, data, event)


def _keep(run: Run, report: Report) -> None:
    """The report, a line of figures for the picture over time, and the run's page."""
    from tunewright.stages import flow

    report.save(run.path("monitor"))
    monitors: dict[str, Any] = report.numbers["monitors"]
    row = {
        "time": report.numbers["until"] or report.numbers["last"] or time.time(),
        "looked": time.time(),
        "release": report.numbers["release"],
        "requests": report.numbers["requests"],
        "verdict": report.verdict,
        "alarms": report.numbers["alarms"],
        "figures": {
            f"{name}: {figure['name']}": round(figure["value"], 6)
            for name, found in monitors.items()
            for figure in found["figures"]
        },
    }
    storage.append_jsonl(run.path("monitor", LOOKS), row, point="looks")
    flow.write_page(run)
