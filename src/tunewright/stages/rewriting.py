"""Rows as an edit makes them, for guards: by rules, or by asking a server whose replies are kept in the run."""

from __future__ import annotations

from collections.abc import Sequence

from tunewright.core import catalog
from tunewright.core.endpoint import Endpoint, Question, Reply
from tunewright.core.errors import EndpointError
from tunewright.core.example import Example
from tunewright.core.guarding import EditChoice
from tunewright.core.parts import Edit
from tunewright.core.run import Run
from tunewright.data import augment
from tunewright.stages.desk import desk

_ANSWER_TOKENS = 400  # of a reworded message
_TEMPERATURE = 0.8


def edited(
    run: Run,
    name: str,
    examples: Sequence[Example],
    choice: EditChoice,
    *,
    seed: int,
    copy: int = 0,
    endpoint: Endpoint | None = None,
) -> list[Example | None]:
    """Each example as the edit makes it; None where it changes nothing. name: who asks, for the file of replies.

    Raises EndpointError, also where an edit that asks is given no endpoint, and Stopped.
    """
    edit: Edit = catalog.build("edits", choice)
    if not edit.num_questions:
        return [augment.made(example, edit, seed=seed, copy=copy) for example in examples]
    if endpoint is None:
        raise EndpointError(f"Edit '{edit.kind}' asks a model, and none is named: give an endpoint (url and model).")
    at = desk(run, "base", {}, f"{name}.{edit.kind}")
    said: dict[int, list[str]] = {place: [] for place in range(len(examples))}
    for turn in range(edit.num_questions):
        asked: dict[int, Question] = {}
        for place, replies in said.items():
            if len(replies) == turn:
                messages = augment.question(examples[place], edit, seed=seed, copy=copy, replies=replies)
                if messages:
                    asked[place] = Question(messages, _ANSWER_TOKENS, _TEMPERATURE, seed + copy)
        told: list[Reply] = at.ask(endpoint, list(asked.values()))
        for place, reply in zip(asked, told, strict=True):
            if reply.text.strip():
                said[place].append(reply.text.strip())
    return [
        augment.made(example, edit, seed=seed, copy=copy, replies=said[place], model=endpoint.model)
        if len(said[place]) == edit.num_questions
        else None
        for place, example in enumerate(examples)
    ]
