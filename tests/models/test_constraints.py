"""Answers held to a form keep it, greedy or drawn; forms that cannot be followed are refused."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from tunewright.core.errors import DataError, NotThere
from tunewright.models import constraints
from tunewright.models.engine import Engine

PROMPTS = [[3, 4, 5], [9, 9, 2, 7], [100]]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"place": {"enum": ["north", "south"]}, "paid": {"type": "boolean"}},
    "required": ["place", "paid"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_answers_keep_the_form(temperature: float, open_tiny: Any) -> None:
    model = open_tiny("llama")
    options: dict[str, Any] = {"max_new_tokens": 200, "temperature": temperature, "logprobs": True}
    texts = ["yes", "yes, and more", 'a "quoted" one']
    for made in Engine(model).generate(PROMPTS, grammar=constraints.json_of(SCHEMA), **options):
        found = json.loads(model.chat.decode(made.ids))
        assert found["place"] in ("north", "south") and found["paid"] in (True, False) and made.finish == "stop"
        assert len(made.logprobs) == len(made.ids) and all(value > float("-inf") for value in made.logprobs)
    for made in Engine(model).generate(PROMPTS, grammar=constraints.one_of(texts), **options):
        assert model.chat.decode(made.ids) in texts and made.finish == "stop"


def test_forms_that_cannot_be_followed_are_refused() -> None:
    with pytest.raises(DataError, match="strange"):
        constraints.json_of({"type": "strange"})
    with pytest.raises(DataError, match="unevaluatedProperties"):
        constraints.json_of({"type": "object", "unevaluatedProperties": False})


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(NotThere, match=r"pip install 'tunewright\[constraints\]'"):
        constraints.one_of(["a"])
