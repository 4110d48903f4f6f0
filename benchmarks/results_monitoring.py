"""How much traffic shows a change, and how often an alarm is false: figures into benchmarks/results/monitoring.json.

    python benchmarks/results_monitoring.py                 everything (about 15 minutes on one thread)
    python benchmarks/results_monitoring.py --windows 3 --null 20

Bank intents. The release is a stand-in that costs nothing: TF-IDF and logistic regression, learned from the training
rows. For each window the official test rows are parted anew: 1,480 are what the release was measured on, the traffic is
drawn from the others, as they are or with something planted in a share of the requests. Every monitor looks with its
defaults: a chance of 0.05 of any false alarm in 30 looks. A change is seen at the first size of a window at which
at least 80 % of the windows raise an alarm. False alarms are counted at a level of 0.05 a look, where they are common
enough to count.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from results import DATA, OUT

from tunewright.core import catalog
from tunewright.core.monitor_options import MONITORS, MonitorOptions
from tunewright.core.monitoring import MonitorScene, Turn
from tunewright.core.traffic import Exchanged
from tunewright.data.proxy import Proxy
from tunewright.stages.monitor import held
from tunewright.stages.monitor_scene import vectors

SIZES = (50, 100, 200, 400, 800, 1600)
REFERENCE = 1480  # rows
ENOUGH = 0.8  # of the windows
Change = Callable[[np.random.Generator, list[str]], list[str]]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=10, help="of each size")
    parser.add_argument("--null", type=int, default=300, help="windows with nothing planted")
    asked = parser.parse_args()
    started, bank = time.monotonic(), Bank.read()
    found = [told for name, plant in PLANTS.items() for told in measured(bank, name, plant, asked.windows)]
    alarms = sum(bool(bank.alarms(seed, 200, level=0.05)) for seed in range(asked.null))
    told = {
        "reference": REFERENCE,
        "windows": asked.windows,
        "null": {"windows": asked.null, "requests": 200, "level": 0.05, "alarms": alarms},
        "plants": found,
        "seconds": round(time.monotonic() - started),
    }
    (OUT / "monitoring.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def measured(bank: Bank, name: str, plant: Plant, windows: int) -> Iterator[dict[str, Any]]:
    """For each share of the traffic: the windows that raise an alarm, by size, up to the first size that is enough."""
    for share in plant.shares:
        seen: dict[int, float] = {}
        figures: dict[str, int] = {}
        for size in SIZES:
            found = [bank.alarms(1000 + seed, size, plant=plant, share=share) for seed in range(windows)]
            seen[size] = sum(map(bool, found)) / windows
            figures = {figure: sum(figure in one for one in found) for figure in {f for one in found for f in one}}
            if seen[size] >= ENOUGH:
                break
        first = next((size for size, power in seen.items() if power >= ENOUGH), None)
        by = sorted(figures, key=lambda figure: -figures[figure])[:3]
        print(f"{name} in {share:.0%}: {first} requests, by {', '.join(by)} {seen}", flush=True)
        yield {"what": name, "share": share, "requests": first, "by": by, "seen": seen}


@dataclass(frozen=True)
class Plant:
    """Something planted in shares of the traffic: other texts, or other figures of a request."""

    shares: tuple[float, ...]
    texts: Callable[[np.random.Generator, Bank, list[str]], list[str]] | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Bank:
    """The stand-in, what it was measured on, and what its traffic is drawn from."""

    proxy: Proxy
    training: list[str]
    test: list[Turn]
    labels: list[str]
    others: list[str]
    german: list[str]

    @classmethod
    def read(cls) -> Bank:
        """Learn, and answer the test rows."""
        rows = {side: lines("intent-banking77", side) for side in ("train", "test")}
        training = [row["text"] for row in rows["train"]]
        proxy = Proxy().learn(training, [row["label"] for row in rows["train"]])
        labels = [row["label"] for row in rows["test"]]
        test = answered(proxy, [row["text"] for row in rows["test"]], labels)
        others = [row["text"] for row in lines("intent-clinc150", "oos_test")]
        german = [row["de"] for row in lines("translate-multi30k", "test")]
        return cls(proxy, training, test, labels, others, german)

    def alarms(
        self, seed: int, size: int, *, plant: Plant | None = None, share: float = 0.0, level: float | None = None
    ) -> set[str]:
        """The figures that raise an alarm in a window."""
        draw = np.random.default_rng(seed)
        order = draw.permutation(len(self.test))
        tested = [self.test[place] for place in order[:REFERENCE].tolist()]
        turns = [self.test[place] for place in order[REFERENCE : REFERENCE + size].tolist()]
        odd = draw.random(size) < share
        if plant is not None and plant.texts is not None and odd.any():
            texts = [str(turn.question) for turn, so in zip(turns, odd, strict=True) if so]
            changed = iter(answered(self.proxy, plant.texts(draw, self, texts)))
            turns = [replace(next(changed), id=turn.id) if so else turn for turn, so in zip(turns, odd, strict=True)]
        traffic = [exchanged(turn, draw) for turn in turns]
        if plant is not None and plant.seconds is not None:
            traffic = [replace(one, seconds=plant.seconds) if so else one for one, so in zip(traffic, odd, strict=True)]
        scene = MonitorScene(
            traffic=traffic, inputs=tested, outputs=tested, held_out=tested, tested=tested,
            training=self.training[:: max(1, len(self.training) // 5000)], labels=self.proxy.labels,
            figures={"latency_p95": 0.2}, level=level or MonitorOptions().level, vectors=vectors, seed=seed,
        )  # fmt: skip
        results = held([catalog.build("monitors", kind).watch(scene) for kind in MONITORS], scene.level)
        return {f"{one.monitor}: {figure.name}" for one in results for figure in one.figures if figure.alarm}


def answered(proxy: Proxy, texts: list[str], labels: list[str] | None = None) -> list[Turn]:
    """What the stand-in answers, and how sure it is."""
    shares = proxy.shares(texts)
    best = shares.argmax(1)
    return [
        Turn(
            id=f"r{number}", question=text, num_messages=1, answer=proxy.labels[best[number]],
            confidence=float(shares[number, best[number]]), completion_tokens=3, finish="stop",
            right=None if labels is None else float(proxy.labels[best[number]] == labels[number]),
        )
        for number, text in enumerate(texts)
    ]  # fmt: skip


def exchanged(one: Turn, draw: np.random.Generator) -> Exchanged:
    """A request that asked this."""
    return Exchanged(
        id=one.id, created=0.0, project="", model="bank", release="bank:001", fingerprint="",
        seconds=float(draw.gamma(4, 0.04)), prompt_tokens=20, completion_tokens=3, finish="stop",
        confidence=one.confidence, messages=[{"role": "user", "content": one.question}], answer=one.answer,
    )  # fmt: skip


def lines(folder: str, side: str) -> list[dict[str, str]]:
    """The rows of one side of a set."""
    path = next((DATA / folder).glob(f"{side}.jsonl*"))
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in content.decode("utf-8").splitlines()]


def new_topic(draw: np.random.Generator, bank: Bank, texts: list[str]) -> list[str]:
    """Questions about other things than a bank."""
    return draw.choice(bank.others, len(texts)).tolist()


def german(draw: np.random.Generator, bank: Bank, texts: list[str]) -> list[str]:
    """German sentences."""
    return draw.choice(bank.german, len(texts)).tolist()


def few_intents(draw: np.random.Generator, bank: Bank, texts: list[str]) -> list[str]:
    """Questions of five of the 77 intents."""
    wanted = sorted(set(bank.labels))[:5]
    own = [str(turn.question) for turn, label in zip(bank.test, bank.labels, strict=True) if label in wanted]
    return draw.choice(own, len(texts)).tolist()


def longer(draw: np.random.Generator, bank: Bank, texts: list[str]) -> list[str]:
    """Two questions in one."""
    return [f"{text} {bank.test[draw.integers(len(bank.test))].question}" for text in texts]


def typing(draw: np.random.Generator, bank: Bank, texts: list[str]) -> list[str]:
    """Every tenth letter is another one."""
    found = []
    for text in texts:
        letters = np.array(list(text))
        wrong = draw.random(len(letters)) < 0.1
        letters[wrong] = draw.choice(list("abcdefghijklmnopqrstuvwxyz"), int(wrong.sum()))
        found.append("".join(letters))
    return found


PLANTS = {
    "questions about other things": Plant((0.1, 0.2, 0.4), new_topic),
    "five intents instead of 77": Plant((0.1, 0.2, 0.4), few_intents),
    "questions twice as long": Plant((0.1, 0.2, 0.4), longer),
    "German": Plant((0.05, 0.1), german),
    "wrong letters, so less sure answers": Plant((0.3, 0.6), typing),
    "answers that take ten times as long": Plant((0.1, 0.2), seconds=1.6),
}


if __name__ == "__main__":
    main()
