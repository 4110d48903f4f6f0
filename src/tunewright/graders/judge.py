"""judge: a language model grades each answer by criteria, or compares it with another contestant's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from tunewright.core.endpoint import Endpoint, Question, ask_once
from tunewright.core.errors import DataError, unknown
from tunewright.core.example import Example, answer_field
from tunewright.core.model_families import family_of
from tunewright.core.parts import Desk, Grade, Grader
from tunewright.core.report import Finding
from tunewright.graders import _calibration, _judging, _pairs
from tunewright.graders._spending import Asked

CRITERIA = {
    "accurate": "What it says is true and follows from the request; nothing is made up.",
    "complete": "It does all that was asked for, and nothing else.",
    "clear": "The one who asked can use it as it stands.",
}


class Judge(Grader):
    """A model on a server grades by criteria (1 to `scale` each; the grade is their mean between 0 and 1), or says
    which of two answers is better, asked in both orders: 1 for a win in both, 0 for a loss in both, else 0.5.

    Needs an endpoint; the expected answer is shown as a reference where there is one. It may decide a goal only when it
    is calibrated on people's verdicts (`calibrate`) and agrees with them: Cohen's kappa of at least 0.6. Source: Zheng
    et al. 2023 (arXiv 2306.05685), for both orders and the biases. Neighbours: `openai` (OpenAI's score_model and
    label_model), `similarity` and `rouge` (no model is asked).
    """

    needs_expected: ClassVar[bool] = False
    asks: ClassVar[bool] = True
    paths: ClassVar[tuple[str, ...]] = ("calibrate",)

    endpoint: Endpoint = Field(
        description="the server that judges, and the model there; also one of `tunewright serve`"
    )
    mode: Literal["rubric", "pairwise"] = Field(
        "rubric", description="grade each answer by criteria; or compare with a contestant: finer, twice the questions"
    )
    against: str = Field("base", description="pairwise: the contestant that every other one is compared with")
    criteria: dict[str, str] = Field(CRITERIA, min_length=1, description="what counts: a name and its meaning each")
    scale: int = Field(5, ge=2, le=10, description="rubric: the best score of a criterion; 1 is the worst")
    task: str | None = Field(None, description="what the answers are for, told to the judge in a sentence")
    reference: bool = Field(True, description="show the expected answer, where there is one, to the judge")
    passes: float = Field(0.75, gt=0, le=1, description="rubric: the grade from which an answer is right, to calibrate")
    calibrate: str | None = Field(
        None, description="JSONL of answers that people judged; without it, it decides nothing"
    )
    max_tokens: int = Field(512, ge=16, description="longest reply of the judge; models that think need more")

    @model_validator(mode="after")
    def _criteria_have_names(self) -> Judge:
        if wrong := [name for name in self.criteria if not name.strip() or not self.criteria[name].strip()]:
            raise ValueError(f"criteria: '{wrong[0]}' needs a name and a meaning")
        return self

    @property
    def doubt(self) -> str | None:
        """A judge that nobody has checked decides nothing."""
        return None if self.calibrate else f"'{self.label}': {_calibration.UNCALIBRATED}."

    def problems(self, contestants: Sequence[str]) -> list[str]:
        """A contestant that is not there; a file that is not there."""
        found = []
        if self.mode == "pairwise" and self.against not in contestants:
            found.append(f"against: {unknown('contestant', self.against, contestants)}")
        if self.calibrate and not Path(self.calibrate).is_file():
            found.append(f"calibrate: there is no file {self.calibrate}. Paths are relative to the recipe.")
        return found

    def grade(self, example: Example, answer: str) -> Grade:
        """The judge's grade of one answer, asked at once. Raises DataError when it has none, EndpointError."""
        found = self.grade_all([example], [answer], Desk(ask=ask_once))[0]
        assert found is not None, "without any verdict, grade_all raises"
        return found

    def grade_all(self, examples: Sequence[Example], answers: Sequence[str], desk: Desk) -> Sequence[Grade | None]:
        """One grade an answer; None where the judge gives no verdict. Raises DataError when it gives none at all."""
        asked = Asked(self.endpoint)
        if self.mode == "pairwise":
            found = self._compared(examples, answers, desk, asked)
        else:
            found = self._graded(examples, answers, desk, asked)
        silent = sum(grade is None for grade in found)
        if asked.replies and silent == len(found):
            seen = f" One of its replies: '{asked.unlike[0]}'." if asked.unlike else ""
            raise DataError(
                f"The judging model '{self.endpoint.model}' gave no verdict on any of {len(found)} answers of "
                f"{desk.contestant} that can be read.{seen} Raise max_tokens, or take another model; if the "
                "server was at fault, delete the replies that were kept (replies.*.jsonl in the run's evaluate folder)."
            )
        asked.tell(desk, silent, len(found))
        desk.notes.update(asked.figures())
        if self.mode == "rubric":
            desk.notes.update(_pairs.length_of_grades(found, answers))
        self._look_at_answers(answers, desk)
        self._look_at_families(desk)
        if self.calibrate:
            self._calibrate(found, desk)
        return found

    # --- by criteria ---

    def _graded(
        self, examples: Sequence[Example], answers: Sequence[str], desk: Desk, asked: Asked
    ) -> list[Grade | None]:
        def read(reply: str) -> Grade | None:
            verdict = _judging.scores(reply, list(self.criteria), self.scale)
            if verdict is None:
                return None
            values, reason = verdict
            mean = sum(value - 1 for value in values.values()) / len(values) / (self.scale - 1)
            told = ", ".join(f"{name} {value}" for name, value in values.items())
            return Grade(score=mean, why=f"{told}: {reason}" if reason else told)

        questions = [
            _judging.rubric(
                request(example),
                answer,
                self._reference(example),
                criteria=self.criteria,
                scale=self.scale,
                about=self.task,
                max_tokens=self.max_tokens,
            )
            for example, answer in zip(examples, answers, strict=True)
        ]
        return asked.ask(desk, questions, read)

    # --- in pairs ---

    def _compared(
        self, examples: Sequence[Example], answers: Sequence[str], desk: Desk, asked: Asked
    ) -> list[Grade | None]:
        if desk.contestant == self.against:
            return [Grade(score=0.5, why="compared with itself") for _ in answers]
        against = desk.answers.get(self.against)
        if against is None:
            raise DataError(
                f"Grader '{self.label}' compares with '{self.against}', which did not answer here. Name it in "
                "evaluate.against, or use mode: rubric."
            )
        known = [at for at, example in enumerate(examples) if example.id in against]  # guards ask rows of their own
        mine = [answers[at] for at in known]
        others = [answer_field(against[examples[at].id], self.field) or "" for at in known]
        results = self._both_orders([examples[at] for at in known], mine, others, desk, asked)
        _pairs.note(results, mine, others, desk)
        of_row = dict(zip(known, results, strict=True))
        return [None if (pair := of_row.get(at)) is None else pair.grade for at in range(len(answers))]

    def _both_orders(
        self, examples: Sequence[Example], answers: Sequence[str], others: Sequence[str], desk: Desk, asked: Asked
    ) -> list[_pairs.Pair | None]:
        """Each pair asked in both orders, in one go; equal answers are a tie without a question."""
        places = [at for at, (mine, other) in enumerate(zip(answers, others, strict=True)) if mine != other]
        questions = [self._pair(examples[at], answers[at], others[at]) for at in places]
        questions += [self._pair(examples[at], others[at], answers[at]) for at in places]
        said = asked.ask(desk, questions, _judging.better)
        found: list[_pairs.Pair | None] = [_pairs.EQUAL for _ in answers]
        for at, forth, back in zip(places, said[: len(places)], said[len(places) :], strict=True):
            found[at] = _pairs.Pair(forth[0], back[0], forth[1]) if forth is not None and back is not None else None
        return found

    def _pair(self, example: Example, first: str, second: str) -> Question:
        reference = self._reference(example)
        return _judging.pair(
            request(example),
            first,
            second,
            reference,
            criteria=self.criteria,
            about=self.task,
            max_tokens=self.max_tokens,
        )

    def _reference(self, example: Example) -> str | None:
        return example.expected if self.reference else None

    # --- what else is worth telling ---

    def _look_at_answers(self, answers: Sequence[str], desk: Desk) -> None:
        """Answers that look as if they spoke to the judge."""
        speaking = sum(_judging.speaks_to_judge(answer) for answer in answers)
        if speaking:
            message = (
                f"{speaking} answers of {desk.contestant} look as if they spoke to their judge: they ask for a grade, "
                "or tell it to ignore what it was told."
            )
            remedy = "Read them in evaluate/answers.jsonl."
            desk.findings.append(
                Finding(name="answers to the judge", severity="warning", message=message, count=speaking, remedy=remedy)
            )

    def _look_at_families(self, desk: Desk) -> None:
        """Contestants of the judge's own family, told once."""
        mine = family_of(self.endpoint.model)
        kin = [name for name, model in desk.models.items() if mine is not None and family_of(model) == mine]
        if kin and desk.contestant == next(iter(desk.models)):
            message = (
                f"The judging model '{self.endpoint.model}' is of the family '{mine}', as is the model of "
                f"{', '.join(kin)}: judges favour their own kind."
            )
            desk.findings.append(
                Finding(name="judge of one family", severity="warning", message=message, remedy="Take another judge.")
            )

    def _calibrate(self, found: Sequence[Grade | None], desk: Desk) -> None:
        assert self.calibrate is not None
        pairs = self.mode == "pairwise"
        labelled = _calibration.read(self.calibrate, pairs=pairs, scale=self.scale, passes=self.passes)
        asked = Asked(self.endpoint)
        examples, answers = [one.example for one in labelled], [one.answer for one in labelled]
        judged: list[float | None]
        if pairs:
            both = self._both_orders(examples, answers, [one.other or "" for one in labelled], desk, asked)
            judged = [None if one is None else one.score for one in both]
        else:
            judged = [self._passing(grade) for grade in self._graded(examples, answers, desk, asked)]
        scores = [grade.score if pairs else float(self._passing(grade) or 0) for grade in found if grade is not None]
        measured = _calibration.measure(labelled, judged, scores, pairs=pairs)
        _calibration.tell(measured, desk, self.label, asked.figures())

    def _passing(self, grade: Grade | None) -> float | None:
        return None if grade is None else float(grade.score >= self.passes - 1e-9)


def request(example: Example) -> str:
    """What was asked, as the judge reads it: the user's message, or the whole exchange with its roles."""
    said = [message for message in example.prompt if message.role not in ("system", "developer")]
    if len(said) == 1:
        return said[0].content
    return "\n".join(f"{message.role}: {message.content}" for message in said)
