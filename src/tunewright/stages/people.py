"""What blind ratings of pairs say: who is preferred and how surely, how strong each contestant is, how far raters can
be trusted; and the bars that a recipe sets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunewright.core import statistics
from tunewright.core.agreement import Agreement, krippendorff
from tunewright.core.judging import Bar, People
from tunewright.core.preference import Preference, Preferences, Rated, preferences
from tunewright.core.recipe import Recipe
from tunewright.core.report import Finding
from tunewright.core.run import Run
from tunewright.core.statistics import MOST_ROWS
from tunewright.stages import rating_plan, ratings
from tunewright.stages.lineup import TUNED
from tunewright.stages.rating_plan import Pair, Pool
from tunewright.stages.ratings import SIDES, SKIP, preferred

LEVEL = 0.05
POWER = 0.8
Row = dict[str, Any]
Numbers = dict[str, Any]


@dataclass(frozen=True)
class Ballot:
    """The ratings that count, by pair, and what was left out. fresh: first ratings of an item; others are repeats."""

    pools: list[Pool]
    fresh: list[list[Row]]
    repeats: list[Row]
    skipped: int
    stale: int

    @property
    def all_fresh(self) -> list[Row]:
        """Of all pairs."""
        return [row for rows in self.fresh for row in rows]


def numbers(recipe: Recipe, run: Run, grader: str | None) -> Numbers | None:
    """Figures of the ratings of a run, as plain values; None where nothing was rated. grader: the deciding one."""
    rows = ratings.read(run, "pair")
    if not rows:
        return None
    ballot = _ballot(rows, rating_plan.answers_of(run), grader)
    if not ballot.pools:
        return {"pairs": [], "ratings": 0, "skipped": ballot.skipped, "stale": ballot.stale}
    found = _preferences(ballot)
    holm = statistics.holm([one.p if one else 1.0 for one in found.pairs])
    names = list(dict.fromkeys(name for pool in ballot.pools for name in pool.pair))
    return {
        "pairs": [
            _pair(pool, rows, one, p)
            for pool, rows, one, p in zip(ballot.pools, ballot.fresh, found.pairs, holm, strict=True)
        ],
        "criteria": _criteria(ballot),
        "strengths": found.strengths and {name: one.plain(6) for name, one in zip(names, found.strengths, strict=True)},
        "ratings": len(ballot.all_fresh),
        "skipped": ballot.skipped,
        "stale": ballot.stale,
        "alpha": _agreement(_alpha(ballot.all_fresh)),
        "self_agreement": _self_agreement(ballot),
        "side_bias": _side_bias(ballot.all_fresh),
        "raters": [_rater(name, ballot) for name in sorted({row["rater"] for row in ballot.all_fresh})],
    }


def bars(options: People, found: Numbers | None, sizes: Mapping[str, int]) -> list[Bar]:
    """What people must say, and whether they do. sizes: test rows that could be rated, by contestant."""
    by_name = {one["second"]: one for one in (found or {}).get("pairs", []) if one["first"] == TUNED}
    made = [_bar(options, name, by_name.get(name), sizes.get(name, 0)) for name in options.beat]
    if options.least_alpha is not None:
        made.append(_alpha_bar(options.least_alpha, (found or {}).get("alpha")))
    return made


def findings(found: Numbers | None) -> list[Finding]:
    """What a reader of the figures should know."""
    made: list[Finding] = []
    if found is None:
        return made
    if found["stale"]:
        message = f"{found['stale']} ratings are of answers that are no longer given, and do not count."
        made.append(Finding(name="stale ratings", severity="warning", message=message, count=found["stale"]))
    bias = found.get("side_bias")
    if bias and bias["p"] <= LEVEL:
        message = (
            f"The left answer was preferred in {bias['left']} of {bias['n']} decided ratings (p = {bias['p']:.4f})."
        )
        remedy = "Sides are dealt by chance, so no contestant gains by it; ask raters to read both answers."
        made.append(Finding(name="side bias", severity="warning", message=message, remedy=remedy))
    again = found.get("self_agreement")
    if again and again["high"] < 0.7:
        message = f"Raters repeated their own rating in only {again['agreed']} of {again['n']} cases."
        remedy = "The answers are hard to tell apart, or raters are in a hurry: their ratings say little."
        made.append(Finding(name="low self-agreement", severity="warning", message=message, remedy=remedy))
    return made


# --- which ratings count ---


def _ballot(rows: Sequence[Row], table: Sequence[Row], grader: str | None) -> Ballot:
    names = {name for row in table for name in row["answers"]}
    rated = {tuple(sorted((row["left"], row["right"]), key=lambda name: (name != TUNED, name))): None for row in rows}
    pools = [rating_plan.pool(table, pair, grader) for pair in _known(rated, names)]
    home = {item.key: (number, item) for number, pool in enumerate(pools) for item in pool.items}
    fresh: list[list[Row]] = [[] for _ in pools]
    repeats, skipped, stale = [], 0, 0
    for row in rows:
        if row["key"] not in home:
            stale += 1
        elif row["choice"] == SKIP:
            skipped += 1
        elif row["repeat"]:
            repeats.append(row)
        else:
            fresh[home[row["key"]][0]].append(row)
    kept = [number for number, given in enumerate(fresh) if given]
    return Ballot([pools[one] for one in kept], [fresh[one] for one in kept], repeats, skipped, stale)


def _known(pairs: Mapping[tuple[str, ...], None], names: set[str]) -> list[Pair]:
    return [(pair[0], pair[1]) for pair in pairs if set(pair) <= names]


def _preferences(ballot: Ballot) -> Preferences:
    names = list(dict.fromkeys(name for pool in ballot.pools for name in pool.pair))
    evenly = all(row["order"] == "random" for row in ballot.all_fresh)
    rated = []
    for number, (pool, rows) in enumerate(zip(ballot.pools, ballot.fresh, strict=True)):
        strata = {item.key: 0 if evenly else item.stratum for item in pool.items}
        rated += [Rated(number, row["id"], row["rater"], _score(row, pool.pair), strata[row["key"]]) for row in rows]
    sizes = [[sum(pool.sizes), pool.same] if evenly else [*pool.sizes, pool.same] for pool in ballot.pools]
    pairs = [(names.index(pool.pair[0]), names.index(pool.pair[1])) for pool in ballot.pools]
    return preferences(rated, pairs, sizes, drawn_evenly=evenly)


def _score(row: Row, pair: Pair) -> float:
    """1 for the pair's first, 0 for its second, 1/2 for a tie."""
    said = preferred(row)
    return 1.0 if said == pair[0] else 0.0 if said == pair[1] else 0.5


# --- figures ---


def _pair(pool: Pool, rows: Sequence[Row], found: Preference | None, p_holm: float) -> Numbers:
    said = Counter(preferred(row) for row in rows)
    first, second = pool.pair
    made: Numbers = {
        "first": first,
        "second": second,
        "share": found.share.plain(6) if found else None,
        "p": float(f"{found.p:.4g}") if found else None,
        "p_holm": float(f"{p_holm:.4g}") if found else None,
        "test": found.test if found else None,
        "wins": found.wins if found else None,
        "tied": found.ties if found else None,
        "losses": found.losses if found else None,
        "error": round(found.error, 6) if found else None,
        "rated_rows": len({row["key"] for row in rows}),
        "different_rows": len(pool.items),
        "same_rows": pool.same,
        "ratings": len(rows),
        "first_better": said[first],
        "second_better": said[second],
    }
    return made | {kind.replace(" ", "_"): sum(row["choice"] == kind for row in rows) for kind in ratings.TIES}


def _criteria(ballot: Ballot) -> list[Numbers]:
    """For each criterion of the rubric and each pair: how often the first was better, the second, and neither."""
    made = []
    for pool, rows in zip(ballot.pools, ballot.fresh, strict=True):
        for name in dict.fromkeys(name for row in rows for name in row["criteria"]):
            given = [(row, row["criteria"][name]) for row in rows if name in row["criteria"]]
            said = Counter(row[value] if value in SIDES else "same" for row, value in given)
            first, second = pool.pair
            counts = {"first_better": said[first], "second_better": said[second], "same": said["same"]}
            made.append({"criterion": name, "first": first, "second": second, **counts})
    return made


def _alpha(rows: Sequence[Row]) -> Agreement:
    """Between raters, over items that several rated; the first, a tie and the second are three ranks."""
    units: dict[str, list[float]] = {}
    for row in rows:
        units.setdefault(row["key"], []).append(_score(row, _ordered(row)))
    return krippendorff(list(units.values()), level="ordinal")


def _ordered(row: Row) -> Pair:
    first, second = sorted((row["left"], row["right"]))
    return first, second


def _self_agreement(ballot: Ballot) -> Numbers | None:
    first = {(row["rater"], row["key"]): preferred(row) for row in ballot.all_fresh}
    same = [
        preferred(row) == first[row["rater"], row["key"]]
        for row in ballot.repeats
        if (row["rater"], row["key"]) in first
    ]
    if not same:
        return None
    return {"agreed": sum(same), "n": len(same)} | statistics.clopper_pearson(sum(same), len(same)).plain(6)


def _side_bias(rows: Sequence[Row]) -> Numbers | None:
    """How often the left answer won, where one did."""
    left, right = (sum(row["choice"] == side for row in rows) for side in SIDES)
    if not left + right:
        return None
    share = statistics.clopper_pearson(left, left + right).plain(6)
    return {"left": left, "n": left + right, **share, "p": statistics.mcnemar(left, right)}


def _rater(name: str, ballot: Ballot) -> Numbers:
    own = [row for row in ballot.all_fresh if row["rater"] == name]
    alone = Ballot([], [own], [row for row in ballot.repeats if row["rater"] == name], 0, 0)
    return {
        "rater": name,
        "ratings": len(own),
        "self_agreement": _self_agreement(alone),
        "side_bias": _side_bias(own),
        "seconds": round(sum(row["seconds"] for row in own), 1),
        "comments": sum(bool(row["comment"]) for row in own),
    }


def _agreement(one: Agreement) -> Numbers | None:
    if one.value is None:
        return None
    low, high = (None if edge is None else round(edge, 6) for edge in (one.low, one.high))
    return {"value": round(one.value, 6), "low": low, "high": high, "items": one.n}


# --- bars ---


def _bar(options: People, name: str, found: Numbers | None, rows: int) -> Bar:
    """Preferred to one contestant: enough rated rows, the interval of the share, and the test (Holm over pairs)."""
    label = f"people prefer tuned to {name}"
    rated = found["rated_rows"] if found else 0
    left = max(rows - rated, 0)
    least = min(options.least_ratings, max(rows, 1))  # rows with the same answers are known without being rated
    if found is None or found["share"] is None or rated < least:
        return _open(label, f"{rated} of {least} rows rated", max(least - rated, 1), left)
    share = found["share"]
    words = f"{share['value']:.3f}, {share['low']:.3f} to {share['high']:.3f}, {rated} rated rows"
    sure = found["p_holm"] <= LEVEL
    if share["high"] < options.at_least or (share["value"] < 0.5 and sure):
        return Bar(label, "broken", words)
    if share["low"] >= options.at_least and (sure or options.at_least < 0.5):
        return Bar(label, "holds", words)
    above = share["value"] - options.at_least
    total = statistics.rows_for_error(above, found["error"], rated, level=LEVEL, power=POWER)
    return _open(label, words, MOST_ROWS if total is None else min(MOST_ROWS, max(total - rated, 1)), left)


def _open(label: str, words: str, missing: int, left: int) -> Bar:
    """More ratings where that many rows are left to rate, else more test rows."""
    if missing <= left:
        return Bar(label, "open", words, missing, "ratings")
    more = "" if left == 0 else f"; only {left} more have different answers"
    return Bar(label, "open", words + more, missing if missing >= MOST_ROWS else missing - left, "test rows")


def _alpha_bar(least: float, found: Numbers | None) -> Bar:
    label = "raters agree"
    if found is None:
        return Bar(label, "open", "Krippendorff's alpha needs two raters of the same rows", 1, "ratings")
    interval = "" if found["low"] is None else f", {found['low']:.3f} to {found['high']:.3f}"
    words = (
        f"Krippendorff's alpha {found['value']:.3f}{interval}, {found['items']} items; at least {least:.3f} asked for"
    )
    if found["value"] >= least:
        return Bar(label, "holds", words)
    return Bar(label, "open", f"{words}: let raters agree first on what makes an answer good")
