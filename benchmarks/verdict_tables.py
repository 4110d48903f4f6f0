"""The verdict pages of docs/results.md from reports on disk. Knows no runner."""

from __future__ import annotations

from typing import Any

from tunewright.core.report import Measure

Figures = dict[str, Any]
JOBS = ("bank", "clinc", "generation", "names", "harmless")


def verdict(one: Figures) -> str:
    """What the report of a job says."""
    report = one["report"]
    parts = [f"**{report['verdict']}.** {report['reason']}", _contestants(report), _comparisons(report)]
    parts += [_guards(report), _changes(report), _failures(report), f"Measured on {one['date']}, {one['machine']}."]
    return "\n\n".join(part for part in parts if part)


def _contestants(report: Figures) -> str:
    graders = [key for key, value in report["contestants"]["tuned"].items() if _is_figure(value)]
    heads = ["contestant", *graders, "tokens read and written for an answer"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, found in report["contestants"].items():
        cells = [_interval(found[grader]) if _is_figure(found.get(grader)) else "" for grader in graders]
        told = [found.get(f"{kind}_tokens") for kind in ("prompt", "completion")]
        rows = report["numbers"]["rows"]
        tokens = " + ".join(f"{count / rows:.0f}" for count in told if count is not None)
        lines.append(f"| {name} | {' | '.join(cells)} | {tokens} |")
    return "\n".join(lines)


def _comparisons(report: Figures) -> str:
    deciding = [one for one in report["numbers"]["comparisons"] if one["grader"] == report["numbers"]["grader"]]
    told = [
        f"against {one['against']} {one['difference']:+.3f} ({one['low']:.3f} to {one['high']:.3f}; "
        f"{one['wins']:,} rows won, {one['losses']:,} lost, p {_p(one['p_holm'])})"
        for one in deciding
    ]
    return f"By {report['numbers']['grader']}: {'; '.join(told)}." if told else ""


def _guards(report: Figures) -> str:
    rows = [(guard["guard"], Measure(**measure)) for guard in report["guards"] for measure in guard["measures"]]
    if not rows:
        return ""
    lines = ["| guard | measured | figure (95 % interval) | base | tuned | bound |", "|---" * 6 + "|"]
    for guard, measure in rows:
        interval = "" if measure.low is None or measure.high is None else f" ({measure.low:.3g} to {measure.high:.3g})"
        bound = "" if measure.bound is None else f"{measure.side} {measure.bound:g}: {measure.state}"
        both = [("" if value is None else f"{value:.3g}") for value in (measure.base, measure.tuned)]
        lines.append(f"| {guard} | {measure.name} | {measure.value:.3g}{interval} | {' | '.join(both)} | {bound} |")
    return "\n".join(lines)


def _changes(report: Figures) -> str:
    found = report["numbers"].get("changes") or []
    return f"What would change the answer: {' '.join(found)}" if found else ""


def _failures(report: Figures) -> str:
    failed = report["numbers"].get("failures")
    if not failed:
        return ""
    weak = sorted((one for one in failed["groups"] if one["weak"]), key=lambda one: one["p"])[:4]
    told = [
        f"{one['kind']} `{one['name']}` ({one['failing']} of {one['n']} fail, elsewhere {one['elsewhere']:.0%}, "
        f"p {_p(one['p'])})"
        for one in weak
    ]
    parts = [
        f"Where it fails more than elsewhere: {'; '.join(told)}."
        if told
        else "No group of rows fails more than others."
    ]
    if failed["labels"]:
        rows = ", ".join(
            f"`{row['id']}` is `{row['expected']}`, perhaps `{row['answered']}`" for row in failed["labels"]["rows"][:3]
        )
        parts.append(f"Test labels that may be wrong: {failed['labels']['n']}{f' ({rows})' if rows else ''}.")
    if scope := report.get("out_of_scope"):
        parts.append(
            f"Out of scope (`oos`, {scope['n']} rows): recall {scope['recall']:.3f}, "
            f"precision {scope['precision']:.3f}."
        )
    return " ".join(parts)


def _is_figure(value: Any) -> bool:
    return isinstance(value, dict) and "value" in value and "low" in value


def _interval(figure: Figures) -> str:
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"= {value:.4f}"
