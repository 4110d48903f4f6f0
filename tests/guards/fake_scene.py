"""Scenes for guards in which models are functions of what they are asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tunewright.core import catalog
from tunewright.core.endpoint import Endpoint
from tunewright.core.example import Example, Message
from tunewright.core.guarding import Conversation, EditChoice, GuardScene, Who
from tunewright.data import augment

Says = Callable[[str], str]


def row(number: int, text: str, answer: str, **more: Any) -> Example:
    """A test row that asks the text; more: label, meta ..."""
    said = [Message(role="user", content=text), Message(role="assistant", content=answer)]
    return Example(id=f"test:{number}", messages=said, **more)


def label_row(number: int, text: str, label: str, **meta: Any) -> Example:
    """A row whose answer is one of the task's labels."""
    return row(number, text, label, label=label, meta=meta)


def scene(
    tuned: Says | Callable[[Conversation], str],
    base: Says | None = None,
    *,
    test: Sequence[Example] = (),
    validation: Sequence[Example] = (),
    labels: Sequence[str] = (),
    shares: Callable[[str], Mapping[str, float]] | None = None,
    logprob: Callable[[Who, Example], float] | None = None,
    whole: bool = False,
    seed: int = 0,
) -> GuardScene:
    """tuned, base: the answer to the last message (`whole`: to all of them). shares: of the labels, by both models."""
    models = {"tuned": tuned, "base": base or tuned}

    def said(who: Who, conversation: Conversation) -> str:
        model: Any = models[who]
        answer: str = model(conversation if whole else conversation[-1]["content"])
        return answer

    def ask(who: Who, conversations: Sequence[Conversation], *, name: str, **_: Any) -> list[str]:
        return [said(who, conversation) for conversation in conversations]

    def sure(who: Who, conversations: Sequence[Conversation], *, name: str) -> list[Mapping[str, float]]:
        told = shares or (lambda text: {said(who, [{"role": "user", "content": text}]): 1.0})
        return [told(conversation[-1]["content"]) for conversation in conversations]

    def edited(
        examples: Sequence[Example], edit: EditChoice, *, copy: int = 0, endpoint: Endpoint | None = None
    ) -> list[Example | None]:
        part = catalog.build("edits", edit)
        return [augment.made(example, part, seed=seed, copy=copy) for example in examples]

    def grade(examples: Sequence[Example], answers: Sequence[str]) -> list[float | None]:
        return [
            None if example.answer is None else float(answer.strip() == example.answer)
            for example, answer in zip(examples, answers, strict=True)
        ]

    def logprobs(who: Who, examples: Sequence[Example]) -> tuple[np.ndarray, np.ndarray]:
        assert logprob is not None
        return np.array([logprob(who, example) for example in examples]), np.ones(len(examples), int)

    def never(*_: Any) -> Any:
        raise AssertionError("these guards open no model")

    asked = [[message.for_template() for message in example.prompt] for example in test]
    told = sure("tuned", asked, name="test") if labels else []
    answers = {who: [said(who, one) for one in asked] for who in ("tuned", "base")}
    if told and shares:
        answers["tuned"] = [next(iter(one)) for one in told]
    return GuardScene(
        splits={"train": [], "validation": validation, "test": test},
        labels=labels,
        answers=answers,
        confidences={"tuned": [next(iter(one.values())) for one in told]},
        grade=grade,
        ask=ask,
        logprobs=logprobs,
        open=never,
        folder=Path("unused"),
        sure=sure,
        edited=edited,
        seed=seed,
    )
