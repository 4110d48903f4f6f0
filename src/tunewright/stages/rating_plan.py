"""What people are shown to rate, in which order and on which side: a function of the answers and the rater's name.

Two kinds of turns: a pair (two contestants' answers to a test row), and a case of the gate (one answer).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from tunewright.core import storage
from tunewright.core.errors import DataError, NotThere, unknown
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run
from tunewright.stages.lineup import TUNED

Kind = Literal["pair", "case"]
Order = Literal["random", "discordant"]
Pair = tuple[str, str]
DISCORDANT, ALIKE = 0, 1  # strata of rows whose answers differ: graded differently by the deciding grader, or not
STRATA = 2
ROWS = 100  # rated rows of each pair, when nothing else is asked for
BETWEEN_REPEATS = 9  # new items: every tenth turn shows an earlier one again
_LEAST_APART = 4  # turns between an item and its repeat
_FURTHEST = 30


@dataclass(frozen=True)
class Item:
    """What is rated: a question, and one answer of each contestant of the pair (of a case: the tuned model's alone).

    key: tells the question and these answers apart, so that ratings of answers that are no longer given do not count.
    """

    key: str
    id: str
    prompt: str
    answers: dict[str, str]
    stratum: int = DISCORDANT
    expected: str | None = None

    @property
    def pair(self) -> Pair:
        """The contestants, the first one first."""
        first, second = self.answers
        return first, second


@dataclass(frozen=True)
class Turn:
    """One thing to rate. left: whose answer is there. repeat: it was shown before, with sides the other way."""

    item: Item
    left: str
    right: str | None
    repeat: bool = False


@dataclass(frozen=True)
class Pool:
    """A pair's test rows: those that differ, in the order in which they are rated, and how many of each stratum.

    same: rows to which both say the same, which are ties without being shown.
    """

    pair: Pair
    items: list[Item]
    sizes: tuple[int, ...]
    same: int


def answers_of(run: Run) -> list[dict[str, Any]]:
    """The rows of evaluate/answers.jsonl. Raises NotThere before evaluate, DataError where there are no answers."""
    path = run.path("evaluate", "answers.jsonl")
    if not path.exists():
        raise NotThere(
            f"Run '{run.name}' has no answers to rate yet. Answer the test rows first: tunewright evaluate {run.folder}"
        )
    table = list(storage.read_jsonl(path))
    if table and "answers" not in table[0]:
        raise DataError(
            f"Run '{run.name}' teaches a model that writes no answers, so there is nothing that people could rate."
        )
    return table


def pairs_of(recipe: Recipe, table: Sequence[dict[str, Any]], asked: Sequence[str] = ()) -> list[Pair]:
    """The pairs that are rated: those asked for (`tuned:base`), else tuned against whom people must prefer it to, else
    against everybody. Raises DataError.
    """
    names = list(table[0]["answers"]) if table else []
    others = [name for name in names if name != TUNED]
    people = recipe.evaluate.people
    if not asked:
        found = [(TUNED, name) for name in (people.beat if people and people.beat else others)]
        if not found:
            raise DataError("Only the tuned model has answers, so there is no pair. Name others in evaluate.against.")
    else:
        found = [_pair(text, names) for text in asked]
    for name in {name for pair in found for name in pair}:
        if name not in names:
            raise DataError(f"{unknown('contestant with answers', name, names)}")
    return list(dict.fromkeys(found))


def _pair(text: str, names: Sequence[str]) -> Pair:
    first, _, second = (part.strip() for part in text.partition(":"))
    if not first or not second or first == second:
        raise DataError(f"A pair is two contestants with a colon between, found '{text}'. For example: tuned:base")
    return (second, first) if second == TUNED else (first, second)


def pool(table: Sequence[dict[str, Any]], pair: Pair, grader: str | None, order: Order = "random") -> Pool:
    """The rows of a pair. Any beginning of the items is drawn at random: from all rows that differ, or (`discordant`)
    from each stratum, three of rows graded differently for one of the others. Rows that ask the same and were answered
    the same are one: whoever rated one of them has rated them all.

    grader: the deciding one.
    """
    first, second = pair
    strata: tuple[list[Item], ...] = tuple([] for _ in range(STRATA))
    seen: set[str] = set()
    for row in table:
        texts = {name: str(row["answers"].get(name, "")) for name in pair}
        key = storage.digest([row["prompt"], texts])
        if key not in seen and texts[first].strip() != texts[second].strip():
            grades = [row.get("grades", {}).get(name, {}).get(grader) for name in pair]
            stratum = ALIKE if None in grades or grades[0] == grades[1] else DISCORDANT
            strata[stratum].append(Item(key, str(row["id"]), row["prompt"], texts, stratum))
        seen.add(key)
    sizes = tuple(len(items) for items in strata)
    for items in strata:
        items.sort(key=lambda item: item.key)
        Random(f"{first}:{second}").shuffle(items)
    if order == "discordant":
        mixed = list(_interleaved(*strata))
    else:
        mixed = [item for items in strata for item in items]
        mixed.sort(key=lambda item: item.key)
        Random(f"{second}:{first}").shuffle(mixed)
    return Pool(pair, mixed, sizes, len(seen) - sum(sizes))


def _interleaved(many: Sequence[Item], few: Sequence[Item]) -> Iterator[Item]:
    """Three of the first, then one of the second, until both are used up."""
    first, second = iter(many), iter(few)
    for place in range(2 * (len(many) + len(few)) * 4):
        item = next(second if place % 4 == 3 else first, None)
        if item is not None:
            yield item


def pair_turns(pools: Iterable[Pool], *, rater: str, rows: int = ROWS) -> list[Turn]:
    """What one rater is shown: the pairs in turn, the same rows for every rater, sides by chance, and every tenth turn
    an earlier item with its sides the other way round.
    """
    chosen = [each.items[:rows] for each in pools]
    longest = max((len(items) for items in chosen), default=0)
    fresh = [items[place] for place in range(longest) for items in chosen if place < len(items)]
    draw = Random(f"sides:{rater}")
    turns: list[Turn] = []
    shown: list[Turn] = []
    again: set[str] = set()
    for number, item in enumerate(fresh, 1):
        left, right = item.pair if draw.random() < 0.5 else item.pair[::-1]
        shown.append(Turn(item, left, right))
        turns.append(shown[-1])
        ends = number == len(fresh) and number % BETWEEN_REPEATS
        earlier = [one for one in shown[-_FURTHEST : 1 - _LEAST_APART] if one.item.key not in again]
        if (number % BETWEEN_REPEATS == 0 or ends) and earlier:
            before = draw.choice(earlier)
            assert before.right is not None
            again.add(before.item.key)
            turns.append(Turn(before.item, before.right, before.left, repeat=True))
    return turns


def cases_of(run: Run) -> list[Item]:
    """The gate's cases with the tuned model's answers. Raises NotThere before evaluate."""
    path = run.path("evaluate", "cases.jsonl")
    if not path.exists():
        raise NotThere(
            f"Run '{run.name}' has no answered cases. Name a file of them in evaluate.gate.cases, then: tunewright "
            f"evaluate {run.folder}"
        )
    return [
        Item(case_key(row), str(row["id"]), row["prompt"], {TUNED: row["answer"]}, expected=row["expected"])
        for row in storage.read_jsonl(path)
    ]


def case_key(row: dict[str, Any]) -> str:
    """What tells a case and its answer apart."""
    return storage.digest([row["prompt"], row["answer"]])


def case_turns(items: Sequence[Item], *, rater: str) -> list[Turn]:
    """The cases in an order of the rater's own."""
    mixed = list(items)
    Random(f"cases:{rater}").shuffle(mixed)
    return [Turn(item, TUNED, None) for item in mixed]
