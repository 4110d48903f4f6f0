"""Recipe: what the user wants, in one file. Every key is checked; every value not given has a reason."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tunewright.core import catalog, located, mistakes, phases, yaml_text
from tunewright.core.augment import Augment
from tunewright.core.canaries import Canaries
from tunewright.core.card import Card
from tunewright.core.choosing import Choosing, Selection
from tunewright.core.detecting import Detector
from tunewright.core.errors import NotThere, RecipeError
from tunewright.core.evaluating import CONTESTANTS, GUARDS, EvaluateOptions
from tunewright.core.guarding import Guard
from tunewright.core.monitor_options import MONITORS, MonitorOptions
from tunewright.core.monitoring import Monitor
from tunewright.core.part import PartChoice
from tunewright.core.parts import Contestant, Exporter, Grader, Method, Objective, Retention
from tunewright.core.privacy import PrivacyOptions
from tunewright.core.retrieval import Retrieval
from tunewright.core.scrubbing import Scrub

NAME = re.compile(r"^[a-z0-9][a-z0-9._-]{0,63}$")


class Section(BaseModel):
    """A block of the recipe. A field's description doubles as the reason of its default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Split(Section):
    """How the rows are parted when no test file is given."""

    train: float = Field(0.7, ge=0, le=1, description="share of the rows to learn from")
    validation: float = Field(0.15, ge=0, lt=1, description="share that watches training (early stopping)")
    test: float = Field(0.15, ge=0, lt=1, description="share kept for the verdict")
    group: str | None = Field(None, description="column whose rows stay on one side (customer, conversation ...)")
    time: str | None = Field(None, description="column of dates: the latest rows are the test, the earliest train")
    seed: int = Field(0, description="another seed gives another split")


class Mix(Section):
    """How often rows of each task are learned from: in proportion to their number, or evened out."""

    by: str = Field("source", description="what makes a task: the 'source' file of a row, or a column")
    temperature: float = Field(
        1.0, ge=1, description="shares go by num_rows^(1/temperature): 1 keeps proportions, high ones make tasks equal"
    )
    cap: int | None = Field(None, ge=1, description="count at most so many rows of a task when shares are made")


class DataOptions(Section):
    """Where the examples come from and what shape they have."""

    sources: list[str] = Field(
        min_length=1, description="files, folders or globs, relative to the recipe; or traffic:RUN:RELEASE"
    )
    format: str = Field("auto", description="detected from the columns when 'auto'")
    fields: dict[str, str] = Field({}, description="which column is what, e.g. {prompt: text, label: category}")
    system: str | None = Field(None, description="a system message put before every conversation that has none")
    test: str | None = Field(None, description="a file of test rows; else the split makes one")
    validation: str | None = Field(None, description="a file of validation rows; else the split makes one")
    split: Split = Split()
    mix: Mix | None = Field(
        None, description="several tasks: how their rows are balanced; none: each row once an epoch"
    )
    retrieval: Retrieval | None = Field(None, description="passages of documents beside each question; none: no search")
    checks: list[PartChoice] = Field([], description="detectors with other thresholds, or off; others as they are")
    fix: list[str] = Field([], description="findings to mend, by name; 'safe': all whose remedy loses nothing")
    scrub: Scrub | None = Field(
        None, description="personal data and secrets are taken out as rows are read; none: rows stay as they are"
    )
    select: Selection | None = Field(None, description="keep only the best training rows; none: all of them")
    augment: Augment | None = Field(None, description="rows made from training rows; none: rows as they are")
    canaries: Canaries | None = Field(
        None, description="made-up secrets planted among the training rows, to measure memorisation; none: no such rows"
    )
    more: list[str] = Field([], description="files of rows to learn from and never to measure on, made ones among them")
    max_bad: float = Field(
        0.1, ge=0, le=1, description="more unreadable rows than this share stop the run with a question"
    )
    limit: int | None = Field(
        None, ge=1, description="use only the first rows of the training sources (for a quick try)"
    )


class ModelOptions(Section):
    """Which model to start from."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    base: str = Field("nano", description="the bundled base; or a folder, or a Hub id")
    start: str | None = Field(None, alias="from", description="a run or an adapter folder to go on from")
    revision: str | None = Field(None, description="commit of a Hub model")
    new_tokens: tuple[str, ...] = Field(
        (), description="texts that become one token each; with a frozen base only their rows are trained and saved"
    )
    plain: bool = Field(
        False,
        description="compute known layers as the transformers library does, too, and attention on a GPU as on a CPU: "
        "same result, more memory",
    )


class TrainOptions(Section):
    """How long, how fast and how carefully to train. None: filled by `choose` with a reason."""

    epochs: float | None = Field(None, gt=0, description="passes over the training rows")
    steps: int | None = Field(None, ge=1, description="optimizer steps, instead of epochs")
    batch: int | None = Field(None, ge=1, description="examples in an optimizer step")
    lr: float | None = Field(None, gt=0, description="peak learning rate")
    lr_multiplier: float = Field(1.0, gt=0, description="times the rate that choose takes, in place of lr")
    schedule: Literal["cosine", "linear", "constant", "slanted_triangular"] = Field(
        "cosine", description="how the learning rate falls; cosine is forgiving"
    )
    warmup: float = Field(
        0.05, ge=0, lt=1, description="share of the steps in which the rate rises; steadies the start"
    )
    weight_decay: float = Field(0.01, ge=0, description="pulls matrices gently to zero")
    clip: float = Field(1.0, gt=0, description="largest gradient norm; longer gradients are shortened")
    optimizer: Literal["adamw", "adamw_8bit"] = Field(
        "adamw", description="exact; adamw_8bit keeps its moments in one byte each: less memory, slower on a CPU"
    )
    betas: tuple[float, float] = Field((0.9, 0.999), description="AdamW's memory of gradients and of their squares")
    max_tokens: int | None = Field(None, ge=8, description="longest row in tokens; longer ones are cut or left out")
    micro_tokens: int | None = Field(None, ge=8, description="forest tokens at once: memory only, never the result")
    checkpoint_layers: int | None = Field(
        None, ge=0, description="layers that are computed again in the backward pass: less memory, more time"
    )
    evaluate_every: int | None = Field(None, ge=1, description="steps between looks at the validation loss")
    save_every: int | None = Field(None, ge=1, description="steps between checkpoints")
    keep_epochs: int = Field(
        0, ge=0, description="checkpoints at the ends of so many of the last epochs stay beside the best one"
    )
    watch: bool = Field(True, description="look at general text, too, with the validation loss: what is forgotten when")
    patience: int = Field(3, ge=0, description="looks without a better validation loss before stopping; 0 never stops")
    seed: int = Field(0, ge=0, description="order of rows, start of adapters, dropout")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="probed: the faster exact-enough one"
    )
    device: str = Field("auto", description="cuda where there is one, else cpu")
    threads: int | None = Field(None, ge=1, description="CPU threads; all cores when left out")
    share: bool = Field(False, description="keep shared beginnings merged although dropout or noise is on")
    store_frozen: bool | None = Field(
        None, description="frozen lower layers compute each row once, into a file: same result, faster, needs disk"
    )

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        if self.lr is not None and self.lr_multiplier != 1:
            raise ValueError(
                "lr is the rate itself, and lr_multiplier multiplies the one that choose takes; leave one out"
            )
        return self


class DeployOptions(Section):
    """What a release contains."""

    formats: list[PartChoice] | None = Field(None, description="fitted to the method when left out")
    card: Card = Card()


class Recipe(Section):
    """The whole of it. Load with `Recipe.load`, change with `Recipe.set`."""

    name: str
    data: DataOptions
    model: ModelOptions = ModelOptions()
    method: PartChoice | None = None
    objective: PartChoice = "sft"
    retention: list[PartChoice] = Field([], description="how earlier knowledge is kept: a part or a list of them")
    train: TrainOptions = TrainOptions()
    evaluate: EvaluateOptions = EvaluateOptions()
    deploy: DeployOptions = DeployOptions()
    monitor: MonitorOptions = MonitorOptions()
    choose: Choosing = Choosing()
    privacy: PrivacyOptions = PrivacyOptions()
    phases: list[dict[str, Any]] = Field([], description="partial recipes, trained one after the other; see phases.md")

    @field_validator("retention", mode="before")
    @classmethod
    def _one_or_several(cls, given: Any) -> Any:
        return phases.as_list(given) if isinstance(given, str | dict) else given

    # --- parts, built ---

    def the_method(self) -> Method:
        """The method part. Call after `choose` has filled it."""
        assert self.method is not None, "choose fills the method"
        part: Method = catalog.build("methods", self.method)
        return part

    def the_objective(self) -> Objective:
        """The objective part."""
        part: Objective = catalog.build("objectives", self.objective)
        return part

    def the_retention(self) -> list[Retention]:
        """The retention parts."""
        return [catalog.build("retention", choice) for choice in self.retention]

    def the_detectors(self) -> list[Detector]:
        """All detectors, those that the recipe names with its options, without those that are off."""
        named: dict[str, Detector] = {}
        for choice in self.data.checks:
            part: Detector = catalog.build("detectors", choice)
            named[part.kind] = part
        kinds = catalog.kinds("detectors")
        found = [named.get(kind) or catalog.build("detectors", kind) for kind in kinds]
        return [part for part in found if not part.off]

    def the_graders(self) -> list[Grader]:
        """The grader parts (none before `choose` when the user named none)."""
        return [catalog.build("graders", choice) for choice in self.evaluate.graders or []]

    def the_contestants(self) -> list[Contestant]:
        """The contestant parts: those named, else the usual ones where the base can be asked."""
        usual = CONTESTANTS if self.the_objective().asks_base else []
        named = usual if self.evaluate.against is None else self.evaluate.against
        return [catalog.build("contestants", choice) for choice in named]

    def the_guards(self) -> list[Guard]:
        """The guard parts: those named, else the usual ones where base and tuned model answer in words."""
        objective = self.the_objective()
        usual = GUARDS if objective.asks_base and not objective.by_head else []
        return [
            catalog.build("guards", choice)
            for choice in (usual if self.evaluate.guards is None else self.evaluate.guards)
        ]

    def the_monitors(self) -> list[Monitor]:
        """The monitor parts: those named, else all that need no option."""
        named = MONITORS if self.monitor.monitors is None else self.monitor.monitors
        return [catalog.build("monitors", choice) for choice in named]

    def the_exporters(self) -> list[Exporter]:
        """The exporter parts (none before `choose` when the user named none)."""
        return [catalog.build("exporters", choice) for choice in self.deploy.formats or []]

    # --- making and writing ---

    @classmethod
    def parse(cls, values: Any, *, folder: Path) -> Recipe:
        """Check plain values and make a recipe; relative paths are taken from `folder`. Raises RecipeError with all
        problems.
        """
        if not isinstance(values, dict):
            found = "nothing" if values is None else f"a {type(values).__name__}"
            raise RecipeError(f"A recipe is a mapping of keys, found {found}. Begin with: tunewright init --data FILE")
        values = json.loads(json.dumps(values, default=str))
        if isinstance(values.get("model"), str):
            values["model"] = {"base": values["model"]}
        values = _with_shares(phases.with_data(values))
        try:
            recipe = cls.model_validate(values)
        except ValidationError as error:
            raise RecipeError([*mistakes.sentences(error, cls), *mistakes.of_parts(values)]) from None
        if not NAME.match(recipe.name):
            raise RecipeError(
                f"name: '{recipe.name}' cannot name a run. Use at most 64 lower-case letters, digits, '.', '_', '-'."
            )
        return located.with_absolute_paths(recipe, folder)

    @classmethod
    def load(cls, path: str | Path, changes: list[str] | None = None) -> Recipe:
        """Read a YAML or JSON recipe, with `key=value` changes. Raises NotThere or RecipeError."""
        path = Path(path)
        if not path.is_file():
            raise NotThere(f"There is no recipe or run '{path}'. Make a recipe with: tunewright init --data FILE")
        try:
            values = yaml_text.read(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise RecipeError(f"{path} is not readable as YAML or JSON: {mistakes.place(error)}.") from None
        if isinstance(values, dict):
            values.setdefault(
                "name", re.sub(r"[^a-z0-9._-]+", "-", path.resolve().parent.name.lower()).strip("-._") or "run"
            )
        for change in changes or []:
            values = set_key(values, change)
        return cls.parse(values, folder=path.resolve().parent)

    def changed(self, section: str, **values: Any) -> Recipe:
        """A copy with some values of one section replaced."""
        block = getattr(self, section)
        return self.model_copy(update={section: block.model_copy(update=values)})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they would stand in YAML."""
        return self.model_dump(mode="json", by_alias=True)

    def to_yaml(self, reasons: dict[str, str]) -> str:
        """YAML with a comment behind each value that the user did not give. `reasons`: dotted key -> reason."""
        return "\n".join(yaml_lines(self.to_dict(), reasons)) + "\n"


def _with_shares(values: dict[str, Any]) -> dict[str, Any]:
    """With 80/20 for training and validation where the test is a file and no shares are given."""
    data = values.get("data")
    if not isinstance(data, dict) or not data.get("test") or data.get("validation"):
        return values
    split = data.get("split") or {}
    if not isinstance(split, dict) or split.keys() & {"train", "validation", "test"}:
        return values
    return {**values, "data": {**data, "split": {"train": 0.8, "validation": 0.2, "test": 0.0, **split}}}


def default_reasons(recipe: Recipe) -> dict[str, str]:
    """The reason of each value the user left at its default, by dotted key."""

    def walk(block: BaseModel, prefix: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, info in type(block).model_fields.items():
            value = getattr(block, name)
            key = f"{prefix}{info.alias or name}"
            if isinstance(value, BaseModel):
                found |= walk(value, f"{key}.")
            elif name not in block.model_fields_set and info.description:
                found[key] = f"default: {info.description}"
        return found

    objective = {} if "objective" in recipe.model_fields_set else {"objective": "default: learn the answers"}
    return objective | walk(recipe, "")


def set_key(values: Any, change: str) -> dict[str, Any]:
    """Apply one `dotted.key=value` (the value is read as YAML) to plain recipe values; a copy is returned."""
    key, equals, text = change.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set needs key=value, found '{change}'. For example: --set train.lr=0.001")
    try:
        value = yaml_text.read(text)
    except yaml.YAMLError:
        value = text
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
        value = float(value)  # YAML 1.1 reads 1e-3 as text
    values = json.loads(json.dumps(values, default=str))
    block = values
    *path, last = key.strip().split(".")
    for step in path:
        inner = block.get(step)
        if isinstance(inner, str):  # `method: lora` becomes {kind: lora}; `model: nano` becomes {base: nano}
            inner = {"base" if step == "model" else "kind": inner}
        block[step] = inner = inner if isinstance(inner, dict) else {}
        block = inner
    block[last] = value
    return dict(values)


def yaml_lines(values: dict[str, Any], reasons: dict[str, str], prefix: str = "") -> list[str]:
    """Plain values as lines of YAML, with the reason of each (by its dotted key) as a comment."""
    lines: list[str] = []
    pad = "  " * prefix.count(".")
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        reason = reasons.get(dotted)
        comment = f"  # {' '.join(reason.split())}" if reason else ""
        if isinstance(value, dict) and value:
            lines.append(f"{pad}{key}:{comment}")
            lines += yaml_lines(value, reasons, f"{dotted}.")
        elif isinstance(value, list) and value:
            lines.append(f"{pad}{key}:{comment}")
            lines += [f"{pad}- {_inline(item)}" for item in value]
        else:
            lines.append(f"{pad}{key}: {_inline(value)}{comment}")
    return lines


def _inline(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...").strip()
