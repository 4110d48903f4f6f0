"""Rating from end to end without a browser: what is shown and kept, what it says, and how it enters the verdict."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunewright.core import storage
from tunewright.core.errors import DataError, NotThere
from tunewright.core.judging import Gate, People
from tunewright.core.run import Run
from tunewright.stages import bars, flow, gate, people, rating, rating_plan, ratings
from tunewright.stages.rating_plan import Turn
from tunewright.stages.ratings import Given, Session

Make = Callable[..., Run]
Choose = Callable[[Turn, int], str]


def rate_all(session: Session, rater: str, choose: Choose, *, most: int = 1000, **given: Any) -> int:
    """Rate turn by turn as the server would; return how many were rated."""
    turns = session._turns(rater)
    for number in range(most):
        item = session.state(rater)["item"]
        if item is None:
            return number
        session.rate(rater, item["place"], Given(choose(turns[item["place"]], number), **given))
    return most


def for_tuned(turn: Turn, number: int) -> str:
    """Tuned is better, but in every fifth row."""
    wins = int(turn.item.id.partition(":")[2]) % 5 != 0
    return "left" if (turn.left == "tuned") == wins else "right"


def judged(run: Run) -> Any:
    """The report of evaluate as it is judged now."""
    report = run.report("evaluate")
    assert report is not None
    return bars.with_bars(run.recipe(), run, report)


# --- what is shown ---


def test_a_rater_is_never_told_whose_answers_they_are(answered_run: Make) -> None:
    session = rating.session(answered_run(), pairs=["tuned:base"])
    for _ in range(12):
        shown = session.state("ada")
        text = json.dumps(shown)
        assert not any(word in text for word in ("tuned", "base", "test:", "repeat"))
        session.rate("ada", shown["item"]["place"], Given("left"))


def test_sides_are_dealt_by_chance_and_a_tenth_comes_twice_the_other_way_round(answered_run: Make) -> None:
    table = rating_plan.answers_of(answered_run(100))
    pools = [rating_plan.pool(table, ("tuned", name), "rouge") for name in ("base", "few_shot")]
    turns = rating_plan.pair_turns(pools, rater="ada", rows=90)
    fresh = {turn.item.key: turn for turn in turns if not turn.repeat}
    repeats = [turn for turn in turns if turn.repeat]
    assert len(fresh) == 180
    assert len(repeats) == 20  # a tenth of the 200 turns
    assert len({turn.item.key for turn in repeats}) == 20
    for place, turn in enumerate(turns):
        if turn.repeat:
            before = next(number for number, one in enumerate(turns) if one.item.key == turn.item.key)
            assert place - before >= 4
            assert (turn.left, turn.right) == (turns[before].right, turns[before].left)
    left = Counter(turn.left == "tuned" for turn in fresh.values())
    assert 70 <= left[True] <= 110
    assert turns == rating_plan.pair_turns(pools, rater="ada", rows=90)
    others = rating_plan.pair_turns(pools, rater="bo", rows=90)
    assert list(fresh) == [turn.item.key for turn in others if not turn.repeat]  # the same rows, so that they compare
    assert [turn.left for turn in turns] != [turn.left for turn in others]


def test_rows_with_the_same_answer_are_not_shown(answered_run: Make) -> None:
    def texts(row: int) -> dict[str, str]:
        return {"tuned": f"yes {row}", "base": f" yes {row}\n" if row % 4 == 0 else "no"}

    found = rating_plan.pool(rating_plan.answers_of(answered_run(40, texts=texts)), ("tuned", "base"), "rouge")
    assert (len(found.items), found.same) == (30, 10)
    alike = answered_run(3, texts=lambda row: {"tuned": "yes", "base": "yes"})
    with pytest.raises(DataError, match="same answer to every test row"):
        rating.session(alike)


def test_rows_that_ask_and_are_answered_the_same_are_rated_once_and_leave_none_to_rate(answered_run: Make) -> None:
    run = answered_run(people={"beat": ["base"], "least_ratings": 30})
    path = run.path("evaluate", "answers.jsonl")
    rows = list(storage.read_jsonl(path))
    storage.write_jsonl(path, [*rows[:12], *({**row, "id": f"twin:{row['id']}"} for row in rows[:12])])
    assert rate_all(rating.session(run), "ada", lambda turn, number: "left") == 14  # two of the 12 come twice
    [found] = judged(run).numbers["people"]["pairs"]
    assert (found["rated_rows"], found["different_rows"]) == (12, 12)
    assert judged(run).numbers["need_of"] == "test rows", "there is nothing left to rate"


def test_an_unrated_run_is_sent_to_the_page(answered_run: Make) -> None:
    run = answered_run()
    assert rating.ratings(run.folder).next == f"tunewright rate {run.folder}"


def test_discordant_rows_come_first_and_others_keep_a_share(answered_run: Make) -> None:
    run = answered_run(80)
    table = rating_plan.answers_of(run)
    for row in table[:40]:
        row["grades"]["base"]["rouge"] = 0.9  # as good as tuned by the grader
    found = rating_plan.pool(table, ("tuned", "base"), "rouge", "discordant")
    first = Counter(item.stratum for item in found.items[:40])
    assert first == {rating_plan.DISCORDANT: 30, rating_plan.ALIKE: 10}
    assert len(found.items) == 80
    assert found.sizes == (40, 40)
    at_random = rating_plan.pool(table, ("tuned", "base"), "rouge")
    assert {item.key for item in at_random.items} == {item.key for item in found.items}
    assert 10 <= sum(item.stratum == rating_plan.ALIKE for item in at_random.items[:40]) <= 30


@pytest.mark.parametrize(
    ("asked", "message"),
    [("tuned", "colon between"), ("tuned:tuned", "colon between"), ("tuned:bas", "Did you mean 'base'")],
)
def test_a_pair_that_cannot_be_is_told(answered_run: Make, asked: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        rating.session(answered_run(), pairs=[asked])


def test_before_evaluate_it_is_said_what_to_do(answered_run: Make) -> None:
    run = answered_run()
    run.path("evaluate", "answers.jsonl").unlink()
    with pytest.raises(NotThere, match="tunewright evaluate"):
        rating.session(run)


# --- what is kept ---


def test_ratings_are_kept_as_they_come_and_another_server_goes_on(answered_run: Make) -> None:
    run = answered_run()
    rate_all(rating.session(run, pairs=["tuned:base"]), "ada", for_tuned, most=7)
    again = rating.session(run, pairs=["tuned:base"])
    assert again.state("ada")["done"] == 7
    assert again.state(" bo ")["done"] == 0
    rate_all(again, "ada", for_tuned)
    assert again.state("ada")["item"] is None
    rows = ratings.read(run, "pair")
    assert len(rows) == 45  # 40 rows and their repeats
    assert Counter(row["repeat"] for row in rows) == {False: 40, True: 5}
    assert len({(row["key"], row["repeat"]) for row in rows}) == 45


def test_undo_takes_the_last_one_back_and_gives_its_words_again(answered_run: Make) -> None:
    run = answered_run()
    session = rating.session(run, pairs=["tuned:base"])
    assert not session.state("ada")["can_undo"]
    session.rate("ada", 0, Given("left", comment=" hm "))
    session.rate("ada", 1, Given("right"))
    back = session.undo("ada")
    assert (back["item"]["place"], back["done"]) == (1, 1)
    back = session.undo("ada")
    assert (back["item"]["place"], back["before"]["comment"]) == (0, "hm")
    session.rate("ada", 0, Given("both bad"))
    kept = ratings.read(run, "pair")
    assert [row["choice"] for row in kept] == ["both bad"]
    assert [row["choice"] for row in ratings.read(Run(run.folder), "pair")] == ["both bad"]
    assert rating.session(run, pairs=["tuned:base"]).state("ada")["done"] == 1


def test_a_turn_that_was_rated_meanwhile_is_not_rated_twice(answered_run: Make) -> None:
    run = answered_run()
    session = rating.session(run, pairs=["tuned:base"])
    session.rate("ada", 0, Given("left"))
    session.rate("ada", 0, Given("right"))  # the same key twice, or another tab
    session.rate("ada", 5, Given("right"))
    assert [row["choice"] for row in ratings.read(run, "pair")] == ["left"]


def test_what_is_skipped_does_not_come_back(answered_run: Make) -> None:
    run = answered_run()
    session = rating.session(run, pairs=["tuned:base"])
    rate_all(session, "ada", lambda turn, number: "skip")
    assert session.state("ada")["item"] is None
    assert {row["repeat"] for row in ratings.read(run, "pair")} == {False}
    found = people.numbers(run.recipe(), run, "rouge")
    assert found == {"pairs": [], "ratings": 0, "skipped": 40, "stale": 0}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Given("better"), "Unknown choice"),
        (Given("left", criteria={"kind": "left"}), "Unknown criterion"),
        (Given("left", criteria={"accurate": "yes"}), "cannot be"),
        (Given("left", comment="x" * 5000), "characters"),
    ],
)
def test_what_cannot_be_said_of_a_pair_is_refused(answered_run: Make, given: Given, message: str) -> None:
    session = rating.session(answered_run(people={"rubric": ["accurate"]}), pairs=["tuned:base"])
    with pytest.raises(DataError, match=message):
        session.rate("ada", 0, given)
    with pytest.raises(DataError, match="name has 1 to 60"):
        session.state("  ")


def test_ratings_of_a_private_run_are_encrypted(answered_run: Make, tmp_path: Path) -> None:
    from tunewright.privacy import vault

    run = answered_run()
    key = tmp_path / "key.txt"
    vault.new_key(key)
    vault.begin(run.folder, vault.Key(str(key)), complete=False)
    session = rating.session(run, pairs=["tuned:base"])
    session.rate("ada", 0, Given("left", comment="the customer is called Grace"))
    session.rate("ada", 1, Given("right", comment="and lives in Leith"))
    raw = run.path("ratings", "ratings.jsonl").read_bytes()
    assert b"Grace" not in raw and b"Leith" not in raw
    assert [row["comment"][:3] for row in ratings.read(run, "pair")] == ["the", "and"]


# --- what it says ---


def test_figures_of_two_raters(answered_run: Make) -> None:
    run = answered_run(people={"rubric": ["accurate"]})
    session = rating.session(run, pairs=["tuned:base"])
    rate_all(session, "ada", for_tuned, criteria={"accurate": "same"})
    rate_all(session, "bo", lambda turn, number: "both good" if number % 8 == 7 else for_tuned(turn, number), most=20)
    report = rating.ratings(run.folder)
    found = report.numbers["people"]
    (pair,) = found["pairs"]
    assert (pair["first"], pair["second"]) == ("tuned", "base")
    assert (pair["rated_rows"], pair["different_rows"], pair["ratings"]) == (40, 40, 58)
    assert (pair["wins"], pair["losses"]) == (32, 8)
    (criterion,) = found["criteria"]
    assert (criterion["criterion"], criterion["first_better"], criterion["same"]) == ("accurate", 0, 40)
    assert pair["share"]["low"] < pair["share"]["value"] < pair["share"]["high"]
    assert pair["p"] == pytest.approx(0.000182, abs=1e-5)
    assert found["alpha"]["value"] > 0.6
    assert found["alpha"]["items"] == 18
    assert found["self_agreement"] == {
        "agreed": 7,
        "n": 7,
        "value": 1.0,
        "low": pytest.approx(0.590, abs=1e-3),
        "high": 1,
    }
    assert found["side_bias"]["p"] > 0.05
    assert [(one["rater"], one["ratings"]) for one in found["raters"]] == [("ada", 40), ("bo", 18)]
    assert found["strengths"]["tuned"]["low"] > 0 > found["strengths"]["base"]["high"]


def test_always_left_is_told_as_a_bias_of_the_rater_and_helps_nobody(answered_run: Make) -> None:
    run = answered_run()
    rate_all(rating.session(run, pairs=["tuned:base"]), "ada", lambda turn, number: "left")
    report = rating.ratings(run.folder)
    assert {one.name for one in report.findings} == {"side bias", "low self-agreement"}
    found = report.numbers["people"]
    assert found["self_agreement"]["agreed"] == 0
    assert found["pairs"][0]["p"] > 0.01


def test_a_sample_of_discordant_rows_is_weighed_back(answered_run: Make) -> None:
    run = answered_run(80)
    table = rating_plan.answers_of(run)
    for row in table[:60]:
        row["grades"]["base"]["rouge"] = 0.9
    storage.write_jsonl(run.path("evaluate", "answers.jsonl"), table)

    def by_stratum(turn: Turn, number: int) -> str:
        wins = turn.item.stratum == rating_plan.DISCORDANT
        return "left" if (turn.left == "tuned") == wins else "right"

    rate_all(rating.session(run, pairs=["tuned:base"], rows=24, order="discordant"), "ada", by_stratum)
    (pair,) = rating.ratings(run.folder).numbers["people"]["pairs"]
    assert (pair["wins"], pair["losses"]) == (18, 6)
    assert pair["share"]["value"] == 0.25  # 20 rows of 80 are won
    assert pair["test"] == "bootstrap"


def test_ratings_of_other_answers_do_not_count(answered_run: Make) -> None:
    run = answered_run()
    rate_all(rating.session(run, pairs=["tuned:base"], rows=10), "ada", for_tuned)
    answered_run(texts=lambda row: {"tuned": f"another {row}", "base": f"the of {row}"})
    report = rating.ratings(run.folder)
    assert report.numbers["people"]["stale"] == 12
    assert [one.name for one in report.findings] == ["stale ratings"]


# --- how it enters the verdict ---


def test_unrated_pairs_need_ratings_and_say_the_command(answered_run: Make) -> None:
    run = answered_run(people={"beat": ["base"]})
    report = judged(run)
    assert report.verdict == "NEED MORE"
    assert (report.numbers["need"], report.numbers["need_of"]) == (30, "ratings")
    assert f"30 more ratings (tunewright rate {run.folder})" in report.reason
    assert report.numbers["changes"] == [
        f"30 more ratings (tunewright rate {run.folder}) would tell whether people prefer tuned to base."
    ]
    assert report.next.startswith(f"tunewright rate {run.folder}; then: tunewright evaluate")


def test_people_who_prefer_tuned_make_it_a_go_and_those_who_do_not_a_no_go(answered_run: Make) -> None:
    run = answered_run(people={"beat": ["base"]})
    session = rating.session(run)
    rate_all(session, "ada", for_tuned, most=20)
    assert judged(run).verdict == "NEED MORE"
    rate_all(session, "ada", for_tuned)
    report = judged(run)
    assert report.verdict == "GO"
    assert "people prefer tuned to base (0.800" in report.reason
    assert report.numbers["judged"]["reason"] == "rouge is 0.900."
    assert judged(run) == report  # judging twice says the same
    other = {"left": "right", "right": "left"}
    rate_all(session, "bo", lambda turn, number: other[for_tuned(turn, number)])
    assert judged(run).verdict == "NEED MORE"  # two raters who disagree settle nothing
    for name in ("cy", "di", "ed", "fo"):
        rate_all(session, name, lambda turn, number: other[for_tuned(turn, number)])
    assert judged(run).verdict == "NO-GO"
    assert "But this does not hold: people prefer tuned to base" in judged(run).reason


def test_a_bar_of_the_share_that_is_missed_is_a_no_go(answered_run: Make) -> None:
    run = answered_run(people={"beat": ["base"], "at_least": 0.95})
    rate_all(rating.session(run), "ada", for_tuned)
    assert judged(run).verdict == "NO-GO"


def test_agreement_that_is_asked_for_needs_a_second_rater(answered_run: Make) -> None:
    run = answered_run(people={"beat": ["base"], "least_alpha": 0.4})
    session = rating.session(run)
    rate_all(session, "ada", for_tuned)
    assert "needs two raters" in judged(run).reason
    rate_all(session, "bo", for_tuned)
    assert judged(run).verdict == "GO"
    strict = People(beat=["base"], least_alpha=0.99)
    found = people.numbers(run.recipe(), run, "rouge") | {"alpha": {"value": 0.2, "low": 0.1, "high": 0.3, "items": 40}}
    assert [bar.state for bar in people.bars(strict, found, {"base": 40})] == ["holds", "open"]


def test_when_all_rows_are_rated_test_rows_are_asked_for(answered_run: Make) -> None:
    run = answered_run(people={"beat": ["base"]})

    def nearly_even(turn: Turn, number: int) -> str:
        wins = int(turn.item.id.partition(":")[2]) % 5 in (0, 2, 4)
        return "left" if (turn.left == "tuned") == wins else "right"

    rate_all(rating.session(run), "ada", nearly_even)
    report = judged(run)
    assert (report.verdict, report.numbers["need_of"]) == ("NEED MORE", "test rows")
    assert 60 < report.numbers["need"] < 400


def test_what_cannot_be_told_apart_asks_for_no_number_of_rows(answered_run: Make) -> None:
    run = answered_run(people={"beat": ["base"]}, cases=2, gate={"cases": "cases.jsonl"})
    rate_all(rating.session(run), "ada", lambda turn, number: "both good")
    pass_cases(run)
    report = judged(run)
    assert "Needed: more than 100,000 test rows, so near is it, and" in report.reason
    assert report.reason.count("more cases") == 1, "two bars of the gate ask for the same cases"
    assert report.next is not None and report.next.startswith("Read ")


def test_a_no_go_of_the_figures_stays_one(answered_run: Make) -> None:
    run = answered_run(people={"beat": ["base"]})
    report = run.report("evaluate")
    assert report is not None
    report.model_copy(update={"verdict": "NO-GO", "reason": "Beaten."}).save(run.path("evaluate"))
    rate_all(rating.session(run), "ada", for_tuned)
    assert (judged(run).verdict, judged(run).reason) == ("NO-GO", "Beaten.")


def test_a_kept_evaluation_is_judged_anew_without_asking_a_model(
    answered_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = answered_run(people={"beat": ["base"]})
    monkeypatch.setattr(flow, "_inputs", lambda stage, recipe: "")
    monkeypatch.setattr(flow, "_function", lambda stage: pytest.fail("the stage was carried out"))
    assert flow._do("evaluate", run.recipe(), run, None).verdict == "NEED MORE"
    assert flow._do("evaluate", run.recipe(), run, None).verdict == "NEED MORE"
    rate_all(rating.session(run), "ada", for_tuned)
    assert flow._do("evaluate", run.recipe(), run, None).verdict == "GO"
    saved = run.report("evaluate")
    assert saved is not None and saved.verdict == "GO"
    assert [event["verdict"] for event in run.events("judged_again")] == ["NEED MORE", "GO"]


# --- the gate ---


def pass_cases(run: Run, rater: str = "ada", *, failed: int = 0, critical: int = 0) -> None:
    session = rating.session(run, gate=True)
    turns = session._turns(rater)
    for _ in range(len(turns)):
        item = session.state(rater)["item"]
        number = int(turns[item["place"]].item.id.partition(":")[2])
        marks = {"accurate": True, "safe": number >= failed, "in style": True}
        session.rate(rater, item["place"], Given("rated", marks, critical=number < critical))


@pytest.mark.parametrize(
    ("cases", "failed", "critical", "verdict", "need_of"),
    [
        (80, 0, 0, "GO", "test rows"),
        (50, 0, 0, "NEED MORE", "cases"),  # no critical failure among 50: the upper bound is 0.071
        (80, 20, 0, "NO-GO", "test rows"),
        (80, 12, 12, "NO-GO", "test rows"),
    ],
)
def test_the_gate_holds_cases_to_exact_bounds(
    answered_run: Make, cases: int, failed: int, critical: int, verdict: str, need_of: str
) -> None:
    run = answered_run(cases=cases, gate={"cases": "cases.jsonl"})
    before = judged(run)
    assert (before.verdict, before.numbers["need"]) == ("NEED MORE", cases)
    assert f"tunewright rate {run.folder} --gate" in before.reason
    pass_cases(run, failed=failed, critical=critical)
    report = judged(run)
    assert (report.verdict, report.numbers["need_of"]) == (verdict, need_of), report.reason
    found = report.numbers["gate"]
    assert (found["judged"], found["passed"], found["critical"]["count"]) == (cases, cases - failed, critical)
    assert found["criteria"][1] == {"criterion": "safe", "passed": cases - failed, "n": cases}
    if cases == 50:
        assert found["critical"]["high"] == pytest.approx(0.0711, abs=1e-4)
        assert report.numbers["need"] == 22  # 72 cases without a failure


def test_raters_of_a_case_vote_and_any_of_them_can_call_a_failure_critical(answered_run: Make) -> None:
    run = answered_run(cases=4, gate={"cases": "cases.jsonl"})
    pass_cases(run, "ada", failed=2, critical=1)
    pass_cases(run, "bo", failed=1)
    pass_cases(run, "cy")
    found = gate.numbers(run.recipe(), run)
    assert found is not None
    assert found["passed"] == 3  # case 0 failed by two of three, case 1 by one
    assert found["critical"]["count"] == 1
    assert found["raters"] == [{"rater": name, "cases": 4} for name in ("ada", "bo", "cy")]
    assert found["alpha"] is not None
    assert found["failed"] == ["cases:0"]


def test_what_cannot_be_said_of_a_case_is_refused(answered_run: Make) -> None:
    session = rating.session(answered_run(gate={"cases": "cases.jsonl"}), gate=True)
    with pytest.raises(DataError, match="Every criterion"):
        session.rate("ada", 0, Given("rated", {"accurate": True}))
    with pytest.raises(DataError, match="cannot be"):
        session.rate("ada", 0, Given("rated", {"accurate": "left", "safe": True, "in style": True}))
    with pytest.raises(DataError, match="no pairs"):
        rating.session(Run(session.run.folder), gate=True, pairs=["tuned:base"])
    with pytest.raises(DataError, match="asks people for no gate"):
        rating.session(answered_run(), gate=True)


@pytest.mark.parametrize(("share", "bound", "cases"), [(1.0, 0.9, 36), (0.0, 0.05, 72), (0.96, 0.9, 132)])
def test_cases_that_would_settle_it(share: float, bound: float, cases: int) -> None:
    from tunewright.core.statistics import clopper_pearson

    assert gate.cases_for(share, bound) == pytest.approx(cases, abs=20 if share == 0.96 else 0)
    right = round(share * cases)
    edges = clopper_pearson(right, cases)
    assert edges.low >= bound or edges.high <= bound


def test_a_gate_without_judgements_is_open() -> None:
    (bar,) = gate.bars(Gate(cases="x"), None)
    assert (bar.state, bar.need) == ("open", 1)
