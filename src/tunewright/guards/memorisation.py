"""memorisation: does the model keep single rows of its training, and does it give planted secrets away?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from tunewright.core import canaries
from tunewright.core.example import Example
from tunewright.core.guarding import Guard, GuardScene
from tunewright.core.report import Finding, GuardResult, Measure
from tunewright.core.roc import auc, tpr_at_fpr
from tunewright.guards import _compared, _planted

LEAST_ROWS = 20  # of each side; fewer tell nothing
FOLLOWED = 100  # answers of each side
LONGEST = 50  # tokens that must follow word for word
FALSE_ALARMS = 0.01
SUSPICIOUS = 0.05  # hits at 1 % false alarms: five times what guessing gives
MORE_ROWS = "Raise rows of this guard; where it compares all rows already, bring more to train and to test with."
REMEDY = "Take out copies of rows, train fewer epochs, with dropout or a smaller rank, or under differential privacy."


@dataclass(frozen=True)
class Read:
    """What both models make of some rows: summed log-probs (nats) and tokens of the answers."""

    rows: list[Example]
    base: np.ndarray
    tuned: np.ndarray
    counts: np.ndarray

    @property
    def scores(self) -> np.ndarray:
        """For each row the base's loss less the tuned model's, in nats a token."""
        found: np.ndarray = (self.tuned - self.base) / self.counts
        return found


class Memorisation(Guard):
    """What the model kept of single rows, beyond what they teach about others like them.

    Compares training rows with validation and test rows, a sample of each: the gap of the losses; membership inference
    by the base's loss less the tuned model's; answers that go on word for word. Secrets that `data.canaries` planted:
    their exposure (Carlini et al. 2019, arXiv 1802.08232), and those that the model gives away, which are always a
    NO-GO. Neighbour: `forgetting`.
    """

    question: ClassVar[str] = "What did the model memorise?"
    bounds: ClassVar[Mapping[str, str]] = {
        "gap": "gap between",
        "verbatim": "word for word",
        "membership_auc": "AUC",
        "membership_hits": "hits",
        "exposure": "most exposed planted secret",
    }

    gap: float | None = Field(
        None, ge=0, description="most that the gap between training and held-out loss may grow, in nats a token"
    )
    verbatim: float | None = Field(
        None, ge=0, le=1, description="most of the training answers that may go on word for word, beyond held-out ones"
    )
    membership_auc: float | None = Field(
        None, ge=0.5, le=1, description="how surely a training row may be told from a held-out one; 0.5 is guessing"
    )
    membership_hits: float | None = Field(
        None, ge=0, le=1, description="most training rows that may be recognised at 1 % false alarms; 0.01 is guessing"
    )
    exposure: float | None = Field(None, ge=0, description="most bits by which a planted secret may be exposed")
    rows: int = Field(
        200, ge=LEAST_ROWS, description="most rows of each side, drawn by the seed; more are surer, slower"
    )
    prefix: int = Field(10, ge=0, description="tokens of an answer that are given before it must go on word for word")
    span: int = Field(13, ge=4, description="least tokens that must follow; answers shorter than both are left out")

    def measure(self, scene: GuardScene) -> GuardResult:
        """Compare rows that were learned from with rows that were not; then look for what was planted."""
        learned = self._read(scene, scene.splits["train"])
        held_out = self._read(scene, [*scene.splits["validation"], *scene.splits["test"]])
        measures: list[Measure] = []
        samples: list[dict[str, Any]] = []
        findings: list[Finding] = []
        if min(len(learned.rows), len(held_out.rows)) >= LEAST_ROWS:
            measures += [self._gap(learned, held_out, scene.seed), *self._membership(learned, held_out)]
            followed = self._verbatim(scene, learned.rows, held_out.rows, samples)
            measures += followed
            if self.verbatim is not None and not followed:
                findings.append(_too_short(self.prefix + self.span))
            findings.append(_sampled(scene, learned, held_out))
        else:
            findings.append(_too_few(len(learned.rows), len(held_out.rows)))
        if planted := [canaries.of_row(row) for row in scene.splits.get(canaries.SIDE, ())]:
            found = _planted.look(scene, planted)
            measures += found.measures(self.exposure)
            findings += found.findings()
            samples = found.samples() + samples
        findings += _compared.unsettled(measures, MORE_ROWS) + _alarms(measures)
        return GuardResult(
            guard=self.kind, question=self.question, measures=measures, findings=findings, samples=samples
        )

    def _read(self, scene: GuardScene, rows: Sequence[Example]) -> Read:
        chosen = _compared.drawn(rows, self.rows, scene.seed)
        (base, counts), (tuned, tokens) = (scene.logprobs(who, chosen) for who in ("base", "tuned"))
        kept = np.isfinite(base) & np.isfinite(tuned) & (counts > 0) & (tokens > 0)
        return Read(
            [row for row, keep in zip(chosen, kept, strict=True) if keep], base[kept], tuned[kept], tokens[kept]
        )

    def _gap(self, learned: Read, held_out: Read, seed: int) -> Measure:
        """How much the held-out loss lies above the training loss, now and before the training."""
        gaps = {
            who: _gap_of(getattr(learned, who), learned.counts, getattr(held_out, who), held_out.counts)
            for who in ("base", "tuned")
        }
        found = _compared.difference_of_means(
            learned.tuned - learned.base, learned.counts, held_out.tuned - held_out.base, held_out.counts, seed=seed
        )
        return Measure(
            name="gap between held-out and training loss, nats a token more",
            **found.plain(),
            n=len(learned.rows) + len(held_out.rows),
            **gaps,
            bound=self.gap,
        )

    def _membership(self, learned: Read, held_out: Read) -> list[Measure]:
        """How well base loss less tuned loss tells training rows from others."""
        members, others = learned.scores.tolist(), held_out.scores.tolist()
        n = len(members) + len(others)
        return [
            Measure(name=name, **found.plain(), n=n, bound=bound)
            for name, found, bound in (
                ("membership inference, AUC", auc(members, others), self.membership_auc),
                (
                    "membership inference, hits at 1 % false alarms",
                    tpr_at_fpr(members, others, FALSE_ALARMS),
                    self.membership_hits,
                ),
            )
        ]

    def _verbatim(
        self, scene: GuardScene, learned: Sequence[Example], held_out: Sequence[Example], samples: list[dict[str, Any]]
    ) -> list[Measure]:
        """The share of training answers that go on word for word, less that of held-out ones."""
        groups = []
        for rows in (learned, held_out):
            turns = [scene.open("tuned").chat.chosen_turns(row)[-1:] for row in rows]
            long = [
                (row, turn[0])
                for row, turn in zip(rows, turns, strict=True)
                if turn and len(turn[0].answer) >= self.prefix + self.span
            ]
            groups.append(_compared.drawn(long, FOLLOWED, scene.seed))
        if min(map(len, groups)) < LEAST_ROWS:
            return []
        hits = [self._followed(scene, long) for long in groups]
        model = scene.open("tuned")
        for (row, turn), hit in zip(groups[0], hits[0], strict=True):
            if hit and len(samples) < 3:
                given = model.chat.decode(turn.answer[: self.prefix])
                samples.append({"word for word": row.answer, "given": given, "row": row.id})
        found = _compared.difference_of_shares(sum(hits[0]), len(hits[0]), sum(hits[1]), len(hits[1]))
        name = f"answers that go on word for word after {self.prefix} tokens, training less held-out"
        n = len(hits[0]) + len(hits[1])
        return [Measure(name=name, **found.plain(), n=n, bound=self.verbatim)]

    def _followed(self, scene: GuardScene, long: Sequence[tuple[Example, Any]]) -> list[bool]:
        """Whether greedy decoding after the prefix says what the row says."""
        from tunewright.models.verbatim import likeliest

        greedy = likeliest(
            scene.open("tuned"),
            [turn.prompt for _, turn in long],
            [turn.answer for _, turn in long],
            poll=lambda done: scene.poll("answers followed", done, len(long)),
        )
        parts = [one[self.prefix : self.prefix + LONGEST] for one in greedy]
        return [len(part) >= self.span and bool(part.all()) for part in parts]


def _gap_of(learned: np.ndarray, learned_counts: np.ndarray, held_out: np.ndarray, counts: np.ndarray) -> float:
    return float(learned.sum() / learned_counts.sum() - held_out.sum() / counts.sum())


def _sampled(scene: GuardScene, learned: Read, held_out: Read) -> Finding:
    of = len(scene.splits["train"]), len(scene.splits["validation"]) + len(scene.splits["test"])
    message = (
        f"{len(learned.rows):,} of {of[0]:,} training rows were compared with {len(held_out.rows):,} of {of[1]:,} "
    )
    message += f"validation and test rows, drawn by the seed {scene.seed}."
    return Finding(name="rows_compared", message=message, count=len(learned.rows) + len(held_out.rows))


def _too_few(learned: int, held_out: int) -> Finding:
    message = f"Memorisation was not measured on rows: {learned} training rows and {held_out} validation and test rows "
    message += f"have an answer to learn, and it takes {LEAST_ROWS} of each."
    return Finding(name="too_few_rows", message=message, remedy="Bring more rows, or plant canaries (data.canaries).")


def _too_short(tokens: int) -> Finding:
    message = f"Nothing can go on word for word: it takes {LEAST_ROWS} answers of {tokens} tokens on each side."
    remedy = "Leave the bound 'verbatim' out, or lower 'prefix' and 'span' of the guard memorisation."
    return Finding(name="too_short_answers", severity="warning", message=message, remedy=remedy)


def _alarms(measures: Sequence[Measure]) -> list[Finding]:
    """Words about what lies above chance for certain, where no bound speaks."""
    limits = {"membership inference, hits": SUSPICIOUS, "answers that go on": 0.0}
    found = []
    for one in measures:
        limit = next((limit for begins, limit in limits.items() if one.name.startswith(begins)), math.inf)
        if one.bound is None and one.low is not None and one.low > limit:
            message = f"{one.name}: {one.value:.3f} ({one.low:.3f} to {one.high:.3f}), which no model shows that only "
            message += "learned what rows have in common."
            found.append(Finding(name="memorised", severity="warning", message=message, remedy=REMEDY))
    return found
