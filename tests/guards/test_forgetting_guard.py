"""What the base could do and the tuned model cannot: texts, questions, instructions, and answers in the task's form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunewright.core import storage
from tunewright.core.example import Example, Message
from tunewright.core.guarding import Conversation, GuardScene, Who
from tunewright.core.report import GuardResult, Measure
from tunewright.data import probing
from tunewright.guards.forgetting import Forgetting

NUM_ASKED = len(probing.instructions())


def scene(
    said: str, labels: Sequence[str] = (), answers: Sequence[str] = (), *, worse: float = 0.0, wrong: float = 0.0
) -> GuardScene:
    """A base that says Paris, and a tuned model that says something else: `worse` nats a token less sure of texts, and
    that prefers the wrong choice in a share of the questions.
    """
    right = {one.question: one.choices[one.answer] for one in probing.common_knowledge()}

    def ask(who: Who, conversations: Sequence[Conversation], *, name: str, **options: Any) -> list[str]:
        assert options["free"]
        return [said if who == "tuned" else "Paris"] * len(conversations)

    def logprobs(who: Who, examples: Sequence[Example]) -> tuple[np.ndarray, np.ndarray]:
        tokens = np.array([len((one.text or one.answer or "").split()) for one in examples])
        noise = np.array([len(one.text or "") % 7 / 7 for one in examples])
        sums = -tokens * (3.0 + noise + (worse * noise * 2 if who == "tuned" else 0.0))
        for at, one in enumerate(examples):
            if one.messages:
                question = one.messages[0].content
                fails = who == "tuned" and list(right).index(question) < wrong * len(right)
                sums[at] = -1.0 if (one.answer == right[question]) != fails else -100.0
        return sums, tokens

    def never(*_: Any) -> Any:
        raise AssertionError("this guard grades nothing and opens no model")

    def row(answer: str) -> Example:
        return Example(
            id=answer, messages=[Message(role="user", content="q"), Message(role="assistant", content=answer)]
        )

    return GuardScene(
        splits={"train": [row(answer) for answer in answers]},
        labels=labels,
        answers={},
        grade=never,
        ask=ask,
        logprobs=logprobs,
        open=never,
        folder=Path("unused"),
    )


def of(found: GuardResult, begins: str) -> Measure:
    return next(one for one in found.measures if one.name.startswith(begins))


@pytest.mark.parametrize(("said", "state"), [(" Refund\n", "broken"), ("The sea is wide.", "holds")])
def test_labels_for_answers_are_a_collapse(said: str, state: str) -> None:
    found = Forgetting(collapse=0.2).measure(scene(said, ["refund", "delay"]))
    measure = of(found, "format collapse")
    assert (measure.n, measure.base, measure.state) == (NUM_ASKED, 0.0, state)
    assert found.samples[0]["tuned"] == said


def test_a_label_that_an_instruction_asks_for_is_no_collapse() -> None:
    measure = of(Forgetting().measure(scene("yes", ["yes", "no"])), "format collapse")
    assert measure.n == NUM_ASKED - sum(one.obeyed("yes") or one.obeyed("no") for one in probing.instructions())
    assert measure.n < NUM_ASKED and measure.value == 1.0


@pytest.mark.parametrize(
    ("answer", "said", "value"),
    [
        ('{"intent": "a", "reply": "b"}', 'Sure: {"reply": "I see that your', 1.0),
        ("intent: a\nreply: b", "Intent: refund", 1.0),
        ('{"intent": "a", "reply": "b"}', '{"name": "Tom"}', 0.0),
    ],
)
def test_the_keys_of_structured_answers_are_a_form_too(answer: str, said: str, value: float) -> None:
    assert of(Forgetting().measure(scene(said, answers=[answer] * 5)), "format collapse").value == value


def test_free_answers_have_no_form_to_collapse_into() -> None:
    found = Forgetting(collapse=0.1).measure(scene("refund", answers=["This is fine.", "So is this."]))
    assert not any(one.name.startswith("format collapse") for one in found.measures)
    assert "Leave the bound 'collapse'" in str([one.remedy for one in found.findings if one.name == "no form"])


def test_what_became_less_likely_is_told_and_gates_where_it_has_a_bound() -> None:
    told = Forgetting().measure(scene("Paris", worse=0.4))
    text = of(told, "general text")
    assert text.state == "told" and text.n == len(probing.general_texts())
    assert text.base is not None and text.tuned is not None and text.low is not None and text.high is not None
    assert text.value == pytest.approx(text.tuned - text.base) and text.low < text.value < text.high
    assert [one.name for one in told.findings] == ["forgotten"]
    assert of(Forgetting(nats_rise=0.1).measure(scene("Paris", worse=0.4)), "general text").state == "broken"
    same = Forgetting(nats_rise=0.1).measure(scene("Paris"))
    assert of(same, "general text").state == "holds" and not same.findings


def test_lost_accuracy_breaks_its_bound_and_a_bound_inside_the_interval_asks_for_items() -> None:
    lost = Forgetting(accuracy_drop=0.1).measure(scene("Paris", wrong=0.5))
    knowledge = of(lost, "common knowledge")
    assert (knowledge.base, knowledge.tuned, knowledge.state) == (1.0, 0.5, "broken")
    unsure = Forgetting(accuracy_drop=0.05).measure(scene("Paris", wrong=0.05))
    assert of(unsure, "common knowledge").state == "open" and unsure.state == "open"
    assert {one.name for one in unsure.findings} == {"bound not settled"}
    assert of(Forgetting(accuracy_drop=0.3).measure(scene("Paris")), "common knowledge").state == "holds"


def test_own_texts_and_suites_are_measured_beside_the_bundled_ones(tmp_path: Path) -> None:
    storage.write_text(
        tmp_path / "own.txt", "\n\n".join(f"Paragraph {n} of a text that is my own, long." for n in range(30))
    )
    rows = [one for one in probing.common_knowledge()]
    storage.write_jsonl(
        tmp_path / "mmlu.jsonl",
        [{"question": one.question, "choices": list(one.choices), "answer": one.answer} for one in rows],
    )
    guard = Forgetting(texts=[str(tmp_path / "own.txt")], suites=[str(tmp_path / "mmlu.jsonl")], rows=20)
    found = guard.measure(scene("Paris"))
    assert of(found, "own,").n == 20 and of(found, "mmlu,").n == 20
    assert of(found, "mmlu,").tuned == 1.0
