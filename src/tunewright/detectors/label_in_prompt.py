"""Labels that stand in the prompt: the model would learn to copy them."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

import numpy as np
from pydantic import Field

from tunewright.core.detecting import Detector, Fault, Scene, Seen
from tunewright.data import showing
from tunewright.data.class_names import several
from tunewright.data.clean import prompt_text

_LEAST_ROWS = 20
_LEAST_LETTERS = 3  # a shorter label stands in many texts
_WRITTEN = re.compile(r"[^\W\d_]{2,}(?:[_-][^\W_]+)+|[a-z]+[A-Z][a-zA-Z]+")  # a name that no person would write so


class LabelInPrompt(Detector):
    """Looks for each row's own label in what it asks, and for another row's label to know what chance does."""

    share: float = Field(
        0.3, gt=0, le=1, description="of the rows that say their label, beyond chance; topics are named in some anyway"
    )
    names: int = Field(3, ge=1, description="rows that hold a label written as no text is (card_arrival) are told from")

    def watch(self, scene: Scene) -> _Watch:
        """Begin a look."""
        return _Watch(self, scene)


class _Watch:
    """Remembers the rows that say their own label, and counts those that say one drawn from all rows."""

    def __init__(self, options: LabelInPrompt, scene: Scene) -> None:
        self.options, self.scene = options, scene
        kept = np.concatenate(list(scene.sides.values()))
        label = scene.label[kept]
        self.drawn = label[label >= 0]
        self.draw = random.Random(0)
        self.spoken = [_spoken(label) for label in scene.labels] if len(scene.labels) <= len(kept) // 2 else []
        self.is_written = [bool(_WRITTEN.fullmatch(label)) for label in scene.labels]
        self.num = self.num_other = self.num_by_chance = self.num_written_by_chance = 0
        self.rows: list[int] = []
        self.written: list[int] = []

    def see(self, row: Seen) -> None:
        """Look for the label, and for one that the row does not have."""
        number = int(self.scene.label[row.number])
        if number < 0 or not self.spoken:
            return
        self.num += 1
        text = prompt_text(row.example).casefold()
        if self._says(text, number):
            self.rows.append(row.number)
            if self.is_written[number] and self.scene.labels[number].casefold() in text:
                self.written.append(row.number)
        other = int(self.drawn[self.draw.randrange(len(self.drawn))])
        if other != number:
            self.num_other += 1
            if self._says(text, other):
                self.num_by_chance += 1
                self.num_written_by_chance += self.scene.labels[other].casefold() in text

    def _says(self, text: str, number: int) -> bool:
        for spoken in self.spoken[number]:
            at = text.find(spoken)
            while at >= 0:
                end = at + len(spoken)
                if not text[max(0, at - 1) : at].isalnum() and not text[end : end + 1].isalnum():
                    return True
                at = text.find(spoken, at + 1)
        return False

    def faults(self) -> Iterable[Fault]:
        """Rows that give their label away."""
        if self.num < _LEAST_ROWS:
            return
        chance = self.num_by_chance / max(1, self.num_other)
        share = len(self.rows) / self.num
        by_chance = self.num * self.num_written_by_chance / max(1, self.num_other)
        if share - chance >= self.options.share:
            rows = self.rows
        elif len(self.written) >= self.options.names + 2 * by_chance:
            rows, share = self.written, len(self.written) / self.num
        else:
            return
        (first,) = self.scene.examples(np.array(rows[:1]))
        yield Fault(
            name="label_in_prompt",
            severity="problem" if share >= self.options.share else "warning",
            message=(
                f"{len(rows):,} of {self.num:,} prompts hold their own label ({share:.0%}; another label: "
                f"{chance:.0%}): the model would learn to copy it."
            ),
            rows=rows,
            example=showing.row(first),
            remedy="Take the label out of the prompt, as it will not be there when the model is asked.",
        )


def _spoken(label: str) -> list[str]:
    """How a label may stand in a text."""
    if sum(map(str.isalpha, label)) < _LEAST_LETTERS or several(label) is not None:
        return []
    plain = label.casefold().strip()
    return list(dict.fromkeys([plain, " ".join(re.split(r"[\W_]+", plain)).strip()]))
