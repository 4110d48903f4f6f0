"""Formats: detection by columns, and every row as an Example or a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.data.formats import check_fields, check_format, detect, to_example

U, A = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}
S = {"role": "system", "content": "S"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


def made(row: dict[str, Any], format: str = "auto", fields: dict[str, str] | None = None, **options: Any) -> Example:
    format = detect([row], fields or {}) if format == "auto" else format
    return to_example(format, row, fields or {}, "a:1", **options)


def said(example: Example) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in example.messages]


@pytest.mark.parametrize(("columns", "format"), [
    ({"text": "a", "label": "b"}, "labels"),
    ({"message": "a", "intent": 3}, "labels"),
    ({"Text": "a", "Category": "b"}, "labels"),
    ({"text": "a", "label": 0, "label_text": "b"}, "labels"),
    ({"instruction": "a", "input": "", "output": "b", "intent": "c"}, "instruction"),
    ({"instruction": "a", "context": "c", "response": "b", "category": "d"}, "instruction"),
    ({"prompt": "a", "completion": "b"}, "completion"),
    ({"question": "a", "answer": "b", "category": "c"}, "completion"),
    ({"input": "a", "output": "b"}, "completion"),
    ({"messages": [U, A]}, "chat"),
    ({"messages": json.dumps([U, A]), "id": 1}, "chat"),
    ({"conversations": [{"from": "human", "value": "a"}]}, "sharegpt"),
    ({"conversations": [U, A]}, "chat"),
    ({"prompt": "a", "chosen": "b", "rejected": "c"}, "preference"),
    ({"anchor": "a", "positive": "b"}, "pairs"),
    ({"query": "a", "positive": "b", "negative": "c"}, "pairs"),
    ({"sentence1": "a", "sentence2": "b", "score": 3.5}, "pairs"),
    ({"input": {"messages": [U]}, "preferred_output": [A], "non_preferred_output": [A]}, "preference"),
    ({"text": "a", "id": "b", "year": 1900}, "text"),
])  # fmt: skip
def test_the_format_is_found_from_the_columns(columns: dict[str, Any], format: str) -> None:
    assert detect([columns], {}) == format


@pytest.mark.parametrize("columns", [
    {"mr": "a", "text": "b"},
    {"text": "a", "label": "b", "category": "c"},
    {"prompt": "a", "completion": "b", "label": "c"},
    {"dialogue": "a", "summary": "b"},
    {},
])  # fmt: skip
def test_doubtful_columns_are_a_question_that_names_them(columns: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"data\.format.*data\.fields") as error:
        detect([columns], {})
    assert all(name in str(error.value) for name in columns)


def test_fields_settle_what_columns_leave_open() -> None:
    row = {"mr": "a", "text": "b", "label": "c"}
    assert detect([row], {"prompt": "mr", "completion": "text"}) == "completion"
    assert detect([row], {"prompt": "text", "label": "mr"}) == "labels"
    assert detect([row], {"input": "mr", "output": "text"}) == "completion"
    example = made(row, fields={"prompt": "mr", "completion": "text"})
    assert said(example) == [("user", "a"), ("assistant", "b")]
    assert example.meta == {"label": "c"}


def test_wrong_fields_and_formats_name_the_nearest() -> None:
    with pytest.raises(DataError, match="Did you mean 'labels'"):
        check_format("label")
    with pytest.raises(DataError, match="Did you mean 'prompt'"):
        check_fields("auto", [{"a": 1}], {"promt": "a"})
    with pytest.raises(DataError, match="Did you mean 'text'"):
        check_fields("auto", [{"text": 1}], {"prompt": "txt"})
    with pytest.raises(DataError, match="word for format text"):
        check_fields("text", [{"text": 1}], {"label": "text"})


@pytest.mark.parametrize(("label", "written"), [("x ", "x"), (3, "3"), (2.0, "2"), (True, "true"), (0, "0")])
def test_labels_become_texts(label: Any, written: str) -> None:
    example = made({"text": " a", "label": label, "id": 7, "none": None}, format="labels")
    assert example.label == written
    assert said(example) == [("user", " a"), ("assistant", written)]
    assert example.meta == {"id": 7}


def test_an_instruction_is_the_system_message_only_beside_an_input() -> None:
    assert said(made({"instruction": "do", "input": "x", "output": "y"})) == [
        ("system", "do"),
        ("user", "x"),
        ("assistant", "y"),
    ]
    assert said(made({"instruction": "do", "input": " ", "output": "y"})) == [("user", "do"), ("assistant", "y")]


def test_the_system_message_stands_once_before_conversations_without_one() -> None:
    assert said(made({"prompt": "a", "completion": "b"}, system="S"))[0] == ("system", "S")
    assert said(made({"prompt": "a", "completion": "b", "system": "own"}, system="S"))[0] == ("system", "own")
    both = made({"instruction": "do", "input": "x", "output": "y", "system": "own"}, system="S")
    assert said(both)[0] == ("system", "own\n\ndo")
    developer = {"messages": [{"role": "developer", "content": "D"}, U, A]}
    assert [role for role, _ in said(made(developer, system="S"))] == ["developer", "user", "assistant"]
    assert made({"text": "a"}, format="text", system="S").messages == []


def test_chat_keeps_weights_tools_names_and_calls() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    row = {
        "messages": [
            U | {"name": "ann"},
            {"role": "assistant", "content": None, "tool_calls": [call], "weight": 0},
            {"role": "tool", "content": "3", "tool_call_id": "1"},
            A | {"refusal": None, "timestamp": 5},
        ],
        "tools": [TOOL],
        "parallel_tool_calls": True,
    }
    example = made(row)
    assert example.tools == [TOOL]
    assert example.messages[0].name == "ann"
    assert (example.messages[1].weight, example.messages[1].tool_calls) == (0, [call])
    assert example.messages[2].tool_call_id == "1"
    assert example.meta == {"parallel_tool_calls": True, "message_extras": {"4": {"timestamp": 5}}}
    assert Example.model_validate(example.to_row()) == example


def test_content_parts_of_text_are_joined_and_unknown_parts_refused() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert said(made({"messages": [{"role": "user", "content": parts}, A]}))[0] == ("user", "ab")
    with pytest.raises(DataError, match="part of type 'hologram'"):
        made({"messages": [{"role": "user", "content": [{"type": "hologram", "hologram": "x"}]}, A]})


def test_sharegpt_calls_become_tool_calls_and_tools_are_wrapped() -> None:
    row = {
        "conversations": [
            {"from": "human", "value": "tip?"},
            {"from": "function_call", "value": '{"name": "f", "arguments": {"x": 1}}'},
            {"from": "observation", "value": "20"},
            {"from": "gpt", "value": "20 %"},
        ],
        "tools": json.dumps([TOOL["function"]]),
        "system": "S",
    }
    example = made(row)
    assert [role for role, _ in said(example)] == ["system", "user", "assistant", "tool", "assistant"]
    assert example.messages[2].tool_calls == [{"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}]
    assert example.tools == [TOOL]


@pytest.mark.parametrize("row", [
    {"prompt": "hi", "chosen": "good", "rejected": "bad"},
    {"prompt": [U], "chosen": [{"role": "assistant", "content": "good"}], "rejected": "bad"},
    {"chosen": [U, {"role": "assistant", "content": "good"}], "rejected": [U, {"role": "assistant", "content": "bad"}]},
    {"prompt": "hi", "chosen": [U, {"role": "assistant", "content": "good"}],
     "rejected": [U, {"role": "assistant", "content": "bad"}]},
    {"input": {"messages": [U]}, "preferred_output": [{"role": "assistant", "content": "good"}],
     "non_preferred_output": [{"role": "assistant", "content": "bad"}]},
    {"conversations": [{"from": "human", "value": "hi"}], "chosen": {"from": "gpt", "value": "good"},
     "rejected": {"from": "gpt", "value": "bad"}},
    {"instruction": "hi", "input": "", "chosen": "good", "rejected": "bad"},
])  # fmt: skip
def test_every_shape_of_pair_is_one_prompt_and_two_answers(row: dict[str, Any]) -> None:
    example = made(row)
    assert said(example) == [("user", "hi"), ("assistant", "good")]
    assert [(one.role, one.content) for one in example.rejected or []] == [("assistant", "bad")]


@pytest.mark.parametrize(("row", "reason"), [
    ({"text": "", "label": "x"}, "empty: the text has no characters"),
    ({"text": "a", "label": " "}, "empty: the label"),
    ({"text": "a", "label": None}, "empty: the label is missing"),
    ({"text": 5, "label": "x"}, "not a text: the text is int"),
    ({"prompt": "a", "completion": ["b"]}, "not a text: the completion is list"),
    ({"messages": [A]}, "the assistant speaks first"),
    ({"messages": [U, S, A]}, "a system message in the middle"),
    ({"messages": [S, S, U, A]}, "two system messages"),
    ({"messages": [U]}, "nothing to learn"),
    ({"messages": [U, A | {"weight": 0}]}, "nothing to learn"),
    ({"messages": [U | {"weight": 1}, A]}, "wrong weight"),
    ({"messages": [U, A | {"weight": -1}]}, "wrong weight"),
    ({"messages": [U, {"role": "tool", "content": "x"}, A]}, "did not call one"),
    ({"messages": [U, {"role": "bot", "content": "x"}]}, "unknown role"),
    ({"messages": [U, {"role": "assistant", "content": ""}]}, "empty: message 2"),
    ({"messages": []}, "empty: there are no messages"),
    ({"messages": ["hi"]}, "not a message"),
    ({"conversations": [{"from": "alien", "value": "x"}]}, "unknown role"),
    ({"prompt": "a", "chosen": "b", "rejected": "b"}, "no preference"),
    ({"chosen": "b", "rejected": "c"}, "the pair has no prompt"),
])  # fmt: skip
def test_what_cannot_be_learned_has_a_reason(row: dict[str, Any], reason: str) -> None:
    formats = {"text": "labels", "prompt": "completion", "messages": "chat", "conversations": "sharegpt"}
    format = "preference" if "chosen" in row else formats[next(iter(row))]
    with pytest.raises(DataError, match=reason):
        made(row, format=format)


def test_a_row_without_a_needed_column_says_which() -> None:
    with pytest.raises(DataError, match="missing column: no 'label' among text, id"):
        made({"text": "a", "id": 1}, format="labels")


def test_an_empty_assistant_message_may_stand_where_it_is_not_learned() -> None:
    example = made({"messages": [U, {"role": "assistant", "content": "", "weight": 0}, U, A]})
    assert [message.weight for message in example.messages] == [None, 0, None, None]
