"""Carries a recipe through its stages, in order, each once. The Python API and the command line are this module."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tunewright.core import checks, choosing, judging, private, storage
from tunewright.core import phases as core_phases
from tunewright.core.errors import RecipeError, Refused, RunBusy, RunError, Stopped
from tunewright.core.recipe import Recipe
from tunewright.core.report import Finding, Report
from tunewright.core.run import STAGES, Listener, Run
from tunewright.stages import vaults

# The sections of the recipe that a stage's result depends on, beyond those of the stages before it.
SECTIONS: dict[str, tuple[str, ...]] = {
    "prepare": ("data",),
    "choose": ("data", "model", "method", "objective", "train", "evaluate", "deploy"),
    "train": ("data", "model", "method", "objective", "train"),
    "evaluate": ("data", "model", "method", "objective", "train", "evaluate"),
    "deploy": ("data", "model", "method", "objective", "train", "evaluate", "deploy"),
}
TRAINING = ("retention", "phases")  # sections that count, from choose on, where they are given
LISTENERS: Sequence[Listener] = ()


def run(
    recipe: str | Path | Recipe,
    *,
    changes: list[str] | None = None,
    runs: str | Path = "runs",
    fresh: bool = False,
    override: str | None = None,
    listeners: Sequence[Listener] = LISTENERS,
    stop: threading.Event | None = None,
) -> Report:
    """Carry a recipe from prepare to deploy; done stages are kept, an interrupted one goes on.

    recipe: a file, a folder of a run, or a Recipe. changes: `key=value` for any recipe key. fresh: put the old run
    aside
    and start over. override: deploy although the verdict is no GO; the reason is recorded. stop: asks for a clean stop
    when it is set. Returns one report over all stages with the verdict; a NO-GO or NEED MORE ends without a release.
    Raises TunewrightError.
    """
    return _carry(recipe, "deploy", changes, runs, fresh, override, listeners, whole=True, stop=stop)


def prepare(recipe: str | Path | Recipe, **options: Any) -> Report:
    """Read, clean, check and split the data. Options as in `run`."""
    return _stage("prepare", recipe, **options)


def choose(recipe: str | Path | Recipe, **options: Any) -> Report:
    """Fill what the recipe leaves open, with reasons, and freeze it. Options as in `run`."""
    return _stage("choose", recipe, **options)


def train(recipe: str | Path | Recipe, **options: Any) -> Report:
    """Tune the model, or go on where it was stopped. Options as in `run`."""
    return _stage("train", recipe, **options)


@dataclass(frozen=True)
class Outcome:
    """What came of one run of several: its report, or the error that ended it."""

    run: str
    report: Report | None = None
    error: Exception | None = None


def train_many(
    recipes: Sequence[str | Path | Recipe],
    *,
    changes: list[str] | None = None,
    runs: str | Path = "runs",
    fresh: bool = False,
    listeners: Sequence[Listener] = LISTENERS,
) -> list[Outcome]:
    """Tune one after the other in this process: adapters on one base share its weights in memory.

    Each run comes out as if it were trained alone, in a folder of its own; one that fails does not keep the others from
    their turn. Options as in `run`. Raises RecipeError before any work, for all recipes at once, and Stopped.
    """
    from tunewright.stages import tuned

    given = [given_recipe(recipe, changes, Path(runs)) for recipe in recipes]
    names = [recipe.name for recipe, _ in given]
    problems = [f"name: several recipes are called '{name}'." for name in sorted(set(names)) if names.count(name) > 1]
    problems += [
        f"{recipe.name}: {problem}" for recipe, home in given for problem in checks.problems(recipe, runs=home)
    ]
    if problems:
        raise RecipeError(problems)
    outcomes = []
    with tuned.one_base():
        for recipe, home in given:
            for listener in listeners:
                listener({"event": "run_begins", "run": recipe.name})
            try:
                report = train(recipe, runs=home, fresh=fresh, listeners=listeners)
                outcomes.append(Outcome(recipe.name, report))
            except Stopped:
                raise
            except Exception as error:  # of whatever kind: the others have their turn
                outcomes.append(Outcome(recipe.name, error=error))
    return outcomes


def evaluate(recipe: str | Path | Recipe, **options: Any) -> Report:
    """Measure the tuned model and its contestants on the test set and give a verdict. Options as in `run`."""
    return _stage("evaluate", recipe, **options)


def deploy(recipe: str | Path | Recipe, **options: Any) -> Report:
    """Write a release. Raises Refused when the verdict is no GO, unless `override` gives a reason."""
    return _stage("deploy", recipe, **options)


def prove(run: str | Path, *, runs: str | Path = "runs", names: list[str] | None = None) -> Report:
    """Measure the proofs of a run again (all, or those named) and return them as a report."""
    from tunewright.stages import phases, proving

    the_run = Run.open(run, runs=runs)
    started = time.monotonic()
    recipe = the_run.recipe()
    proofs = phases.prove(the_run, names=names) if recipe.phases else proving.prove(recipe, the_run, names=names)
    report = Report(stage="prove", run=the_run.name, proofs=proofs, seconds=round(time.monotonic() - started, 2))
    report.save(the_run.path("prove"))
    return report


def _stage(
    stage: str,
    recipe: str | Path | Recipe,
    *,
    changes: list[str] | None = None,
    runs: str | Path = "runs",
    fresh: bool = False,
    override: str | None = None,
    listeners: Sequence[Listener] = LISTENERS,
) -> Report:
    return _carry(recipe, stage, changes, runs, fresh, override, listeners, whole=False)


def _carry(
    source: str | Path | Recipe,
    last: str,
    changes: list[str] | None,
    runs: str | Path,
    fresh: bool,
    override: str | None,
    listeners: Sequence[Listener],
    whole: bool,
    stop: threading.Event | None = None,
) -> Report:
    given, runs = given_recipe(source, changes, Path(runs))
    checks.check(given, runs=runs)
    the_run = Run.begin(given, runs=runs, fresh=fresh)
    vaults.begin(given, the_run)
    the_run.listeners += listeners
    the_run.stop = stop or the_run.stop
    reports: list[Report] = []
    with the_run.working(last), stops_cleanly(the_run), recorded(the_run):
        if not isinstance(source, Recipe) and Path(source).is_file():
            the_run.update(recipe=str(source))
        for stage in STAGES[: STAGES.index(last) + 1]:
            if stage == "deploy" and whole and reports[-1].exit_code and not override:
                break  # the verdict is the answer; `tunewright deploy --override` is the way round it
            reports.append(_do(stage, given, the_run, override))
    return _together(the_run, reports) if whole else reports[-1]


def given_recipe(source: str | Path | Recipe, changes: list[str] | None, runs: Path) -> tuple[Recipe, Path]:
    """The recipe as the user gave it. The folder of a run stands for the recipe it was begun with."""
    if isinstance(source, Recipe):
        return source, runs
    path = Path(source)
    for folder in (path, runs / path):
        if (folder / "recipe.given.yaml").exists():
            return Recipe.load(folder / "recipe.given.yaml", changes), folder.resolve().parent
    return Recipe.load(path, changes), runs


def _do(stage: str, given: Recipe, run: Run, override: str | None) -> Report:
    """One stage: skipped when its report answers the same recipe, refused when training would be thrown away."""
    recipe = given if stage in ("prepare", "choose") else run.recipe()
    inputs = _inputs(stage, recipe)
    done = run.report(stage)
    if done is not None and done.inputs == inputs and not (stage == "deploy" and override):
        run.log("stage_kept", stage=stage)
        return _with_ratings(recipe, run, done) if stage == "evaluate" else done
    if stage != "evaluate" and stage != "deploy":
        _refuse_change(given, run, frozen_edited=stage == "train" and done is not None)
    if stage in ("prepare", "choose"):
        storage.write_text(run.path("recipe.given.yaml"), given.to_yaml({}))
    run.log("stage_begins", stage=stage)
    run.update(stage=stage, step=0, total=0)
    started = time.monotonic()
    report = (_phased(stage, given) or _function(stage))(recipe, run, override)
    if stage == "choose":
        inputs = _inputs(stage, given)
    report = report.model_copy(update={"inputs": inputs, "seconds": round(time.monotonic() - started, 2)})
    _put_aside(run, stage)
    report.save(run.path(stage))
    run.log("stage_done", stage=stage, verdict=report.verdict, seconds=report.seconds)
    write_page(run)
    return report


def _with_ratings(recipe: Recipe, run: Run, done: Report) -> Report:
    """A kept evaluation, judged anew where ratings have come since."""
    from tunewright.stages import bars

    judged = bars.again(recipe, run, done)
    if judged is None:
        return done
    judged.save(run.path("evaluate"))
    run.log("judged_again", stage="evaluate", verdict=judged.verdict)
    write_page(run)
    return judged


def _function(stage: str) -> Callable[[Recipe, Run, str | None], Report]:
    import importlib

    function = getattr(importlib.import_module(f"tunewright.stages.{stage}"), stage)
    if stage == "deploy":
        return lambda recipe, run, override: function(recipe, run, override=override)
    return lambda recipe, run, override: function(recipe, run)


def _phased(stage: str, given: Recipe) -> Callable[[Recipe, Run, str | None], Report] | None:
    """How a stage is done otherwise where the recipe has phases; None where it is done as ever."""
    if not given.phases or stage not in ("choose", "train", "evaluate"):
        return None
    from tunewright.stages import continual, phases

    if stage == "train":
        return lambda recipe, run, override: phases.train(run, partial(carry_child, run))
    function = phases.choose if stage == "choose" else continual.evaluate
    return lambda recipe, run, override: function(recipe, run)


def carry_child(outer: Run, given: Recipe, child: Run, stages: Sequence[str]) -> list[Report]:
    """Stages of a child run in its own folder, as if it were a run alone; then the outer page, which shows it."""
    with child.working(stages[-1]), recorded(child):
        reports = [_do(stage, given, child, None) for stage in stages]
    write_page(outer)
    return reports


def _inputs(stage: str, recipe: Recipe) -> str:
    """A hash of what a stage depends on. Without defaults: a key that a newer version brings changes no run."""
    from tunewright.data.sources import fingerprint

    values = recipe.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    sections = {key: values.get(key) for key in SECTIONS[stage]}
    files = [fingerprint(recipe.data)]
    if stage == "prepare" and recipe.data.select is not None and recipe.data.select.by in choosing.NEED_MODEL:
        sections["model"] = values.get("model")
    if stage == "choose" and "choose" in values:
        sections["choose"] = [values["choose"], choosing.fingerprint(recipe)]
    if stage in ("evaluate", "deploy") and (cases := judging.fingerprint(recipe)) is not None:
        sections["cases"] = cases
    if stage != "prepare":
        sections |= {key: values[key] for key in TRAINING if key in values}
        files += [fingerprint(phase.recipe.data) for phase in core_phases.look(recipe).phases]
    return storage.digest([sections, *files])


def _refuse_change(given: Recipe, run: Run, *, frozen_edited: bool) -> None:
    """Once training has begun, what it was begun with stands. Raises RunError naming each difference."""
    if not any(run.path("checkpoints").glob("step-*")) and run.report("train") is None:
        return
    begun = Recipe.load(run.path("recipe.given.yaml"))
    if begun.phases and given.phases:
        return  # each phase refuses for itself; others may be added
    before, now = begun.to_dict(), given.to_dict()
    differences = [
        f"{key}: {old!r} -> {new!r}"
        for section in (*SECTIONS["train"], *TRAINING)
        for key, old, new in _differences(section, before[section], now[section])
    ]
    from tunewright.data.sources import fingerprint

    prepared = run.report("prepare")
    old_files = prepared.numbers["fingerprint"] if prepared else {}
    new_files = fingerprint(given.data)
    for name in sorted({*old_files, *new_files}):
        if old_files.get(name) != new_files.get(name):
            differences.append(
                f"the file {name} has {'changed' if name in old_files and name in new_files else 'come or gone'}"
            )
    if frozen_edited:
        differences.append(f"{run.path('recipe.yaml')} was edited after training")
    if differences:
        raise RunError(
            f"Run '{run.name}' was begun with other settings or data: {'; '.join(differences)}. "
            "Put them back, start over with --fresh (the old run is kept under another name), or give another name."
        )


def _differences(key: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            yield from _differences(f"{key}.{name}", old.get(name), new.get(name))
    elif old != new:
        yield key, old, new


def _put_aside(run: Run, stage: str) -> None:
    """Keep an earlier report of this stage beside the new one."""
    current = run.path(stage, "report.json")
    if current.exists():
        number = len(list(run.path(stage).glob("report.*.json"))) + 1
        current.rename(run.path(stage, f"report.{number:03d}.json"))


def write_page(run: Run) -> None:
    """Write the run's report page anew."""
    from tunewright.stages import page

    storage.write_text(run.path("report.html"), page.render(run), point="page")


def _together(run: Run, reports: list[Report]) -> Report:
    """One report over all stages."""
    judged = next((report for report in reports if report.stage == "evaluate"), None)
    released = next((report for report in reports if report.stage == "deploy"), None)
    findings: list[Finding] = [finding for report in reports for finding in report.findings]
    return Report(
        stage="run",
        run=run.name,
        seconds=round(sum(report.seconds for report in reports), 2),
        verdict=judged.verdict if judged else None,
        reason=judged.reason if judged else None,
        numbers={report.stage: report.numbers for report in reports},
        findings=findings,
        proofs=[proof for report in reports for proof in report.proofs],
        contestants=judged.contestants if judged else {},
        guards=judged.guards if judged else [],
        next=released.next if released else judged.next if judged else None,
    )


@contextmanager
def recorded(run: Run) -> Iterator[None]:
    """Record how the work ended."""
    try:
        yield
    except RunBusy:
        raise
    except BaseException as error:
        state = "stopped" if isinstance(error, Stopped) else "done" if isinstance(error, Refused) else "failed"
        with suppress(OSError):  # a full disk must not hide the error that tells of it
            told = type(error).__name__ if private.is_private(run.folder) else f"{type(error).__name__}: {error}"
            run.update(state=state, error=told if state == "failed" else None)  # run.json is never encrypted
            if run.report("prepare") is not None:
                write_page(run)
        raise
    run.update(state="done")


@contextmanager
def stops_cleanly(run: Run) -> Iterator[None]:
    """SIGTERM and the first Ctrl-C ask for a clean stop; a second Ctrl-C interrupts at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: object) -> None:
        if run.stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        run.stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
