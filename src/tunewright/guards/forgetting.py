"""forgetting: does the model still do what it could before, and does it still answer what is asked?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from tunewright.core.answer_form import AnswerForm, form_of
from tunewright.core.example import Example, Message
from tunewright.core.guarding import Guard, GuardScene, Who
from tunewright.core.report import Finding, GuardResult, Measure
from tunewright.core.statistics import wilson
from tunewright.data import probing, sources
from tunewright.data.probing import Choice
from tunewright.guards import _compared

ANSWERS = 300  # training answers from which the task's form is seen
MOST_TOKENS = 32  # of an answer to an instruction
BOTH: tuple[Who, Who] = ("base", "tuned")
REMEDY = (
    "It gates only where this guard is given a bound. What helps: retention (replay, anchor), fewer epochs, a smaller "
    "train.lr or rank."
)
MORE_ITEMS = "Name larger suites (suites, texts, lm_eval) for this guard, or raise its rows."


class Forgetting(Guard):
    """Whether tuning cost what the base could do: told always, and gating only where a bound is set.

    Perplexity of general texts, accuracy on questions with choices, instructions that are obeyed: each before and
    after, on the same items, with the interval of the change. Format collapse: the share of answers to questions off
    the task that come in the task's own form, its labels or its keys (ProMoT, Wang et al. 2022, arXiv 2211.00635). Any
    task of the LM Evaluation Harness when it is named. Neighbour: `memorisation`, what was kept too well.
    """

    question: ClassVar[str] = "What did the model forget?"
    paths: ClassVar[tuple[str, ...]] = ("texts", "suites", "lm_eval_folder")
    files: ClassVar[tuple[str, ...]] = paths
    bounds: ClassVar[Mapping[str, str]] = {"collapse": "format collapse"}

    collapse: float | None = Field(
        None,
        ge=0,
        le=1,
        description="most answers to other questions that may come in the task's form; none: told only",
    )
    nats_rise: float | None = Field(
        None, ge=0, description="most that general texts may become less likely, in nats a token; none: told only"
    )
    accuracy_drop: float | None = Field(
        None, ge=0, le=1, description="most of the accuracy that a suite of questions may lose; none: told only"
    )
    texts: list[str] = Field([], description="files of your own texts, looked at beside the bundled ones")
    suites: list[str] = Field(
        [], description="files of questions with choices (as MMLU, TruthfulQA), beside the bundled"
    )
    lm_eval: list[str] = Field([], description="tasks of the LM Evaluation Harness, by name; needs the package lm-eval")
    lm_eval_folder: str | None = Field(None, description="a folder of task files for lm_eval, beside its own")
    rows: int = Field(
        200, ge=10, description="most items of each file or task, drawn by the seed; more are surer, slower"
    )

    @property
    def imports(self) -> tuple[str, ...]:
        """The harness, where one of its tasks is named."""
        return ("lm_eval",) if self.lm_eval else ()

    def measure(self, scene: GuardScene) -> GuardResult:
        """Ask both models the same, and tell what changed."""
        measures = self._texts(scene)
        for name, questions in self._questions(scene.seed):
            measures.append(self._chosen(scene, name, questions))
        asked, samples = self._asked(scene)
        measures += asked
        if self.lm_eval:
            from tunewright.guards._harness import measures as of_tasks

            measures += of_tasks(
                scene, self.lm_eval, folder=self.lm_eval_folder, most=self.rows, bound=self.accuracy_drop
            )
        findings = _compared.unsettled(measures, MORE_ITEMS) + _lost(measures)
        if self.unmeasured(measures):
            message = "The task's answers have no form of their own (labels, JSON, keys): none to collapse to."
            remedy = "Leave the bound 'collapse' of the guard forgetting out."
            findings.append(Finding(name="no form", severity="warning", message=message, remedy=remedy))
        return GuardResult(
            guard=self.kind, question=self.question, measures=measures, findings=findings, samples=samples
        )

    def _texts(self, scene: GuardScene) -> list[Measure]:
        named = [("general text", list(probing.general_texts()))]
        for file, name in sources.names(self.texts).items():
            named.append((name, _compared.drawn(probing.texts_of(file), self.rows, scene.seed)))
        return [risen_nats(scene, f"{name}, nats a token more", texts, self.nats_rise) for name, texts in named]

    def _questions(self, seed: int) -> list[tuple[str, list[Choice]]]:
        found = [("common knowledge", list(probing.common_knowledge()))]
        for file, name in sources.names(self.suites).items():
            found.append((name, _compared.drawn(probing.choices_of(file), self.rows, seed)))
        return found

    def _chosen(self, scene: GuardScene, name: str, questions: Sequence[Choice]) -> Measure:
        """Accuracy lost: the choice with the highest log-prob a byte is the answer (`acc_norm` of the harness)."""
        rows = [
            Example(id=f"{number}.{place}", messages=_said(one.question, choice))
            for number, one in enumerate(questions)
            for place, choice in enumerate(one.choices)
        ]
        sizes = np.array([len(choice.encode("utf-8")) for one in questions for choice in one.choices])
        right = {}
        for who in BOTH:
            scores = iter((scene.logprobs(who, rows)[0] / sizes).tolist())
            scored = [[next(scores) for _ in one.choices] for one in questions]
            right[who] = [best.index(max(best)) == one.answer for best, one in zip(scored, questions, strict=True)]
        return _compared.lost_share(f"{name}, accuracy lost", right["base"], right["tuned"], self.accuracy_drop)

    def _asked(self, scene: GuardScene) -> tuple[list[Measure], list[dict[str, str]]]:
        """Instructions obeyed, and how many of the same answers come in the task's form."""
        given = probing.instructions()
        asked = [[{"role": "user", "content": one.ask}] for one in given]
        said = {who: scene.ask(who, asked, name="instructions", free=True, most=MOST_TOKENS) for who in BOTH}
        obeyed = {who: [one.obeyed(text) for one, text in zip(given, said[who], strict=True)] for who in BOTH}
        measures = [
            _compared.lost_share("instructions, share obeyed lost", obeyed["base"], obeyed["tuned"], self.accuracy_drop)
        ]
        form = form_of(scene.labels, _answers(scene))
        fell = dict.fromkeys(BOTH, [False] * len(given))
        if form.known:
            # a task may have 'yes' for a label, which some instructions ask for
            off = [at for at, one in enumerate(given) if not any(one.obeyed(label) for label in form.labels)]
            fell = {who: [at in off and form.holds(text) for at, text in enumerate(said[who])] for who in BOTH}
            measures.append(_collapse(form, sum(fell["base"]), sum(fell["tuned"]), len(off), self.collapse))
        first = sorted(range(len(given)), key=lambda at: (not fell["tuned"][at], obeyed["tuned"][at], at))[:6]
        return measures, [
            {"asked": given[at].ask, "base": said["base"][at], "tuned": said["tuned"][at]} for at in first
        ]


def risen_nats(scene: GuardScene, name: str, texts: Sequence[str], bound: float | None) -> Measure:
    """How much less likely texts became, in nats a token; tokens as the base counts them."""
    rows = [Example(id=f"text:{number}", text=text) for number, text in enumerate(texts)]
    (base, counts), (tuned, _) = (scene.logprobs(who, rows) for who in BOTH)
    read = np.isfinite(base) & np.isfinite(tuned)
    return _compared.risen_mean(name, -base[read], -tuned[read], counts[read], bound, seed=scene.seed)


def _answers(scene: GuardScene) -> list[str]:
    """Right answers of the task, from its training rows."""
    return [one.answer for one in _compared.drawn(scene.splits.get("train", ()), ANSWERS, scene.seed) if one.answer]


def _said(question: str, answer: str) -> list[Message]:
    return [Message(role="user", content=question), Message(role="assistant", content=answer)]


def _collapse(form: AnswerForm, base: int, tuned: int, n: int, bound: float | None) -> Measure:
    found = wilson(tuned, n)
    return Measure(
        name=f"format collapse: other questions answered with {form.words}",
        **found.plain(),
        n=n,
        base=base / n,
        tuned=found.value,
        bound=bound,
    )


def _lost(measures: Sequence[Measure]) -> list[Finding]:
    """Words about what certainly got worse, where no bound speaks."""
    found = []
    for one in measures:
        floor = one.base if one.value == one.tuned else 0.0  # a level is held against the base's, a change against none
        if one.bound is not None or one.low is None or floor is None or one.low <= floor:
            continue
        message = f"{one.name}: {one.value:.3f} ({one.low:.3f} to {one.high:.3f}); "
        message += f"the base's figure is {one.base:.3f}, the tuned model's {one.tuned:.3f}."
        found.append(Finding(name="forgotten", severity="warning", message=message, count=one.n, remedy=REMEDY))
    return found
