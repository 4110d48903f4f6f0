"""Rebuilds the bundled base `nano` from an earlier base and folders of text, with tunewright's own objectives.

    python scripts/nano/build.py --start FOLDER --data DIR --work DIR --out src/tunewright/resources/nano

start: a first base (Llama, 4.7M parameters, see README.md beside this file). data: the public sets. Five phases, each
an ordinary training run under WORK/runs that can be stopped and resumed: `pretrain` on plain documents, then `sft` on
all conversations, twice, on those with short answers, and on those that name a label. The weights are then brought to a
smaller scale that computes the same, and written in float16 with tokenizer, chat template and model card.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scale import rescaled

import tunewright as tw
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run

HERE = Path(__file__).parent
PRETRAIN = {"steps": 230, "batch": 32, "lr": 1e-3, "max_tokens": 512}
CHAT = {"epochs": 1, "batch": 64, "lr": 1e-3, "max_tokens": 512}
SHORT = {**CHAT, "epochs": 1.5, "lr": 1.5e-3, "seed": 2}
LABELS = {**CHAT, "epochs": 1.5, "lr": 2e-3, "seed": 3}
SHORT_ANSWER = 40  # characters
OTHER_TASKS = ("say", "write", "fix", "what is", "what comes", "give", "how many", "repeat")  # ask for no label
OTHER_ANSWERS = ("positive", "negative", "neutral", "yes", "no", "same", "different")
COMMON = {
    "betas": [0.9, 0.95],
    "weight_decay": 0.05,
    "micro_tokens": 4096,
    "patience": 0,
    "evaluate_every": 200,
    "save_every": 200,
}


def main() -> None:
    """Corpus, three trainings, export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("start", "data", "work", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=None, help="CPU threads; all when left out")
    given = parser.parse_args()
    corpus = given.work / "corpus"
    if not (corpus / "corpus.json").exists():
        subprocess.run(
            [sys.executable, str(HERE / "corpus.py"), "--data", str(given.data), "--out", str(corpus)], check=True
        )
    start = with_template(given.start, given.work / "start")
    first = train(given, "nano-pretrain", {"base": str(start)}, "pretrain", corpus / "pretrain.jsonl", PRETRAIN)
    once = train(given, "nano-chat", {"from": str(first.folder)}, "sft", corpus / "chat.jsonl", CHAT)
    again = {**CHAT, "seed": 1}  # a second pass with a fresh rise and fall of the rate: 1.52 to 1.24 nats on validation
    twice = train(given, "nano-chat-2", {"from": str(once.folder)}, "sft", corpus / "chat.jsonl", again)
    short = subset(corpus, "short", answers_shortly, rest=26)
    third = train(given, "nano-short", {"from": str(twice.folder)}, "sft", short, SHORT)
    labels = subset(corpus, "labels", names_a_label, rest=38)
    last = train(given, "nano-labels", {"from": str(third.folder)}, "sft", labels, LABELS)
    export(last, given.out, json.loads((corpus / "corpus.json").read_text(encoding="utf-8")))


def answers_shortly(messages: list[dict[str, str]]) -> bool:
    """Every answer is short."""
    return all(len(one["content"]) <= SHORT_ANSWER for one in messages if one["role"] == "assistant")


def names_a_label(messages: list[dict[str, str]]) -> bool:
    """One message, answered with the name of its class."""
    asked, answer = messages[-2]["content"].lower(), messages[-1]["content"]
    single = sum(one["role"] == "user" for one in messages) == 1
    other = asked.startswith(OTHER_TASKS) or answer.lower() in OTHER_ANSWERS
    return single and len(answer) <= SHORT_ANSWER and not other


def subset(corpus: Path, name: str, wanted: Callable[[list[dict[str, str]]], bool], *, rest: int) -> Path:
    """Conversations of one kind, and `rest` in 256 of the others, so that they are not forgotten."""
    for part in ("", "-validation"):
        lines = (corpus / f"chat{part}.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [
            line
            for line in lines
            if wanted(json.loads(line)["messages"]) or hashlib.sha256(line.encode()).digest()[0] < rest
        ]
        (corpus / f"{name}{part}.jsonl").write_text("".join(kept), encoding="utf-8")
    return corpus / f"{name}.jsonl"


def with_template(start: Path, folder: Path) -> Path:
    """A copy of the first base that knows the chat format."""
    shutil.copytree(start, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.md"))
    shutil.copyfile(HERE / "chat_template.jinja", folder / "chat_template.jinja")
    return folder


def train(
    given: argparse.Namespace, name: str, model: dict[str, str], objective: str, source: Path, options: dict[str, Any]
) -> Run:
    """One phase: an ordinary training run, full tuning in float32."""
    validation = source.with_name(f"{source.stem}-validation.jsonl")
    recipe = {
        "name": name,
        "data": {
            "sources": [str(source)],
            "validation": str(validation),
            "split": {"train": 1, "validation": 0, "test": 0},
        },
        "model": model,
        "method": "full",
        "objective": objective,
        "train": {**COMMON, **options, "threads": given.threads, "dtype": "float32"},
    }
    report = tw.train(Recipe.parse(recipe, folder=Path.cwd()), runs=given.work / "runs", listeners=[tell])
    print(
        f"{name}: validation loss {report.numbers['validation_loss']:.3f} after {report.numbers['steps']} steps",
        flush=True,
    )
    return Run(given.work / "runs" / name)


def tell(event: dict[str, Any]) -> None:
    """A line every twenty steps and at every look."""
    if event["event"] == "validation" or (event["event"] == "step" and event["step"] % 20 == 0):
        print(
            {key: value for key, value in event.items() if key in ("event", "step", "total", "loss", "seconds")},
            flush=True,
        )


def export(run: Run, out: Path, corpus: dict[str, Any]) -> None:
    """Write the trained base in float16 with its card."""
    import torch

    from tunewright.stages import tuned

    model = tuned.open_tuned(run.recipe(), run)
    rescaled(model.net, matrices=0.05, embedding=0.034)
    model.net.to(torch.float16)
    out.mkdir(parents=True, exist_ok=True)
    model.save(out)
    size = sum(file.stat().st_size for file in out.iterdir())
    assert size <= 20_000_000, f"nano must stay below 20 MB, found {size:,} bytes"
    (out / "README.md").write_text(card(run, corpus), encoding="utf-8")


def card(run: Run, corpus: dict[str, Any]) -> str:
    """The model card: what went in, under which licence, and what it is good for."""
    rows = []
    for phase in ("pretrain", "chat"):
        for name, facts in corpus[phase]["sources"].items():
            rows.append(f"| {phase} | {name} | {facts['credit']} | {facts['licence']} | {facts['rows']:,} |")
    numbers = (run.report("train") or tw.Report(stage="train", run=run.name)).numbers
    template = (HERE / "card.md").read_text(encoding="utf-8")
    return template.format(sources="\n".join(rows), loss=numbers["validation_loss"])


if __name__ == "__main__":
    main()
