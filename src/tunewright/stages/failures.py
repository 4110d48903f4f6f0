"""Error analysis: where the tuned model fails more than elsewhere, what failing rows have in common, and which test
labels may be wrong. Figures alone; no model is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tunewright.core.example import Example
from tunewright.core.report import Finding
from tunewright.core.statistics import wilson
from tunewright.data import associations, showing
from tunewright.stages.grading import Sheet

LEAST = 5  # rows of a group that is looked at
MOST_WORDS = 300  # words looked at, the commonest
MOST_TRAINING = 20_000  # rows that nearness and the proxy learn from, spread over the set
MOST_FAILING = 2_000  # rows put into clusters
APART = 0.9  # cosine distance (average linkage) from which on failing rows are no cluster
SHOWN = 3
LEVEL = 0.05
NEARNESS = (
    ("no near row", 0.0, 0.25),
    ("some likeness", 0.25, 0.5),
    ("near", 0.5, 0.8),
    ("nearly the same", 0.8, 1.01),
)


@dataclass(frozen=True)
class Answers:
    """What is analysed: test rows with the tuned model's answers, which of them fail, and others' grades if any.

    fails: by the deciding grader, not right; where grades are shares, below the lowest quarter's edge.
    """

    rows: Sequence[Example]
    texts: Sequence[str]
    scores: Sequence[float]
    fails: np.ndarray
    others: Mapping[str, Sequence[float | None]]
    confidences: Sequence[float | None]


def of_sheets(sheets: Mapping[str, Sheet]) -> Answers:
    """The rows that the deciding grader graded, by the contestants' sheets, cut to its field."""
    own = sheets["tuned"]
    scores = [grade.score for grade in own.grades]
    return Answers(
        rows=own.examples,
        texts=["(field missing)" if text is None else text for text in own.answers],
        scores=scores,
        fails=failing(scores, right_or_wrong=set(scores) <= {0.0, 1.0}),
        others={name: [one.scores.get(row) for row in own.rows] for name, one in sheets.items() if name != "tuned"},
        confidences=[own.desk.confidences.get(example.id) for example in own.examples],
    )


def findings(failed: Mapping[str, Any], run: str) -> list[Finding]:
    """What is worth a look: groups in which the model fails more often, and labels that may be wrong."""
    found = []
    for group in [one for one in failed["groups"] if one["weak"]][:3]:
        message = (
            f"It fails in {group['failing']} of {group['n']} rows with the {group['kind']} '{group['name']}' "
            f"({group['share']:.0%}), elsewhere in {group['elsewhere']:.0%} (p = {group['p']:.2g} after correction)."
        )
        remedy = f"Look at such rows: tunewright explain {run}. More training rows of that kind may help."
        found.append(Finding(name="weak spot", message=message, count=group["n"], remedy=remedy))
    labels = failed["labels"]
    if labels and labels["n"]:
        message = f"{labels['n']} test labels may be wrong: the model and a cheap classifier agree on another one."
        remedy = f"Look at them: tunewright explain {run}. Correct the test file, then evaluate again."
        shown = labels["rows"][0]["id"]
        found.append(Finding(name="doubtful labels", message=message, count=labels["n"], example=shown, remedy=remedy))
    return found


def failing(scores: Sequence[float], *, right_or_wrong: bool) -> np.ndarray:
    """Which rows fail: those that are not right; where grades are shares, the lowest quarter, whole ones never."""
    given = np.asarray(scores, dtype=float)
    edge = 1.0 if right_or_wrong else min(1.0, float(np.quantile(given, 0.25)))
    return given < 1.0 if right_or_wrong else (given <= edge) & (given < 1.0)


def analyse(answers: Answers, training: Sequence[Example], slices: Sequence[str] | None) -> dict[str, Any]:
    """Plain values for the report: `groups` with their share of failures (p after Holm's correction over all of them),
    `clusters` of failing rows, `hardest` rows, `labels` that are likely wrong in the test set.
    """
    asked = [_asked(example) for example in answers.rows]
    spread = _spread(training)
    learned = [_asked(example) for example in spread]
    features, near = _nearest(asked, learned)
    return {
        "rows": len(asked),
        "failing": int(answers.fails.sum()),
        "groups": _groups(answers, asked, near, slices),
        "clusters": _clusters(answers, asked, features),
        "hardest": _hardest(answers),
        "labels": _doubtful_labels(answers, asked, spread, learned),
    }


def _asked(example: Example) -> str:
    """What is said before the answer, without system messages."""
    return "\n".join(said.content for said in example.prompt if said.role not in ("system", "developer"))


# --- groups ---


def _groups(
    answers: Answers, asked: Sequence[str], near: np.ndarray | None, slices: Sequence[str] | None
) -> list[dict[str, Any]]:
    """Every group of at least LEAST rows against all others, worst first within its kind."""
    found: list[tuple[str, str, np.ndarray]] = []
    for kind, name, members in _named(answers, asked, near, slices):
        if LEAST <= members.sum() <= len(asked) - LEAST:
            found.append((kind, name, members))
    fails = answers.fails
    tables = [
        associations.Table(
            int((fails & members).sum()),
            int((~fails & members).sum()),
            int((fails & ~members).sum()),
            int((~fails & ~members).sum()),
        )
        for _, _, members in found
    ]
    told = []
    for (kind, name, members), table, odds in zip(found, tables, associations.odds(tables), strict=True):
        share = wilson(table.having, int(members.sum()))
        weak = odds.p <= LEVEL and odds.ratio > 1
        if kind == "word" and not weak:
            continue
        told.append(
            {
                "kind": kind,
                "name": name,
                "n": int(members.sum()),
                "failing": table.having,
                "share": round(share.value, 4),
                "low": round(share.low, 4),
                "high": round(share.high, 4),
                "elsewhere": round(table.other_share, 4),
                "p": float(f"{odds.p:.3g}"),
                "weak": bool(weak),
            }
        )
    return told


def _named(
    answers: Answers, asked: Sequence[str], near: np.ndarray | None, slices: Sequence[str] | None
) -> Iterator[tuple[str, str, np.ndarray]]:
    from tunewright.data.languages import language
    from tunewright.data.words import words

    lengths = np.array([len(text) for text in asked])
    edges = np.unique(np.quantile(lengths, [0, 0.25, 0.5, 0.75, 1]).astype(int))
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        last = high == edges[-1]
        yield "length", f"{low} to {high} characters", (lengths >= low) & (lengths <= high if last else lengths < high)
    spoken = [found[0] if (found := language(text)) else None for text in asked]
    for name in sorted({one for one in spoken if one}):
        yield "language", name, np.array([one == name for one in spoken])
    if near is not None:
        for name, lowest, highest in NEARNESS:
            yield "nearest training row", name, (near >= lowest) & (near < highest)
    for value in sorted(set(slices or [])):
        yield "slice", value, np.array([one == value for one in slices or []])
    for label in sorted({one.label for one in answers.rows if one.label is not None}):
        yield "label", label, np.array([one.label == label for one in answers.rows])
    sets = [set(words(text)) for text in asked]
    counts = Counter(word for found in sets for word in found if len(word) > 2 and not word.isdigit())
    for word in sorted(counts, key=lambda word: (-counts[word], word))[:MOST_WORDS]:
        yield "word", word, np.array([word in found for found in sets])


def _spread(training: Sequence[Example]) -> list[Example]:
    """At most MOST_TRAINING rows that ask something, spread over the whole set."""
    kept = min(MOST_TRAINING, len(training))
    found = (training[place * len(training) // kept] for place in range(kept))
    return [example for example in found if example.prompt]


def _nearest(asked: Sequence[str], learned: Sequence[str]) -> tuple[Any, np.ndarray | None]:
    """Features of what is asked, and the cosine similarity of each to the training row nearest to it."""
    from tunewright.data.features import tfidf

    features = tfidf([*asked, *learned])
    mine, theirs = features[: len(asked)], features[len(asked) :]
    if not learned:
        return mine, None
    best = np.zeros(len(asked))
    across = theirs.T.tocsr()
    for start in range(0, len(asked), 256):
        block = mine[start : start + 256] @ across
        best[start : start + 256] = np.asarray(block.max(axis=1).todense()).ravel()
    return mine, best


# --- clusters ---


def _clusters(answers: Answers, asked: Sequence[str], features: Any) -> list[dict[str, Any]]:
    """Failing rows that are alike, by average linkage of cosine distances; largest first, with words that tell them
    from the rows that do not fail.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    from tunewright.data.words import words

    rows = np.flatnonzero(answers.fails)[:MOST_FAILING]
    if len(rows) < SHOWN:
        return []
    likeness = np.asarray((features[rows] @ features[rows].T).todense(), dtype=float)
    distance = np.clip(1 - likeness, 0, None)
    np.fill_diagonal(distance, 0)
    of_row = fcluster(linkage(squareform(distance, checks=False), "average"), APART, "distance")
    passing = Counter(word for row in np.flatnonzero(~answers.fails).tolist() for word in set(words(asked[row])))
    num_passing = max(1, int((~answers.fails).sum()))
    found = []
    for cluster, size in Counter(of_row.tolist()).most_common():
        if size < SHOWN:
            break
        members = rows[of_row == cluster]
        inside = Counter(word for row in members for word in set(words(asked[row])) if len(word) > 2)
        telling = sorted(
            inside,
            key=lambda word: ((passing[word] + 0.5) / (num_passing + 1) - (inside[word] + 0.5) / (size + 1), word),
        )
        closest = members[np.argsort(distance[of_row == cluster][:, of_row == cluster].mean(axis=1), kind="stable")]
        found.append(
            {
                "words": telling[:4],
                "n": int(size),
                "share": round(size / len(rows), 4),
                "examples": [_shown(answers, int(row)) for row in closest[:SHOWN]],
            }
        )
    return found[:12]


def _shown(answers: Answers, row: int) -> dict[str, Any]:
    example = answers.rows[row]
    return {
        "id": example.id,
        "asked": showing.short(_asked(example), 200),
        "expected": showing.short(example.answer or "", 120),
        "answered": showing.short(answers.texts[row], 120),
    }


# --- single rows ---


def _hardest(answers: Answers) -> list[dict[str, Any]]:
    """Failing rows: first those that no contestant has right and of which the model is surest."""

    def order(row: int) -> tuple[float, float, float]:
        best = max([scores[row] or 0.0 for scores in answers.others.values()], default=0.0)
        return best, answers.scores[row], -(answers.confidences[row] or 0.0)

    rows = sorted(np.flatnonzero(answers.fails).tolist(), key=order)
    return [_shown(answers, row) | {"confidence": answers.confidences[row]} for row in rows[:10]]


def _doubtful_labels(
    answers: Answers, asked: Sequence[str], spread: Sequence[Example], learned: Sequence[str]
) -> dict[str, Any] | None:
    """Rows whose label is likely wrong: the tuned model and a proxy that learned from the training rows agree on
    another label, which the proxy holds for ten times as likely. Not of labels that the model mostly misses: there its
    answers say nothing about the test. None where answers are no labels.
    """
    labels = [example.label for example in spread]
    known = {label for label in labels if label is not None}
    if len(known) < 2 or None in labels or not all(example.label in known for example in answers.rows):
        return None
    from tunewright.data.proxy import Proxy

    proxy = Proxy().learn(learned, [label for label in labels if label is not None])
    shares = proxy.shares(asked)
    place = {label: number for number, label in enumerate(proxy.labels)}
    given = [str(example.label) for example in answers.rows]
    rows, right = Counter(given), Counter(label for label, fails in zip(given, answers.fails, strict=True) if not fails)
    found = []
    for row in np.flatnonzero(answers.fails).tolist():
        if 2 * right[given[row]] < rows[given[row]]:
            continue
        own, best = place[str(answers.rows[row].label)], int(shares[row].argmax())
        if answers.texts[row].strip() == proxy.labels[best] and shares[row, best] >= 10 * shares[row, own]:
            found.append((shares[row, best] / max(shares[row, own], 1e-6), row))
    found.sort(reverse=True)
    return {"n": len(found), "rows": [_shown(answers, row) for _, row in found[:20]]}
