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


def _told(name: str, passage: Passage) -> str:
    return f"[{name}] {passage.title}\n{passage.text}" if passage.title else f"[{name}] {passage.text}"
