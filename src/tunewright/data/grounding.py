"""The one place where a question and passages become what the user says, and where citations are made and read."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tunewright.core.retrieval import Shown
from tunewright.data.passages import Passage

PLAIN = "{passages}\n\nQuestion: {question}"
CITING = (
    "{passages}\n\nAnswer from these passages and add the names of those you use, in brackets.\n\nQuestion: {question}"
)
_LABELS = r"[\w.:/#-]+"
_CITATION = re.compile(rf"\[({_LABELS}(?:\s*[,;]\s*{_LABELS})*)\]")
_CUT = re.compile(rf"\s*{_CITATION.pattern}")


def labels(shown: Sequence[Passage], options: Shown) -> list[str]:
    """What the passages are called in the prompt, in their order."""
    if options.names == "id":
        return [passage.id for passage in shown]
    return [str(number) for number in range(1, len(shown) + 1)]


def message(question: str, shown: Sequence[Passage], options: Shown) -> str:
    """What the user says: each passage behind its name in brackets and its title, then the question, by the template.

    Without any passage it is the question alone.
    """
    if not shown:
        return question
    names = labels(shown, options)
    template = options.template or (CITING if options.cite else PLAIN)
    passages = "\n\n".join(_told(name, passage) for name, passage in zip(names, shown, strict=True))
    values = {"{passages}": passages, "{question}": question}
    return re.sub(r"\{(passages|question)\}", lambda match: values[match.group(0)], template)


def with_citations(answer: str, cited: Sequence[str]) -> str:
    """An answer that names the passages it rests on."""
    return f"{answer.rstrip()} {''.join(f'[{name}]' for name in cited)}" if cited else answer


def citations(answer: str) -> list[str]:
    """The names that an answer cites, each once, in their order: `[1]`, `[1, 2]`, `[id]`."""
    found = (name for match in _CITATION.finditer(answer) for name in re.split(r"\s*[,;]\s*", match.group(1)))
    return list(dict.fromkeys(found))


def without_citations(answer: str) -> str:
    """An answer without what it cites, so that it can be compared with another."""
    return _CUT.sub("", answer).strip()


def shown(message: str, names: Sequence[str], question: str) -> dict[str, str]:
    """The passages of a message that `message` made, by their names, title and text together."""
    starts: list[tuple[str, int, int]] = []
    at = 0
    for name in names:
        head = f"[{name}] "
        begin = message.find(head, at)
        if begin < 0:
            continue
        at = begin + len(head)
        starts.append((name, begin, at))
    ends = [begin for _, begin, _ in starts[1:]] + [_end(message, at, question)]
    return {name: message[first:end].strip() for (name, _, first), end in zip(starts, ends, strict=True)}


def _end(message: str, last: int, question: str) -> int:
    """Where the last passage ends: at the blank line before what the template says behind it."""
    asked = message.rfind(question, last) if question else -1
    tail = len(message) if asked < 0 else asked
    words = CITING.removeprefix("{passages}").partition("\n\nQuestion")[0]
    found = [place for text in (words, "\n\nQuestion:") if (place := message.find(text, last, tail)) >= 0]
    blank = message.rfind("\n\n", last, tail)
    return min(found) if found else blank if blank >= 0 else tail


def _told(name: str, passage: Passage) -> str:
    return f"[{name}] {passage.title}\n{passage.text}" if passage.title else f"[{name}] {passage.text}"
