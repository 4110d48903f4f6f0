"""Passages: documents cut into pieces short enough to stand beside a question, each with an id."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tunewright.core.errors import DataError
from tunewright.core.report import Finding
from tunewright.core.retrieval import Shown
from tunewright.data import sources
from tunewright.data.readers import is_document
from tunewright.data.words import spans

_NOT_IN_IDS = re.compile(r"[^\w.:/#-]+")
_ENDS = ".!?\u3002\uff01\uff1f"  # of sentences
_CLOSING = "\"')]\u201d\u2019\u300d"


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document. begin, end: its words' numbers in the document."""

    id: str
    text: str
    title: str | None
    document: str
    begin: int
    end: int

    def overlaps(self, other: Passage) -> bool:
        """Whether the two share words of one document."""
        return self.document == other.document and self.begin < other.end and other.begin < self.end


@dataclass
class Corpus:
    """All passages, each text once. same_as: ids that were left out -> the id of the passage with that text."""

    passages: list[Passage] = field(default_factory=list)
    of_document: dict[str, list[int]] = field(default_factory=dict)
    same_as: dict[str, str] = field(default_factory=dict)
    num_documents: int = 0
    findings: list[Finding] = field(default_factory=list)


def read(options: Shown) -> Corpus:
    """Read the documents and cut them. A row without a text is told and left out. Raises DataError and NotThere."""
    corpus = Corpus()
    files = sources.files(options.documents)
    names = sources.names(files)
    firsts: dict[str, str] = {}  # text -> id
    bad: list[str] = []
    seen: set[str] = set()
    rows = sources.read(files, notes=corpus.findings)
    for file, of_file in itertools.groupby(rows, key=lambda row: row.file):
        whole = _is_whole(file)
        for row in of_file:
            values = row.values or {}
            text, title = values.get("text"), values.get("title")
            if not isinstance(text, str) or not text.strip():
                bad.append(f"{file} line {row.line}: {row.problem or 'no text in the column text'}")
                continue
            given = values.get("id")
            own = names[file] if whole else f"{names[file]}:{row.line}"
            document = as_id(given) if given not in (None, "") else own
            title = title if isinstance(title, str) and title.strip() else None
            pieces = list(cut(document, text, title, options))
            ids = {document, *(piece.id for piece in pieces)}
            if twice := ids & seen:
                raise DataError(
                    f"documents: two documents or passages are called '{min(twice)}', the second in "
                    f"{file} line {row.line}. Give each document an id of its own."
                )
            seen |= ids
            corpus.num_documents += 1
            for piece in pieces:
                _add(corpus, piece, firsts)
    if not corpus.passages:
        raise DataError(
            "documents: there is no text in them. Give text or Markdown files, or JSON lines with a column text. "
            f"First: {bad[0] if bad else options.documents[0]}"
        )
    if bad:
        corpus.findings.append(
            Finding(
                name="documents_left_out",
                severity="warning",
                message=f"{len(bad):,} documents cannot be read or have no text; no passage comes from them.",
                count=len(bad),
                example=bad[0],
                remedy="Mend them and prepare again.",
            )
        )
    return corpus


def as_id(value: object) -> str:
    """An id as it stands in a citation: letters, digits and .:/#- alone."""
    return _NOT_IN_IDS.sub("-", str(value))


def _is_whole(file: str) -> bool:
    """Whether a file is one document."""
    return is_document(file)


def _add(corpus: Corpus, passage: Passage, firsts: dict[str, str]) -> None:
    first = firsts.setdefault(passage.text, passage.id)
    numbers = corpus.of_document.setdefault(passage.document, [])
    if first == passage.id:
        numbers.append(len(corpus.passages))
        corpus.passages.append(passage)
    else:
        corpus.same_as[passage.id] = first


def cut(document: str, text: str, title: str | None, options: Shown) -> Iterator[Passage]:
    """Pieces of at most `words` words, in order. They end with a paragraph where one ends in time, else with a
    sentence, else anywhere; a document of one piece gives the piece its own id, others are `id#1`, `id#2` ...
    """
    words = spans(text)
    edges = list(_edges(text, words, options))
    for number, (begin, end) in enumerate(edges, start=1):
        piece = text[words[begin][0] : words[end - 1][1]]
        yield Passage(document if len(edges) == 1 else f"{document}#{number}", piece, title, document, begin, end)


def _edges(text: str, words: Sequence[tuple[int, int]], options: Shown) -> Iterator[tuple[int, int]]:
    gaps = [text.count("\n", a[1], b[0]) > 1 for a, b in itertools.pairwise(words)]
    begin = 0
    while begin < len(words):
        end = min(begin + options.words, len(words))
        if end < len(words):
            least = begin + max(options.overlap, options.words // 3) + 1
            places = range(end, least - 1, -1)
            sentence = next((place for place in places if _ends_sentence(text, words[place - 1])), end)
            end = next((place for place in places if gaps[place - 1]), sentence)
        yield begin, end
        if end == len(words):
            return
        begin = end - options.overlap


def _ends_sentence(text: str, word: tuple[int, int]) -> bool:
    return text[word[0] : word[1]].rstrip(_CLOSING).endswith(tuple(_ENDS))
