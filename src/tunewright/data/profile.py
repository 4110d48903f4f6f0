"""The data card: plain figures about the rows of each side, and findings that follow from them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tunewright.core.example import Example
from tunewright.core.report import Finding
from tunewright.data.clean import prompt_text
from tunewright.data.split import SIDES

_BINS = 20
_RARE = 5  # a label with fewer training rows can hardly be learned
_IMBALANCE = 10  # largest class / smallest class from which on it is worth a look
_FEW_TEST_ROWS = 50  # a share measured on fewer rows is known to 14 points at best
_LONG_TEXT = 60  # characters on average, from which on a column that is not used may matter
_WORDS = 200  # words of a text that count for diversity
_SAMPLED_ROWS = 20_000  # rows that count for diversity
_SHOWN_SYSTEMS = 5


def card(sides: dict[str, list[Example]]) -> dict[str, Any]:
    """Labels, lengths, turns, system messages, diversity and sample rows, as plain numbers."""
    examples = [example for name in SIDES for example in sides[name]]
    labels = _labels(sides, examples)
    train = [counts["train"] for counts in labels.values() if counts["train"]]
    return {
        "labels": labels,
        "entities": _entities(sides),
        "imbalance": round(max(train) / min(train), 2) if train else None,
        "rare_labels": sorted(label for label, counts in labels.items() if counts["train"] < _RARE),
        "lengths": {
            "unit": "characters",
            "prompt": lengths([len(prompt_text(example)) for example in examples]),
            "answer": lengths([len(example.answer) for example in examples if example.answer is not None]),
        },
        "turns": _turns(examples),
        "system_messages": _systems(examples),
        "diversity": _diversity(examples),
        "meta_columns": sorted({name for example in examples for name in example.meta}),
        "samples": [_sample(example) for example in _spread(sides["train"], 3)],
    }


def lengths(values: list[int]) -> dict[str, Any] | None:
    """Min, median, mean, 95th percentile, max and a histogram of 20 equal bins; None for no values."""
    if not values:
        return None
    ordered = sorted(values)
    low, high = ordered[0], ordered[-1]
    width = max(1, -(-(high - low + 1) // _BINS))
    counts = [0] * _BINS
    for value in ordered:
        counts[(value - low) // width] += 1
    return {
        "min": low,
        "median": _quantile(ordered, 0.5),
        "mean": round(sum(ordered) / len(ordered), 1),
        "p95": _quantile(ordered, 0.95),
        "max": high,
        "histogram": {"edges": [low + width * number for number in range(_BINS + 1)], "counts": counts},
    }


def findings(sides: dict[str, list[Example]], card: dict[str, Any], shares: dict[str, float]) -> list[Finding]:
    """What the figures say: empty or small sides; rare, lost and lopsided labels. `shares`: as asked of the split."""
    return [*_side_findings(sides, shares), *_label_findings(card), *_column_findings(sides["train"], card)]


def _side_findings(sides: dict[str, list[Example]], shares: dict[str, float]) -> list[Finding]:
    found = []
    for name in ("validation", "test"):
        if shares[name] and not sides[name]:
            found.append(
                Finding(
                    name=f"no_{name}_rows",
                    severity="problem" if name == "test" else "warning",
                    message=f"No row fell to the {name} side.",
                    rows=0,
                    remedy=f"Add rows, give a file with data.{name}, or try another data.split.seed.",
                )
            )
    if 0 < len(sides["test"]) < _FEW_TEST_ROWS:
        found.append(
            Finding(
                name="few_test_rows",
                severity="warning",
                message=f"The test side has {len(sides['test'])} rows; the verdict will have wide intervals.",
                rows=len(sides["test"]),
                remedy="Add rows, or give a test file with data.test: some hundred rows settle most questions.",
            )
        )
    return found


def _label_findings(card: dict[str, Any]) -> list[Finding]:
    labels: dict[str, dict[str, int]] = card["labels"]
    found = []
    lost = sorted(label for label, counts in labels.items() if not counts["train"])
    if lost:
        found.append(
            Finding(
                name="labels_not_in_training",
                severity="warning",
                message=f"{len(lost)} labels have no training row, so they cannot be learned.",
                rows=sum(sum(labels[label].values()) for label in lost),
                example=", ".join(lost[:5]),
                remedy="Add training rows for them, or check how they are written.",
            )
        )
    rare = [label for label in card["rare_labels"] if labels[label]["train"]]
    if rare:
        found.append(
            Finding(
                name="rare_labels",
                severity="warning",
                message=f"{len(rare)} labels have fewer than {_RARE} training rows.",
                rows=sum(labels[label]["train"] for label in rare),
                example=", ".join(rare[:5]),
                remedy="Add rows for them, or join them to a wider label.",
            )
        )
    if card["imbalance"] is not None and card["imbalance"] > _IMBALANCE:
        found.append(
            Finding(
                name="imbalance",
                severity="warning",
                message=f"The largest label has {card['imbalance']:g} times the training rows of the smallest.",
                example=max(labels, key=lambda label: labels[label]["train"]),
                remedy="Judge by macro F1 rather than accuracy, and add rows to the small labels.",
            )
        )
    num_rows = sum(sum(counts.values()) for counts in labels.values())
    if len(labels) > 20 and all(map(_is_number, labels)):
        return [
            Finding(
                name="numbers",
                message=f"The labels are {len(labels):,} different numbers: amounts rather than classes.",
                rows=num_rows,
                remedy="Learn them with the objective regress.",
            )
        ]
    if len(labels) > max(20, num_rows // 2):
        found.append(
            Finding(
                name="many_labels",
                severity="warning",
                message=f"{len(labels):,} different labels in {num_rows:,} rows: perhaps answers rather than classes.",
                rows=num_rows,
                example=next(iter(labels))[:80],
                remedy="If they are free answers, set data.format: completion and name the columns in data.fields.",
            )
        )
    return found


def _column_findings(examples: list[Example], card: dict[str, Any]) -> list[Finding]:
    """Columns that nothing is learned from; one of long texts may be what the answer rests on."""
    columns: list[str] = card["meta_columns"]
    if not columns:
        return []
    sizes: dict[str, list[int]] = {name: [] for name in columns}
    for example in examples:
        for name, value in example.meta.items():
            if isinstance(value, str):
                sizes[name].append(len(value))
    long = [name for name in columns if sizes[name] and sum(sizes[name]) / len(sizes[name]) > _LONG_TEXT]
    if not long:
        return []
    return [
        Finding(
            name="unused_columns",
            severity="warning",
            message=f"The model never sees these columns of long texts: {', '.join(long)}.",
            rows=max(len(sizes[name]) for name in long),
            example=f"{long[0]}: {next(str(one.meta[long[0]]) for one in examples if one.meta.get(long[0]))[:80]}",
            remedy="If the answer rests on one of them, make it part of the prompt, or name it in data.fields.",
        )
    ]


def _labels(sides: dict[str, list[Example]], examples: list[Example]) -> dict[str, dict[str, int]]:
    """Rows of each label on each side; empty unless every row has a label."""
    if not examples or any(example.label is None for example in examples):
        return {}
    counts = {name: Counter(example.label for example in sides[name]) for name in SIDES}
    every = sorted({str(example.label) for example in examples})
    return {label: {name: counts[name][label] for name in SIDES} for label in every}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _entities(sides: dict[str, list[Example]]) -> dict[str, dict[str, int]]:
    """Entities of each type on each side."""
    counts = {name: Counter(span.label for e in sides[name] for span in e.spans or ()) for name in SIDES}
    every = sorted({label for of_side in counts.values() for label in of_side})
    return {label: {name: counts[name][label] for name in SIDES} for label in every}


def _turns(examples: list[Example]) -> dict[str, int] | None:
    turns = sorted(
        sum(message.role == "assistant" for message in example.messages) for example in examples if example.messages
    )
    return {"min": turns[0], "median": _quantile(turns, 0.5), "max": turns[-1]} if turns else None


def _systems(examples: list[Example]) -> list[str | None]:
    """Distinct system messages, most frequent first; None stands for rows without. One entry: the same in all rows."""
    counts = Counter(
        example.messages[0].content if example.messages[0].role in ("system", "developer") else None
        for example in examples
        if example.messages
    )
    return [] if set(counts) <= {None} else [text for text, _ in counts.most_common(_SHOWN_SYSTEMS)]


def _diversity(examples: list[Example]) -> dict[str, Any]:
    """How varied prompts are: distinct first words by rows, distinct runs of four words by all runs."""
    step = max(1, -(-len(examples) // _SAMPLED_ROWS))
    sampled = examples[::step]
    first: set[str] = set()
    runs: set[tuple[str, ...]] = set()
    num_runs = 0
    for example in sampled:
        asked = example.text or next((m.content for m in reversed(example.prompt) if m.role == "user"), "")
        words = asked[: _WORDS * 20].lower().split()[:_WORDS]
        first.update(words[:1])
        own = list(zip(words, words[1:], words[2:], words[3:], strict=False))
        num_runs += len(own)
        runs.update(own)
    return {
        "rows_looked_at": len(sampled),
        "distinct_first_words": len(first),
        "distinct_first_words_share": round(len(first) / len(sampled), 4) if sampled else None,
        "distinct_4grams_share": round(len(runs) / num_runs, 4) if num_runs else None,
    }


def _sample(example: Example) -> dict[str, str]:
    answer = example.answer if example.answer is not None else ""
    return {"id": example.id, "prompt": prompt_text(example).replace("\x1e", "\n\n")[:500], "answer": answer[:500]}


def _spread(examples: list[Example], count: int) -> list[Example]:
    return [examples[number * len(examples) // count] for number in range(min(count, len(examples)))]


def _quantile(ordered: list[int], share: float) -> int:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
