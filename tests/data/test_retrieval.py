"""data.retrieval: to learn, the gold passage among distracting ones; to test, what the search finds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.report import Report
from tunewright.core.run import Run
from tunewright.data import grounding
from tunewright.data.clean import twin_key

Rows = list[dict[str, Any]]
TOWNS = [
    f"{a}{b}" for a in ("Bel", "Cor", "Dan", "Fen", "Gal", "Har", "Lin", "Mar") for b in ("ford", "wick", "ton", "mere")
]
DOCUMENTS: Rows = [
    {"id": town.lower(), "title": town, "text": f"{town} is a town on a river. It was founded in {1800 + number}."}
    for number, town in enumerate(TOWNS)
]
ROWS: Rows = [
    {"prompt": ask, "completion": str(1800 + number), "passage": town.lower(), "held": DOCUMENTS[number]["text"]}
    for number, town in enumerate(TOWNS)
    for ask in (f"When was {town} founded?", f"In which year did {town} begin?", f"How old is the town {town}?")
]
FIELDS = {"prompt": "prompt", "completion": "completion", "gold": "passage"}
Made = tuple[Report, Run, dict[str, list[Example]]]


@pytest.fixture
def make(write: Callable[[str, Rows], str], prepared: Callable[..., tuple[Report, Run]]) -> Callable[..., Made]:
    """Prepare the towns with some options of data.retrieval."""

    def make(fields: dict[str, str] = FIELDS, rows: Rows = ROWS, documents: Rows = DOCUMENTS, **options: Any) -> Made:
        retrieval = {"documents": [write("documents.jsonl", documents)], **options}
        data = {"sources": [write("rows.jsonl", rows)], "fields": fields, "retrieval": retrieval}
        report, run = prepared(format="completion", **data)
        return report, run, {side: list(run.split(side)) for side in ("train", "validation", "test")}

    return make


def finding(report: Report, name: str) -> Any:
    return next((one for one in report.findings if one.name == name), None)


def test_a_training_row_to_the_letter(make: Callable[..., Made]) -> None:
    _, _, sides = make(passages=2, keep_gold=1)
    row = next(one for one in sides["train"] if one.question == "When was Belwick founded?")
    assert json.loads(json.dumps(row.to_row())) == {
        "id": "rows:4",
        "messages": [
            {
                "role": "user",
                "content": "[1] Belwick\nBelwick is a town on a river. It was founded in 1801.\n\n"
                "[2] Galwick\nGalwick is a town on a river. It was founded in 1817.\n\n"
                "Answer from these passages and add the names of those you use, in brackets.\n\n"
                "Question: When was Belwick founded?",
            },
            {"role": "assistant", "content": "1801 [1]"},
        ],
        "question": "When was Belwick founded?",
        "meta": {
            "held": "Belwick is a town on a river. It was founded in 1801.",
            "passages": {"1": "belwick", "2": "galwick"},
            "gold": ["belwick"],
            "gold_kept": True,
        },
    }


def test_the_gold_passage_is_kept_as_often_as_asked_and_stands_anywhere(make: Callable[..., Made]) -> None:
    report, _, sides = make(keep_gold=0.6)
    learned = [*sides["train"], *sides["validation"]]
    kept = [one for one in learned if one.meta["gold_kept"]]
    assert 0.4 < len(kept) / len(learned) < 0.8
    assert all(len(one.meta["passages"]) == 4 and len({*one.meta["passages"].values()}) == 4 for one in learned)
    assert all((one.meta["gold"][0] in one.meta["passages"].values()) == one.meta["gold_kept"] for one in learned)
    places = {name for one in kept for name, id in one.meta["passages"].items() if id in one.meta["gold"]}
    assert places == {"1", "2", "3", "4"}
    told = report.numbers["retrieval"]
    assert told["gold"] == {"given": len(ROWS), "found": 0, "unknown": 0}
    assert told["kept"]["train"]["with"] == sum(one.meta["gold_kept"] for one in sides["train"])
    for one in learned:
        assert bool(grounding.citations(one.answer or "")) == one.meta["gold_kept"]


@pytest.mark.parametrize("without", ["answer", "refuse"])
def test_without_the_gold_passage_the_answer_is_remembered_or_refused(make: Callable[..., Made], without: str) -> None:
    _, _, sides = make(keep_gold=0, without=without, refusal="I can't tell.")
    for one in sides["train"]:
        assert not one.meta["gold_kept"] and one.meta["gold"][0] not in one.meta["passages"].values()
        assert one.answer == (
            str(1800 + TOWNS.index(one.meta["gold"][0].title())) if without == "answer" else "I can't tell."
        )


def test_test_rows_hold_what_the_question_alone_finds(make: Callable[..., Made]) -> None:
    """The documents say nothing of one word that only the answer has, so the search must miss."""
    hidden = [{"prompt": f"Puzzle {n}?", "completion": f"zebra{n}", "passage": f"z{n}"} for n in range(40)]
    documents = [*DOCUMENTS, *({"id": f"z{n}", "text": f"A zebra{n} is here."} for n in range(40))]
    report, _, sides = make(rows=[*ROWS, *hidden], documents=documents, passages=3, keep_gold=1)
    puzzles = [one for one in sides["test"] if (one.question or "").startswith("Puzzle")]
    others = [one for one in sides["test"] if one not in puzzles]
    assert puzzles and others
    assert all(one.meta["passages"] == {} and not one.meta["gold_kept"] for one in puzzles)
    assert all(one.messages[0].content == one.question and not grounding.citations(one.answer or "") for one in puzzles)
    assert all(one.meta["gold_kept"] and one.meta["gold"][0] in one.meta["passages"].values() for one in others)
    recall = report.numbers["retrieval"]["recall"]
    assert recall["3"] == round(len(others) / len(sides["test"]), 4)
    told = finding(report, "retrieval_recall")
    assert told.count == len(puzzles) and f"{len(others)} of {len(sides['test'])} test questions" in told.message
    assert all(one.meta["gold_kept"] for one in sides["train"])  # to learn, it is there all the same


def test_rows_depend_on_nothing_but_themselves_and_the_seed(make: Callable[..., Made]) -> None:
    first, again = make(keep_gold=0.5)[2], make(keep_gold=0.5)[2]
    assert first == again
    fewer = make(keep_gold=0.5, rows=ROWS[:48])[2]
    whole = {one.id: one for side in first.values() for one in side}
    assert all(whole[one.id] == one for side in fewer.values() for one in side)
    other = {one.id: one for side in make(keep_gold=0.5, seed=1)[2].values() for one in side}
    assert any(other[id].meta["gold_kept"] != one.meta["gold_kept"] for id, one in whole.items())


def test_sides_are_those_of_the_questions(
    make: Callable[..., Made], prepared: Callable[..., tuple[Report, Run]]
) -> None:
    _, run, sides = make()
    plain = {"prompt": "prompt", "completion": "completion"}
    source = str(run.folder.parents[1] / "rows.jsonl")
    _, bare = prepared(format="completion", sources=[source], fields=plain)
    for side, rows in sides.items():
        found = list(bare.split(side))
        assert [one.id for one in rows] == [one.id for one in found]
        assert [twin_key(one) for one in rows] == [twin_key(one) for one in found]


def test_the_gold_passage_is_known_by_its_text_too(make: Callable[..., Made]) -> None:
    by_id, by_text = make()[2], make({**{k: FIELDS[k] for k in ("prompt", "completion")}, "context": "held"})[2]
    for side, rows in by_id.items():
        assert [one.meta["gold"] for one in rows] == [one.meta["gold"] for one in by_text[side]]
        assert all("held" not in one.meta for one in by_text[side])


def test_of_a_long_document_the_piece_with_the_answer_is_gold(make: Callable[..., Made]) -> None:
    filler = " ".join(f"Sentence {n} of the TOWN chronicle says little." for n in range(8))
    documents = []
    for row in DOCUMENTS:
        lead = filler.replace("TOWN", row["title"])
        documents.append({"id": row["id"], "text": f"{lead}\n\n{row['text']}\n\n{lead}"})
    _, _, sides = make(documents=documents, words=40, keep_gold=1, overlap=10)
    text = {row["id"]: row["text"] for row in documents}
    for one in sides["train"]:
        (gold,) = one.meta["gold"]
        document, _, number = gold.partition("#")
        assert document in text
        beside = {f"{document}#{int(number) - 1}", f"{document}#{int(number) + 1}"}
        assert not beside & {*one.meta["passages"].values()}  # they repeat words of it
        name = next(name for name, id in one.meta["passages"].items() if id == gold)
        piece = one.messages[0].content.split(f"[{name}] ")[1].split("\n\n[")[0]
        assert grounding.without_citations(one.answer or "") in piece


def test_an_unknown_gold_passage_is_looked_up_and_told(make: Callable[..., Made]) -> None:
    plain = {"prompt": "prompt", "completion": "completion"}
    report, _, sides = make(plain, [{k: row[k] for k in plain} for row in ROWS])
    right = [one.meta["gold"] == [row["passage"]] for row in ROWS for side in sides.values() for one in side if one.question == row["prompt"]]  # fmt: skip # noqa: E501
    assert len(right) == len(ROWS) and sum(right) == len(ROWS)
    assert (
        f"looked up with question and answer for {len(ROWS)} rows; 0 have none"
        in finding(report, "gold_looked_up").message
    )
    lost = make(rows=[*ROWS[:-1], {**ROWS[-1], "passage": "nowhere"}])[0]
    assert finding(lost, "gold_not_among_documents").count == 1 and finding(lost, "gold_looked_up").count == 1


def test_several_gold_passages_are_kept_and_cited_together(make: Callable[..., Made]) -> None:
    both = [{**row, "passage": [row["passage"], "harmere"]} for row in ROWS if row["passage"] != "harmere"]
    _, _, sides = make(rows=both, keep_gold=1, names="id")
    for one in sides["train"]:
        assert set(grounding.citations(one.answer or "")) == {*one.meta["gold"]} and len(one.meta["gold"]) == 2


def test_rows_that_cannot_have_passages_are_refused(make: Callable[..., Made], prepared: Any, write: Any) -> None:
    with pytest.raises(DataError, match="the column 'passages'"):
        make(rows=[{**row, "passages": 3} for row in ROWS])
    labels = [{"text": row["prompt"], "label": row["completion"]} for row in ROWS]
    options = {"documents": [write("documents.jsonl", DOCUMENTS)]}
    with pytest.raises(DataError, match=r"Set data.retrieval.cite: false"):
        prepared(sources=[write("labels.jsonl", labels)], retrieval=options)
    prepared(sources=[write("labels.jsonl", labels)], retrieval={**options, "cite": False})


def test_a_changed_document_is_a_change_of_the_data(make: Callable[..., Made], tmp_path: Path) -> None:
    first = make()[0].numbers["fingerprint"]
    second = make(documents=[*DOCUMENTS, {"text": "More."}])[0].numbers["fingerprint"]
    changed = [name for name in first if first[name] != second[name]]
    assert changed == [str(tmp_path / "documents.jsonl")]


def test_real_questions_find_their_paragraph(real: Path, make: Callable[..., Made]) -> None:
    files = [real / "qa-xquad" / f"{side}.jsonl" for side in ("train", "test")]
    rows = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    documents = [{"text": text} for text in dict.fromkeys(row["context"] for row in rows)]
    fields = {"prompt": "question", "completion": "answer", "context": "context"}
    report, _, sides = make(fields, rows, documents)
    told = report.numbers["retrieval"]
    assert told["gold"]["found"] == told["gold"]["unknown"] == 0
    assert told["recall"]["4"] > 0.9
    kept = [one for one in sides["train"] if one.meta["gold_kept"]]
    holds = [
        grounding.without_citations(one.answer or "").casefold() in one.messages[0].content.casefold() for one in kept
    ]
    assert sum(holds) / len(holds) > 0.97


def test_of_a_conversation_the_last_question_gets_the_passages(prepared: Any, write: Any) -> None:
    rows = [
        {
            "messages": [
                {"role": "system", "content": "Be brief."}, {"role": "user", "content": f"Hello {row['passage']}"},
                {"role": "assistant", "content": "Hello."}, {"role": "user", "content": row["prompt"]},
                {"role": "assistant", "content": row["completion"]},
            ],
            "passage": row["passage"],
        }
        for row in ROWS
    ]  # fmt: skip
    options = {"documents": [write("documents.jsonl", DOCUMENTS)], "keep_gold": 1}
    _, run = prepared(sources=[write("chats.jsonl", rows)], fields={"gold": "passage"}, retrieval=options)
    one = run.split("train")[0]
    assert [message.content[:3] for message in one.messages] == ["Be ", "Hel", "Hel", "[1]", one.answer[:3]]
    assert [message.content for message in one.asked] == [
        "Be brief.",
        f"Hello {one.meta['gold'][0]}",
        "Hello.",
        one.question,
    ]
