"""prompt: the model with the best prompt: the user's own, or the best that a search finds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tunewright.contestants._shown import Shows, before, lead
from tunewright.core.contesting import Answerer, Rehearsal, Rehearsed
from tunewright.core.endpoint import Endpoint
from tunewright.core.errors import EndpointError
from tunewright.core.example import Example
from tunewright.core.parts import Contestant

QUESTION = "{question}"


class Search(BaseModel):
    """How a prompt is looked for, on validation rows alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    instructions: tuple[str, ...] = Field((), description="system messages to try beside those made for the task")
    definitions: dict[str, str] = Field({}, description="what each label means; one instruction tells them all")
    shots: tuple[int, ...] = Field((0, 4), description="numbers of shown examples to try")
    proposer: Endpoint | None = Field(None, description="a model that proposes further instructions from examples")
    proposals: int = Field(8, ge=1, description="how many it proposes")
    candidates: int = Field(16, ge=2, description="prompts tried in all: more find better ones, and take longer")
    rows: int = Field(200, ge=4, description="validation rows used at most, all of them only for the last two prompts")
    seconds: float | None = Field(None, gt=0, description="stop looking after so many seconds of answering")
    seed: int = Field(0, description="another seed tries other pairs of instruction and examples, on other rows")

    @field_validator("shots")
    @classmethod
    def _counts(cls, shots: tuple[int, ...]) -> tuple[int, ...]:
        if not shots or min(shots) < 0:
            raise ValueError("must be numbers of examples, such as [0, 4]")
        return shots


class Prompt(Contestant, Shows):
    """The model before tuning with the best prompt: what careful asking reaches without training.

    Needs messages. With `system`, `template`, `file` or `examples` it is the user's own prompt. Else instructions and
    sets of examples are tried on validation rows, graded by the deciding grader, by successive halving (Jamieson and
    Talwalkar 2016, arXiv 1502.07943): all on a few rows, the better half on twice as many, until two are left. What an
    endpoint proposes is made as in APE (Zhou et al. 2023, arXiv 2211.01910). The prompt that was found stands in the
    report as options of this contestant. Neighbours: `few_shot` (examples alone), `base`.
    """

    paths: ClassVar[tuple[str, ...]] = ("file", "examples")

    system: str | None = Field(None, description="the system message, in the place of the rows' own")
    template: str | None = Field(None, description="what becomes of what the user says, with {question}")
    file: str | None = Field(None, description="a text file: a template where it holds {question}, else the system")
    k: int = Field(0, ge=0, description="examples shown: more help, and lengthen every prompt; 0 shows none")
    search: Search | None = Field(None, description="how to look for a prompt; on where no prompt is given")
    model: Literal["base", "tuned"] | Endpoint = Field("base", description="who answers: base, tuned, or an endpoint")

    @field_validator("template")
    @classmethod
    def _has_question(cls, template: str | None) -> str | None:
        if template is not None and QUESTION not in template:
            raise ValueError("must hold {question}")
        return template

    @model_validator(mode="after")
    def _one_way(self) -> Prompt:
        if self.search is not None and self.is_given:
            raise ValueError("give a prompt (system, template, file, k, examples) or search, not both")
        if self.file is not None and (self.system is not None or self.template is not None):
            raise ValueError("give file, or system and template")
        return self

    @property
    def is_given(self) -> bool:
        """Whether the recipe holds the prompt itself."""
        return any((self.system is not None, self.template is not None, self.file, self.k, self.examples))

    @property
    def who(self) -> Answerer:
        """The base, unless the recipe says who."""
        return self.model

    @property
    def rehearses(self) -> bool:
        """Where the prompt must be looked for."""
        return not self.is_given

    def problems(self, runs: Path | None, *, grounded: bool) -> list[str]:
        """Files and keys that are not there."""
        found = [f"examples: there is no file {path}." for path in self.missing_files()]
        if self.file is not None and not Path(self.file).is_file():
            found.append(f"file: there is no file {self.file}. Paths are relative to the recipe.")
        proposer = self.search.proposer if self.search is not None else None
        if proposer is not None:
            try:
                proposer.secret()
            except EndpointError as error:
                found.append(f"search.proposer: {error}")
        return found

    def rehearse(self, scene: Rehearsal) -> Rehearsed:
        """The prompt itself, or the best that is found. Raises DataError, EndpointError, Stopped."""
        from tunewright.contestants import _searching

        return _searching.found(self, self.search or Search(), scene) if self.rehearses else Rehearsed(self)

    def try_on(self, training: Sequence[Example]) -> None:
        """Raise DataError where an example that is named is not there."""
        self.find_named(training)

    def prompts(self, examples: Sequence[Example], training: Sequence[Example]) -> list[list[dict[str, Any]]]:
        """The system message, shown examples, then the question by the template."""
        system, template = self._texts()
        shown = self.lines_for(examples, training)
        made = []
        for example, picks in zip(examples, shown, strict=True):
            said = before(example, picks)
            if system is not None:
                said = [{"role": "system", "content": system}, *said[len(lead(said)) :]]
            made.append(_filled(said, template))
        return made

    def _texts(self) -> tuple[str | None, str | None]:
        """The system message and the template."""
        if self.file is None:
            return self.system, self.template
        text = Path(self.file).read_text(encoding="utf-8").strip()
        return (None, text) if QUESTION in text else (text, None)


def _filled(said: list[dict[str, Any]], template: str | None) -> list[dict[str, Any]]:
    """The conversation with every user message, shown ones too, as the template makes it."""
    if template is None:
        return said
    return [
        {**one, "content": template.replace(QUESTION, one["content"])} if one["role"] == "user" else one for one in said
    ]
