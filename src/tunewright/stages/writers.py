"""What a model is asked to write, and what is taken from its replies: from documents, from seeds, for labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from tunewright.core.augment import MADE
from tunewright.core.endpoint import Question
from tunewright.core.errors import DataError
from tunewright.core.example import Example, Message
from tunewright.data import written
from tunewright.data.augment import draw_of
from tunewright.data.passages import Passage

_SHOWN_LABELS = 40  # other labels that are named
_WORDS = (2, 150)  # of a new message or instruction, as in self-instruct
# Tasks that a model of texts cannot do (Wang et al. 2022, section 2.2).
_NO_TEXT = frozenset((
    "image", "images", "picture", "pictures", "photo", "graph", "graphs", "plot", "draw", "video", "music", "audio",
    "file", "files",
))  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """A question to a model, and what its reply is about."""

    question: Question
    about: Any


@dataclass(frozen=True)
class Draft:
    """A row to be, or the reason why there is none."""

    example: Example | None = None
    refused: str = ""
    key: str = ""  # what must be new, compared with other drafts

    @classmethod
    def no(cls, why: str) -> Draft:
        """A piece of a reply that cannot be used."""
        return cls(refused=why)


class Writer(ABC):
    """One way to let a model write rows. A round of questions hangs on the seed, its number, and what was kept."""

    by: str
    each: int  # rows that one question asks for
    answers_apart: bool = False  # a second question gets the answer
    novelty: float = 0.7  # ROUGE-L from which a row repeats another, as in self-instruct

    def __init__(self, *, seed: int, temperature: float, model: str) -> None:
        self.seed, self.temperature, self.model = seed, temperature, model

    @abstractmethod
    def known(self) -> list[str]:
        """What new rows must differ from."""

    @abstractmethod
    def questions(self, number: int, wanted: int, kept: Sequence[Example]) -> list[Asked]:
        """The questions of a round; none when there is nothing left to ask."""

    @abstractmethod
    def drafts(self, asked: Asked, reply: str) -> list[Draft]:
        """The rows of a reply."""

    @abstractmethod
    def again(self, example: Example) -> Question:
        """Asks for the answer of a row without showing it: for graders that compare, and for rows without answer."""

    def _asked(self, rules: str, content: str, about: Any, *, draw: Random, room: int) -> Asked:
        messages = [{"role": "system", "content": rules}, {"role": "user", "content": content}]
        return Asked(Question(messages, room, self.temperature, draw.randrange(2**31)), about)

    def _origin(self, of: str | list[str]) -> dict[str, Any]:
        return {MADE: {"by": self.by, "from": of, "model": self.model, "seed": self.seed}}


class FromDocuments(Writer):
    """Questions and answers from passages; answers that do not rest on their passage are refused."""

    by, each = "documents", 3
    novelty = 0.9  # the same question about another thing is another question

    def __init__(self, passages: Sequence[Passage], *, system: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.system = system
        order = draw_of(self.seed, "passages")
        self.passages = order.sample(list(passages), len(passages))
        self.turn = 0  # whose turn it is

    def known(self) -> list[str]:
        """Nothing: documents hold no questions."""
        return []

    def questions(self, number: int, wanted: int, kept: Sequence[Example]) -> list[Asked]:
        """One about each of the next passages; once all had their turn, about the first again."""
        count = min(len(self.passages), -(-wanted // self.each))
        chosen = [self.passages[(self.turn + place) % len(self.passages)] for place in range(count)]
        self.turn += count
        rules = (
            f"Write {self.each} questions that a user could ask, and their answers, from the passage alone. A question "
            "must make sense to somebody who does not see the passage. Answers are short and use the passage's words. "
            'Reply with a JSON list of objects {"question": ..., "answer": ..., "quote": ...}, where quote is the '
            "sentence of the passage that holds the answer, to the letter."
        )
        return [
            self._asked(
                rules, passage.text if passage.title is None else f"{passage.title}\n\n{passage.text}", passage,
                draw=draw_of(self.seed, number, passage.id), room=200 * self.each,
            )
            for passage in chosen
        ]  # fmt: skip

    def drafts(self, asked: Asked, reply: str) -> list[Draft]:
        """Pairs whose quote and answer stand in the passage."""
        return [self._draft(one, asked.about) for one in written.items(reply)] or [Draft.no("unreadable")]

    def _draft(self, one: Any, passage: Passage) -> Draft:
        if not isinstance(one, dict):
            return Draft.no("unreadable")
        question, answer, quote = (str(one.get(name) or "").strip() for name in ("question", "answer", "quote"))
        if not question or not answer:
            return Draft.no("unreadable")
        if written.points_at_passage(question):
            return Draft.no("speaks of its passage")
        if not written.quoted(quote, passage.text) or not written.grounded(answer, passage.text):
            return Draft.no("not in the passage")
        system = [Message(role="system", content=self.system)] if self.system else []
        messages = [*system, Message(role="user", content=question), Message(role="assistant", content=answer)]
        meta = self._origin(passage.id) | {"gold": passage.id, "quote": quote}
        return Draft(Example(id="", messages=messages, meta=meta), key=question)

    def again(self, example: Example) -> Question:
        """The question with its passage."""
        of = next(passage for passage in self.passages if passage.id == example.meta["gold"])
        rules = "Answer the question from the passage alone, as briefly as you can. Reply with the answer alone."
        content = f"{of.text}\n\nQuestion: {example.prompt[-1].content}"
        return Question([{"role": "system", "content": rules}, {"role": "user", "content": content}], 200, 0.0, 0)


class ForLabels(Writer):
    """New messages for each label, the labels with the fewest rows first."""

    by, each = "labels", 8

    def __init__(self, seeds: Sequence[Example], *, shown: int = 6, **options: Any) -> None:
        super().__init__(**options)
        self.shown = shown
        self.of_label: dict[str, list[Example]] = {}
        for example in seeds:
            if example.label is not None and example.prompt:
                self.of_label.setdefault(example.label, []).append(example)
        if not self.of_label:
            raise DataError("No row has a label, so no messages can be written for labels. Take --from seeds.")

    def known(self) -> list[str]:
        """The messages that are there."""
        return [example.prompt[-1].content for of_one in self.of_label.values() for example in of_one]

    def questions(self, number: int, wanted: int, kept: Sequence[Example]) -> list[Asked]:
        """One for each of the labels that have the fewest rows so far."""
        counts = {label: len(seeds) for label, seeds in self.of_label.items()}
        for example in kept:
            counts[str(example.label)] += 1
        count = -(-wanted // self.each)
        labels = sorted(counts, key=lambda label: (counts[label], draw_of(self.seed, number, label).random()))[:count]
        return [self._question(label, number) for label in labels]

    def _question(self, label: str, number: int) -> Asked:
        draw = draw_of(self.seed, number, label, "show")
        seeds = self.of_label[label]
        shown = draw.sample(seeds, min(self.shown, len(seeds)))
        others = [other for other in self.of_label if other != label]
        others = sorted(draw.sample(others, min(_SHOWN_LABELS, len(others))))
        rules = (
            f"Write {self.each} new messages that users could send, all with the same label. Vary length, words, tone "
            "and spelling as real people do. Each must fit the label, none of the other labels, and repeat none of the "
            "examples. Reply with a JSON list of strings."
        )
        lines = [f"Label: {label}", f"Other labels: {', '.join(others)}", "Examples:"]
        lines += [f"- {' '.join(example.prompt[-1].content.split())}" for example in shown]
        return self._asked(rules, "\n".join(lines), shown, draw=draw, room=60 * self.each)

    def drafts(self, asked: Asked, reply: str) -> list[Draft]:
        """Messages of a fitting length."""
        shown: list[Example] = asked.about
        found = []
        for one in written.items(reply):
            text = one.strip() if isinstance(one, str) else ""
            if not text:
                found.append(Draft.no("unreadable"))
            elif not _WORDS[0] <= len(written.words_of(text)) <= _WORDS[1]:
                found.append(Draft.no("too short or too long"))
            else:
                first = shown[0]
                said = [message for message in first.prompt if message.role in ("system", "developer")]
                said += [Message(role="user", content=text), *first.messages[len(first.prompt) :]]
                meta = self._origin([example.id for example in shown])
                found.append(Draft(Example(id="", messages=said, label=first.label, meta=meta), key=text))
        return found or [Draft.no("unreadable")]

    def again(self, example: Example) -> Question:
        """The message with all labels to choose from."""
        rules = "Which label fits the user's message? Reply with one of these labels alone: "
        content = example.prompt[-1].content
        asked = [{"role": "system", "content": rules + ", ".join(sorted(self.of_label))}]
        return Question([*asked, {"role": "user", "content": content}], 40, 0.0, 0)


class FromSeeds(Writer):
    """Self-instruct (Wang et al. 2022, arXiv 2212.10560): new tasks from some shown, then the answer to each.

    As in the paper eight tasks are shown, two of them made earlier. Its separate steps for classification tasks were
    needed for a model that completes texts; here one that follows instructions is asked.
    """

    by, each, answers_apart = "seeds", 6, True

    def __init__(self, seeds: Sequence[Example], *, shown: int = 8, **options: Any) -> None:
        super().__init__(**options)
        self.seeds = [example for example in seeds if example.prompt and example.prompt[-1].role == "user"]
        if not self.seeds:
            raise DataError("No row has a user's message and an answer to take as a seed. Give rows of that shape.")
        self.shown = shown
        systems = {_system(example) for example in self.seeds}
        self.system = systems.pop() if len(systems) == 1 else None
        self.tasks_in_system = bool(systems)  # each row's own system message is its task, and the user's its input

    def known(self) -> list[str]:
        """The tasks that are there."""
        return [self._task(example)[0] for example in self.seeds]

    def questions(self, number: int, wanted: int, kept: Sequence[Example]) -> list[Asked]:
        """Tasks to be continued, drawn anew for each question."""
        found = []
        for place in range(-(-wanted // self.each)):
            draw = draw_of(self.seed, number, place)
            made = draw.sample(list(kept), min(2, len(kept))) if self.shown > 2 else []
            shown = draw.sample(self.seeds, min(self.shown - len(made), len(self.seeds)))
            tasks = [self._task(example) for example in draw.sample([*shown, *made], len(shown) + len(made))]
            rules = (
                f"Here are tasks that users gave. Write {self.each} new ones of the same kind, as different from these "
                "and from each other as you can. Reply with a JSON list of objects "
                '{"instruction": ..., "input": ...}; input is empty where none is needed.'
            )
            lines = [f"- instruction: {task}" + (f"\n  input: {given}" if given else "") for task, given in tasks]
            about = [example.id for example in shown]
            found.append(self._asked(rules, "\n".join(lines), about, draw=draw, room=150 * self.each))
        return found

    def drafts(self, asked: Asked, reply: str) -> list[Draft]:
        """Tasks that can be asked; their answers come later."""
        return [self._draft(one, asked.about) for one in written.items(reply)] or [Draft.no("unreadable")]

    def _draft(self, one: Any, shown: list[str]) -> Draft:
        given = {"instruction": one} if isinstance(one, str) else one
        if not isinstance(given, dict) or not isinstance(given.get("instruction"), str):
            return Draft.no("unreadable")
        task, content = given["instruction"].strip(), given.get("input")
        content = content.strip() if isinstance(content, str) else ""
        words = written.words_of(task)
        if not _WORDS[0] <= len(words) <= _WORDS[1]:
            return Draft.no("too short or too long")
        if _NO_TEXT & set(words):
            return Draft.no("needs more than text")
        if self.tasks_in_system and content:
            messages = [Message(role="system", content=task), Message(role="user", content=content)]
        else:
            messages = [Message(role="system", content=self.system)] if self.system else []
            messages.append(Message(role="user", content=f"{task}\n\n{content}" if content else task))
        return Draft(Example(id="", messages=messages, meta=self._origin(shown)), key=task)

    def again(self, example: Example) -> Question:
        """The task behind some seeds with their answers, as a conversation."""
        shown = draw_of(self.seed, "answers").sample(self.seeds, min(3, len(self.seeds)))
        said = [{"role": "system", "content": f"{self.system or ''}\nAnswer as in the examples.".strip()}]
        for seed in shown:
            said += [
                {"role": "user", "content": self._flat(seed)},
                {"role": "assistant", "content": seed.answer or ""},
            ]
        return Question([*said, {"role": "user", "content": self._flat(example)}], 512, self.temperature, self.seed)

    def _task(self, example: Example) -> tuple[str, str]:
        said = example.prompt[-1].content
        return (_system(example) or said, said) if self.tasks_in_system and _system(example) else (said, "")

    def _flat(self, example: Example) -> str:
        task, given = self._task(example)
        return f"{task}\n\n{given}" if given else task


def _system(example: Example) -> str | None:
    first = example.messages[0]
    return first.content if first.role in ("system", "developer") else None
