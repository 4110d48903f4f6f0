"""OpenAI's grader JSON is checked in plain sentences; formulas and templates reach nothing but what they are given."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunewright.core import formula, openai_graders, templates
from tunewright.core.errors import RecipeError

CHECK = {
    "type": "string_check",
    "name": "same",
    "input": "{{sample.output_text}}",
    "reference": "{{item.reference_answer}}",
    "operation": "eq",
}
MODEL = {"name": "m", "model": "gpt-4o", "input": [{"role": "user", "content": "Grade {{ sample.output_text }}"}]}
VALID: list[dict[str, Any]] = [
    CHECK,
    {"type": "text_similarity", "name": "t", "input": "a", "reference": "b", "evaluation_metric": "rouge_5"},
    {"type": "python", "name": "p", "source": "def grade(sample, item):\n    return 1.0", "image_tag": "2025-05-08"},
    {"type": "score_model", "range": [1, 7], "sampling_params": {"temperature": 1, "seed": 42, "top_p": 1}, **MODEL},
    {"type": "label_model", "labels": ["good", "bad"], "passing_labels": ["good"], **MODEL},
    {"type": "multi", "name": "all", "graders": {"same": CHECK}, "calculate_output": "same"},
    {"type": "multi", "name": "all", "graders": [CHECK], "calculate_output": "0.5 * same ^ 2"},
    {"type": "multi", "name": "all", "graders": CHECK, "calculate_output": "min(same, 1)"},
]


@pytest.mark.parametrize("values", VALID, ids=lambda values: values["type"])
def test_a_valid_grader_has_no_problem(values: dict[str, Any]) -> None:
    assert openai_graders.problems(values) == []
    assert openai_graders.read(values).type == values["type"]


def test_a_grader_can_lie_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "grader.json"
    path.write_text(json.dumps({"grader": CHECK}))  # as the API's requests hold it
    assert openai_graders.read(str(path)) == openai_graders.read(CHECK)
    path.write_text("{")
    assert "is no JSON" in openai_graders.problems(str(path))[0]
    assert "there is no file" in openai_graders.problems("nowhere.json")[0]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"type": "string"}, "Unknown grader type 'string'. Did you mean 'string_check'?"),
        ([CHECK], "must be an object with a type"),
        ({**CHECK, "operation": "equals"}, "grader.operation: should be 'eq', 'ne', 'like' or 'ilike'"),
        ({**CHECK, "input": "{{output}}"}, "'{{output}}' is no path; write {{item.column}} or {{sample.output_text}}."),
        ({**CHECK, "input": "{{sample.text}}"}, "names nothing of a sample; it has output_text, output_json, choices."),
        ({**CHECK, "inputs": "x"}, "Did you mean 'input'?"),
        ({"type": "python", "name": "p", "source": "def grade(sample):\n    return 1"}, "grade(sample, item)"),
        ({"type": "python", "name": "p", "source": "def grade(sample, item"}, "grader.source: is no Python"),
        ({"type": "score_model", **MODEL, "range": [1, 0]}, "must go from a lower to a higher number"),
        ({"type": "score_model", **MODEL, "input": []}, "grader.input"),
        ({"type": "label_model", **MODEL, "labels": ["a"], "passing_labels": ["b"]}, "Unknown label 'b'"),
        ({"type": "multi", "name": "x", "graders": [CHECK, CHECK], "calculate_output": "1"}, "two graders are called"),
        ({"type": "multi", "name": "x", "graders": [CHECK], "calculate_output": "sam"}, "Did you mean 'same'?"),
        ({"type": "multi", "name": "x", "graders": [CHECK], "calculate_output": "same +"}, "cannot be read"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(values: Any, told: str) -> None:
    found = openai_graders.problems(values)
    assert len(found) == 1 and told in found[0], found
    with pytest.raises(RecipeError):
        openai_graders.read(values)


def test_a_label_rewards_nothing_by_itself() -> None:
    label = VALID[4]
    assert openai_graders.problems(label) == []
    assert "rewards nothing by itself" in openai_graders.problems(label, reinforcement=True)[0]
    multi = {"type": "multi", "name": "x", "graders": [label], "calculate_output": "m"}
    assert openai_graders.problems(multi, reinforcement=True) == []


# --- formulas ---


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a", 0.5),
        ("2 * a + b / 4", 1.75),
        ("2 ^ 3 ^ 2", 512),
        ("a * b ^ 2", 4.5),  # a power binds closer than a product
        ("-a ^ 2", -0.25),
        ("min(a, b, 1) + max(a, b) - abs(-1)", 2.5),
        ("floor(2.7) + ceil(2.2)", 5),
        ("exp(0) + sqrt(9) + log(1)", 4),
        ("(a + b) / 2", 1.75),
    ],
)
def test_a_formula_is_computed(text: str, value: float) -> None:
    assert formula.read(text).value({"a": 0.5, "b": 3.0}) == pytest.approx(value)


@pytest.mark.parametrize("text", ["1 / 0", "log(0)", "sqrt(-1)", "9 ^ 9 ^ 9", "exp(1000)", "1e308 * 10"])
def test_a_formula_without_a_value_says_so(text: str) -> None:
    with pytest.raises(ValueError, match="has no value here"):
        formula.read(text).value({})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a b",
        "a.b",
        "a[0]",
        "'x'",
        "True",
        "lambda: 1",
        "a if b else c",
        "a and b",
        "a < b",
        "print(a)",
        "__import__('os')",
        "min()",
        "abs(1, 2)",
        "min(*a)",
        "max(a, key=b)",
        "a := 1",
        "1j",
        "-" * 1999 + "1",
        "1+" * 999,
    ],
)
def test_what_is_no_arithmetic_is_refused(text: str) -> None:
    with pytest.raises(RecipeError):
        formula.read(text)


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_a_formula_is_what_python_says(a: float, b: float) -> None:
    found = formula.read("(a - b) * 2 + max(a, b) / 3 - abs(b)").value({"a": a, "b": b})
    assert math.isclose(found, (a - b) * 2 + max(a, b) / 3 - abs(b), rel_tol=1e-12, abs_tol=1e-9)


# --- templates ---


VALUES = {
    "item": {"a": "x", "b": {"c": [1, {"d": None}]}, "long name": 2, "t": "{{item.a}}"},
    "sample": {"output_text": "y"},
}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("plain", "plain"),
        ("{{item.a}}-{{ sample.output_text }}", "x-y"),
        ("{{item.b.c[0]}} {{item.b.c[1]['d']}}", "1 null"),
        ('{{item["long name"]}}', "2"),
        ("{{item.b}}", '{"c": [1, {"d": null}]}'),
        ("{{item.t}}", "{{item.a}}"),  # what is filled in is not read again
    ],
)
def test_a_template_is_filled(text: str, filled: str) -> None:
    assert templates.problems(text) == []
    assert templates.render(text, VALUES) == filled


@pytest.mark.parametrize("path", ["item.nothing", "item.a.b", "item.b.c[7]", "sample.output_json.x"])
def test_a_path_that_leads_nowhere_is_missing(path: str) -> None:
    with pytest.raises(templates.Missing) as caught:
        templates.render(f"{{{{{path}}}}}", VALUES)
    assert caught.value.path == path


@pytest.mark.parametrize("hole", ["item", "item.a | upper", "item.__class__()", "7 * 7", "other.x", "item.a + 1", ""])
def test_a_template_holds_paths_only(hole: str) -> None:
    assert templates.problems(f"{{{{{hole}}}}}")
