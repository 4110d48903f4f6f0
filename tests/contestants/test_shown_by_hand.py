"""Examples chosen by hand, rows as passages, and servers: what contestants send."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunewright.core import catalog
from tunewright.core.errors import DataError
from tunewright.core.example import Example, Message


def solved(id: str, question: str, answer: str) -> Example:
    return Example(id=id, messages=[Message(role="user", content=question), Message(role="assistant", content=answer)])


TRAINING = [solved("t1", "my card was stolen", "fraud"), solved("t2", "the euro rate", "rates")]
ASKED = solved("q", "which rate for dollars", "rates")


def sent(**options: Any) -> list[str]:
    messages = catalog.build("contestants", options).prompts([ASKED], TRAINING)[0]
    return [message["content"] for message in messages]


def test_ids_are_shown_in_their_order() -> None:
    assert sent(kind="few_shot", examples=["t2", "t1"])[:4] == ["the euro rate", "rates", "my card was stolen", "fraud"]
    with pytest.raises(DataError, match="has the id 't9'; they begin with 't1'"):
        sent(kind="few_shot", examples=["t1", "t9"])


def test_a_file_of_examples_may_have_any_format(tmp_path: Path) -> None:
    path = tmp_path / "shown.jsonl"
    path.write_text(json.dumps({"prompt": "a lost parcel", "completion": "delivery"}) + "\n")
    assert sent(kind="few_shot", examples=str(path)) == ["a lost parcel", "delivery", "which rate for dollars"]
    path.write_text(json.dumps({"messages": [{"role": "user", "content": "only asks"}]}) + "\n")
    with pytest.raises(DataError, match="examples"):
        sent(kind="few_shot", examples=str(path))


def test_training_rows_are_searched_as_passages() -> None:
    said = sent(kind="retrieval", over="rows", passages=1)
    assert len(said) == 1
    assert said[0] == "[1] the euro rate\nrates\n\nQuestion: which rate for dollars"


def test_an_encoder_searches_by_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    from tunewright.models import text_vectors

    def vectors(base: str, texts: list[str], poll: Any = None) -> np.ndarray:
        assert base == "mini"
        near = [1.0 if "card" in text or "dollars" in text else 0.0 for text in texts]
        return np.array([[one, 1 - one] for one in near], np.float32)

    monkeypatch.setattr(text_vectors, "text_vectors", vectors)
    assert "my card was stolen" in sent(kind="retrieval", over="rows", passages=1, encoder="mini")[0]


def test_a_server_is_sent_its_own_system_message_and_examples() -> None:
    endpoint = {"url": "http://x/v1", "model": "m"}
    part = catalog.build("contestants", {"kind": "endpoint", "endpoint": endpoint, "system": "Sort.", "k": 1})
    said = part.prompts([ASKED], TRAINING)[0]
    assert [one["role"] for one in said] == ["system", "user", "assistant", "user"]
    assert part.who.url == "http://x/v1"
    assert sent(kind="endpoint", endpoint=endpoint) == ["which rate for dollars"]


def test_editors_know_the_options_of_servers_and_searches() -> None:
    from jsonschema import Draft202012Validator

    from tunewright.core.schema import schema

    known = Draft202012Validator(schema())
    proposer = {"url": "http://x", "model": "m"}
    against: list[Any] = [{"kind": "prompt", "search": {"candidates": 3, "proposer": proposer}}]
    values = {"name": "a", "data": {"sources": ["x"]}, "evaluate": {"against": against}}
    assert not list(known.iter_errors(values))
    against[0]["search"]["candidates"] = "many"
    assert list(known.iter_errors(values))
