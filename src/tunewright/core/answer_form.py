"""The form in which a task's answers come: its labels, the keys of its JSON or of its lines. Tells answers that fell
into it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

USUAL = 0.9  # a form that so many of the task's answers share is the task's
_JSON_KEY = re.compile(r'"([^"\\]{1,60})"\s*:')
_KEY = re.compile(r"^\s*([A-Za-z_][\w -]{0,39}?)\s*:\s*\S", re.MULTILINE)


@dataclass(frozen=True)
class AnswerForm:
    """What answers of a task look like. labels: what they are chosen from. keys: the fields of JSON objects (`json`),
    or of lines `key: value`.
    """

    labels: tuple[str, ...] = ()
    keys: frozenset[str] = frozenset()
    json: bool = False

    @property
    def known(self) -> bool:
        """Whether the answers have a form that can be told from free text."""
        return bool(self.labels or self.keys)

    @property
    def words(self) -> str:
        """The form in words."""
        if self.labels:
            return "one of the task's labels"
        return f"{'JSON' if self.json else 'lines'} with the task's {', '.join(sorted(self.keys))}"

    def holds(self, answer: str) -> bool:
        """Whether an answer has this form: it is a label, begins with one, or has nothing but labels in it; or it has
        one of the task's keys, also in JSON that was cut short.
        """
        if self.labels:
            return self._labelled(answer)
        return bool(keys_of(answer, as_json=self.json) & self.keys)

    def _labelled(self, answer: str) -> bool:
        text = _plain(answer)
        text = re.sub(r"^(?:the )?[a-z]+(?: [a-z]+)?\W{0,2}[:=]\W{0,3}", "", text)  # 'Intent: refund'
        if not text:
            return False
        if re.sub(r"\W", "", self._pattern.sub("", text)) in ("", "and", "or"):
            return True
        begins = self._pattern.match(text)
        if begins is None:
            return False
        # 'Time flies' does not answer with the label 'time', but 'refund delayed because' with 'refund delayed'
        return " " in begins.group() or re.match(r"\s?[.,:;!?)\]}-]", text[begins.end() :]) is not None

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest_first = sorted({_plain(label) for label in self.labels} - {""}, key=len, reverse=True)
        return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")


def form_of(labels: Sequence[str], answers: Sequence[str]) -> AnswerForm:
    """The form of a task, from its labels or else from a sample of its right answers."""
    if labels or not answers:
        return AnswerForm(labels=tuple(labels))
    for as_json in (True, False):
        times = Counter(key for answer in answers for key in keys_of(answer, as_json=as_json))
        usual = frozenset(key for key, count in times.items() if count >= USUAL * len(answers))
        if usual:
            return AnswerForm(keys=usual, json=as_json)
    return AnswerForm()


def keys_of(answer: str, *, as_json: bool) -> frozenset[str]:
    """The keys of the JSON object in an answer, whole or cut, or of its lines `key: value`, in small letters."""
    found = _JSON_KEY.findall(answer[answer.index("{") :]) if as_json and "{" in answer else []
    return frozenset(key.strip().casefold() for key in (found if as_json else _KEY.findall(answer)))


def _plain(text: str) -> str:
    """In small letters, with single spaces for white space, '_' and '-', without quotes, stars and brackets around."""
    return re.sub(r"[\s_-]+", " ", text.casefold()).strip(" \"'`*.([{)]}")
