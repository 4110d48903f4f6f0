"""The report page: one HTML file that shows a run to a person, with whatever stages have been done so far."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

import tunewright
from tunewright.core import storage
from tunewright.core.report import Finding, ProofResult, Report
from tunewright.core.run import STAGES, Run
from tunewright.core.statistics import MOST_ROWS
from tunewright.stages import (
    contest,
    curve_figure,
    data_card,
    drawing,
    monitor_card,
    phase_card,
    verdict_card,
    watch_figure,
    wording,
)
from tunewright.stages.watching import EVENT as WATCHED

WEB = Path(tunewright.__file__).parent / "web"
DONE_WORDS = {
    "prepare": "prepared",
    "choose": "chosen",
    "train": "trained",
    "evaluate": "evaluated",
    "deploy": "released",
}
ANSWERED_BY = {"choices": "scoring its labels", "generate": "generating"}
Numbers = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """A stage in the strip below the verdict."""

    stage: str
    done: bool
    seconds: float


@dataclass(frozen=True)
class Header:
    """Who the run is and how it stands."""

    badge: str
    tone: str
    reason: str
    about: str
    state: str
    steps: list[Step]
    facts: list[tuple[str, str]]
    num_warnings: int


@dataclass(frozen=True)
class Choices:
    """What was filled in and why, and what it was expected to cost."""

    rows: list[tuple[str, str, str]]
    rejected: list[dict[str, str]]
    costs: list[tuple[str, str, str]]
    findings: list[Finding]


@dataclass(frozen=True)
class ReleaseCard:
    """One release folder."""

    name: str
    facts: list[tuple[str, str]]
    override: str | None
    commands: list[str] = field(default_factory=list)


def render(run: Run) -> str:
    """The page of a run as one self-contained HTML text."""
    reports = {stage: report for stage in (*STAGES, "prove") if (report := run.report(stage)) is not None}
    recipe_text = _recipe_text(run)
    recipe = yaml.safe_load(recipe_text) or {}
    steps, looks, watched = _curves(run)
    trained = reports.get("train")
    shown = contest.samples(reports.get("evaluate"))
    proofs = _proofs(run, reports)
    total = None if trained else next((row.get("total") for row in reversed(steps)), None)
    html = template("report.html").render(
        name=run.name,
        header=_header(run, recipe, reports),
        verdict=verdict_card.verdict_card(reports.get("evaluate"), [proof.name for proof in proofs if not proof.holds]),
        contest=contest.contest(reports.get("evaluate")),
        failures=contest.failing(reports.get("evaluate")),
        phases=phase_card.phase_rows(run, recipe),
        tasks=phase_card.task_matrix(reports.get("evaluate")),
        losses=drawing.losses(steps, looks, total=total),
        forgetting=watch_figure.figure(
            {row["step"]: row["nats"] for row in watched}, end=steps[-1]["step"] if steps else 0
        ),
        training=_training_facts(trained),
        training_findings=trained.findings if trained else [],
        card=data_card.data_card(reports.get("prepare"), run, reports.get("choose")),
        open_rows=data_card.OPEN_ROWS,
        watched=monitor_card.card(run),
        curve=curve_figure.figure(reports.get("choose")),
        proofs=proofs,
        samples=shown,
        filters=contest.filters(shown),
        choices=_choices(reports, recipe),
        recipe=wording.yaml_lines(recipe_text),
        releases=[_release(folder) for folder in reversed(run.releases())],
        next=_next(reports),
        version=tunewright.__version__,
        written=time.strftime("%d %B %Y, %H:%M").lstrip("0"),
    )
    return wording.clean(html)


@cache
def template(name: str) -> Template:
    """A page of web/, with the words by which figures are written."""
    environment = Environment(
        loader=FileSystemLoader(WEB), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    words = (wording.count, wording.figure, wording.signed, wording.brief, wording.took, wording.size, wording.measured)
    environment.filters |= {word.__name__: word for word in (*words, wording.sentence, wording.probability)}
    environment.globals["css"] = Markup((WEB / "report.css").read_text(encoding="utf-8"))  # ours, holds no user text
    return environment.get_template(name)


def _recipe_text(run: Run) -> str:
    for name in ("recipe.yaml", "recipe.given.yaml"):
        if run.path(name).exists():
            return run.path(name).read_text(encoding="utf-8")
    return ""


def _curves(run: Run) -> tuple[list[Numbers], list[Numbers], list[Numbers]]:
    """Step, validation and general-text events, from one reading of the file."""
    found: dict[str, list[Numbers]] = {"step": [], "validation": [], WATCHED: []}
    for row in run.events():
        if row["event"] in found:
            found[row["event"]].append(row)
    return found["step"], found["validation"], found[WATCHED]


# --- the header ---


def _header(run: Run, recipe: Numbers, reports: dict[str, Report]) -> Header:
    judged = reports.get("evaluate")
    badge, tone = "NOT JUDGED YET", "open"
    if judged and judged.verdict:
        badge, tone = judged.verdict, {"GO": "good", "NO-GO": "bad", "NEED MORE": "more"}[judged.verdict]
        if 0 < (judged.numbers.get("need") or 0) < MOST_ROWS and judged.verdict == "NEED MORE":
            badge = f"NEED {judged.numbers['need']:,} MORE"
    reason = (judged.reason if judged else None) or "The test set has not been put to the tuned model yet."
    findings = [finding for report in reports.values() for finding in report.findings]
    return Header(
        badge=badge,
        tone=tone,
        reason=wording.sentence(reason),
        about=_about(recipe, reports),
        state=wording.sentence(_state(run, reports)),
        steps=[Step(stage, stage in reports, reports[stage].seconds if stage in reports else 0.0) for stage in STAGES],
        facts=_key_figures(reports),
        num_warnings=sum(finding.severity != "info" for finding in findings),
    )


def _about(recipe: Numbers, reports: dict[str, Report]) -> str:
    base = _base(recipe.get("model"))
    if recipe.get("phases"):
        names = [str(one.get("name")) for one in recipe["phases"]]
        return f"{base}, {'tuned' if 'train' in reports else 'to be tuned'} in {len(names)} phases: {', '.join(names)}."
    method, objective = recipe.get("method"), recipe.get("objective", "sft")
    text = f"{base}, {'tuned' if 'train' in reports else 'to be tuned'}"
    text += f" with {wording.option(method)}" if method else ""
    rows = reports["prepare"].numbers.get("rows", {}) if "prepare" in reports else {}
    if "train" in rows:
        text += f" on {wording.count(rows['train'])} examples"
    return f"{text}; objective {wording.option(objective)}."


def _base(model: Any) -> str:
    base = str(model.get("base", "nano") if isinstance(model, dict) else model or "nano")
    return Path(base).name if base.startswith("/") else base


def _state(run: Run, reports: dict[str, Report]) -> str:
    facts = run.facts()
    if facts.get("state") == "failed":
        return f"Failed in {facts.get('stage', 'the run')}: {facts.get('error', 'the reason was not recorded')}"
    if facts.get("state") == "stopped":
        where = f"{facts.get('stage', 'the run')} at step {facts.get('step', 0):,}"
        return f"Stopped in {where}; the same command goes on from there."
    done = [DONE_WORDS[stage] for stage in STAGES if stage in reports]
    seconds = sum(report.seconds for report in reports.values())
    return f"{', '.join(done).capitalize()} in {wording.took(seconds)}." if done else "Nothing has been done yet."


def _key_figures(reports: dict[str, Report]) -> list[tuple[str, str]]:
    """The few numbers worth large print."""
    found: list[tuple[str, str]] = []
    if "evaluate" in reports:
        judged = reports["evaluate"]
        tuned = judged.contestants.get("tuned", {})
        grader = contest.deciding(judged)
        if tuned.get(grader):
            found.append(
                (wording.figure(tuned[grader]["value"]), f"{grader} on {wording.count(tuned[grader]['n'])} test rows")
            )
    if "prepare" in reports and "kept" in reports["prepare"].numbers.get("rows", {}):
        found.append((wording.count(reports["prepare"].numbers["rows"]["kept"]), "examples kept"))
    numbers = reports["train"].numbers if "train" in reports else {}
    if "training_seconds" in numbers:
        found.append(
            (wording.took(numbers["training_seconds"]), f"training, {wording.count(numbers.get('steps', 0))} steps")
        )
    if "peak_memory_bytes" in numbers:
        found.append((wording.size(numbers["peak_memory_bytes"]), "peak memory"))
    return found


# --- training and proofs ---


def _training_facts(report: Report | None) -> list[tuple[str, str]]:
    numbers = report.numbers if report else {}
    found: list[tuple[str, str]] = []
    for key, word, form in (
        ("tokens", "tokens read", wording.many),
        ("tokens_per_second", "tokens a second", wording.count),
        ("trainable_parameters", "trained parameters", wording.many),
        ("best_step", "step that is kept", wording.count),
    ):
        if key in numbers:
            found.append((word, form(numbers[key])))
    return found


def _proofs(run: Run, reports: dict[str, Report]) -> list[ProofResult]:
    """Every proof once, as it was measured last."""
    ordered: Iterable[str] = sorted(reports, key=lambda stage: run.path(stage, "report.json").stat().st_mtime)
    latest = {proof.name: proof for stage in ordered for proof in reports[stage].proofs}
    return sorted(latest.values(), key=lambda proof: proof.holds)


# --- choices and releases ---


def _choices(reports: dict[str, Report], recipe: Numbers) -> Choices | None:
    report = reports.get("choose")
    if report is None:
        return None
    reasons = report.numbers.get("reasons", {})
    chosen = [(key, why) for key, why in reasons.items() if not why.startswith("default:")]
    return Choices(
        rows=[(key, wording.option(_value(recipe, key)), wording.sentence(why)) for key, why in chosen],
        rejected=report.numbers.get("rejected") or [],
        costs=_costs(report.numbers, reports["train"].numbers if "train" in reports else {}),
        findings=report.findings,
    )


def _costs(expected: Numbers, real: Numbers) -> list[tuple[str, str, str]]:
    """What was estimated and what it came to."""
    found = []
    for word, key, real_key, form in (
        ("training time", "seconds", "training_seconds", wording.took),
        ("memory", "memory_bytes", "peak_memory_bytes", wording.size),
        ("trained parameters", "trainable_parameters", "trainable_parameters", wording.many),
        ("steps", "steps", "steps", wording.count),
        ("tokens read", "tokens", "tokens", wording.many),
    ):
        if key in expected:
            found.append((word, form(expected[key]), form(real[real_key]) if real_key in real else ""))
    return found


def _value(recipe: Numbers, key: str) -> Any:
    value: Any = recipe
    for step in key.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _release(folder: Path) -> ReleaseCard:
    manifest = storage.read_json(folder / "manifest.json")
    facts = [("formats", ", ".join(manifest.get("formats") or []))]
    facts += [(key, wording.option(manifest[key])) for key in ("base", "method", "verdict") if manifest.get(key)]
    files: dict[str, Numbers] = manifest.get("files", {})
    size = wording.size(sum(file["bytes"] for file in files.values()))
    facts.append(("size", f"{size} in {len(files)} file{'' if len(files) == 1 else 's'}"))
    decode = manifest.get("decode") or {}
    if decode.get("kind"):
        facts.append(("answers by", ANSWERED_BY.get(decode["kind"], "its head")))
    name = f"{folder.parent.parent}:{folder.name}"
    commands = [
        f"tunewright chat {name}",
        f"tunewright serve {name} --port 8000",
        f"tunewright answer {name} IN.jsonl --out OUT.jsonl",
    ]
    return ReleaseCard(folder.name, facts, manifest.get("override"), commands)


def _next(reports: dict[str, Report]) -> str | None:
    done: Sequence[Report] = [reports[stage] for stage in STAGES if stage in reports]
    return done[-1].next if done else None
