"""Row shapes that users of other tools bring: each is found from its columns, or asked about; nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest

from tunewright.core import catalog
from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.data.formats import detect, to_example

U, A = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}
GOOD, BAD = {"role": "assistant", "content": "good"}, {"role": "assistant", "content": "bad"}
HUMAN, GPT = {"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
CALL = {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}


def made(row: dict[str, Any], fields: dict[str, str] | None = None, format: str = "auto") -> Example:
    format = detect([row], fields or {}) if format == "auto" else format
    return to_example(format, row, fields or {}, "a:1")


def said(example: Example) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in example.messages]


@pytest.mark.parametrize(("row", "format"), [
    ({"prompt": [U], "completion": [A]}, "completion"),  # TRL, conversational
    ({"instruction": "hi", "input": "", "output": "hello"}, "instruction"),  # Alpaca
    ({"query": "hi", "response": "hello"}, "completion"),  # ms-swift
    ({"conversations": [HUMAN, GPT]}, "sharegpt"),
    ({"messages": [{"from": "human", "value": "hi"}, GPT]}, "sharegpt"),
    ({"messages": [U, {"role": "assistant", "content": [{"type": "text", "text": "hello"}]}]}, "chat"),
    ({"segments": [{"label": False, "text": "<s>hi\n"}, {"label": True, "text": "hello</s>"}]}, "segments"),
    ({"prompt": "hi", "completion": "hello", "label": True}, "completion"),  # TRL, unpaired
    ({"messages": [U, A], "label": False}, "chat"),  # ms-swift, unpaired
])  # fmt: skip
def test_one_question_and_one_answer(row: dict[str, Any], format: str) -> None:
    assert detect([row], {}) == format
    assert said(made(row)) == [("user", "hi"), ("assistant", "hello")]


@pytest.mark.parametrize("row", [
    {"prompt": [U], "chosen": [GOOD], "rejected": [BAD]},
    {"chosen": [U, GOOD], "rejected": [U, BAD]},  # TRL, implicit prompt
    {"input": {"messages": [U], "tools": []}, "preferred_output": [GOOD], "non_preferred_output": [BAD]},
    {"input": {"messages": [U]}, "preferred_completion": [GOOD], "non_preferred_completion": [BAD]},
    {"question": "hi", "chosen_response": "good", "rejected_response": "bad"},  # Axolotl
    {"prompt": "hi", "chosen": "good", "rejected": "bad"},
    {"instruction": "hi", "input": "", "chosen": "good", "rejected": "bad"},  # LLaMA-Factory
    {"conversations": [HUMAN], "chosen": {"from": "gpt", "value": "good"}, "rejected": {"from": "gpt", "value": "bad"}},
    {"messages": [U, GOOD], "rejected_response": "bad"},  # ms-swift
    {"messages": [U, GOOD], "rejected_response": ["bad"]},
    {"messages": [U, GOOD], "rejected_messages": [U, BAD]},
    {"messages": [U, GOOD], "rejected_messages": [BAD]},
])  # fmt: skip
def test_every_shape_of_pair(row: dict[str, Any]) -> None:
    assert detect([row], {}) == "preference"
    example = made(row)
    assert said(example) == [("user", "hi"), ("assistant", "good")]
    assert [(one.role, one.content) for one in example.rejected or []] == [("assistant", "bad")]


def test_what_stands_beside_openai_s_input_is_kept() -> None:
    row = {
        "input": {"messages": [U], "tools": [TOOL], "parallel_tool_calls": False},
        "preferred_output": [GOOD],
        "non_preferred_output": [BAD],
    }
    example = made(row)
    assert (example.tools, example.meta) == ([TOOL], {"parallel_tool_calls": False})


def test_a_system_message_of_its_own_column_leads_a_pair() -> None:
    row = {"system": "S", "question": "hi", "chosen": "good", "rejected": "bad"}
    assert said(made(row))[0] == ("system", "S")


def test_earlier_turns_come_before_the_instruction() -> None:
    row = {"instruction": "and now", "input": "this", "output": "done", "system": "S", "history": [["hi", "hello"]]}
    turns = [("system", "S"), ("user", "hi"), ("assistant", "hello"), ("user", "and now\nthis"), ("assistant", "done")]
    assert said(made(row)) == turns
    swift = {"query": "and now\nthis", "response": "done", "system": "S", "history": '[["hi", "hello"]]'}
    assert said(made(swift)) == turns
    with pytest.raises(DataError, match="history is no list of pairs"):
        made({"query": "a", "response": "b", "history": [["hi"]]})


@pytest.mark.parametrize("flag", [
    {"weight": 0}, {"train": False}, {"loss": False}, {"loss_scale": 0},
    {"train_detail": [{"begin_offset": 0, "end_offset": 4, "train": False}]},
])  # fmt: skip
def test_an_answer_without_weight_stays_context(flag: dict[str, Any]) -> None:
    example = made({"messages": [U, A | flag, U, A]})
    assert [message.weight for message in example.messages] == [None, 0, None, None]
    assert example.meta == {}
    shared = made({"conversations": [HUMAN, GPT | flag, HUMAN, GPT]})
    assert [message.weight for message in shared.messages] == [None, 0, None, None]


def test_flags_that_change_nothing_and_flags_that_cannot_be_followed() -> None:
    plain = made({"messages": [U | {"train": False}, A | {"train": True, "loss": True}]})
    assert [message.weight for message in plain.messages] == [None, None]
    for row, reason in [
        ({"messages": [U | {"train": True}, A]}, "only the assistant's are learned"),
        ({"messages": [U, A | {"train": "yes"}]}, "wrong weight"),
        ({"messages": [U, A | {"train_detail": [{"train": True}, {"train": False}]}]}, "partly learned"),
    ]:
        with pytest.raises(DataError, match=reason):
            made(row)


def test_blocks_of_anthropic_become_calls_answers_and_texts() -> None:
    row = {
        "system": [{"type": "text", "text": "S"}],
        "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "20"}]},
                {"type": "text", "text": "so?"}]},
            {"role": "assistant", "content": "twenty"},
        ],
    }  # fmt: skip
    example = made(row)
    assert said(example) == [
        ("system", "S"), ("user", "hi"), ("assistant", "Let me see."), ("tool", "20"), ("user", "so?"),
        ("assistant", "twenty"),
    ]  # fmt: skip
    assert example.messages[2].tool_calls == [{"id": "t1", **CALL}]
    assert example.messages[3].tool_call_id == "t1"
    parameters = {"name": "f", "description": "d", "parameters": {"type": "object"}}
    assert example.tools == [{"type": "function", "function": parameters}]
    assert example.meta == {"message_extras": {"2": {"thinking": [{"type": "thinking", "thinking": "hm"}]}}}


def test_older_functions_and_roles_of_calls_become_tool_calls() -> None:
    older = {
        "messages": [
            U,
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": {"x": 1}}},
            {"role": "function", "name": "f", "content": "20"},
            A,
        ],
        "functions": [TOOL["function"]],
    }
    swift = {"messages": [
        U, {"role": "tool_call", "content": '{"name": "f", "arguments": {"x": 1}}'},
        {"role": "tool_response", "content": "20"}, A,
    ]}  # fmt: skip
    for row in (older, swift):
        example = made(row)
        assert [role for role, _ in said(example)] == ["user", "assistant", "tool", "assistant"]
        assert example.messages[1].tool_calls == [CALL]
    assert made(older).tools == [TOOL]


@pytest.mark.parametrize(("row", "expected"), [
    ({"prompt": "hi"}, None),
    ({"prompt": [U], "id": 3}, None),
    ({"prompt": "hi", "ground_truth": 19}, "19"),
    ({"messages": [U], "reference_answer": "19", "topic": "sums"}, "19"),  # OpenAI, reinforcement
])  # fmt: skip
def test_a_prompt_alone(row: dict[str, Any], expected: str | None) -> None:
    assert detect([row], {}) == "prompts"
    example = made(row)
    assert (said(example), example.answer, example.prompt) == ([("user", "hi")], expected, example.messages)
    assert Example.model_validate(example.to_row()) == example
    assert catalog.build("objectives", "sft").lacks(example) == "an answer of the assistant"
    assert catalog.build("objectives", "kto").lacks(example) == "an answer of the assistant"
    assert catalog.build("objectives", {"kind": "grpo", "reward": "exact"}).lacks(example) is None


def test_earlier_turns_of_a_prompt_are_asked_and_not_answered() -> None:
    row = {"messages": [U, A, U], "answer": "42"}
    with pytest.raises(DataError, match=r"data\.format.*chat.*prompts"):
        detect([row], {})
    assert detect([row, {"messages": [U, A]}], {}) == "chat"
    example = made(row, {"messages": "messages", "expected": "answer"}, format="prompts")
    assert (len(example.prompt), example.answer) == (3, "42")


@pytest.mark.parametrize("row", [
    {"prompt": "hi", "completion": "hello", "label": True}, {"prompt": [U], "completion": [A], "label": True},
    {"messages": [U, A], "label": True}, {"messages": [U, A], "kto_tag": True},
    {"conversations": [HUMAN, GPT], "kto_tag": True},
    {"instruction": "hi", "input": "", "output": "hello", "kto_tag": True},
])  # fmt: skip
def test_judged_answers_are_what_kto_learns(row: dict[str, Any]) -> None:
    kto = catalog.build("objectives", "kto")
    key = "kto_tag" if "kto_tag" in row else "label"
    for judged in (True, False):
        example = made(row | {key: judged})
        assert said(example) == [("user", "hi"), ("assistant", "hello")]
        assert kto.lacks(example) is None
        assert kto.imitates(example) is judged
    assert kto.lacks(made({**row, key: None}, format=detect([row], {}))) is not None


def test_pairs_of_texts_with_negatives() -> None:
    hey, bye, no = ([{"role": "user", "content": text}] for text in ("hey", "bye", "no"))
    swift = {"messages": [U], "positive_messages": [hey], "negative_messages": [bye, no]}
    for row in (
        swift,
        {"anchor": "hi", "positive": "hey", "negatives": ["bye", "no"]},
        {"anchor": "hi", "positive": "hey", "negative_1": "bye", "negative_2": "no"},
    ):
        assert detect([row], {}) == "pairs"
        example = made(row)
        assert said(example) == [("user", "hi"), ("assistant", "hey")]
        assert [one.content for one in example.rejected or []] == ["bye", "no"]
    with pytest.raises(DataError, match="several positives: 2"):
        made({"anchor": "a", "positive": ["b", "c"]})
    assert made({"sentence1": "a", "sentence2": "b", "score": 0.5}).meta == {"score": 0.5}


def test_two_sentences_with_a_label_are_a_question() -> None:
    row = {"sentence1": "a", "sentence2": "b", "label": 0}
    with pytest.raises(DataError, match=r"data\.format"):
        detect([row], {})
    assert detect([row], {"anchor": "sentence1", "positive": "sentence2"}) == "pairs"


def test_judged_steps_are_refused_in_a_sentence() -> None:
    with pytest.raises(DataError, match=r"judge each step.*Join the steps"):
        detect([{"prompt": "a", "completions": ["b", "c"], "labels": [True, False]}], {})


def test_segments_in_a_row_are_joined_and_templates_of_their_own_refused() -> None:
    row = {"segments": [{"label": False, "text": "a"}, {"label": False, "text": "b"}, {"label": True, "text": "c"}]}
    assert said(made(row)) == [("user", "ab"), ("assistant", "c")]
    with pytest.raises(DataError, match="template in the text"):
        made({"segments": [{"label": False, "text": "[INST] a [/INST]"}, {"label": True, "text": "c"}]})
    with pytest.raises(DataError, match="segments are no list"):
        made({"segments": [{"label": 1, "text": "a"}]})


def test_places_of_entities_as_lists_or_under_other_words() -> None:
    for span in ([12, 16, "place"], {"start_offset": 12, "end_offset": 16, "label": "place"}):
        example = made({"text": "Ann flew to Oslo", "entities": [span]})
        assert [(one.start, one.end, one.label) for one in example.spans or []] == [(12, 16, "place")]


@pytest.mark.parametrize(("name", "format", "fields"), [
    ("toolcalls-glaive-demo", "sharegpt", {}), ("preference-dpo-en-demo", "preference", {}),
    ("preference-hh-harmless", "preference", {}), ("instruction-alpaca-en-demo", "instruction", {}),
    ("instruction-self-instruct-seed", "instruction", {}), ("instruction-p3-sample", "completion", {}),
    ("instruction-gsm8k", "completion", {}), ("ner-wnut17", "entities", {}), ("image-text-cc12m", "captions", {}),
    ("audio-fsdd", "captions", {"audio": "audio", "text": "text"}), ("qa-xquad", "completion", {}),
    ("pii-presidio-synth", "spans", {}),
])  # fmt: skip
def test_real_sets_are_read_to_the_last_row(
    name: str, format: str, fields: dict[str, str], real: Any, prepared: Any
) -> None:
    objective = {"preference": "dpo", "entities": "tag", "spans": "tag"}.get(format, "sft")
    limit = 200
    report, _ = prepared(objective, sources=[str(real / name / "train.jsonl")], fields=fields, limit=limit)
    rows = report.numbers["rows"]
    assert report.numbers["format"] == format
    assert rows["quarantined"] == 0
    assert rows["read"] == rows["kept"] + rows["duplicates"] + rows["twins_dropped"]
