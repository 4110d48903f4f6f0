"""Traffic of a release that sorts questions of a shop: made by chance, as it was tested or with something planted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tunewright.core.monitoring import MonitorScene, Turn
from tunewright.core.traffic import Exchanged
from tunewright.stages.monitor_scene import vectors

LABELS = ("order", "refund", "delivery", "account")
WORDS = {
    "order": "order buy basket item size colour shoes shirt price discount",
    "refund": "refund money back return broken wrong receipt bank days credit",
    "delivery": "parcel delivery late driver address courier tracking door week street",
    "account": "account password login email name phone change delete card profile",
    "garden": "tomato seeds soil compost rain frost prune roses lawn spade",
}
COMMON = "please can you tell me how my the i want to know about is it when with"
GERMAN = "ich bitte wissen wann das geld wieder auf meinem konto ist und warum es so lange dauert"


def asked(draw: np.random.Generator, topic: str, *, words: int = 12) -> str:
    size = max(4, int(draw.poisson(words)))
    own = draw.choice(WORDS[topic].split(), size)
    common = draw.choice(COMMON.split(), size)
    return " ".join(np.where(draw.random(size) < 0.5, own, common).tolist())


def turn(draw: np.random.Generator, number: int, *, shares: Sequence[float] = (0.4, 0.3, 0.2, 0.1)) -> Turn:
    """A tested row: surer answers are right more often, as often as they say."""
    label = str(draw.choice(LABELS, p=shares))
    sure = float(draw.beta(6, 1.5))
    return Turn(
        id=f"t{number}",
        question=asked(draw, label),
        num_messages=1,
        answer=label,
        confidence=sure,
        right=float(draw.random() < sure),
        completion_tokens=int(draw.poisson(8)) + 1,
        finish="stop",
    )


def exchanged(one: Turn, number: int, **changes: Any) -> Exchanged:
    values: dict[str, Any] = dict(
        id=f"c{number}", created=1.7e9 + number, project="default", model="shop", release="shop:001", fingerprint="f",
        seconds=0.2, prompt_tokens=40, completion_tokens=one.completion_tokens, finish=one.finish,
        confidence=one.confidence, messages=[{"role": "user", "content": one.question}], answer=one.answer,
    )  # fmt: skip
    return Exchanged(**(values | changes))


Plant = Callable[[np.random.Generator, Exchanged], Exchanged]


def planted(plant: Plant | None, share: float) -> Plant:
    """With something planted in a share of the traffic."""
    return lambda draw, one: plant(draw, one) if plant is not None and draw.random() < share else one


def says(one: Exchanged, text: str) -> Exchanged:
    return replace(one, messages=[{"role": "user", "content": text}])


PLANTS: dict[str, Plant] = {
    "labels": lambda draw, one: replace(says(one, asked(draw, "account")), answer="account"),
    "topic": lambda draw, one: says(one, asked(draw, "garden")),
    "length": lambda draw, one: says(one, asked(draw, str(one.answer), words=30)),
    "language": lambda draw, one: says(one, " ".join(draw.choice(GERMAN.split(), 14).tolist())),
    "confidence": lambda draw, one: replace(one, confidence=float(draw.beta(3, 3))),
    "latency": lambda draw, one: replace(one, seconds=3.0),
}


def drawn(
    requests: int, *, plant: Plant | None = None, share: float = 0.0, seed: int = 1, created: float = 1.7e9
) -> list[Exchanged]:
    """Requests, with something planted in a share of them."""
    draw = np.random.default_rng(seed)
    change = planted(plant, share)
    return [change(draw, exchanged(turn(draw, number), number, created=created + number)) for number in range(requests)]


def scene(
    seed: int, *, rows: int = 400, requests: int = 300, plant: Plant | None = None, share: float = 0.0, **more: Any
) -> MonitorScene:
    """A look at requests beside so many tested rows, all drawn anew."""
    draw = np.random.default_rng(seed)
    tested = [turn(draw, number) for number in range(rows)]
    change = planted(plant, share)
    traffic = [change(draw, exchanged(turn(draw, number), number)) for number in range(requests)]
    values: dict[str, Any] = dict(
        traffic=traffic, inputs=tested, outputs=tested, held_out=tested, tested=tested, labels=LABELS,
        training=[str(turn(draw, number).question) for number in range(rows)], temperature=1.0,
        figures={"latency_p95": 0.25}, level=0.05 / 30, vectors=vectors,
    )  # fmt: skip
    return MonitorScene(**(values | more))
