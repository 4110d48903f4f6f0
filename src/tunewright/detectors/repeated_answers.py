"""Answers that say nothing of their own: one for many prompts, one beginning or end for all, or what was asked."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from functools import partial
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tunewright.core.detecting import Detector, Fault, Scene, Seen
from tunewright.core.example import Example, Message
from tunewright.data import showing
from tunewright.data.clean import prompt_text

_LEAST_ROWS = 20
_SAID = 3  # words of an answer; shorter ones (yes, no) are right for many prompts
_WORDS = 4  # at the beginning or end that answers are first compared by
_COMPARED = 500  # answers that the whole of what they share is found from
_DISTINCT = 0.5  # of the other answers: fewer are classes, where one answer for many prompts is right
_MANY_ECHOES = 0.05  # of the answers; fewer may be texts that are to be gone on with
_LEAST_ECHO = 12  # characters of a prompt that is said again
_LEAST_COPY = 60  # characters of an answer that stands in the prompt

End = Literal["beginning", "end"]


class RepeatedAnswers(Detector):
    """Looks at free answers: not at labels, and not at plain texts."""

    fixes: ClassVar[tuple[str, ...]] = ("boilerplate", "constant_answer", "echoed_prompts")

    share: float = Field(0.1, gt=0, le=1, description="of all answers that begin or end in the same words, to be told")
    same: float = Field(0.02, gt=0, le=1, description="of all answers that are one and the same, to be told")

    def watch(self, scene: Scene) -> _Watch:
        """Begin a look."""
        return _Watch(self, scene)


class _Watch:
    """Keeps hashes of answers, of their beginnings and of their ends: 20 bytes a row."""

    def __init__(self, options: RepeatedAnswers, scene: Scene) -> None:
        self.options, self.scene = options, scene
        self.rows, self.whole, self.beginning, self.end = array("i"), array("q"), array("i"), array("i")
        self.echoes: list[int] = []
        self.copies: list[int] = []

    def see(self, row: Seen) -> None:
        """Hash what is answered, and compare it with what is asked."""
        example = row.example
        if example.label is not None or example.text is not None or example.spans is not None:
            return
        answer = example.answer
        if not answer:
            return
        words = answer.split()
        self.rows.append(row.number)
        self.whole.append(hash(tuple(words)) if len(words) >= _SAID else 0)
        # of JSON the frame is asked for
        compared = len(words) > _WORDS and not answer.lstrip().startswith(("{", "[", "<"))
        self.beginning.append(_short(words[:_WORDS]) if compared else 0)
        self.end.append(_short(words[-_WORDS:]) if compared else 0)
        if len(answer) >= _LEAST_ECHO:
            self._compare(row.number, example, answer)

    def _compare(self, number: int, example: Example, answer: str) -> None:
        asked = next((message.content for message in reversed(example.prompt) if message.role == "user"), "").strip()
        said = answer.strip()
        if len(asked) >= _LEAST_ECHO and len(said) >= len(asked) and said[: len(asked)].casefold() == asked.casefold():
            self.echoes.append(number)
        elif len(said) >= _LEAST_COPY and said in prompt_text(example):
            self.copies.append(number)

    def faults(self) -> Iterable[Fault]:
        """What answers share with each other, then what they share with their prompts."""
        if len(self.rows) < _LEAST_ROWS:
            return
        rows = np.frombuffer(self.rows, np.int32)
        whole = np.frombuffer(self.whole, np.int64)
        constant = self._constant(rows, whole)
        if constant is not None:
            yield constant
        first = np.zeros(len(rows), bool)
        first[np.unique(whole, return_index=True)[1]] = True  # equal answers count once
        yield from self._boilerplate(rows, first)
        if self.echoes:
            yield self._echo()
        if self.copies:
            (shown,) = self.scene.examples(np.array(self.copies[:1]))
            yield Fault(
                name="copied_answers",
                message=(
                    f"{len(self.copies):,} of {len(rows):,} answers have {_LEAST_COPY} characters or more and stand in "
                    "the prompt word for word."
                ),
                rows=self.copies,
                example=showing.row(shown),
                remedy="Right where the task is to find a passage; else the prompt gives the answer away.",
            )

    def _constant(self, rows: np.ndarray, whole: np.ndarray) -> Fault | None:
        known, sizes = np.unique(whole, return_counts=True)
        often = (sizes >= max(_LEAST_ROWS, self.options.same * len(rows))) & (known != 0)
        other = ~often & (known != 0)
        others = int(sizes[other].sum())
        if not often.any() or others < _LEAST_ROWS or int(other.sum()) < _DISTINCT * others:
            return None
        told = np.flatnonzero(np.isin(whole, known[often]))
        most = int(np.where(often, sizes, 0).argmax())
        (shown,) = self.scene.examples(rows[np.flatnonzero(whole == known[most])[:1]])
        later = np.delete(told, np.unique(whole[told], return_index=True)[1])
        return Fault(
            name="constant_answer",
            severity="warning",
            message=(
                f"{len(told):,} of {len(rows):,} rows have an answer that many prompts have ({int(often.sum())} "
                "such), while most of the others have their own."
            ),
            rows=rows[told],
            example=f"{int(sizes[most]):,} times: {showing.short(shown.answer or '', 80)}",
            remedy="Leave most of them out, or the model learns to give that answer to anything.",
            fix="keep the first row of each such answer among the rows to learn from",
            drop=rows[later][np.isin(rows[later], self.scene.sides["train"])],
        )

    def _boilerplate(self, rows: np.ndarray, first: np.ndarray) -> Iterable[Fault]:
        found: list[tuple[np.ndarray, End, str]] = []
        places: tuple[tuple[End, array[int]], ...] = (("beginning", self.beginning), ("end", self.end))
        for place, digests in places:
            hashes = np.frombuffer(digests, np.int32)
            known, sizes = np.unique(hashes[(hashes != 0) & first], return_counts=True)
            for which in np.flatnonzero(sizes >= max(_LEAST_ROWS, self.options.share * int(first.sum()))):
                having = rows[hashes == known[which]]
                sample = having[:: max(1, len(having) // _COMPARED)]
                shared = shared_words([example.answer or "" for example in self.scene.examples(sample)], place)
                if len(shared.split()) >= _WORDS:
                    found.append((having, place, shared))
        if not found:
            return
        having, place, shared = max(found, key=lambda one: len(one[0]))
        every = np.unique(np.concatenate([one[0] for one in found]))
        yield Fault(
            name="boilerplate",
            severity="warning",
            message=(
                f"{len(every):,} of {len(rows):,} answers begin or end in words that many share; {len(having):,} have "
                f"the same {place}: '{showing.short(shared, 80)}'."
            ),
            rows=every,
            example=showing.row(next(iter(self.scene.examples(having[:1])))),
            remedy="Cut it off where it carries nothing: it is learned first, and in all answers.",
            fix="cut the shared beginnings and ends off",
            change=partial(without_words, shared=tuple((place, text) for _, place, text in found)),
        )

    def _echo(self) -> Fault:
        (shown,) = self.scene.examples(np.array(self.echoes[:1]))
        return Fault(
            name="echoed_prompts",
            severity="warning" if len(self.echoes) >= _MANY_ECHOES * len(self.rows) else "info",
            message=f"{len(self.echoes):,} of {len(self.rows):,} answers begin with the whole of what was asked.",
            rows=self.echoes,
            example=showing.row(shown),
            remedy="Cut the question off the answers, or the model learns to repeat what it is asked.",
            fix="leave those rows out of training",
            drop=np.array(self.echoes)[np.isin(self.echoes, self.scene.sides["train"])],
        )


def _short(words: list[str]) -> int:
    """A hash of some words in four bytes."""
    return hash(tuple(words)) >> 32


def shared_words(texts: list[str], place: End) -> str:
    """The words that all texts begin (end) with, as they are written in the first."""
    turned = [text.strip() if place == "beginning" else text.strip()[::-1] for text in texts]
    low, high = min(turned), max(turned)  # what these two share, all do
    length = next((at for at, pair in enumerate(zip(low, high, strict=False)) if pair[0] != pair[1]), len(low))
    common = low[:length]
    if any(len(text) > len(common) and not text[len(common)].isspace() for text in turned):
        common = common[: max((at for at, sign in enumerate(common) if sign.isspace()), default=0)]
    return (common if place == "beginning" else common[::-1]).strip()


def without_words(example: Example, shared: tuple[tuple[End, str], ...]) -> Example:
    """The row with shared beginnings and ends cut off its answer, where something is left of it."""
    answer = example.answer
    if answer is None or example.expected is not None:
        return example
    cut = answer.strip()
    for place, text in shared:
        rest = (cut.removeprefix(text) if place == "beginning" else cut.removesuffix(text)).strip()
        cut = rest if any(map(str.isalnum, rest)) else cut
    last = max(at for at, message in enumerate(example.messages) if message.role == "assistant")
    if cut == answer.strip() or example.messages[last].content != answer:
        return example
    messages: list[Message] = list(example.messages)
    messages[last] = messages[last].model_copy(update={"content": cut})
    return example.model_copy(update={"messages": messages})
