"""What live traffic tells of two releases: a comparison that may be looked at after every outcome."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.core import storage
from tunewright.core.errors import DataError, NotThere, RecipeError
from tunewright.core.report import Finding, Report, Verdict

if TYPE_CHECKING:
    import numpy as np

    from tunewright.core.sequential import Watched

SHAPES = 'Each line is {"release": "002", "score": 1} or, with both asked the same, {"a": 0, "b": 1}; scores are 0 to 1'


def live(
    outcomes: str | Path,
    *,
    between: tuple[str, str] | None = None,
    effect: float = 0.05,
    level: float = 0.05,
    good: float | None = None,
    bad: float | None = None,
) -> Report:
    """Compare two releases by the outcomes of their traffic so far; call it again as often as you like.

    outcomes: JSON lines in the order in which they came, `{"release": name, "score": 0 to 1}` of two releases, or
    `{"a": score, "b": score}` of both on the same requests. between: the old and the new release; left out: in the
    order of their first outcome (b is new). effect: the difference that is looked for; any is valid, the true one is
    the quickest. good and bad: shares of right outcomes of which the new release must have the first, by Wald's test.

    The verdict is GO when the new release is better for sure (and good), NO-GO when it is worse (or bad), NEED MORE
    until then. Raises NotThere, DataError and RecipeError.
    """
    if not 0 < effect <= 1 or not 0 < level < 0.5:
        raise RecipeError(f"effect lies in (0, 1] and level in (0, 0.5), found {effect:g} and {level:g}.")
    if (good is None) != (bad is None) or (good is not None and bad is not None and not 0 < bad < good < 1):
        raise RecipeError(f"good and bad are given together with 0 < bad < good < 1, found {good} and {bad}.")
    path = Path(outcomes)
    rows = _rows(path)
    paired = "a" in rows[0]
    old, new = _names(path, rows, between, paired)
    scores, watched = _watched(rows, old, new, effect, level)
    settled = watched.decided(level)
    ahead = settled is not None and watched.estimate[settled - 1] > 0
    verdict: Verdict = "NEED MORE" if settled is None else "GO" if ahead else "NO-GO"
    difference, p = float(watched.estimate[-1]), float(watched.p[-1])
    low, high = max(-1.0, float(watched.low[-1])), min(1.0, float(watched.high[-1]))
    p_told = "p < 0.0001" if p < 0.0001 else f"p = {p:.4f}"
    what = f"{new} minus {old} is {difference:+.3f} ({low:+.3f} to {high:+.3f} at every look, always-valid {p_told})"
    reason = f"{what}: {_told(verdict, new, old, settled)}"
    numbers: dict[str, Any] = {
        "new": new, "old": old, "paired": paired, "outcomes": {name: len(found) for name, found in scores.items()},
        "means": {name: round(float(found.mean()), 6) for name, found in scores.items()},
        "difference": difference, "low": low, "high": high, "p": p, "settled_after": settled,
        "effect": effect, "level": level,
    }  # fmt: skip
    if good is not None and bad is not None:
        told, after = _share(path, scores[new], good, bad, level)
        numbers["share"] = {"good": good, "bad": bad, "told": told, "after": after}
        verdict = "NO-GO" if told == "bad" else "NEED MORE" if told == "open" and verdict == "GO" else verdict
        words = {
            "open": f"is not yet told to be {good:g} or {bad:g}",
            "good": f"is rather {good:g} than {bad:g}",
            "bad": f"is rather {bad:g} than {good:g}",
        }
        reason += f" The share of right outcomes of {new} {words[told]}."
    return Report(
        stage="live", run=path.name, verdict=verdict, reason=reason, numbers=numbers, findings=_drift(low, high)
    )


def _watched(
    rows: list[dict[str, Any]], old: str, new: str, effect: float, level: float
) -> tuple[dict[str, np.ndarray], Watched]:
    """The scores of the old and the new release, and the difference after each outcome."""
    import numpy as np

    from tunewright.core import sequential

    if "a" in rows[0]:
        scores = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in (old, new)}
        return scores, sequential.watch_mean(scores[new] - scores[old], effect=effect, level=level)
    kept = [row for row in rows if row["release"] in (old, new)]
    is_new = np.array([row["release"] == new for row in kept])
    of_all = np.array([row["score"] for row in kept], dtype=np.float64)
    watched = sequential.watch_arms(of_all, is_new, effect=effect, level=level)
    return {old: of_all[~is_new], new: of_all[is_new]}, watched


def _share(path: Path, scores: np.ndarray, good: float, bad: float, level: float) -> tuple[str, int]:
    from tunewright.core import sequential

    if ((scores != 0) & (scores != 1)).any():
        raise DataError(f"{path}: good and bad need scores that are 0 or 1. Leave them out, or score so.")
    return sequential.sprt(scores, good=good, bad=bad, level=level)


def _rows(path: Path) -> list[dict[str, Any]]:
    """The outcomes, all of one shape, their scores as numbers."""
    if not path.is_file():
        raise NotThere(f"There is no file {path}. Give the outcomes of live traffic as JSON lines.")
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(storage.read_lines(path), 1):
        if line.isspace():
            continue
        row = _row(line)
        if row is None:
            raise DataError(f"{path}:{number} is no outcome, found {line.strip()[:60]!r}. {SHAPES}.")
        if rows and ("a" in row) != ("a" in rows[0]):
            raise DataError(f"{path}:{number} is of another shape than line 1. Put pairs and single outcomes apart.")
        rows.append(row)
    if not rows:
        raise DataError(f"{path} holds no outcome yet. {SHAPES}.")
    return rows


def _row(line: str) -> dict[str, Any] | None:
    try:
        given = json.loads(line)
    except ValueError:
        return None
    if not isinstance(given, dict):
        return None
    keys = ("a", "b") if "a" in given or "b" in given else ("score",)
    scores = {key: given.get(key) for key in keys}
    if not all(isinstance(score, int | float) and 0 <= score <= 1 for score in scores.values()):
        return None
    if keys == ("score",):
        return {**scores, "release": str(given["release"])} if given.get("release") is not None else None
    return scores


def _names(path: Path, rows: list[dict[str, Any]], between: tuple[str, str] | None, paired: bool) -> tuple[str, str]:
    """The old and the new release."""
    found = ["a", "b"] if paired else list(dict.fromkeys(row["release"] for row in rows))
    if between is not None:
        if between[0] == between[1] or not {*between} <= {*found}:
            raise DataError(f"{path} has outcomes of {', '.join(found)}, found between {between[0]} and {between[1]}.")
        return between
    if len(found) != 2:
        raise DataError(f"{path} has outcomes of {', '.join(found)}. Name two of them: the old and the new release.")
    return found[0], found[1]


def _told(verdict: Verdict, new: str, old: str, settled: int | None) -> str:
    if settled is None:
        return "not settled yet. Looking again costs nothing."
    return f"{new} is {'better' if verdict == 'GO' else 'worse'} than {old}, settled after {settled:,} outcomes."


def _drift(low: float, high: float) -> list[Finding]:
    if low <= high:
        return []
    message = "Intervals of earlier and later outcomes exclude each other: the traffic or a release has changed."
    remedy = "Begin a new file of outcomes from the change on."
    return [Finding(name="changed traffic", severity="warning", message=message, remedy=remedy)]
