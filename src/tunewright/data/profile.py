"""The data card: plain figures about the rows of each side, and findings that follow from them."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tunewright.core.example import Example
from tunewright.core.report import Finding
from tunewright.data.clean import prompt_text
from tunewright.data.split import SIDES
from tunewright.data.spool import MOST_LABELS, Spool

Sides = dict[str, np.ndarray]  # the rows of each side, by number

_BINS = 20
_RARE = 5  # a label with fewer training rows can hardly be learned
_FEW_TEST_ROWS = 50  # a share measured on fewer rows is known to 14 points at best
_WORDS = 200  # words of a text that count for diversity
_SAMPLED_ROWS = 20_000  # rows that count for diversity
_SHOWN_SYSTEMS = 5


def card(sides: Sides, spool: Spool) -> dict[str, Any]:
    """Labels, lengths, turns, system messages, diversity and sample rows, as plain numbers."""
    order = np.concatenate([sides[name] for name in SIDES])
    labels = _labels(sides, spool)
    train = [counts["train"] for counts in labels.values() if counts["train"]]
    answers, turns = spool.column("answer")[order], spool.column("turns")[order]
    return {
        "labels": labels,
        "entities": _entities(sides, spool),
        "imbalance": round(max(train) / min(train), 2) if train else None,
        "rare_labels": sorted(label for label, counts in labels.items() if counts["train"] < _RARE),
        "lengths": {
            "unit": "characters",
            "prompt": lengths(spool.column("prompt")[order]),
            "answer": lengths(answers[answers >= 0]),
        },
        "turns": _turns(turns[turns >= 0]),
        "system_messages": _systems(order[turns >= 0], spool),
        "diversity": _diversity(order, spool),
        "meta_columns": spool.columns_of(order),
        "samples": [_sample(spool[number]) for number in _spread(sides["train"], 3)],
    }


def lengths(values: Sequence[int] | np.ndarray) -> dict[str, Any] | None:
    """Min, median, mean, 95th percentile, max and a histogram of 20 equal bins; None for no values."""
    if not len(values):
        return None
    ordered = np.sort(np.asarray(values, np.int64))
    low, high = int(ordered[0]), int(ordered[-1])
    width = max(1, -(-(high - low + 1) // _BINS))
    return {
        "min": low,
        "median": _quantile(ordered, 0.5),
        "mean": round(int(ordered.sum()) / len(ordered), 1),
        "p95": _quantile(ordered, 0.95),
        "max": high,
        "histogram": {
            "edges": [low + width * number for number in range(_BINS + 1)],
            "counts": np.bincount((ordered - low) // width, minlength=_BINS).tolist(),
        },
    }


def findings(sides: Sides, shares: dict[str, float]) -> list[Finding]:
    """Sides that are empty or small. `shares`: as asked of the split."""
    found = []
    for name in ("validation", "test"):
        if shares[name] and not len(sides[name]):
            found.append(
                Finding(
                    name=f"no_{name}_rows",
                    severity="problem" if name == "test" else "warning",
                    message=f"No row fell to the {name} side.",
                    count=0,
                    remedy=f"Add rows, give a file with data.{name}, or try another data.split.seed.",
                )
            )
    if 0 < len(sides["test"]) < _FEW_TEST_ROWS:
        found.append(
            Finding(
                name="few_test_rows",
                severity="warning",
                message=f"The test side has {len(sides['test'])} rows; the verdict will have wide intervals.",
                count=len(sides["test"]),
                remedy="Add rows, or give a test file with data.test: some hundred rows settle most questions.",
            )
        )
    return found


def _labels(sides: Sides, spool: Spool) -> dict[str, dict[str, int]]:
    """Rows of each label on each side; empty unless every row has a label that is counted."""
    numbers = spool.column("label")
    counts: dict[str, list[int]] = {}
    for name in SIDES:
        own = numbers[sides[name]]
        if len(own) and not 0 <= own.min() <= own.max() < MOST_LABELS:
            return {}
        counts[name] = np.bincount(own, minlength=len(spool.labels)).tolist()
    every = sorted((label, number) for label, number in spool.labels.items() if any(c[number] for c in counts.values()))
    return {label: {name: counts[name][number] for name in SIDES} for label, number in every}


def _turns(turns: np.ndarray) -> dict[str, int] | None:
    ordered = np.sort(turns)
    if not len(ordered):
        return None
    return {"min": int(ordered[0]), "median": _quantile(ordered, 0.5), "max": int(ordered[-1])}


def _entities(sides: Sides, spool: Spool) -> dict[str, dict[str, int]]:
    """Entities of each type on each side."""
    numbers, kinds = spool.column("entities"), [Counter(kinds) for kinds in spool.entities]
    counts = {}
    for name in SIDES:
        times = np.bincount(numbers[sides[name]], minlength=len(kinds)).tolist()
        counts[name] = Counter({
            label: sum(many * of[label] for many, of in zip(times, kinds, strict=True) if many)
            for label in {label for of in kinds for label in of}
        })  # fmt: skip
    every = sorted(label for label in {label for of in kinds for label in of} if any(c[label] for c in counts.values()))
    return {label: {name: counts[name][label] for name in SIDES} for label in every}


def _systems(conversations: np.ndarray, spool: Spool) -> list[str | None]:
    """Distinct system messages, most frequent first; None stands for rows without. One entry: the same in all rows."""
    digests = spool.column("system")[conversations]
    found, first, counts = np.unique(digests, return_index=True, return_counts=True)
    if not found.any():
        return []
    most = np.lexsort((first, -counts))[:_SHOWN_SYSTEMS]
    return [spool[conversations[first[at]]].messages[0].content if found[at] else None for at in most]


def _diversity(order: np.ndarray, spool: Spool) -> dict[str, Any]:
    """How varied prompts are: distinct first words by rows, distinct runs of four words by all runs."""
    sampled = order[:: max(1, -(-len(order) // _SAMPLED_ROWS))]
    first: set[str] = set()
    runs = array("q")
    for words in _asked(np.sort(sampled), spool):
        first.update(words[:1])
        own = zip(words, words[1:], words[2:], words[3:], strict=False)
        runs.extend(map(hash, own))
    hashes = np.sort(np.frombuffer(runs, np.int64))
    return {
        "rows_looked_at": len(sampled),
        "distinct_first_words": len(first),
        "distinct_first_words_share": round(len(first) / len(sampled), 4) if len(sampled) else None,
        "distinct_4grams_share": round(_num_distinct(hashes) / len(hashes), 4) if len(hashes) else None,
    }


def _num_distinct(ordered: np.ndarray) -> int:
    return 1 + int(np.count_nonzero(ordered[1:] != ordered[:-1]))


def _asked(rows: np.ndarray, spool: Spool) -> Iterator[list[str]]:
    """The first words of what the user asked last."""
    for example in spool.examples(rows):
        asked = example.text or next((m.content for m in reversed(example.prompt) if m.role == "user"), "")
        yield asked[: _WORDS * 20].lower().split()[:_WORDS]


def _sample(example: Example) -> dict[str, str]:
    answer = example.answer if example.answer is not None else ""
    return {"id": example.id, "prompt": prompt_text(example).replace("\x1e", "\n\n")[:500], "answer": answer[:500]}


def _spread(rows: np.ndarray, count: int) -> list[int]:
    return [int(rows[number * len(rows) // count]) for number in range(min(count, len(rows)))]


def _quantile(ordered: np.ndarray, share: float) -> int:
    return int(ordered[min(len(ordered) - 1, int(share * len(ordered)))])
