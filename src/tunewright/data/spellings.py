"""Names of classes that are one name written in several ways, and names written unlike all others."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tunewright.data.clean import normalise

RATIO = 20.0  # rows of the usual spelling for each of a plural or typo
_MOST_COMPARED = 3000  # names; with more, only folding finds spellings
_FEW_LETTERS = 4  # a shorter name is folded with care: A and A-, C and C# differ
_LETTERS_FOR = {1: 5, 2: 8}  # letters of the words that differ by so many edits, at least
_JOINED = re.compile(r"(?<=\w)[-_./\s]+(?=\w)|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
_BETWEEN_DIGITS = re.compile(r"(?<!\d) | (?!\d)")
_ENDS = " .,;:!\"'"
_FEW_NAMES = 10  # with fewer names there is no usual way to write them
_ODD_SHARE = 0.05  # of the names are written in an odd way, at most


def folded(name: str) -> str:
    """A name without what writers vary: compatibility forms, case, spaces, punctuation, `_` and `-`."""
    plain = unicodedata.normalize("NFKC", name).casefold().strip(_ENDS)
    if sum(map(str.isalnum, plain)) < _FEW_LETTERS:
        return plain
    return normalise(re.sub(r"(?<=\w)[-_](?=\w)", " ", plain))


def merged(counts: Mapping[str, int], ratio: float = RATIO) -> dict[str, str]:
    """What each misspelt name should be: the most frequent spelling. counts: rows of each name.

    Names that are equal when folded are one. A plural, or one or two edits (Damerau's, optimal string alignment), need
    `ratio` times as many rows of the other spelling. Names that differ in digits never are one.
    """
    groups: dict[str, list[str]] = {}
    for name in counts:
        groups.setdefault(_BETWEEN_DIGITS.sub("", folded(name)), []).append(name)
    names = {}
    for group in groups.values():
        best = max(group, key=lambda name: (counts[name], name))
        names.update({name: best for name in group if name != best})
    sums = {
        max(group, key=lambda name: (counts[name], name)): sum(counts[name] for name in group)
        for group in groups.values()
    }
    if len(sums) <= _MOST_COMPARED:
        nearest = _nearest(sums, ratio)
        names = {name: nearest.get(best, best) for name, best in names.items()} | nearest
    return names


def joined(labels: Sequence[str], label: np.ndarray) -> np.ndarray:
    """The label of each row, by number, once misspelt ones are joined to the usual spelling; -1 stays. Where labels are
    too many to be classes nothing is joined.
    """
    sizes = np.bincount(label[label >= 0], minlength=len(labels))
    if len(labels) > max(20, int(sizes.sum()) // 2):
        return label
    names = merged({name: int(size) for name, size in zip(labels, sizes, strict=True) if size})
    if not names:
        return label
    numbers = {name: number for number, name in enumerate(labels)}
    best = np.array([*(numbers[names.get(name, name)] for name in labels), -1], np.int32)
    return np.asarray(best[label])


def _nearest(counts: Mapping[str, int], ratio: float) -> dict[str, str]:
    """Rare names that are a typo or a plural (or singular) of a frequent one."""
    order = sorted(counts, key=lambda name: -counts[name])
    words = {name: _words(name) for name in order}
    found: dict[str, str] = {}
    for rare in reversed(order):
        for frequent in order:
            if counts[frequent] < ratio * counts[rare]:
                break
            if frequent not in found and _is_typo(words[rare], words[frequent]):
                found[rare] = frequent
                break
    return found


def _words(name: str) -> list[str]:
    return [part for part in _JOINED.sub(" ", folded(name)).split() if part]


def _is_typo(one: list[str], other: list[str]) -> bool:
    if len(one) != len(other):
        return False
    differing = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
    if not differing or any(a[0] != b[0] or not (a.isalpha() and b.isalpha()) for a, b in differing):
        return False  # a typo hardly ever is in the first letter: able, unable; import, export
    if all(_singular(a) == _singular(b) for a, b in differing):
        return True
    letters = min(sum(len(a) for a, _ in differing), sum(len(b) for _, b in differing))
    edits = sum(distance(a, b) for a, b in differing)
    return edits in _LETTERS_FOR and letters >= _LETTERS_FOR[edits]


def _singular(word: str) -> str:
    if len(word) <= 4 or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    return word[:-2] if word.endswith(("ses", "xes", "ches", "shes")) else word.removesuffix("s")


def distance(one: str, other: str, most: int = 2) -> int:
    """Insertions, deletions, substitutions and swaps of neighbours; `most` + 1 where there are more."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    last = list(range(len(other) + 1))
    for row, a in enumerate(one, 1):
        now = [row]
        for at, b in enumerate(other, 1):
            cost = min(last[at] + 1, now[-1] + 1, last[at - 1] + (a != b))
            if row > 1 and at > 1 and a == other[at - 2] and one[row - 2] == b:
                cost = min(cost, before[at - 2] + 1)
            now.append(cost)
        if min(now) > most:
            return most + 1
        before, last = last, now
    return min(last[-1], most + 1)


def irregular(names: Iterable[str]) -> list[str]:
    """Names with a capital or a sign that hardly any other name has."""
    every = sorted(names)
    if len(every) < _FEW_NAMES:
        return []
    traits: dict[str, list[str]] = {}
    for name in every:
        for trait in {"capital" if sign.isupper() else sign for sign in name if not sign.isalnum() or sign.isupper()}:
            traits.setdefault(trait, []).append(name)
    most = max(1, int(_ODD_SHARE * len(every)))
    usual = {trait for trait, having in traits.items() if len(having) > most}
    odd = {name for trait, having in traits.items() if trait not in usual for name in having}
    return sorted(odd) if len(odd) <= most + 2 else []
