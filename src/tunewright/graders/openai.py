"""openai: a grader as it stands in OpenAI's JSON, computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, field_validator, model_validator

from tunewright.core import openai_graders
from tunewright.core.endpoint import Endpoint, ask_once
from tunewright.core.errors import DataError, RecipeError
from tunewright.core.example import Example
from tunewright.core.openai_graders import LabelModel, ScoreModel, StringCheck, TextSimilarity
from tunewright.core.parts import Desk, Grade, Grader
from tunewright.core.report import Finding
from tunewright.graders import _calibration
from tunewright.graders._openai_values import (
    MODEL_SILENT,
    UNKNOWN_VARIABLE,
    Outcome,
    Setting,
    Values,
    outcomes,
    sample_of,
    values_of,
)


class OpenAI(Grader):
    """What string_check, text_similarity, python, score_model, label_model or multi says, as in OpenAI's evals and
    reinforcement fine-tuning; a value outside `range` counts as its nearer end.

    Needs the columns that its templates name: `{{item.x}}` is a column of the row (also prompt, messages, expected,
    label), `{{sample.output_text}}` the answer. An answer that is no JSON where `sample.output_json` is read, or on
    which the source fails, gets the lowest value. Neighbours: `exact`, `rouge`, `judge` (criteria, pairs) and others
    that need no JSON.
    """

    needs_expected: ClassVar[bool] = False
    asks: ClassVar[bool] = True
    paths: ClassVar[tuple[str, ...]] = ("grader", "calibrate")

    grader: dict[str, Any] | str = Field(description="OpenAI's JSON, or a file with it")
    endpoint: Endpoint | None = Field(
        None, description="where score_model and label_model are asked; without a model, theirs is asked there"
    )
    endpoints: dict[str, Endpoint] = Field({}, description="by a grading model's name: where it is asked instead")
    encoder: str | None = Field(None, description="folder or Hub id of the encoder that cosine compares with")
    range: tuple[float, float] | None = Field(
        None, description="values that become the grades 0 and 1; left out: that of a score_model, else 0 and 1"
    )
    seconds: float = Field(10.0, gt=0, description="python: how long the source may take for one row")
    memory: int = Field(1024, ge=64, description="python: MiB that the source may take")
    passes: float = Field(0.5, gt=0, le=1, description="the grade from which an answer is right, to calibrate")
    calibrate: str | None = Field(
        None, description="JSONL of answers that people judged; models decide nothing without"
    )

    @field_validator("endpoint", mode="before")
    @classmethod
    def _model_of_grader(cls, given: Any) -> Any:
        return {"model": "", **given} if isinstance(given, dict) else given

    @field_validator("endpoints", mode="before")
    @classmethod
    def _models_by_name(cls, given: Any) -> Any:
        return {name: cls._model_of_grader(one) for name, one in given.items()} if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> OpenAI:
        try:
            singles = list(openai_graders.singles(self.the_grader()))
        except RecipeError as error:
            raise ValueError(" ".join(error.problems)) from None
        asked = {one.model for one in singles if isinstance(one, ScoreModel | LabelModel)}
        if self.endpoint is None and asked - self.endpoints.keys():
            raise ValueError("a model grades here, and no server is named: give endpoint: {url: ...}")
        cosine = any(isinstance(one, TextSimilarity) and one.evaluation_metric == "cosine" for one in singles)
        if cosine and self.encoder is None:
            raise ValueError("cosine compares vectors of texts, and nothing makes them: give encoder: FOLDER")
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError(f"range: must go from a lower to a higher number, found {list(self.range)}")
        return self

    def the_grader(self) -> openai_graders.AnyGrader:
        """The grader that was read. Raises RecipeError with every problem."""
        return openai_graders.read(self.grader)

    @property
    def label(self) -> str:
        """The name in reports: the JSON's own where the recipe gives none."""
        return self.name or self.the_grader().name or self.kind

    @property
    def doubt(self) -> str | None:
        """A grading model that nobody has checked decides nothing."""
        if self._asks_model() and not self.calibrate:
            return f"'{self.label}': {_calibration.UNCALIBRATED}."
        return None

    def problems(self, contestants: Sequence[str]) -> list[str]:
        """A file that is not there."""
        if self.calibrate and not Path(self.calibrate).is_file():
            return [f"calibrate: there is no file {self.calibrate}. Paths are relative to the recipe."]
        return []

    def grade(self, example: Example, answer: str) -> Grade:
        """The grade of one answer, computed at once. Raises DataError, EndpointError."""
        found = self.grade_all([example], [answer], Desk(ask=ask_once))[0]
        if found is None:
            raise DataError(f"Grader '{self.label}' gives no value for the answer to row {example.id}.")
        return found

    def try_on(self, example: Example) -> None:
        """Where no model is asked."""
        if not self._asks_model():
            self.grade(example, example.answer or "")

    def outcomes(self, rows: Sequence[Values], desk: Desk) -> list[Outcome]:
        """What the grader says of rows (each an item and a sample), errors by their names in OpenAI's API."""
        return outcomes(self.the_grader(), rows, self._setting(desk))

    def outcome(self, item: Any, answer: str, desk: Desk) -> Outcome:
        """What the grader says of one answer, with the columns of `item`. Raises EndpointError."""
        return self.outcomes([{"item": item, "sample": sample_of(answer)}], desk)[0]

    def grade_all(self, examples: Sequence[Example], answers: Sequence[str], desk: Desk) -> Sequence[Grade | None]:
        """One grade an answer; None where a model gives no value. Raises DataError for a column that is not there."""
        setting = self._setting(desk)
        found = outcomes(self.the_grader(), [values_of(*pair) for pair in zip(examples, answers, strict=True)], setting)
        grades = self._grades(examples, found)
        self._tell(found, setting)
        if self.calibrate:
            labelled = _calibration.read(self.calibrate, pairs=False, passes=self.passes)
            again = self._setting(desk)
            rows = [values_of(one.example, one.answer) for one in labelled]
            theirs = self._grades([one.example for one in labelled], outcomes(self.the_grader(), rows, again))
            judged = [None if grade is None else self._right(grade) for grade in theirs]
            scores = [self._right(grade) for grade in grades if grade is not None]
            measured = _calibration.measure(labelled, judged, scores, pairs=False)
            spent = [asked.figures() for asked in again.asked.values()]
            _calibration.tell(measured, desk, self.label, spent)
        return grades

    def _setting(self, desk: Desk) -> Setting:
        return Setting(
            desk=desk,
            endpoint=self.endpoint,
            endpoints=self.endpoints,
            encoder=self.encoder,
            seconds=self.seconds,
            memory=self.memory,
        )

    def _asks_model(self) -> bool:
        return any(isinstance(one, ScoreModel | LabelModel) for one in openai_graders.singles(self.the_grader()))

    def _right(self, grade: Grade) -> float:
        return float(grade.score >= self.passes - 1e-9)

    def _grades(self, examples: Sequence[Example], found: Sequence[Outcome]) -> list[Grade | None]:
        grader = self.the_grader()
        low, high = self.range or (grader.range if isinstance(grader, ScoreModel) else (0.0, 1.0))
        bar = None if isinstance(grader, StringCheck | LabelModel | openai_graders.Multi) else grader.pass_threshold
        grades: list[Grade | None] = []
        for example, one in zip(examples, found, strict=True):
            if one.error == UNKNOWN_VARIABLE:
                raise DataError(
                    f"Grader '{self.label}' names a column that row {example.id} lacks ({one.why}). Its columns: "
                    f"{', '.join(example.meta) or 'none of its own'}; also prompt, messages, expected, label."
                )
            if one.value is None:
                grades.append(None if one.error == MODEL_SILENT else Grade(score=0.0, why=one.why))
            elif bar is not None:
                grades.append(Grade(score=float(one.value >= bar), why=f"{one.value:g} {one.why}".strip()))
            else:
                score = min(1.0, max(0.0, (one.value - low) / (high - low)))
                grades.append(Grade(score=score, why=one.why))
        return grades

    def _tell(self, found: Sequence[Outcome], setting: Setting) -> None:
        """Figures of what was asked, and findings about answers without a value."""
        desk = setting.desk
        notes: Mapping[str, Any] = {name: asked.figures() for name, asked in setting.asked.items()}
        if notes:
            desk.notes["asked"] = notes
            money = [figures["money"] for figures in notes.values() if "money" in figures]
            desk.notes.update({"money": sum(money)} if money else {})
        silent = sum(one.error == MODEL_SILENT for one in found)
        if found and silent == len(found):
            raise DataError(
                f"Grader '{self.label}': the model gave no value for any of {len(found)} answers of {desk.contestant}. "
                "Raise max_completions_tokens, or take another model."
            )
        for asked in list(setting.asked.values())[:1]:
            asked.tell(desk, silent, len(found))
        failed = [one for one in found if one.value is None and one.error != MODEL_SILENT]
        if failed:
            message = (
                f"Grader '{self.label}' has no value for {len(failed)} of {len(found)} answers of {desk.contestant}, "
                f"which count as the lowest. First: {failed[0].why} ({failed[0].error})."
            )
            desk.findings.append(
                Finding(name="no value", severity="warning", message=message, count=len(failed), remedy=None)
            )
