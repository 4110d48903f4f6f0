"""How far a judging model agrees with people, by answers that they labelled, and whether that lets it decide."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tunewright.core import storage
from tunewright.core.agreement import cohen
from tunewright.core.errors import DataError
from tunewright.core.example import Example, Message
from tunewright.core.judged import prediction_powered, rogan_gladen
from tunewright.core.parts import Desk
from tunewright.core.report import Finding
from tunewright.core.statistics import wilson
from tunewright.data.rows import object_of

LEAST_KAPPA = 0.6  # agreement from which a judge may decide
WANTED = 50  # labels from which its agreement is known well enough
UNCALIBRATED = (
    "a judging model decides only when people have checked it. Give it 'calibrate', a file with at least "
    f"{WANTED} answers that people judged, or let another grader decide"
)
_RIGHT = frozenset({"true", "pass", "passes", "passed", "good", "right", "yes"})
_WRONG = frozenset({"false", "fail", "fails", "failed", "bad", "wrong", "no"})
_SIDES = {"first": 1.0, "a": 1.0, "1": 1.0, "second": 0.0, "b": 0.0, "2": 0.0, "tie": 0.5, "equal": 0.5}
_SHAPE: dict[bool, str] = {
    False: '{"prompt": "...", "answer": "...", "verdict": true}',
    True: '{"prompt": "...", "first": "...", "second": "...", "verdict": "first"}',
}


@dataclass(frozen=True)
class Labelled:
    """An answer (beside another one, when two are compared) and what a person says: 1 right or better, 0, 0.5 a tie."""

    example: Example
    answer: str
    other: str | None
    verdict: float


@dataclass(frozen=True)
class Calibration:
    """What labelled answers tell of a judge: figures for the report, and why it must not decide, if so."""

    figures: dict[str, Any]
    doubt: str | None


def read(path: str, *, pairs: bool, scale: int = 1, passes: float = 0.5) -> list[Labelled]:
    """The labelled answers of a JSONL file. Raises DataError naming the line.

    pairs: rows have first and second, and a verdict first, second or tie; else answer and a verdict true or false, or a
    number from 1 to scale, which is right when (number - 1) / (scale - 1) reaches `passes`.
    """
    rows: list[tuple[int, dict[str, Any]]] = []
    for number, line in enumerate(storage.read_text(Path(path)).splitlines(), 1):
        if not line.strip():
            continue
        row, problem = object_of(line)
        if row is None:
            raise DataError(f"{path}:{number} is {problem}. A labelled answer is a line like {_SHAPE[pairs]}")
        rows.append((number, row))
    by_number = any(_is_number(row.get("verdict")) and row["verdict"] not in (0, 1) for _, row in rows)
    found = []
    for number, row in rows:
        given: Any = row.get("verdict")
        if pairs:
            verdict = _SIDES.get(str(given).strip().casefold())
        elif _is_number(given) and by_number and scale > 1 and 1 <= given <= scale:
            verdict = float((given - 1) / (scale - 1) >= passes - 1e-9)
        else:
            verdict = _right(given) if not (_is_number(given) and by_number) else None
        texts = [row.get(name) for name in (("first", "second") if pairs else ("answer",))]
        prompt = _prompt(row)
        if verdict is None or not prompt or not all(isinstance(text, str) for text in texts):
            raise DataError(
                f"{path}:{number} is no answer that a person judged. It needs prompt, "
                f"{'first, second' if pairs else 'answer'} and verdict: {_SHAPE[pairs]}"
            )
        meta = {name: value for name, value in row.items() if name not in ("messages", "verdict", "answer", "id")}
        expected = row.get("expected")
        example = Example(
            id=str(row.get("id", f"{Path(path).name}:{number}")),
            messages=prompt,
            num_answer_messages=0,
            expected=expected if isinstance(expected, str) else None,
            meta=meta,
        )
        found.append(Labelled(example, str(texts[0]), str(texts[1]) if pairs else None, verdict))
    if not found:
        raise DataError(f"{path} holds no labelled answer. Give lines like {_SHAPE[pairs]}")
    return found


def measure(
    labelled: Sequence[Labelled], judged: Sequence[float | None], scores: Sequence[float], *, pairs: bool
) -> Calibration:
    """Agreement with people, and the judge's figure corrected by it.

    judged: what the judge says of each labelled answer, as `verdict` is; None where it said nothing that can be read.
    scores: what it says of the answers that are graded.
    """
    both = [(one.verdict, said) for one, said in zip(labelled, judged, strict=True) if said is not None]
    people, judge = [verdict for verdict, _ in both], [said for _, said in both]
    figures: dict[str, Any] = {"labels": len(labelled), "unjudged": len(labelled) - len(both)}
    if not both:
        return Calibration(figures, "The judge gave no verdict on any labelled answer that can be read.")
    kappa = cohen(people, judge)
    figures["accuracy"] = wilson(sum(one == other for one, other in both), len(both)).plain(6)
    figures["kappa"] = {"value": _rounded(kappa.value), "low": _rounded(kappa.low), "high": _rounded(kappa.high)}
    if not pairs:
        figures |= _rates(people, judge, scores)
    elif scores:
        figures["corrected"] = prediction_powered(scores, judge, people).plain(6) | {"by": "prediction-powered"}
    return Calibration(figures, _doubt(kappa.value, len(both), people))


def tell(measured: Calibration, desk: Desk, label: str, asked: Any) -> None:
    """Leave at the desk what was measured: figures, the doubt if any, and the corrected figure in words.

    asked: what asking about the labelled answers came to. What holds of the judge itself is told once, of `tuned`.
    """
    of_answers = {name: measured.figures[name] for name in ("passing", "corrected") if name in measured.figures}
    if measured.doubt is not None:
        desk.doubts.append(measured.doubt)
    if desk.contestant != "tuned":
        desk.notes["calibration"] = of_answers
        return
    desk.notes["calibration"] = measured.figures | {"asked": asked}
    kappa, corrected = measured.figures.get("kappa", {}).get("value"), measured.figures.get("corrected")
    if kappa is None:
        return
    message = f"'{label}' agrees with people at kappa {kappa:.2f} on {measured.figures['labels']} labelled answers."
    if corrected is not None:
        what, raw = (
            ("passing answers", measured.figures.get("passing")) if "passing" in measured.figures else ("wins", None)
        )
        beside = "" if raw is None else f" rather than {raw['value']:.3f}"
        message += (
            f" Corrected by its errors, the share of {what} is {corrected['value']:.3f}{beside} "
            f"({corrected['low']:.3f} to {corrected['high']:.3f})."
        )
    severity: Literal["info", "warning"] = "info" if measured.doubt is None else "warning"
    desk.findings.append(Finding(name="checked by people", severity=severity, message=message, remedy=measured.doubt))


def _rates(people: Sequence[float], judge: Sequence[float], scores: Sequence[float]) -> dict[str, Any]:
    """How often the judge says right of right answers and wrong of wrong ones, and the share behind what it says."""
    of_right = [said for verdict, said in zip(people, judge, strict=True) if verdict == 1]
    of_wrong = [said for verdict, said in zip(people, judge, strict=True) if verdict == 0]
    if not of_right or not of_wrong:
        return {}
    tpr = wilson(sum(of_right), len(of_right))
    tnr = wilson(len(of_wrong) - sum(of_wrong), len(of_wrong))
    figures: dict[str, Any] = {"true_positive_rate": tpr.plain(6), "true_negative_rate": tnr.plain(6)}
    if scores and tpr.value + tnr.value > 1:
        share = wilson(sum(scores), len(scores))
        figures["passing"] = share.plain(6)
        figures["corrected"] = rogan_gladen(share, tpr, tnr).plain(6) | {"by": "Rogan-Gladen"}
    return figures


def _doubt(kappa: float | None, labels: int, people: Sequence[float]) -> str | None:
    if kappa is None:
        return f"All {labels} labelled answers have one verdict ({people[0]:g}), so agreement beyond chance is unknown."
    if kappa < LEAST_KAPPA:
        return (
            f"The judge agrees too little with people: kappa is {kappa:.2f} on {labels} labelled answers, and "
            f"{LEAST_KAPPA} is asked for. Sharpen its criteria, or take another model."
        )
    if labels < WANTED:
        return f"The judge was checked on {labels} labelled answers only, and {WANTED} are asked for. Label more."
    return None


def _prompt(row: dict[str, Any]) -> list[Message]:
    if isinstance(row.get("messages"), list):
        try:
            return [Message(**said) for said in row["messages"]]
        except (TypeError, ValueError):
            return []
    asked = row.get("prompt")
    return [Message(role="user", content=asked)] if isinstance(asked, str) and asked.strip() else []


def _right(given: Any) -> float | None:
    if given is True or given is False or (_is_number(given) and given in (0, 1)):
        return float(given)
    word = re.sub(r"\W", "", str(given)).casefold()
    return 1.0 if word in _RIGHT else 0.0 if word in _WRONG else None


def _is_number(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
