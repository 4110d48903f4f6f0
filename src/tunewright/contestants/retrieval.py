"""retrieval: the model, given passages that a search found for the question."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from tunewright.core.contesting import Answerer
from tunewright.core.endpoint import Endpoint
from tunewright.core.errors import DataError
from tunewright.core.example import Example
from tunewright.core.parts import Contestant
from tunewright.core.retrieval import Shown

if TYPE_CHECKING:
    from tunewright.data.retrieval import Library


class Retrieval(Contestant, Shown):
    """The model before tuning with the passages nearest to each question: what search reaches without training.

    Needs messages, and documents; without documents of its own it takes the passages that `data.retrieval` put beside
    each question. With `over: rows` the training rows are what is searched, question and answer in one passage. Source:
    retrieval-augmented generation (Lewis et al. 2020, arXiv 2005.11401), with BM25 as the search, or an encoder (the
    cosine of mean vectors; Reimers and Gurevych 2019, arXiv 1908.10084). Neighbours: `base` (asked exactly as the tuned
    model), `few_shot` (shown solved examples as turns instead).
    """

    paths: ClassVar[tuple[str, ...]] = ("documents", "encoder")
    packages: ClassVar[tuple[str, ...]] = ("bm25s",)

    over: Literal["documents", "rows"] = Field("documents", description="what is searched: documents or training rows")
    encoder: str | None = Field(None, description="search by this encoder's vectors: slower than words, finds meanings")
    model: Literal["base", "tuned"] | Endpoint = Field("base", description="who answers: base, tuned, or an endpoint")

    @property
    def who(self) -> Answerer:
        """The base, unless the recipe says who."""
        return self.model

    def problems(self, runs: Path | None, *, grounded: bool) -> list[str]:
        """Documents or an encoder that are not there; nothing to search."""
        found = [
            f"documents: there is no file or folder {path}. Paths are relative to the recipe."
            for path in self.documents
            if not path.startswith("hub:") and not Path(path).exists() and not glob.glob(path, recursive=True)
        ]
        if not self.documents and self.over == "documents" and not grounded:
            found.append(f"'{self.label}' has nothing to search. Give it documents: [files], or over: rows.")
        encoder = self.encoder
        if encoder is not None and ("/" in encoder or encoder.startswith(".")) and not Path(encoder).exists():
            found.append(f"encoder: there is no folder {encoder}. Name one that is there, or leave it out.")
        return found

    @property
    def asks_as_base(self) -> bool:
        """Without documents of its own it asks the rows as they are."""
        return not self.documents and self.over == "documents" and self.model == "base"

    def prompts(self, examples: Sequence[Example], training: Sequence[Example]) -> list[list[dict[str, Any]]]:
        """Each example's messages before its answer, with passages in the last of the user's. Raises DataError."""
        if self.documents or self.over == "rows":
            from tunewright.data.retrieval import Library

            options = self.model_copy(update={"cite": False}) if self.over == "rows" else self
            library = Library(options, _corpus(training) if self.over == "rows" else None)
            found = self.find(library, examples)
            examples = [library.asked(example, shown) for example, shown in zip(examples, found, strict=True)]
        if without := [example.id for example in examples if example.question is None]:
            raise DataError(
                f"Contestant '{self.label}' has no passages for row {without[0]}. Give it documents, or data.retrieval "
                "in the recipe."
            )
        return [[message.for_template() for message in example.prompt] for example in examples]

    def find(self, library: Library, examples: Sequence[Example]) -> list[list[int]]:
        """The numbers of the passages for each example's question, nearest first."""
        from tunewright.data.retrieval import question_of

        questions = [question_of(example) for example in examples]
        if self.encoder is None:
            return [library.find(question) for question in questions]
        import numpy as np

        from tunewright.models.text_vectors import text_vectors

        texts = [f"{passage.title or ''} {passage.text}".strip() for passage in library.corpus.passages]
        vectors = text_vectors(self.encoder, [*texts, *questions])
        near = vectors[len(texts) :] @ vectors[: len(texts)].T
        ranked: list[list[int]] = np.argsort(-near, axis=1, kind="stable")[:, : self.passages].tolist()
        return ranked


def _corpus(training: Sequence[Example]) -> Any:
    """Training rows as passages: question and answer of each."""
    from tunewright.data.passages import Corpus, Passage, as_id
    from tunewright.data.retrieval import question_of

    corpus = Corpus()
    for example in training:
        if example.answer is None:
            continue
        id = as_id(example.id)
        corpus.of_document[id] = [len(corpus.passages)]
        text = f"{question_of(example)}\n{example.answer}"
        corpus.passages.append(Passage(id, text, None, id, 0, len(text.split())))
    if not corpus.passages:
        raise DataError("Contestant 'retrieval' has no training row with an answer to search. Give it documents.")
    corpus.num_documents = len(corpus.passages)
    return corpus
