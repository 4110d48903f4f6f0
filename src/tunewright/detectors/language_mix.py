"""language_mix: rows in another language than the others, and answers in another one than their prompt."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from tunewright.core.detecting import Detector, Fault, Scene, Seen
from tunewright.data.languages import language
from tunewright.detectors._rows import Rows

# Languages that short texts do not tell apart.
_ONE = {"wuu": "zh", "yue": "zh", "nb": "no", "nn": "no", "bs": "sh", "hr": "sh", "sr": "sh", "ms": "id"}
_MAIN = 0.1  # share of the rows from which on a language is one of those that are meant
_ALIKE = 0.9  # share of rows whose answer is in the prompt's language, from which on others are odd
_TRANSLATES = re.compile(
    r"translat|\u00fcbersetz|tradu[cizt]|vertaal|t\u0142umacz|\u043f\u0435\u0440\u0435\u0432\u0435\u0434|\u7ffb\u8bd1"
    r"|\b(?:english|french|german|spanish|italian|portuguese|chinese|japanese|russian|arabic|korean|dutch|hindi|latin"
    r"|englisch|franz\u00f6sisch|deutsch|spanisch|anglais|fran\u00e7ais|allemand|ingl\u00e9s|espa\u00f1ol)\b",
    re.IGNORECASE,
)


class LanguageMix(Detector):
    """Tells languages of texts long enough (40 letters), without code, links and numbers; of many rows a sample."""

    fixes: ClassVar[tuple[str, ...]] = ("language_mix", "answer_in_other_language")

    sample: int = Field(5_000, ge=100, description="rows looked at, evenly spread: more find more, 0.3 ms a text")
    sure: float = Field(0.8, ge=0.5, lt=1, description="confidence from which on a language is told")

    def watch(self, scene: Scene) -> _Watch:
        """Begin a look."""
        return _Watch(self, scene)


class _Watch:
    def __init__(self, detector: LanguageMix, scene: Scene) -> None:
        self.scene, self.sure = scene, detector.sure
        self.every = max(1, -(-scene.num_rows // detector.sample))
        self.num_rows = self.num_looked = 0
        self.by_language: dict[str, dict[str, Rows]] = {"prompt": {}, "answer": {}}
        self.pairs: dict[tuple[str, str], Rows] = {}
        self.num_pairs = self.num_alike = 0

    def see(self, row: Seen) -> None:
        """Tell the language of the row, if it is in the sample."""
        self.num_rows += 1
        if (self.num_rows - 1) % self.every:
            return
        self.num_looked += 1
        example = row.example
        asked = example.text
        if asked is None:
            asked = next((message.content for message in reversed(example.prompt) if message.role == "user"), "")
        of_prompt = self._told(row, "prompt", asked)
        if example.label is not None or example.spans is not None or example.text is not None:
            return
        of_answer = self._told(row, "answer", example.answer or "")
        if of_prompt and of_answer:
            self.num_pairs += 1
            if of_prompt == of_answer:
                self.num_alike += 1
            elif not _TRANSLATES.search(row.said):
                self.pairs.setdefault((of_prompt, of_answer), Rows(self.scene)).add(row, example.answer or "")

    def _told(self, row: Seen, what: str, text: str) -> str | None:
        found = language(text)
        if found is None or found[1] < self.sure:
            return None
        code = _ONE.get(found[0], found[0])
        self.by_language[what].setdefault(code, Rows(self.scene)).add(row, f"[{code}] {text}")
        return code

    def faults(self) -> Iterable[Fault]:
        """Rows in languages that few rows are in; shares go into the notes."""
        shares: dict[str, dict[str, float]] = {}
        odd: dict[int, tuple[str, bool]] = {}
        examples: list[str] = []
        main: dict[str, list[str]] = defaultdict(list)
        for what, languages in self.by_language.items():
            total = sum(map(len, languages.values()))
            ordered = sorted(languages, key=lambda code: -len(languages[code]))
            shares[what] = {code: round(len(languages[code]) / total, 4) for code in ordered}
            main[what] = [code for code in ordered if shares[what][code] >= _MAIN]
            for code in ordered:
                if code not in main[what] and main[what]:
                    learned = set(languages[code].learned)
                    odd.update((number, (code, number in learned)) for number in languages[code].numbers)
                    examples.append(languages[code].example or "")
        self.scene.notes["languages"] = {"rows_looked_at": self.num_looked, **{k: v for k, v in shares.items() if v}}
        if odd:
            yield self._mix(odd, examples[0], main)
        several = sum(map(len, self.pairs.values()))
        if several and self.num_alike >= _ALIKE * self.num_pairs:
            yield self._other(several)

    def _mix(self, odd: dict[int, tuple[str, bool]], example: str, main: dict[str, list[str]]) -> Fault:
        counts = Counter(code for code, _ in odd.values()).most_common(5)
        usual = "; ".join(f"{what}s: {', '.join(codes)}" for what, codes in main.items() if codes)
        return Fault(
            name="language_mix",
            message=f"{len(odd):,} of {self.num_looked:,} rows looked at are in other languages "
            f"({', '.join(f'{code} {count:,}' for code, count in counts)}) than the rest ({usual}).",
            rows=sorted(odd),
            example=example,
            remedy="Leave them out, or add rows: of a few rows a language is not learned.",
            fix="leave out of training those that were looked at",
            drop=sorted(number for number, (_, learned) in odd.items() if learned),
        )

    def _other(self, count: int) -> Fault:
        rows = sorted(number for found in self.pairs.values() for number in found.numbers)
        common = max(self.pairs, key=lambda pair: len(self.pairs[pair]))
        return Fault(
            name="answer_in_other_language",
            severity="warning",
            message=f"{count:,} of {self.num_pairs:,} answers are in another language than their prompt "
            f"(most: {common[0]} to {common[1]}), and no translation is asked for.",
            rows=rows,
            example=self.pairs[common].example,
            remedy="Look at them: the model learns to change the language.",
            fix="leave out of training those that were looked at",
            drop=sorted(number for found in self.pairs.values() for number in found.learned),
        )
