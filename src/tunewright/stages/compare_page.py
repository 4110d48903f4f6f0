"""The page of a comparison: one HTML file, in the style of the report page."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import tunewright
from tunewright.core.report import Report
from tunewright.stages import contest, page, plotting, wording

TRAINING_FORMS = {"training_seconds": wording.took, "peak_memory_bytes": wording.size, "tokens": wording.many}


def render(report: Report) -> str:
    """The page of a comparison's report as one self-contained HTML text."""
    numbers, figures, deciding = report.numbers, report.contestants, report.numbers["grader"]
    standing = numbers["winners"]
    ordered = [deciding, *(label for label in standing if label != deciding)]
    panels = [plotting.panel(label, figures, mine=_best(standing[label])) for label in ordered]
    costs = contest.cost_cells(figures, 0)
    html = page.template("compare.html").render(
        names=list(figures),
        deciding=deciding,
        answer=answer(report),
        rows=numbers["rows"],
        panels=[one for one in panels if one is not None],
        comparisons=numbers["comparisons"],
        level=numbers["level"],
        guards=numbers["guards"],
        recipes=[
            (one["key"], [wording.option(value) for value in one["values"].values()]) for one in numbers["recipes"]
        ],
        training=training_cells(numbers),
        answering=[(head, list(cells.values())) for head, cells in costs.items()],
        samples=[_sample(row) for row in numbers["samples"]],
        told=report.findings,
        version=tunewright.__version__,
        written=time.strftime("%d %B %Y, %H:%M").lstrip("0"),
    )
    return wording.clean(html)


def answer(report: Report) -> str:
    """Who is better by the deciding grader, and whom their own evaluations turned down."""
    grader = report.numbers["grader"]
    decided = [one for one in report.numbers["comparisons"] if one["grader"] == grader]
    won = []
    for one in decided:
        if one["p_holm"] <= report.numbers["level"] and one["difference"]:
            names = (one["first"], one["second"]) if one["difference"] > 0 else (one["second"], one["first"])
            won.append(
                f"{names[0]} beats {names[1]} by {abs(one['difference']):.3f} ({wording.probability(one['p_holm'])})"
            )
    rows = f"{wording.count(report.numbers['rows']['common'])} test rows"
    down = [one["name"] for one in report.numbers["runs"] if one["verdict"] == "NO-GO"]
    own = f" By its own evaluation NO-GO: {', '.join(down)}." if down else ""
    if not won:
        return f"By {grader}, on {rows}, none can be told from another: the differences may be chance.{own}"
    rest = "" if len(won) == len(decided) else "; the other pairs may differ by chance"
    return f"By {grader}, on {rows}, {', and '.join(won)}{rest}.{own}"


def training_cells(numbers: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """The verdict of each run and what its training took, as words and a cell for each run."""
    verdicts = [one["verdict"] or "-" for one in numbers["runs"]]
    return [("verdict of its own run", verdicts)] + [
        (one["words"], [_form(one["key"], value) for value in one["values"].values()]) for one in numbers["training"]
    ]


def _best(standing: Mapping[str, Any]) -> list[str]:
    """Who is drawn in colour: those whom nobody beats, where anybody is beaten at all."""
    return list(standing["unbeaten"]) if any(standing["beats"].values()) else []


def _form(key: str, value: Any) -> str:
    return "-" if value is None else TRAINING_FORMS.get(key, wording.count)(value)


def _sample(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "prompt": wording.shown(row["prompt"]),
        "expected": wording.shown(row["expected"]),
        "answers": [
            {"name": name, "said": wording.shown(text), "score": row["scores"][name],
             "mark": contest.mark(row["scores"][name])}
            for name, text in row["answers"].items()
        ],
    }  # fmt: skip
