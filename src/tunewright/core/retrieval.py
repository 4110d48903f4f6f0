"""How passages are found in documents, and how rows that rest on them are made: options of `data.retrieval`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

COLUMNS = ("gold", "context")  # words of data.fields that say which passage holds the answer
META = ("passages", "gold", "gold_kept")  # what a row tells of its passages


class Shown(BaseModel):
    """Which passages stand beside a question, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    documents: list[str] = Field(
        [], description="text, Markdown, JSONL (text, optional id and title): files or folders"
    )
    passages: int = Field(4, ge=1, description="passages beside a question: more find more, and lengthen every prompt")
    words: int = Field(120, ge=10, description="longest passage; short ones are found more exactly, long ones say more")
    overlap: int = Field(0, ge=0, description="words that a passage repeats of the one before it: no fact is cut apart")
    cite: bool = Field(True, description="answers name the passages that they rest on")
    names: Literal["number", "id"] = Field(
        "number", description="what passages are called: [1], [2] ... (short), or by their own ids"
    )
    template: str | None = Field(
        None, description="the user's message, with {passages} and {question}; a plain one when left out"
    )
    seed: int = Field(0, description="another seed shuffles in another order, and leaves other passages out")

    @field_validator("template")
    @classmethod
    def _has_both(cls, template: str | None) -> str | None:
        if template is not None and not ("{passages}" in template and "{question}" in template):
            raise ValueError("must hold {passages} and {question}")
        return template

    @model_validator(mode="after")
    def _moves_on(self) -> Shown:
        if self.overlap * 2 > self.words:
            raise ValueError(f"overlap can be half of words at most: {self.overlap} of {self.words}")
        return self


class Retrieval(Shown):
    """Rows for answering from passages that a search found (RAFT, Zhang et al. 2024, arXiv 2403.10131)."""

    documents: list[str] = Field(
        min_length=1, description="text, Markdown, JSONL (text, optional id and title): files or folders"
    )
    keep_gold: float = Field(
        0.8, ge=0, le=1, description="share of the training rows with the passage that holds the answer; the others "
        "have distracting ones only"
    )  # fmt: skip
    without: Literal["answer", "refuse"] = Field(
        "answer", description="learned where that passage is left out: the answer, from memory; or to say so"
    )
    refusal: str = Field("The passages do not say.", min_length=1, description="what `refuse` says")

    def located(self, absolute: Callable[[str], str]) -> Retrieval:
        """With the paths of the documents made absolute."""
        return self.model_copy(update={"documents": [absolute(path) for path in self.documents]})
