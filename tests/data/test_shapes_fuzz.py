"""Whatever a row holds, it becomes an Example or has a reason; and what a shape says comes back from the Example."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.data.columns import FORMATS
from tunewright.data.formats import detect, to_example
from tunewright.data.media import Place

COLUMNS = sorted({column for roles in FORMATS.values() for role in roles for column in role.columns} | {"label", "id"})
WORDS = st.sampled_from([
    "", " ", "hi", "<image>", "<audio> x", "[{", '[{"role": "user"}]', '{"name": "f"}', "data:image/png;base64,QQ==",
    "data:,", "https://x/y.png", "user", "assistant", "tool", "system", "human", "gpt", "function_call", "observation",
    "text", "image_url", "tool_use", "tool_result", "input_audio", "thinking", "B-x", "O", "\ud800", "\x00",
])  # fmt: skip
PLAIN = st.none() | st.booleans() | st.integers(-2, 10**20) | st.floats() | WORDS
KEYS = st.sampled_from([
    "role", "content", "from", "value", "weight", "train", "loss", "loss_scale", "train_detail", "tool_calls", "name",
    "tool_call_id", "function_call", "type", "text", "image_url", "url", "input_audio", "data", "format", "source",
    "media_type", "input", "tool_use_id", "messages", "tools", "bytes", "path", "label", "start", "end", "begin_offset",
])  # fmt: skip
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=12
)
TEXTS = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=20).filter(lambda text: text.strip())
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "tool", "system"]), "content": VALUES},
        optional={"weight": PLAIN, "train": PLAIN, "tool_calls": VALUES, "loss": PLAIN},
    )
    | st.fixed_dictionaries({"from": WORDS, "value": VALUES}),
    max_size=4,
)
ROWS = st.dictionaries(st.sampled_from(COLUMNS), VALUES | MESSAGES, min_size=1, max_size=6)


@pytest.mark.parametrize("format", sorted(FORMATS))
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_any_row_is_an_example_or_has_a_reason(format: str, data: Any, tmp_path_factory: Any) -> None:
    own = [column for role in FORMATS[format] if role.required for column in role.columns[:2]]
    row = data.draw(ROWS) | {column: data.draw(VALUES | MESSAGES) for column in own}
    folder = tmp_path_factory.getbasetemp()
    try:
        example = to_example(format, row, {}, "a:1", place=Place(folder, folder / "store"))
    except DataError as error:
        assert str(error)
        return
    assert example.id == "a:1"
    assert example.prompt is not None and (example.answer is None or isinstance(example.answer, str))


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(ROWS, min_size=1, max_size=4))
def test_any_rows_have_a_format_or_are_a_question(rows: list[dict[str, Any]]) -> None:
    try:
        assert detect(rows, {}) in FORMATS
    except DataError as error:
        assert str(error)


@settings(max_examples=100, deadline=None)
@given(turns=st.lists(st.tuples(TEXTS, TEXTS, st.booleans()), min_size=1, max_size=3), system=st.none() | TEXTS)
def test_conversations_come_back_as_they_went_in(turns: list[tuple[str, str, bool]], system: str | None) -> None:
    messages = [{"role": "system", "content": system}] if system else []
    for asked, answered, learned in turns:
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
        messages[-1] |= {} if learned else {"weight": 0.0}  # type: ignore[dict-item]
    messages[-1].pop("weight", None)
    shared = [
        {"from": {"user": "human", "assistant": "gpt"}.get(one["role"], one["role"]), "value": one["content"]}
        | ({"weight": one["weight"]} if "weight" in one else {})
        for one in messages
    ]
    chat = to_example("chat", {"messages": messages, "id": 7}, {}, "a:1")
    assert [one.model_dump(exclude_none=True) for one in chat.messages] == messages
    assert to_example("sharegpt", {"conversations": shared, "id": 7}, {}, "a:1") == chat
    assert Example.model_validate(chat.to_row()) == chat


@settings(max_examples=100, deadline=None)
@given(prompt=TEXTS, chosen=TEXTS, rejected=TEXTS)
def test_every_shape_of_a_pair_is_the_same_example(prompt: str, chosen: str, rejected: str) -> None:
    if chosen == rejected or prompt.lstrip().startswith("["):
        return
    asked, good, bad = (
        {"role": role, "content": text}
        for role, text in (("user", prompt), ("assistant", chosen), ("assistant", rejected))
    )
    rows: list[dict[str, Any]] = [
        {"prompt": prompt, "chosen": chosen, "rejected": rejected},
        {"prompt": [asked], "chosen": [good], "rejected": [bad]},
        {"chosen": [asked, good], "rejected": [asked, bad]},
        {"input": {"messages": [asked]}, "preferred_output": [good], "non_preferred_output": [bad]},
        {"messages": [asked, good], "rejected_response": rejected},
        {"question": prompt, "chosen_response": chosen, "rejected_response": rejected},
    ]
    made = [to_example("preference", row, {}, "a:1") for row in rows]
    assert all(example == made[0] for example in made)
    assert (made[0].prompt[0].content, made[0].answer, made[0].rejected[0].content) == (prompt, chosen, rejected)  # type: ignore[index]
