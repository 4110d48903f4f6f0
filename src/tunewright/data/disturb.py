"""Questions disturbed without changing what is right to answer: sentences and options in another order, and text
around them that has nothing to do with them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from typing import TypeVar

from tunewright.core.example import Example
from tunewright.data.augment import draw_of

T = TypeVar("T")

_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"'])")
_OPTION = re.compile(r"^(?P<mark>[ \t]*(?:[-*\u2022]|\(?(?P<key>[A-Za-z]|\d{1,2})[.):]))[ \t]+(?P<text>\S.*)$")
_ASIDE = (
    "The library opens at nine on weekdays and at ten on Saturdays.",
    "Last week the bakery on the corner painted its door green.",
    "A tram runs along the river every twelve minutes.",
    "The old bridge was mended in spring, and the benches beside it are new.",
    "Two sparrows built a nest under the roof of the station.",
    "The choir meets in the town hall on the first Monday of the month.",
    "Rain is expected in the hills, while the coast stays dry.",
    "The museum shows maps of the valley until the end of autumn.",
)


def sentences_moved(example: Example, seed: int, copy: int = 0) -> Example | None:
    """The sentences of the last user message in another order; None where it has only one."""
    text = _last(example)
    pieces = _SENTENCE.split(text) if text is not None and _is_plain(example) else []
    moved = _other_order(pieces, draw_of(seed, example.id, "sentences", copy))
    return None if moved is None else _saying(example, " ".join(moved))


def options_moved(example: Example, seed: int, copy: int = 0) -> Example | None:
    """The options that the last user message lists, a line each, in another order under the same letters, numbers or
    dashes. An answer that is a letter or number becomes the one under which its option stands now. None where fewer
    than two options are listed.
    """
    lines = (_last(example) or "").split("\n") if _is_plain(example) else []
    places, found = _options(lines)
    draw = draw_of(seed, example.id, "options", copy)
    order = _other_order(range(len(places)), draw)
    if order is None:
        return None
    for place, came_from in zip(places, order, strict=True):
        lines[place] = f"{found[place].group('mark')} {found[places[came_from]].group('text')}"
    changed = _saying(example, "\n".join(lines))
    keys = [found[place].group("key") for place in places]
    answer = (example.answer or "").strip().strip("().:")
    if answer and answer in keys:
        now = str(keys[list(order).index(keys.index(answer))])
        changed = changed.model_copy(update={"expected": now, **({"label": now} if example.label is not None else {})})
    return changed


def surrounded(example: Example, seed: int, copy: int = 0, *, sentences: int = 5) -> Example | None:
    """The last user message with sentences about other things before it or behind it (behind it alone, where places of
    entities are counted from its beginning).
    """
    text = _last(example)
    if text is None:
        return None
    draw = draw_of(seed, example.id, "aside", copy)
    aside = " ".join(draw.sample(_ASIDE, min(sentences, len(_ASIDE))))
    before = draw.random() < 0.5 and example.spans is None
    return _saying(example, f"{aside}\n\n{text}" if before else f"{text}\n\n{aside}")


def _options(lines: Sequence[str]) -> tuple[list[int], dict[int, re.Match[str]]]:
    """The longest run of lines that list options."""
    found = {place: match for place, line in enumerate(lines) if (match := _OPTION.match(line))}
    runs: list[list[int]] = [[]]
    for place in found:
        if runs[-1] and place != runs[-1][-1] + 1:
            runs.append([])
        runs[-1].append(place)
    return max(runs, key=len), found


def _is_plain(example: Example) -> bool:
    """Whether nothing hangs on the places of the words: no entities, and no passages beside the question."""
    return example.spans is None and example.question is None


def _other_order(pieces: Sequence[T], draw: Random) -> list[T] | None:
    """The pieces in an order that is not theirs; None where there is no other."""
    if len(set(pieces)) < 2:
        return None
    moved = list(pieces)
    while moved == list(pieces):
        draw.shuffle(moved)
    return moved


def _last(example: Example) -> str | None:
    """What the user said last."""
    said = [message.content for message in example.prompt if message.role == "user"]
    return said[-1] if said else None


def _saying(example: Example, text: str) -> Example:
    messages = list(example.messages)
    last = max(place for place, message in enumerate(example.prompt) if message.role == "user")
    messages[last] = messages[last].model_copy(update={"content": text})
    return example.model_copy(update={"messages": messages})
