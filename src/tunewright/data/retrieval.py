"""Rows for answering from passages (RAFT): passages come beside each question, and the answers cite them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.example_files import example_of
from tunewright.core.recipe import DataOptions
from tunewright.core.report import Finding
from tunewright.core.retrieval import COLUMNS, META, Retrieval, Shown
from tunewright.data import grounding, passages
from tunewright.data.ranking import Ranking

_NEAR = 10  # best-ranked passages among which the one that a row rests on is looked for
GIVEN, FOUND, UNKNOWN = "given", "found", "unknown"


class Library:
    """Passages that can be searched. Used by training rows, by test rows and by contestants alike."""

    def __init__(self, options: Shown, corpus: passages.Corpus | None = None) -> None:
        """Read and index the documents, or take passages that are made. Raises DataError, MissingPackage, NotThere."""
        self.options = options
        self.corpus = corpus or passages.read(options)
        self.number = {passage.id: number for number, passage in enumerate(self.corpus.passages)}
        self.ranking = Ranking([f"{passage.title or ''} {passage.text}" for passage in self.corpus.passages])

    def __getitem__(self, number: int) -> passages.Passage:
        return self.corpus.passages[number]

    def find(self, question: str) -> list[int]:
        """The numbers of the passages for a question, nearest first: what an answering system would show."""
        return self.ranking.best(question, self.options.passages)

    def asked(self, example: Example, shown: list[int]) -> Example:
        """The example with these passages beside its question: in its last user message, and named in its meta.

        Their order is drawn, so that a place tells nothing.
        """
        question = question_of(example)
        drawn = {number: _share(f"{self.options.seed}:order:{example.id}:{self[number].id}") for number in shown}
        pieces = [self[number] for number in sorted(drawn, key=drawn.__getitem__)]
        message = grounding.message(question, pieces, self.options)
        end = len(example.prompt)
        place = max(place for place in range(end) if example.messages[place].role == "user")
        messages = list(example.messages)
        messages[place] = messages[place].model_copy(update={"content": message})
        names = dict(zip(grounding.labels(pieces, self.options), (piece.id for piece in pieces), strict=True))
        return example.model_copy(
            update={"messages": messages, "question": question, "meta": {**example.meta, "passages": names}}
        )


def question_of(example: Example) -> str:
    """What passages are looked for with: the user's last message before the answer, without passages. Raises
    DataError.
    """
    if example.question is not None:
        return example.question
    question = next((message.content for message in reversed(example.prompt) if message.role == "user"), "")
    if not question.strip():
        raise DataError(
            f"Passages are found for a question, and row {example.id} has none. Give rows that ask something."
        )
    return question


class Grounding:
    """Makes the rows of each side. Depends on the row, the documents and the options alone, never on other rows."""

    def __init__(self, data: DataOptions) -> None:
        """Read and index the documents. Raises DataError, MissingPackage and NotThere."""
        assert data.retrieval is not None
        self.options: Retrieval = data.retrieval
        self.fields = data.fields
        self.library = Library(self.options)
        self.columns = {data.fields[word] for word in COLUMNS if word in data.fields}
        self.origin: Counter[str] = Counter()  # how the passage that a row rests on is known
        self.kept: dict[str, Counter[bool]] = {}  # for each side, rows with and without it
        self.at_rank: Counter[int] = Counter()  # test rows by the rank at which it was found, from 1
        self.lost: list[str] = []  # ids of rows whose column names no passage
        self._of_context: dict[str, list[int]] = {}

    def refuse(self, example: Example) -> None:
        """Raise DataError when passages cannot come beside this example."""
        question_of(example)
        if self.options.cite and example.label is not None:
            raise DataError(
                f"data.retrieval.cite adds citations to answers, but the answer of row {example.id} is a label. "
                "Set data.retrieval.cite: false."
            )
        if taken := [name for name in META if name in example.meta and name not in self.columns]:
            raise DataError(
                f"data.retrieval writes the column '{taken[0]}', which row {example.id} has already. Rename it, or "
                "name it in data.fields as gold or context."
            )

    def lines(
        self, side: str, blocks: Iterable[list[bytes]], poll: Callable[[], None] = lambda: None
    ) -> Iterator[list[bytes]]:
        """The lines of a side, with passages; poll: called before each row."""
        encode = json.JSONEncoder(ensure_ascii=False).encode
        for block in blocks:
            made = []
            for line in block:
                poll()
                made.append(f"{encode(self.row(side, example_of(line)).to_row())}\n".encode())
            yield made

    def row(self, side: str, example: Example) -> Example:
        """One row: of the test side with what the search finds, else with the passage it rests on among others."""
        gold, origin = self.gold(example)
        self.origin[origin] += 1
        shown, kept = self._found(example, gold) if side == "test" else self._with_distractors(example, gold)
        if gold:
            self.kept.setdefault(side, Counter())[kept] += 1
        meta = {name: value for name, value in example.meta.items() if name not in self.columns}
        asked = self.library.asked(example.model_copy(update={"meta": meta}), shown)
        ids = [self.library[number].id for number in gold]
        told = {**asked.meta, "gold": ids, "gold_kept": kept}
        return self._answering(asked.model_copy(update={"meta": told}))

    def gold(self, example: Example) -> tuple[list[int], str]:
        """The numbers of the passages that hold the answer, and how they are known: by the row's column, or found with
        question and answer.
        """
        found = [self._named(id) for id in self._given(example, "gold")]
        found += [self._holding(text) for text in self._given(example, "context")]
        if any(found):
            chosen = [self._one_of(numbers, example) for numbers in found if numbers]
            return list(dict.fromkeys(chosen))[: self.options.passages], GIVEN
        if found:
            self.lost.append(example.id)
        near = self.library.ranking.best(_with_answer(example), _NEAR)
        return ([self._one_of(near, example)], FOUND) if near else ([], UNKNOWN)

    def _given(self, example: Example, word: str) -> list[str]:
        """What the row has in the column of this word of data.fields: a value or a list of them."""
        value = example.meta.get(self.fields[word]) if word in self.fields else None
        return [str(one) for one in (value if isinstance(value, list) else [value]) if one not in (None, "")]

    def _named(self, id: str) -> list[int]:
        """The passage of an id, or all passages of a document."""
        corpus = self.library.corpus
        id = passages.as_id(id)
        id = corpus.same_as.get(id, id)
        return [self.library.number[id]] if id in self.library.number else corpus.of_document.get(id, [])

    def _holding(self, text: str) -> list[int]:
        """Passages that are part of a text, or hold it."""
        found = self._of_context.get(text)
        if found is None:
            folded = _folded(text)
            near = self.library.ranking.best(text, _NEAR)
            pieces = {number: _folded(self.library[number].text) for number in near}
            found = [number for number, piece in pieces.items() if piece in folded or folded in piece]
            self._of_context[text] = found
        return found

    def _one_of(self, numbers: list[int], example: Example) -> int:
        """The first that has the answer word for word, nearest to question and answer first; else the nearest."""
        if len(numbers) == 1:
            return numbers[0]
        answer = _folded(example.answer or "")
        ranked = self.library.ranking.best(_with_answer(example), len(numbers), among=numbers) or numbers
        return next((number for number in ranked if answer and answer in _folded(self.library[number].text)), ranked[0])

    def _found(self, example: Example, gold: list[int]) -> tuple[list[int], bool]:
        """What the search finds for the question alone, nearest first."""
        shown = self.library.find(question_of(example))
        ranks = [rank for rank, number in enumerate(shown, start=1) if number in gold]
        if ranks:
            self.at_rank[ranks[0]] += 1
        return shown, bool(ranks)

    def _with_distractors(self, example: Example, gold: list[int]) -> tuple[list[int], bool]:
        """The passages that hold the answer, unless the draw leaves them out, and the nearest others."""
        options = self.options
        kept = bool(gold) and _share(f"{options.seed}:keep:{example.id}") < options.keep_gold
        barred = {*gold}
        for one in gold:
            near = self.library.corpus.of_document[self.library[one].document]
            barred.update(number for number in near if self.library[number].overlaps(self.library[one]))
        shown = gold if kept else []
        others = self.library.ranking.best(question_of(example), options.passages - len(shown), without=barred)
        return [*shown, *others], kept

    def _answering(self, example: Example) -> Example:
        """The answer with its citations where its passage is there; where it is not, as the recipe says."""
        messages = list(example.messages)
        if not messages or messages[-1].role != "assistant" or messages[-1].tool_calls:
            return example
        if not example.meta["gold_kept"]:
            if self.options.without == "answer":
                return example
            content = self.options.refusal
        elif self.options.cite:
            names = {id: name for name, id in example.meta["passages"].items()}
            cited = [names[id] for id in example.meta["gold"] if id in names]
            content = grounding.with_citations(messages[-1].content, cited)
        else:
            return example
        messages[-1] = messages[-1].model_copy(update={"content": content})
        return example.model_copy(update={"messages": messages})

    # --- what is told ---

    def numbers(self) -> dict[str, Any]:
        """Passages, where the gold ones come from, how many rows have theirs, and recall@k on test rows."""
        corpus = self.library.corpus
        tested = sum(self.kept.get("test", Counter()).values())
        best = range(1, self.options.passages + 1)
        recall = {
            str(k): round(sum(count for rank, count in self.at_rank.items() if rank <= k) / tested, 4)
            for k in best
            if tested
        }
        return {
            "documents": corpus.num_documents,
            "passages": len(corpus.passages),
            "gold": {name: self.origin[name] for name in (GIVEN, FOUND, UNKNOWN)},
            "kept": {side: {"with": count[True], "without": count[False]} for side, count in self.kept.items()},
            "recall": recall,
        }

    def findings(self) -> list[Finding]:
        """How often the search found what the answers rest on, and rows whose passage had to be guessed."""
        found = list(self.library.corpus.findings)
        if self.lost:
            message = f"{len(self.lost):,} rows name a passage or text that is not among the documents."
            remedy = "Add the document, or correct the column that data.fields names."
            found.append(
                Finding(
                    name="gold_not_among_documents", severity="warning", message=message, count=len(self.lost),
                    example=self.lost[0], remedy=remedy,
                )
            )  # fmt: skip
        if self.origin[FOUND] or self.origin[UNKNOWN]:
            message = (
                f"The passage that an answer rests on was looked up with question and answer for "
                f"{self.origin[FOUND]:,} rows; {self.origin[UNKNOWN]:,} have none. Some of them are wrong."
            )
            remedy = (
                "Name the column that holds it: data.fields: {gold: COLUMN} (an id) or {context: COLUMN} (its text)."
            )
            rows = self.origin[FOUND] + self.origin[UNKNOWN]
            found.append(Finding(name="gold_looked_up", severity="warning", message=message, count=rows, remedy=remedy))
        return [*found, *self._recall()]

    def _recall(self) -> list[Finding]:
        tested = self.kept.get("test", Counter())
        total = sum(tested.values())
        if not total:
            return []
        k = self.options.passages
        message = (
            f"For {tested[True]:,} of {total:,} test questions the passage that the answer rests on is among the {k} "
            f"that the search finds (recall@{k} {tested[True] / total:.3f}); for {self.at_rank[1]:,} it is the nearest."
        )
        low = tested[True] < 0.8 * total
        return [
            Finding(
                name="retrieval_recall",
                severity="warning" if low else "info",
                message=message,
                count=tested[False],
                remedy="Raise data.retrieval.passages, or cut documents in other lengths with data.retrieval.words."
                if low
                else None,
            )
        ]


def _share(text: str) -> float:
    """A number from 0 to 1 that stands for a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def _with_answer(example: Example) -> str:
    return f"{question_of(example)} {example.answer or ''}"


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
