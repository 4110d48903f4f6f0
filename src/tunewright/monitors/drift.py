"""drift: are the questions, and the answers, still like those that the release was measured on?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Literal, TypeVar

import numpy as np
from pydantic import Field

from tunewright.core import two_samples
from tunewright.core.monitoring import (
    FEWEST,
    MOST_EXAMPLES,
    MOST_TESTS,
    Figure,
    Monitor,
    MonitorResult,
    MonitorScene,
    Turn,
)
from tunewright.core.report import Finding
from tunewright.data import languages

_REMEDY = "Harvest such requests for the next recipe, or take this traffic as the reference (monitor.reference)."
_POWER = 0.8
T = TypeVar("T")


class Drift(Monitor):
    """Compares questions and answers of the traffic with a reference, by tests whose false alarms are bounded.

    Labels, languages and ends of answers by the population stability index, numbers by Kolmogorov and Smirnov's test,
    texts by MMD (Gretton et al. 2012) or a classifier (Lopez-Paz and Oquab 2017), and by how far each question is from
    the nearest that the model learned from. Answers tell of drift better than texts (Rabanser et al. 2019, Failing
    Loudly, arXiv 1810.11953). The tests take requests for independent of each other.
    """

    question: ClassVar[str] = "Is the traffic still like what the release was measured on?"

    texts: Literal["mmd", "classifier"] | None = Field(
        "mmd", description="how texts are compared; classifier needs more traffic and tells better what is unlike"
    )
    encoder: str | None = Field(
        None, description="an encoder (folder or Hub id) whose vectors tell meaning; none: words, which costs nothing"
    )
    rows: int = Field(500, ge=50, le=2000, description="texts of each side that are compared; costs grow with squares")
    known: int = Field(2000, ge=100, description="training questions among which the nearest is looked for, at most")
    least: float = Field(
        0.05, ge=0, lt=1, description="a shift of less than this share of the traffic is told, and no alarm"
    )

    def watch(self, scene: MonitorScene) -> MonitorResult:
        """Compare what both sides know."""
        figures = [figure for figure in self._figures(scene) if figure is not None]
        n, m = len(scene.turns), max(len(scene.inputs), len(scene.outputs))
        findings, need = [], None
        if m < FEWEST:
            message = f"The reference has {m:,} rows, too few to compare traffic with ({FEWEST} are needed)."
            remedy = "Compare with training rows, or with the release's first traffic: monitor.reference."
            findings.append(Finding(name="small reference", severity="warning", message=message, remedy=remedy))
        else:
            level = scene.level / MOST_TESTS
            need = two_samples.kolmogorov_rows(scene.shift, m, level=level, power=_POWER)
            if need is None:
                least = two_samples.kolmogorov_seen(10**9, m, level=level, power=_POWER)
                message = (
                    f"No traffic shows a shift of {scene.shift:.0%} beside a reference of {m:,} rows; one of "
                    f"{least:.0%} is the smallest."
                )
                remedy = "Compare with more rows (monitor.reference), or raise monitor.shift."
                findings.append(Finding(name="small reference", message=message, remedy=remedy))
        more = need if need is not None and need > n else None
        return MonitorResult(monitor=self.kind, question=self.question, figures=figures, findings=findings, need=more)

    def _figures(self, scene: MonitorScene) -> Iterator[Figure | None]:
        inputs, outputs, turns = scene.inputs, scene.outputs, scene.turns
        yield self._moved(scene, "question length", "characters", inputs, turns, _length)
        yield self._moved(scene, "messages", "messages", inputs, turns, lambda turn: turn.num_messages)
        yield self._classes(scene, "question language", inputs, turns, _language)
        yield self._novel(scene)
        if self.texts is not None:
            yield self._texts(scene, self.texts)
        yield self._moved(scene, "confidence", "", outputs, turns, lambda turn: turn.confidence)
        if scene.labels:
            yield self._classes(scene, "labels", outputs, turns, lambda turn: turn.answer)
        else:
            yield self._moved(scene, "answer length", "tokens", outputs, turns, lambda turn: turn.completion_tokens)
            yield self._classes(scene, "answer language", outputs, turns, lambda turn: _language_of(turn.answer))
        yield self._classes(scene, "ends of answers", outputs, turns, lambda turn: turn.finish)

    # --- one test each ---

    def _moved(
        self,
        scene: MonitorScene,
        name: str,
        unit: str,
        reference: Sequence[Turn],
        window: Sequence[Turn],
        value: Callable[[Turn], float | None],
    ) -> Figure | None:
        ids, own = _known(window, value)
        _, other = _known(reference, value)
        if min(len(own), len(other)) < FEWEST or len({*own, *other}) < 2:
            return None
        return self._number(scene, name, unit, ids, np.array(own, float), np.array(other, float))

    def _number(
        self, scene: MonitorScene, name: str, unit: str, ids: Sequence[str], own: np.ndarray, other: np.ndarray
    ) -> Figure:
        found = two_samples.kolmogorov(other, own)
        side = own > found.at if found.up else own <= found.at
        order = np.argsort(-own if found.up else own, kind="stable")
        shown = [ids[place] for place in order.tolist() if side[place]]
        what = "Distance of questions to the nearest that was learned from" if name == "novelty" else name.capitalize()
        told = (
            f"{what} has moved: the median is {np.median(own):.4g}{' ' * bool(unit)}{unit}, "
            f"{np.median(other):.4g} in the reference (distance of the distributions {found.distance:.2f}, "
            f"{len(own):,} requests)."
        )
        return Figure(
            name=name,
            value=found.distance,
            n=len(own),
            p=found.p,
            worth=found.distance >= self.least,
            seen=_seen(scene, len(own), len(other)),
            told=told,
            remedy=_REMEDY,
            examples=shown[:MOST_EXAMPLES],
        )

    def _classes(
        self,
        scene: MonitorScene,
        name: str,
        reference: Sequence[Turn],
        window: Sequence[Turn],
        value: Callable[[Turn], str | None],
    ) -> Figure | None:
        ids, own = _known(window, value)
        _, other = _known(reference, value)
        if min(len(own), len(other)) < FEWEST:
            return None
        mine, theirs = Counter(own), Counter(other)
        words = sorted({*mine, *theirs})
        if len(words) < 2:
            return None
        counts = np.array([[theirs[word] for word in words], [mine[word] for word in words]])
        shares = counts / counts.sum(1, keepdims=True)
        change = dict(zip(words, (shares[1] - shares[0]).tolist(), strict=True))
        moved = float(np.abs(shares[1] - shares[0]).sum() / 2)
        largest = sorted(words, key=lambda word: -abs(change[word]))[:3]
        listed = ", ".join(f"{word} {theirs[word] / len(other):.1%} -> {mine[word] / len(own):.1%}" for word in largest)
        more = sorted((place for place in range(len(own)) if change[own[place]] > 0), key=lambda at: -change[own[at]])
        index = float(two_samples.psi(counts[0], counts[1]))
        usual = two_samples.psi_critical(len(words), len(other), len(own), level=0.05)
        return Figure(
            name=name,
            value=index,
            n=len(own),
            usual=usual,
            p=two_samples.psi_p(counts[0], counts[1], most=scene.most, seed=scene.seed),
            worth=moved >= self.least,
            told=(
                f"{name.capitalize()} of the traffic have other shares: {listed} (stability index {index:.3f}; chance "
                f"stays below {usual:.3f} in 95 of 100 windows of {len(own):,} requests)."
            ),
            remedy=_REMEDY,
            examples=[ids[place] for place in more[:MOST_EXAMPLES]],
        )

    def _novel(self, scene: MonitorScene) -> Figure | None:
        """How far questions are from the nearest one learned from: of the traffic, and of rows that were held out."""
        ids, own = _known(scene.turns, lambda turn: turn.question)
        _, other = _known(scene.held_out, lambda turn: turn.question)
        if min(len(own), len(other)) < FEWEST or not scene.training:
            return None
        generator = np.random.default_rng(scene.seed)
        learned = _some(generator, list(scene.training), self.known)
        chosen = generator.permutation(len(own))[: self.known]
        other = _some(generator, other, self.known)
        vectors = scene.vectors([*learned, *other, *(own[place] for place in chosen)], self.encoder)
        nearest = (vectors[len(learned) :] @ vectors[: len(learned)].T).max(axis=1)
        far = 1 - np.asarray(nearest if isinstance(nearest, np.ndarray) else nearest.toarray()).ravel()
        return self._number(
            scene, "novelty", "", [ids[place] for place in chosen], far[len(other) :], far[: len(other)]
        )

    def _texts(self, scene: MonitorScene, how: Literal["mmd", "classifier"]) -> Figure | None:
        ids, own = _known(scene.turns, lambda turn: turn.question)
        _, other = _known(scene.inputs, lambda turn: turn.question)
        if min(len(own), len(other)) < FEWEST:
            return None
        generator = np.random.default_rng(scene.seed)
        chosen = generator.permutation(len(own))[: self.rows]
        reference = _some(generator, other, self.rows)
        vectors = scene.vectors([*reference, *(own[place] for place in chosen)], self.encoder)
        if how == "mmd":
            found = two_samples.mean_discrepancy(vectors, len(reference), most=scene.most, seed=scene.seed)
            words = f"MMD^2 {found.value:.4f}"
        else:
            found = two_samples.told_apart(vectors, len(reference), seed=scene.seed)
            words = f"a classifier tells them apart with an area under the curve of {found.value:.2f}"
        order = np.argsort(-found.unlike, kind="stable")
        return Figure(
            name="question texts",
            value=found.value,
            n=len(chosen),
            p=found.p,
            told=f"Questions are worded unlike those of the reference ({words}, {len(chosen):,} requests).",
            remedy=_REMEDY,
            examples=[ids[chosen[place]] for place in order[:MOST_EXAMPLES].tolist()],
        )


def _known(turns: Sequence[Turn], value: Callable[[Turn], T | None]) -> tuple[list[str], list[T]]:
    """Ids and values of those whose value is known."""
    pairs = [(turn.id, found) for turn in turns if (found := value(turn)) is not None]
    return [one for one, _ in pairs], [found for _, found in pairs]


def _some(generator: np.random.Generator, texts: list[str], most: int) -> list[str]:
    return texts if len(texts) <= most else [texts[place] for place in generator.permutation(len(texts))[:most]]


def _seen(scene: MonitorScene, n: int, m: int) -> float:
    return round(two_samples.kolmogorov_seen(n, m, level=scene.level / MOST_TESTS, power=_POWER), 4)


def _length(turn: Turn) -> float | None:
    return None if turn.question is None else float(len(turn.question))


def _language(turn: Turn) -> str | None:
    return _language_of(turn.question)


def _language_of(text: str | None) -> str | None:
    found = languages.language(text) if text else None
    return found[0] if found else None
