"""prompt: the user's own text, or one that a search finds on validation rows within its budget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tunewright.contestants._searching import rungs
from tunewright.core import catalog, checks
from tunewright.core.contesting import Contestant, Rehearsal, Tried
from tunewright.core.endpoint import Endpoint, Question, Reply
from tunewright.core.errors import DataError, RecipeError
from tunewright.core.example import Example, Message
from tunewright.core.recipe import Recipe

LABELS = ["fraud", "rates"]
WISE = "Be wise."


def prompt(**options: Any) -> Contestant:
    found: Contestant = catalog.build("contestants", {"kind": "prompt", **options})
    return found


def solved(id: str, question: str, answer: str, system: str | None = None) -> Example:
    lead = [Message(role="system", content=system)] if system else []
    said = [Message(role="user", content=question), Message(role="assistant", content=answer)]
    return Example(id=id, messages=lead + said, label=answer)


TRAINING = [solved(f"t{n}", f"{LABELS[n % 2]} {n}", LABELS[n % 2]) for n in range(20)]
ROWS = [solved(f"v{n}", f"{LABELS[n % 2]} {n}", LABELS[n % 2]) for n in range(64)]


class Stage:
    """A rehearsal in which a prompt is the better, the more of the wanted words stand in it."""

    def __init__(self, wanted: Sequence[str] = (WISE,), *, seconds: float = 1.0) -> None:
        self.wanted, self.seconds = wanted, seconds
        self.asked: list[tuple[str, str]] = []  # mark, id
        self.proposed: list[Question] = []

    def trial(self, variant: Contestant, rows: Sequence[Example], mark: str) -> Tried:
        self.asked += [(mark, one.id) for one in rows]
        made = variant.prompts(rows, TRAINING)
        said = [" ".join(str(message["content"]) for message in messages) for messages in made]
        good = [sum(word in text for word in self.wanted) for text in said]
        answers = [one.answer or "" if int(one.id[1:]) % 4 < 2 * n else "?" for one, n in zip(rows, good, strict=True)]
        return Tried(answers, self.seconds)

    def ask(self, endpoint: Endpoint, questions: Sequence[Question]) -> list[Reply]:
        self.proposed += questions
        return [Reply(f"Proposal {number}. {WISE if number == 2 else ''}") for number in range(len(questions))]

    def scene(self, rows: Sequence[Example] = ROWS, labels: Sequence[str] = LABELS) -> Rehearsal:
        return Rehearsal(
            training=TRAINING,
            validation=rows,
            labels=labels,
            grader="exact",
            trial=self.trial,
            value=lambda given, answers: sum(a == b.answer for a, b in zip(answers, given, strict=True)) / len(given),
            ask=self.ask,
        )


def test_the_users_own_prompt_takes_the_place_of_the_system_message(tmp_path: Path) -> None:
    asked = solved("q", "hello", "rates", system="Old.")
    sent = prompt(system="New.", template="Message: {question}!").prompts([asked], [])[0]
    assert sent == [{"role": "system", "content": "New."}, {"role": "user", "content": "Message: hello!"}]
    (tmp_path / "system.txt").write_text("From a file.\n")
    (tmp_path / "template.txt").write_text("Sort this: {question}\n")
    assert prompt(file=str(tmp_path / "system.txt")).prompts([asked], [])[0][0]["content"] == "From a file."
    sent = prompt(file=str(tmp_path / "template.txt"), k=1).prompts([asked], TRAINING)[0]
    assert [one["role"] for one in sent] == ["system", "user", "assistant", "user"]
    assert sent[0]["content"] == "Old." and all(one["content"].startswith("Sort this: ") for one in sent[1::2])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"template": "no place"}, r"must hold \{question\}"),
        ({"system": "a", "search": {}}, "not both"),
        ({"system": "a", "file": "b"}, "give file, or system and template"),
        ({"search": {"shots": []}}, "numbers of examples"),
        ({"search": {"rounds": 3}}, "rounds"),
        ({"name": "no/slash"}, "pattern"),
    ],
)
def test_a_prompt_that_makes_no_sense_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(RecipeError, match=problem):
        prompt(**options)


def test_the_best_prompt_is_found_and_asks_as_it_was_tried() -> None:
    stage = Stage()
    found = prompt(name="best", search={"instructions": [WISE], "rows": 64}).rehearse(stage.scene())
    assert found.told["options"]["system"] == WISE
    assert found.told["validation"] == pytest.approx(0.5, abs=0.1)
    assert found.contestant.label == "best" and not found.contestant.rehearses
    given = catalog.build("contestants", found.told["options"])
    assert given.prompts(ROWS[:2], TRAINING) == found.contestant.prompts(ROWS[:2], TRAINING)
    assert found.told["questions"] == len(stage.asked)
    again = prompt(name="best", search={"instructions": [WISE], "rows": 64}).rehearse(Stage().scene())
    assert again.told == found.told


def test_instruction_and_examples_are_found_together() -> None:
    stage = Stage(wanted=(WISE, "fraud 1"))
    search = {"instructions": [WISE], "shots": [0, 20], "candidates": 32, "rows": 64}
    options = prompt(search=search).rehearse(stage.scene()).told["options"]
    assert options["system"] == WISE and (options.get("k") or options.get("examples"))


def test_no_row_is_asked_twice_of_one_prompt_and_rows_grow_as_prompts_fall_away() -> None:
    stage = Stage()
    found = prompt(search={"candidates": 8, "rows": 64}).rehearse(stage.scene())
    pairs = [(mark.split(".")[0], id) for mark, id in stage.asked]
    assert len(pairs) == len(set(pairs))
    assert [rung["rows"] for rung in found.told["rungs"]] == [16, 32, 64]
    assert [len(rung["values"]) for rung in found.told["rungs"]] == [8, 4, 2]
    assert len(pairs) == 8 * 16 + 4 * 16 + 2 * 32
    assert {id for _, id in pairs} <= {one.id for one in ROWS}


@pytest.mark.parametrize("candidates", [2, 3, 5, 16, 33])
@pytest.mark.parametrize("rows", [4, 9, 200])
def test_halving_ends_with_one_prompt_and_all_rows(candidates: int, rows: int) -> None:
    found = rungs(candidates, rows)
    assert found[-1] == (rows, 1)
    counts, keeps = zip(*found, strict=True)
    assert list(counts) == sorted(set(counts)) and list(keeps) == sorted(keeps, reverse=True)


def test_a_budget_of_seconds_ends_the_search_with_what_was_tried() -> None:
    stage = Stage(seconds=10.0)
    search = {"instructions": [WISE], "candidates": 8, "rows": 64, "seconds": 35}
    found = prompt(search=search).rehearse(stage.scene())
    assert found.told["seconds"] == 40 and len(found.told["rungs"]) == 1
    longer = Stage(seconds=10.0)
    found = prompt(search=search | {"seconds": 100}).rehearse(longer.scene())
    assert [rung["rows"] for rung in found.told["rungs"]] == [16]  # the second rung was not tried on all alike
    assert found.told["options"]["system"] == WISE


def test_a_server_proposes_instructions_from_training_rows() -> None:
    stage = Stage()
    search = {"proposer": {"url": "http://x/v1", "model": "m"}, "proposals": 3, "shots": [0], "candidates": 12}
    found = prompt(search=search).rehearse(stage.scene())
    assert found.told["options"]["system"] == f"Proposal 2. {WISE}"
    assert len(stage.proposed) == 3 and "Output: " in stage.proposed[0].messages[0]["content"]
    assert not any(one.messages[-2].content in str(stage.proposed) for one in ROWS if "50" in one.id)


def test_instructions_fit_the_task() -> None:
    from tunewright.contestants._wording import instructions

    told = instructions(TRAINING, LABELS, {"rates": "costs of exchange"})
    assert any("- rates: costs of exchange" in one for one in told)
    assert any("- fraud: fraud 0" in one for one in told)
    made = [solved(f"j{n}", "x", f'{{"city": "{n}", "day": 1}}') for n in range(3)]
    assert "the fields city, day" in instructions(made, [], {})[0]
    assert "a number" in instructions([solved("n", "x", "1,200.5")], [], {})[0]
    assert any("about 3 words" in one for one in instructions([solved("n", "x", "so it is")], [], {}))


def test_without_rows_to_try_on_it_says_so() -> None:
    with pytest.raises(DataError, match="a share, or give the prompt"):
        prompt().rehearse(Stage().scene(rows=[]))


def recipe(tmp_path: Path, *against: Any, beat: Sequence[str] = ()) -> Recipe:
    (tmp_path / "rows.jsonl").touch()
    goal = {"grader": "exact", "beat": list(beat)} if beat else None
    evaluate = {"graders": ["exact"], "against": list(against), **({"goal": goal} if goal else {})}
    return Recipe.parse({"name": "a", "data": {"sources": ["rows.jsonl"]}, "evaluate": evaluate}, folder=tmp_path)


SERVER = {"url": "http://localhost:1/v1", "model": "m"}


@pytest.mark.parametrize(
    ("against", "problem"),
    [
        ({"kind": "prompt", "file": "none.txt"}, "prompt: file: there is no file none.txt"),
        ({"kind": "few_shot", "name": "mine", "examples": "none.jsonl"}, "mine: examples: there is no file none.jsonl"),
        ({"kind": "release", "release": "dask"}, "release: release: There is no run 'dask'"),
        ({"kind": "endpoint", "endpoint": {**SERVER, "key": "env:NO_SUCH_KEY"}}, "no variable NO_SUCH_KEY"),
        ({"kind": "prompt", "search": {"proposer": {**SERVER, "key": "file:/none"}}}, "/none cannot be read"),
        ({"kind": "retrieval", "over": "rows", "encoder": "./none"}, "encoder: there is no folder ./none"),
        ({"kind": "retrieval", "documents": ["none.md"]}, "documents: there is no file or folder none.md"),
        ({"kind": "base", "name": "tuned"}, "'tuned' is the tuned model itself"),
    ],
)
def test_what_a_contestant_names_must_be_there(against: dict[str, Any], problem: str, tmp_path: Path) -> None:
    found = checks.problems(recipe(tmp_path, against), runs=tmp_path / "runs")
    assert len(found) == 1 and problem in found[0]


def test_contestants_are_told_apart_by_name(tmp_path: Path) -> None:
    twice = recipe(tmp_path, "few_shot", {"kind": "few_shot", "k": 8})
    assert "two contestants are called 'few_shot'. Give one of them another 'name:'." in checks.problems(twice)[0]
    named = recipe(tmp_path, "few_shot", {"kind": "few_shot", "name": "eight", "k": 8}, beat=["eight"])
    assert checks.problems(named) == []
    wrong = recipe(tmp_path, {"kind": "few_shot", "name": "eight", "k": 8}, beat=["few_shot"])
    assert "few_shot" in checks.problems(wrong)[0]
