"""Documents are cut into passages: whole paragraphs where they fit, then whole sentences; no word is lost."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from tunewright.core.errors import DataError
from tunewright.core.retrieval import Shown
from tunewright.data.passages import Passage, cut, read
from tunewright.data.words import spans

LONG = " ".join(f"w{number}" for number in range(95))


def pieces(text: str, **options: int) -> list[Passage]:
    return list(cut("d", text, None, Shown(**options)))  # type: ignore[arg-type]


def test_a_short_document_is_one_passage_under_its_own_id() -> None:
    assert [(one.id, one.text) for one in pieces("One.\n\nTwo.  ")] == [("d", "One.\n\nTwo.")]


def test_passages_end_with_paragraphs_then_with_sentences() -> None:
    paragraphs = "a b c d e f.\n\ng h i j.\n\nk l m n o p."
    assert [one.text for one in pieces(paragraphs, words=12)] == ["a b c d e f.\n\ng h i j.", "k l m n o p."]
    sentences = "a b c d e f g. h i j (k l!) m n o p q r s"
    assert [one.text for one in pieces(sentences, words=10)] == ["a b c d e f g.", "h i j (k l!)", "m n o p q r s"]


@pytest.mark.parametrize(("words", "overlap"), [(10, 0), (10, 5), (13, 4), (94, 0), (95, 10)])
def test_every_word_is_in_order_and_only_the_overlap_is_repeated(words: int, overlap: int) -> None:
    found = pieces(LONG, words=words, overlap=overlap)
    assert [one.id for one in found] == (["d"] if len(found) == 1 else [f"d#{n}" for n in range(1, len(found) + 1)])
    assert all(one.end - one.begin == len(one.text.split()) <= words for one in found)
    assert [first.end - second.begin for first, second in itertools.pairwise(found)] == [overlap] * (len(found) - 1)
    told = [word for one in found for word in one.text.split()[0 if one.begin == 0 else overlap :]]
    assert told == LONG.split()
    assert all(first.overlaps(second) == (overlap > 0) for first, second in itertools.pairwise(found))


def test_signs_of_languages_without_spaces_count_as_words() -> None:
    assert len(spans("\u4e1c\u4eac\u662f\u9996\u90fd\u3002 Tokyo is")) == 8
    assert [len(one.text) for one in pieces("\u4e1c" * 25, words=10)] == [10, 10, 5]


def test_documents_are_read_from_text_markdown_and_rows(tmp_path: Path) -> None:
    (tmp_path / "guide.md").write_text("# Guide\n\nPress start.")
    (tmp_path / "note.txt").write_text("A note.")
    rows = [
        {"id": "a b[1]", "title": "First", "text": "Alpha."}, {"text": "Beta."}, {"text": " "}, {"text": "Alpha."}
    ]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "no JSON\n")
    corpus = read(Shown(documents=[str(tmp_path / name) for name in ("guide.md", "note.txt", "rows.jsonl")]))
    found = {one.id: (one.title, one.text) for one in corpus.passages}
    assert found == {
        "guide": (None, "# Guide\n\nPress start."), "note": (None, "A note."), "a-b-1-": ("First", "Alpha."),
        "rows:2": (None, "Beta."),
    }  # fmt: skip
    assert corpus.same_as == {"rows:4": "a-b-1-"} and corpus.num_documents == 5
    assert [(one.name, one.count) for one in corpus.findings] == [("documents_left_out", 2)]
    assert corpus.findings[0].example is not None and "rows.jsonl line 3" in corpus.findings[0].example


def test_two_documents_of_one_name_and_no_text_at_all_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": "a", "text": "One."}\n{"id": "a", "text": "Two."}\n')
    with pytest.raises(DataError, match=r"called 'a', the second in .* line 2"):
        read(Shown(documents=[str(path)]))
    path.write_text('{"body": "One."}\n')
    with pytest.raises(DataError, match="there is no text in them"):
        read(Shown(documents=[str(path)]))
