"""What a prompt's answer is compared with keeps its own name, as graders of OpenAI's JSON read it."""

from __future__ import annotations

import pytest

from tunewright.data import formats
from tunewright.graders._openai_values import values_of


@pytest.mark.parametrize("column", ["reference_answer", "ground_truth", "solution", "expected"])
def test_a_compared_column_is_read_under_its_name(column: str) -> None:
    row = {"messages": [{"role": "user", "content": "2 + 2?"}], column: "4", "hint": "even"}
    example = formats.to_example("prompts", row, {}, "row:1")
    item = values_of(example, "4")["item"]
    assert example.expected == item[column] == item["expected"] == "4"
    assert item["hint"] == "even"


def test_messages_come_before_a_column_called_prompt() -> None:
    row = {"messages": [{"role": "user", "content": "asked"}], "prompt": "a column of the user's"}
    example = formats.to_example("prompts", row, {}, "row:1")
    assert example.messages[0].content == "asked"
    assert values_of(example, "")["item"]["prompt"] == "a column of the user's"
