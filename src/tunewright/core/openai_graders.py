"""OpenAI's grader types as they stand in its JSON: string_check, text_similarity, python, score_model, label_model and
multi. Read and checked here; graders/openai.py computes them.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from tunewright.core import formula, templates
from tunewright.core.catalog import describe
from tunewright.core.errors import RecipeError, unknown

Metric = Literal[
    "cosine", "fuzzy_match", "bleu", "gleu", "meteor", "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l"
]
_LARGEST_SOURCE = 256 * 1024  # characters


def _template(text: str) -> str:
    if found := templates.problems(text):
        raise ValueError(" ".join(found))
    return text


class Shape(BaseModel):
    """Base of every grader type: unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("", description="what results and formulas call it")


class StringCheck(Shape):
    """Whether a text is another one (eq, ne), or holds it (like; ilike: whatever the case)."""

    type: Literal["string_check"]
    input: str
    reference: str
    operation: Literal["eq", "ne", "like", "ilike"]

    _texts = field_validator("input", "reference")(_template)


class TextSimilarity(Shape):
    """How near two texts are. pass_threshold: the value from which a row passes, as evals have it."""

    type: Literal["text_similarity"]
    input: str
    reference: str
    evaluation_metric: Metric
    pass_threshold: float | None = None

    _texts = field_validator("input", "reference")(_template)


class PythonSource(Shape):
    """Source with `grade(sample, item) -> float`. image_tag names OpenAI's own container; here it is this Python."""

    type: Literal["python"]
    source: str
    image_tag: str | None = None
    pass_threshold: float | None = None

    @field_validator("source")
    @classmethod
    def _defines_grade(cls, source: str) -> str:
        if len(source) > _LARGEST_SOURCE:
            raise ValueError(f"may have {_LARGEST_SOURCE} characters, found {len(source)}")
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise ValueError(f"is no Python: {error}") from None
        found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "grade"]
        if not found or len(found[-1].args.args) != 2:
            raise ValueError("must define the function grade(sample, item)")
        return source


class Part(BaseModel):
    """A text of a message to a grading model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["input_text", "output_text", "text"]
    text: str


class Prompt(BaseModel):
    """A message to a grading model, with templates in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Part | list[str | Part]
    type: Literal["message"] = "message"

    @property
    def text(self) -> str:
        """All that it says."""
        parts = self.content if isinstance(self.content, list) else [self.content]
        return "\n".join(part if isinstance(part, str) else part.text for part in parts)

    @model_validator(mode="after")
    def _is_template(self) -> Prompt:
        _template(self.text)
        return self


class Sampling(BaseModel):
    """How a grading model is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float | None = Field(None, ge=0)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = None
    max_completions_tokens: int | None = Field(None, ge=1)
    reasoning_effort: str | None = None


class ScoreModel(Shape):
    """A model gives a number within the range."""

    type: Literal["score_model"]
    model: str
    input: list[Prompt] = Field(min_length=1)
    range: tuple[float, float] = (0.0, 1.0)
    sampling_params: Sampling = Sampling()
    pass_threshold: float | None = None

    @field_validator("range")
    @classmethod
    def _ascends(cls, given: tuple[float, float]) -> tuple[float, float]:
        if not given[0] < given[1]:
            raise ValueError(f"must go from a lower to a higher number, found {list(given)}")
        return given


class LabelModel(Shape):
    """A model gives one of the labels; some of them pass."""

    type: Literal["label_model"]
    model: str
    input: list[Prompt] = Field(min_length=1)
    labels: list[str] = Field(min_length=1)
    passing_labels: list[str] = Field(min_length=1)
    sampling_params: Sampling = Sampling()

    @model_validator(mode="after")
    def _passing_are_labels(self) -> LabelModel:
        if wrong := [label for label in self.passing_labels if label not in self.labels]:
            raise ValueError(f"passing_labels: {unknown('label', wrong[0], self.labels)}")
        return self


Single = Annotated[StringCheck | TextSimilarity | PythonSource | ScoreModel | LabelModel, Field(discriminator="type")]


class Multi(Shape):
    """Several graders, and a formula over their values by name."""

    type: Literal["multi"]
    graders: dict[str, Single]
    calculate_output: str

    @field_validator("graders", mode="before")
    @classmethod
    def _by_name(cls, given: Any) -> Any:
        """One grader, a list or a mapping: a mapping, by the names that the formula uses."""
        if isinstance(given, dict) and "type" not in given:
            return given
        listed = given if isinstance(given, list) else [given]
        names = [one.get("name") if isinstance(one, dict) else None for one in listed]
        if not listed or not all(isinstance(name, str) and name for name in names):
            raise ValueError("every grader of a list needs a name")
        if twice := sorted({str(name) for name in names if names.count(name) > 1}):
            raise ValueError(f"two graders are called '{twice[0]}'")
        return dict(zip(names, listed, strict=True))

    @model_validator(mode="after")
    def _formula_fits(self) -> Multi:
        try:
            read = formula.read(self.calculate_output)
        except RecipeError as error:
            raise ValueError(f"calculate_output: {error}") from None
        if wrong := sorted(read.names - set(self.graders)):
            raise ValueError(f"calculate_output: {unknown('grader', wrong[0], self.graders)}")
        return self


Grader = Annotated[
    StringCheck | TextSimilarity | PythonSource | ScoreModel | LabelModel | Multi, Field(discriminator="type")
]
AnyGrader = StringCheck | TextSimilarity | PythonSource | ScoreModel | LabelModel | Multi
_ADAPTER: TypeAdapter[AnyGrader] = TypeAdapter(Grader)
TYPES: dict[str, type[Shape]] = {
    "string_check": StringCheck,
    "text_similarity": TextSimilarity,
    "python": PythonSource,
    "score_model": ScoreModel,
    "label_model": LabelModel,
    "multi": Multi,
}


def read(given: Any, *, reinforcement: bool = False) -> AnyGrader:
    """A grader of OpenAI's JSON: plain values, or the path of a file with them. Raises RecipeError with every problem.

    reinforcement: as fine-tuning jobs take it, where label_model stands only inside multi.
    """
    if isinstance(given, str | Path):
        given = _of_file(Path(given))
    if not isinstance(given, Mapping):
        raise RecipeError(f"grader: must be an object with a type, found {given!r}."[:200])
    kind = given.get("type")
    if not isinstance(kind, str) or kind not in TYPES:
        raise RecipeError(f"grader.type: {unknown('grader type', str(kind)[:80], TYPES)}")
    if kind == "label_model" and reinforcement:
        raise RecipeError("grader.type: a label_model rewards nothing by itself. Put it into a multi grader.")
    try:
        return _ADAPTER.validate_python(dict(given))
    except ValidationError as error:
        shapes = TYPES.values() if kind == "multi" else [TYPES[kind]]
        known = sorted({name for shape in shapes for name in shape.model_fields})
        raise RecipeError([_plain(told) for told in describe(error, where="grader", known=known)]) from None


def problems(given: Any, *, reinforcement: bool = False) -> list[str]:
    """What is wrong with a grader, each one sentence; empty for a valid one."""
    try:
        read(given, reinforcement=reinforcement)
    except RecipeError as error:
        return error.problems
    return []


def singles(grader: AnyGrader) -> Iterator[StringCheck | TextSimilarity | PythonSource | ScoreModel | LabelModel]:
    """The grader itself, or those that it is made of."""
    if isinstance(grader, Multi):
        yield from grader.graders.values()
    else:
        yield grader


def _of_file(path: Path) -> Any:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise RecipeError(f"grader: there is no file {path}. Paths are relative to the recipe.") from None
    except ValueError as error:
        raise RecipeError(f"grader: {path} is no JSON: {error}. Correct it.") from None
    return found["grader"] if isinstance(found, dict) and isinstance(found.get("grader"), dict) else found


def _plain(sentence: str) -> str:
    """Without the type's name that pydantic puts into the path, as no key of the JSON is called so."""
    head, space, rest = sentence.partition(" ")
    steps = [step for number, step in enumerate(head.split(".")) if number == 0 or step not in TYPES]
    return f"{'.'.join(steps)}{space}{rest}"
