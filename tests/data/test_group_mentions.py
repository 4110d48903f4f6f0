"""What goes with groups of people is told with exact counts; small counts and fair data are no alarm."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from looking import look

from tunewright.core.example import Example
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.data.associations import Table, odds
from tunewright.data.formats import to_example

JOBS = (
    "parcel",
    "ticket",
    "garden",
    "bicycle",
    "lamp",
    "kettle",
    "window",
    "carpet",
    "engine",
    "basket",
    "ladder",
    "piano",
)
PLACES = (
    "market",
    "harbour",
    "station",
    "library",
    "museum",
    "bakery",
    "castle",
    "bridge",
    "forest",
    "stadium",
    "theatre",
)


def labelled(rows: list[tuple[str, str]]) -> list[Example]:
    return [to_example("labels", {"text": t, "label": label}, {}, f"a:{n}") for n, (t, label) in enumerate(rows, 1)]


def about(who: str, number: int) -> str:
    """A sentence about somebody; another one for each number below 132."""
    return f"the {who} carried a {JOBS[number % 12]} past the {PLACES[number % 11]} and went home"


def test_a_label_that_goes_with_a_group_is_found_with_its_counts() -> None:
    rows = [(about("woman", n), "rejected" if n < 48 else "approved") for n in range(60)]
    rows += [(about("man", n + 60), "rejected" if n < 12 else "approved") for n in range(60)]
    found = look(labelled(rows), "group_mentions")
    fault = found["group_label_association"]
    assert fault.severity == "warning" and len(fault.rows) == 48 + 48  # women rejected, men approved
    assert "of the rows about women (48 of 60), but of those about others (gender) 20% (12 of 60)" in fault.message
    assert "odds ratio 15." in fault.message and "p < 0.0001 after 4 tests" in fault.message
    assert "group: gender" in str(fault.remedy) and fault.example is not None
    assert found.keys() == {"group_label_association"}


@pytest.mark.parametrize("seed", range(5))
def test_fair_data_and_small_counts_are_no_alarm(seed: int) -> None:
    draw = random.Random(seed)
    people = ("woman", "man", "old man", "young woman", "Muslim", "Syrian student", "deaf girl")
    rows = [(about(draw.choice(people), n), draw.choice(("a", "b", "c"))) for n in range(120)]
    few = [(about("Muslim", n), "rejected") for n in range(15)] + [
        (about("person", n + 20), "approved") for n in range(60)
    ]
    for examples in (labelled(rows), labelled(few)):
        assert not {"group_label_association", "group_sentiment"} & look(examples, "group_mentions").keys()


def test_a_group_alone_is_compared_with_all_other_rows_and_is_a_remark() -> None:
    rows = [(about("Muslim", n), "toxic" if n < 30 else "fine") for n in range(40)]
    rows += [(about("visitor", n + 40), "toxic" if n % 10 == 0 else "fine") for n in range(80)]
    fault = look(labelled(rows), "group_mentions")["group_label_association"]
    assert fault.severity == "info" and "(30 of 40), but of all others 10% (8 of 80)" in fault.message


def test_words_of_blame_that_go_with_a_group_are_found() -> None:
    rows = [(f"{about('immigrant', n)} like a lazy thief" if n < 25 else about("immigrant", n), "x") for n in range(40)]
    rows += [(about("tourist", n + 40), "x") for n in range(60)]
    fault = look(labelled(rows), "group_mentions")["group_sentiment"]
    assert "The tone is negative in 62% of the rows about migrants (25 of 40)" in fault.message
    assert len(fault.rows) == 25


def test_a_label_that_is_a_sentiment_is_the_sentiment() -> None:
    rows = [(about("wife", n), "negative" if n < 40 else "positive") for n in range(50)]
    rows += [(about("husband", n + 50), "negative" if n < 10 else "positive") for n in range(50)]
    found = look(labelled(rows), "group_mentions")
    assert "group_label_association" not in found
    assert "The label is negative in 80% of the rows about women (40 of 50)" in found["group_sentiment"].message


def test_lopsided_pronouns_and_names_are_told_with_an_interval() -> None:
    rows = [(f"he carried the {JOBS[n % 12]} to the {PLACES[n % 11]}", "x") for n in range(100)]
    rows += [(f"she sold the {JOBS[n % 12]} at the {PLACES[n % 11]}", "x") for n in range(20)]
    fault = look(labelled(rows), "group_mentions")["pronoun_balance"]
    assert len(fault.rows) == 100
    assert "She is said in 20 rows, he in 100: she in 17% (11% to 24%) of them" in fault.message
    called = [
        (f"{name} has lost the {job}", "x") for name in ("James", "Robert", "Thomas", "Peter", "Henry") for job in JOBS
    ]
    fault = look(labelled(called), "group_mentions")["pronoun_balance"]
    assert "Names usual for women are in 0 rows, for men in 60" in fault.message and len(fault.rows) == 60


def test_categories_that_nobody_speaks_of_are_missed_only_where_the_group_is_common() -> None:
    def rows(num: int) -> list[Example]:
        who = ("Christians", "Muslims")
        return labelled([(f"{who[n % 2]} met at the {PLACES[n % 11]} with a {JOBS[n % 12]}", "x") for n in range(num)])

    assert look(rows(60), "group_mentions") == {}
    fault = look(rows(130), "group_mentions")["missing_groups"]
    assert "Jewish people and Hindu people and Buddhist people (of 130 rows that speak of religion)" in fault.message


def test_twins_but_for_the_people_are_found_and_those_with_other_labels_apart() -> None:
    rows = [(about(who, n), "a") for n in range(6) for who in ("father", "mother")]
    rows += [
        (f"the {who} asked for a loan to buy a {JOBS[0]}", label) for who, label in (("wife", "no"), ("husband", "yes"))
    ]
    rows += [(f"nothing to see at the {place}", "a") for place in PLACES]
    found = look(labelled(rows), "group_mentions")
    assert len(found["swapped_twins"].rows) == 14 and "in 7 sets" in found["swapped_twins"].message
    differ = found["swapped_twins_differ"]
    assert len(differ.rows) == 2 and differ.severity == "warning"
    assert "-> no" in str(differ.example) and "-> yes" in str(differ.example)
    assert "swapped_twins" not in look(labelled(rows[:8]), "group_mentions")  # four sets


def test_odds_agree_with_scipy_and_are_corrected_together() -> None:
    from scipy.stats import chi2_contingency, fisher_exact

    tables = [Table(30, 10, 8, 72), Table(3, 2, 1, 9), Table(0, 5, 0, 5), Table(50, 50, 52, 48)]
    found = odds(tables)
    plain = [chi2_contingency([[30, 10], [8, 72]])[1], fisher_exact([[3, 2], [1, 9]])[1], 1.0]
    assert found[0].p == pytest.approx(4 * plain[0]) and found[1].p == pytest.approx(min(1, 3 * plain[1]))
    assert found[2].p == found[3].p == 1.0
    assert found[0].low < found[0].ratio < found[0].high and found[0].low > 1
    assert odds([]) == []


def test_figures_and_sentences_go_into_the_report(
    write: Callable[..., str], prepared: Callable[..., tuple[Report, Run]]
) -> None:
    rows = [{"text": about("woman", n), "label": "no" if n < 48 else "yes"} for n in range(60)]
    rows += [{"text": about("man", n + 60), "label": "no" if n < 12 else "yes"} for n in range(60)]
    report, _ = prepared(sources=[write("a.jsonl", rows)])
    groups: dict[str, Any] = report.numbers["groups"]
    assert groups["rows_looked_at"] == 120 and groups["mentions"] == {"gender": {"female": 60, "male": 60}}
    assert groups["associations"][0]["rows"] == 48 and groups["associations"][0]["within_group"]
    assert any("rows about women" in sentence for sentence in groups["sentences"])
    [finding] = [one for one in report.findings if one.name == "group_label_association"]
    assert finding.count == 96 and finding.rows[0].line == 1
    quiet, _ = prepared(sources=[write("a.jsonl", rows)], checks=[{"kind": "group_mentions", "off": True}])
    assert "groups" not in quiet.numbers


def test_rows_beyond_the_limit_are_sampled_evenly() -> None:
    from tunewright.core import catalog

    rows = labelled([(f"{about('woman', n % 132)} {n}", "x") for n in range(2500)])
    detector = catalog.build("detectors", {"kind": "group_mentions", "most_rows": 1000})
    found = look(rows, detector)
    assert "(of 834 rows that speak of gender)" in found["missing_groups"].message


def test_bank_intents_and_sums_ask_for_nothing(real: Path) -> None:
    import json

    with (real / "intent-banking77" / "train.jsonl").open() as file:
        rows = [(row["text"], row["label"]) for row in map(json.loads, file)]
    assert look(labelled(rows), "group_mentions") == {}
