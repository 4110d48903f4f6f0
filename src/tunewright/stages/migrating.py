"""What a user exported from OpenAI - job objects and training files - becomes a recipe for each job."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from tunewright.core import storage
from tunewright.core.errors import NotThere, RecipeError, RunError
from tunewright.core.recipe import Recipe
from tunewright.core.report import Finding, Report
from tunewright.data import readers
from tunewright.stages import converting
from tunewright.stages.foreign import Foreign, Left, run_name
from tunewright.stages.from_openai import FORMATS, recipe_values

_LONGEST_BYTES = 64 * 2**20  # of JSON with objects; longer JSON lines are training rows
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")  # as it becomes part of a path and of a comment
_JOB, _FILE = "fine_tuning.job", "file"
DIFFERS = (
    "15 of 100 training rows are kept for the verdict (data.split), as many watch training where no validation file "
    "is given, and the best checkpoint becomes the result, not the last."
)


@dataclass
class Export:
    """What lies in a folder. names: the filename of each file id, of file objects. rows: files that hold rows."""

    jobs: list[dict[str, Any]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    rows: list[Path] = field(default_factory=list)

    def take(self, value: Any) -> bool:
        """Sort one object in; whether it was one of OpenAI's."""
        kind = value.get("object") if isinstance(value, dict) else None
        if kind == _JOB:
            if _is_id(value.get("id")) and all(job["id"] != value["id"] for job in self.jobs):
                self.jobs.append(value)
        elif kind == _FILE and isinstance(value.get("filename"), str):
            self.names[str(value.get("id"))] = value["filename"]
        return isinstance(kind, str)

    def find(self, file_id: str) -> Path | None:
        """The file of an id: named by it, or as its file object says."""
        named = [path for path in self.rows if file_id in path.name]
        named += [path for path in self.rows if path.name == Path(self.names.get(file_id, "/")).name]
        return named[0] if named else None


def migrate(folder: str | Path, out: str | Path = "recipes", *, base: str = "nano") -> Report:
    """Write a recipe for each job of an export, never over one that is there.

    folder: job objects as JSON (one, a list, or a job a line) and training files as JSON lines, named by their ids or
    beside a list of file objects. base: the model that takes the place of OpenAI's. Raises NotThere, RunError.
    """
    folder, out = Path(folder), Path(out)
    export = _read(folder)
    if not export.jobs:
        raise NotThere(
            f"There is no fine-tuning job in {folder}. Write what client.fine_tuning.jobs.list() gives into it as "
            "JSON; for rows without a job: tunewright init --data FILE"
        )
    findings, made, failed = [Finding(name="differs", message=DIFFERS)], [], []
    told: dict[str, tuple[Finding, list[str]]] = {}  # the same of several recipes once
    texts: dict[Path, str] = {}
    for job in export.jobs:
        try:
            foreign = _foreign(job, export, folder, base)
            path = _free(out, foreign, texts)
            values = converting.ordered(foreign, path)
            Recipe.parse(values, folder=path.resolve().parent)
        except RecipeError as error:
            failed.append({"job": job["id"], "why": error.problems})
            message = f"{job['id']}: no recipe: {' '.join(error.problems)}"
            findings.append(Finding(name="not_made", severity="problem", message=message))
            continue
        texts[path] = converting.text(foreign, values)
        made.append({
            "job": job["id"], "recipe": str(path), "objective": _kind(values["objective"]),
            "carried": foreign.carried, "not_carried": {key: left.why for key, left in foreign.left.items()},
        })  # fmt: skip
        for one in converting.findings(foreign):
            told.setdefault(one.message, (one, []))[1].append(path.name)
    findings += [one.model_copy(update={"message": f"{_named(names)}: {one.message}"}) for one, names in told.values()]
    for path, text in texts.items():
        storage.write_text(path, text)
    following = f"tunewright check {made[0]['recipe']}" if made else None
    return Report(
        stage="migrate",
        run="",
        numbers={"from": str(folder), "jobs": len(export.jobs), "recipes": made, "not_made": failed},
        findings=findings,
        next=following,
    )


def _named(names: list[str]) -> str:
    """Recipes of which the same is told."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"


# --- reading ---


def _read(folder: Path) -> Export:
    if not folder.is_dir():
        raise NotThere(f"There is no folder {folder}. Give the one with the jobs and training files from OpenAI.")
    export = Export()
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in (".json", ".jsonl") or not path.is_file():
            continue
        taken = [export.take(value) for value in _objects(path)]
        if not any(taken):
            export.rows.append(path)
    return export


def _objects(path: Path) -> Iterator[Any]:
    """The objects of a file: its own, those of its list, or those of its lines up to one that is a row."""
    if path.suffix.lower() == ".jsonl":
        for row in readers.read_jsonl(path, []):
            if row.values is None or "object" not in row.values:
                return
            yield row.values
        return
    if path.stat().st_size > _LONGEST_BYTES:
        return
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        value = value["data"]
    yield from value if isinstance(value, list) else [value]


# --- one job ---


def _foreign(job: Mapping[str, Any], export: Export, folder: Path, base: str) -> Foreign:
    """A job on its way to a recipe. Raises RecipeError."""
    method = job.get("method")
    if not isinstance(method, dict):
        method = {"type": "supervised", "supervised": {"hyperparameters": job.get("hyperparameters") or {}}}
    foreign = recipe_values(method)
    foreign.path = Path(str(job["id"]))
    foreign.config |= {key: job[key] for key in ("model", "metadata", "integrations", "status") if job.get(key)}
    foreign.put("name", run_name(job.get("user_provided_suffix") or _suffix(job) or job["id"]) or "job")
    foreign.put("model", {"base": base})
    if foreign.take("model", "model.base") != base:
        foreign.leave("model", f"OpenAI gives its weights to nobody; {base} stands in model.base", "warning")
    foreign.leave("metadata", "a recipe holds none; keep it in your notes, or send it with a job")
    foreign.leave("integrations", "nothing is sent anywhere; report.html draws the curves")
    if job.get("status") == "succeeded":
        del foreign.config["status"]
    foreign.leave("status", "the job did not succeed there; its error may come again", "warning")
    _rows(foreign, job, str(method.get("type") or "supervised"), export, folder)
    if isinstance(job.get("seed"), int):
        foreign.put("train.seed", job["seed"])
        foreign.carried["seed"] = "train.seed"
    return foreign


def _suffix(job: Mapping[str, Any]) -> str:
    """The user's own word in the name of the tuned model, ft:base:organization:suffix:id."""
    parts = str(job.get("fine_tuned_model") or "").split(":")
    return parts[3] if len(parts) >= 5 else ""


def _rows(foreign: Foreign, job: Mapping[str, Any], method: str, export: Export, folder: Path) -> None:
    training = _placed(foreign, "training_file", job, export, folder)
    foreign.put("data", {"sources": [training], "format": FORMATS.get(method) or _supervised(Path(training))})
    if job.get("validation_file"):
        foreign.put("data.validation", _placed(foreign, "validation_file", job, export, folder))


def _placed(foreign: Foreign, key: str, job: Mapping[str, Any], export: Export, folder: Path) -> str:
    """Where a job's file is, or has to be put."""
    file_id = job.get(key)
    if not _is_id(file_id):
        raise RecipeError(f"{key}: {str(file_id)[:80]!r} is no id of a file.")
    found = export.find(file_id)
    foreign.carried[key] = "data.sources" if key == "training_file" else "data.validation"
    if found is not None:
        return str(found.resolve())
    wanted = folder / f"{file_id}.jsonl"
    foreign.left[f"{key}: {file_id}"] = Left(
        f"it is not in {folder}; fetch it with client.files.content('{file_id}').write_to_file('{wanted}')", "problem"
    )
    return str(wanted.resolve())


def _supervised(path: Path) -> str:
    """The format of a supervised job's rows: chat, or prompts with completions as older jobs have them."""
    first = next((row.values for row in readers.read_jsonl(path, []) if row.values), {}) if path.exists() else {}
    return "completion" if "prompt" in first and "messages" not in first else "chat"


def _free(out: Path, foreign: Foreign, taken: Mapping[Path, str]) -> Path:
    """A path for a recipe, whose name tells it from the others. Raises RunError where one is there already."""
    name, number = str(foreign.values["name"]), 1
    path = out / f"{name}.yaml"
    while path in taken:
        number += 1
        foreign.values["name"] = f"{name[:58]}-{number}"
        path = out / f"{foreign.values['name']}.yaml"
    if path.exists():
        raise RunError(f"{path} is there already and is not overwritten. Give another folder with --out.")
    return path


def _is_id(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _kind(objective: Any) -> str:
    return objective if isinstance(objective, str) else str(objective["kind"])
