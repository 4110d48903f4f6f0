"""Does what a new user of the fine-tuning API does: figures into benchmarks/results/fine-tuning-api.json.

    python benchmarks/results_fine_tuning_api.py                 all of it (under eight minutes on two free cores)

A `tunewright serve` of its own over an empty workspace, asked by the official `openai` client alone. Bank intents: 15
of the 77, in five families that are easily confused, with 20 training and 4 validation rows each. A supervised job on
the bundled base, whose server is killed in the middle and started again, beside the same job undisturbed; then dpo and
reinforcement, each from the checkpoint of the supervised job's first epoch. The worker of dpo is killed in the middle,
reinforcement is paused and resumed. Every model answers 10 test rows of each intent.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import psutil
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob
from results import DATA, OUT, measured_on

from tunewright.core.statistics import wilson

FAMILIES = (
    ("card_arrival", "card_delivery_estimate", "lost_or_stolen_card"),
    ("declined_card_payment", "declined_cash_withdrawal", "declined_transfer"),
    ("pending_top_up", "top_up_failed", "top_up_reverted"),
    ("transfer_timing", "pending_transfer", "transfer_not_received_by_recipient"),
    ("cash_withdrawal_charge", "card_payment_fee_charged", "exchange_charge"),
)
LABELS = [label for family in FAMILIES for label in family]
ROWS = {"train": 20, "validation": 4, "test": 10}  # of each intent
GRADER = {
    "type": "string_check",
    "name": "right",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}
DRAWN = 4  # answers to a row, at temperature 1, whose mean reward is told
AT_ONCE = 8  # requests
HELD = "base, held to the labels"
ENDED = ("succeeded", "failed", "cancelled")
TERMS = {"supervised": {"n_epochs": 3}, "dpo": {"n_epochs": 2}, "reinforcement": {"n_epochs": 1}}
DISTURBED = {
    "supervised": "server killed",
    "dpo": "its process killed",
    "reinforcement": "paused and resumed",
}
Row = dict[str, str]


def main() -> None:
    """Carry the jobs out, ask their models, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT / "fine-tuning-api.json")
    asked = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tunewright-api-") as folder, served(Path(folder)) as user:
        found: dict[str, Any] = {**measured_on(), "client": openai.__version__, **story(user)}
    found["seconds"] = round(time.monotonic() - started)
    asked.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(f"{found['seconds']} s")


def story(user: User) -> dict[str, Any]:
    """All jobs, and what their models answer."""
    splits = {split: rows(split, each) for split, each in ROWS.items()}
    test, pairs = splits["test"], [(row, other(row, number)) for number, row in enumerate(splits["test"])]
    files = {
        kind: {split: user.upload(kind, [written(row, n) for n, row in enumerate(splits[split])]) for split in SPLITS}
        for kind, written in WRITTEN.items()
    }
    tuned = user.job("supervised", "nano", files["supervised"], disturb=user.kill_the_server)
    twin = user.job("supervised", "nano", files["supervised"])
    same = twin.pop("results") == tuned.pop("results")
    start = tuned["checkpoints"][0]
    dpo = user.job("dpo", start, files["dpo"], disturb=user.kill_the_worker)
    reinforced = user.job("reinforcement", start, files["reinforcement"], disturb=user.pause)
    jobs = {"supervised": tuned, "dpo": dpo, "reinforcement": reinforced}
    for one in (dpo, reinforced):
        del one["results"]
    models = {"start": start, "supervised": tuned["model"], "dpo": dpo["model"], "reinforcement": reinforced["model"]}
    right = {"base": user.right("nano", test), HELD: user.right("nano", test, among=lambda _: LABELS)}
    right |= {name: user.right(model, test) for name, model in models.items()}
    chosen = {
        name: user.right(models[name], test, among=lambda number: [test[number]["label"], pairs[number][1]])
        for name in ("start", "dpo")
    }
    return {
        "rows": {split: len(found) for split, found in splits.items()},
        "jobs": jobs,
        "undisturbed": {"seconds": twin["seconds"], "same_results": same},
        "right": {name: interval(count, len(test)) for name, count in right.items()},
        "pairs": {name: interval(count, len(test)) for name, count in chosen.items()},
        "rewards": {name: user.reward(models[name], test) for name in ("start", "reinforcement")},
    }


# --- rows ---


def rows(split: str, each: int) -> list[Row]:
    """So many rows of each intent, in a fixed order."""
    lines = (DATA / "intent-banking77" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    drawn = random.Random(0).sample(lines, len(lines))
    kept: dict[str, list[Row]] = {label: [] for label in LABELS}
    for row in map(json.loads, drawn):
        if len(kept.get(row["label"], [None] * each)) < each:
            kept[row["label"]].append(row)
    return [row for turn in zip(*kept.values(), strict=True) for row in turn]


def other(row: Row, number: int) -> str:
    """Another intent of a row's family."""
    family = next(family for family in FAMILIES if row["label"] in family)
    wrong = [label for label in family if label != row["label"]]
    return wrong[number // len(LABELS) % len(wrong)]


def asking(row: Row) -> list[dict[str, str]]:
    """A row as a conversation that waits for its answer."""
    return [{"role": "user", "content": row["text"]}]


def saying(label: str) -> dict[str, str]:
    """An answer."""
    return {"role": "assistant", "content": label}


SPLITS = ("train", "validation")
WRITTEN: dict[str, Callable[[Row, int], dict[str, Any]]] = {
    "supervised": lambda row, number: {"messages": [*asking(row), saying(row["label"])]},
    "dpo": lambda row, number: {
        "input": {"messages": asking(row)},
        "preferred_output": [saying(row["label"])],
        "non_preferred_output": [saying(other(row, number))],
    },
    "reinforcement": lambda row, number: {"messages": asking(row), "answer": row["label"]},
}


# --- a server and its user ---


@dataclass
class User:
    """Somebody with the official client, who can also kill what answers."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None
    client: OpenAI | None = None

    @property
    def api(self) -> OpenAI:
        """The client of the server as it runs now."""
        assert self.client is not None
        return self.client

    def start(self) -> None:
        """Start the server and wait until it listens."""
        command = [sys.executable, "-m", "tunewright.cli", "serve", "--workspace", str(self.folder)]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--port", "0", "--json"], stdout=subprocess.PIPE, stderr=log, env=environment
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"The server did not start:\n{(self.folder / 'server.log').read_text()[-3000:]}")
        self.client = OpenAI(base_url=json.loads(line)["numbers"]["address"], api_key="none", timeout=120)

    def upload(self, name: str, written: Sequence[dict[str, Any]]) -> str:
        """A file of rows; its id."""
        content = "".join(json.dumps(row) + "\n" for row in written).encode()
        file = self.api.files.create(file=(f"{name}.jsonl", content), purpose="fine-tune")
        ready = self.api.files.wait_for_processing(file.id)
        if ready.status != "processed":
            raise SystemExit(f"{name}: {ready.status_details}")
        return file.id

    def job(
        self, kind: str, model: str, files: dict[str, str], *, disturb: Callable[[str], None] | None = None
    ) -> dict[str, Any]:
        """Create a job, disturb it in the middle, and follow it to its end."""
        own: dict[str, Any] = {"hyperparameters": TERMS[kind]} | ({"grader": GRADER} if kind == "reinforcement" else {})
        begun = time.monotonic()
        made = self.api.fine_tuning.jobs.create(
            model=model,
            training_file=files["train"],
            validation_file=files["validation"],
            seed=7,
            suffix=kind,
            method={"type": kind, kind: own},  # type: ignore[misc, arg-type]
        )
        job = self._until(made.id, lambda job: job.status in ENDED or (disturb is not None and self._is_half(job.id)))
        if disturb is not None and job.status not in ENDED:
            disturb(job.id)
            job = self._until(job.id, lambda job: job.status in ENDED)
        seconds = time.monotonic() - begun
        if job.status != "succeeded":
            raise SystemExit(f"{kind}: {job.status}: {job.error}")
        events = list(self.api.fine_tuning.jobs.list_events(job.id, limit=100))
        steps = [event.data["step"] for event in events if event.type == "metrics"]  # type: ignore[index]
        again = ("interrupted", "resumed")
        checkpoints = list(self.api.fine_tuning.jobs.checkpoints.list(job.id))
        print(f"{kind} from {model}: {seconds:.0f} s, {job.fine_tuned_model}", flush=True)
        return {
            "from": model,
            "disturbed_by": DISTURBED[kind] if disturb else None,
            "model": job.fine_tuned_model,
            "seconds": round(seconds, 1),
            "events": len(events),
            "steps": len(steps),
            "told_twice": len(steps) - len(set(steps)),
            "resumed": sum(any(word in event.message for word in again) for event in events),
            "checkpoints": [one.fine_tuned_model_checkpoint for one in checkpoints][::-1],
            "results": self.api.files.content(job.result_files[0]).text,  # compared, not kept
        }

    def kill_the_server(self, job_id: str) -> None:
        """SIGKILL, and another server."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.start()

    def kill_the_worker(self, job_id: str) -> None:
        """SIGKILL for the process that works on a job."""
        assert self.process is not None
        for child in psutil.Process(self.process.pid).children():
            if job_id in child.cmdline():
                child.kill()

    def pause(self, job_id: str) -> None:
        """Pause a job, and resume it once it is."""
        self.api.fine_tuning.jobs.pause(job_id)
        self._until(job_id, lambda job: job.status == "paused")
        self.api.fine_tuning.jobs.resume(job_id)

    def right(self, model: str, test: Sequence[Row], *, among: Callable[[int], list[str]] | None = None) -> int:
        """How many rows get exactly their label, by the likeliest tokens. among: the texts that the answer to a row is
        held to.
        """

        def answer(number: int) -> bool:
            held = {"extra_body": {"structured_outputs": {"choice": among(number)}}} if among else {}
            asked: Any = {"model": model, "messages": asking(test[number]), "max_tokens": 24, **held}
            said = self.api.chat.completions.create(**asked, temperature=0).choices[0].message.content
            return bool(said == test[number]["label"])

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return sum(pool.map(answer, range(len(test))))

    def reward(self, model: str, test: Sequence[Row]) -> float:
        """The mean reward of answers that are drawn at temperature 1."""

        def answers(number: int) -> float:
            asked: Any = {"model": model, "messages": asking(test[number]), "max_tokens": 24}
            drawn = self.api.chat.completions.create(**asked, temperature=1, n=DRAWN, seed=number).choices
            return sum(one.message.content == test[number]["label"] for one in drawn) / DRAWN

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return round(sum(pool.map(answers, range(len(test)))) / len(test), 4)

    def _is_half(self, job_id: str) -> bool:
        """Whether half of the steps are done."""
        last = self.api.fine_tuning.jobs.list_events(job_id, limit=1).data
        data: Any = last[0].data if last and last[0].type == "metrics" else None
        return data is not None and data["step"] >= data["total_steps"] / 2

    def _until(self, job_id: str, holds: Callable[[FineTuningJob], bool]) -> FineTuningJob:
        while not holds(job := self.api.fine_tuning.jobs.retrieve(job_id)):
            time.sleep(0.2)
        return job


@contextmanager
def served(folder: Path) -> Iterator[User]:
    """A user of a server over a folder."""
    user = User(folder)
    user.start()
    try:
        yield user
    finally:
        assert user.process is not None
        user.process.terminate()
        user.process.wait(timeout=60)


def interval(count: int, of: int) -> dict[str, float]:
    """A share with its Wilson interval."""
    found = wilson(count, of)
    return {"value": found.value, "low": found.low, "high": found.high}


if __name__ == "__main__":
    main()
