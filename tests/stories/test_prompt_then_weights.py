"""Two-stage tuning as a user meets it: the starter, the release with its prompt and without, a mistake."""

from __future__ import annotations

import json
from pathlib import Path

from walking import LABELS, changes, tunewright

QUICK = ["data.sources=[messages.csv]", "train.threads=1", "train.patience=0", "train.batch=16", "data.limit=240"]
QUICK += ["evaluate.against=[base]", "evaluate.graders=[exact]", "train.evaluate_every=20"]


def test_a_prompt_then_weights_from_the_starter_to_answers(home: Path) -> None:
    assert tunewright("init", "promot.yaml", "--template", "promot", folder=home).code == 0
    recipe = (home / "promot.yaml").read_text().replace("epochs: 10", "steps: 20")
    recipe = recipe.replace("# or full", "\n    train: {steps: 40}  # or full")
    (home / "two.yaml").write_text(recipe)
    ended = tunewright("run", "two.yaml", *changes(QUICK), "--json", folder=home)
    assert ended.code == 0, ended.out + ended.err
    assert ended.report["verdict"] == "GO"
    run = home / "runs" / "promot"
    manifest = json.loads((run / "releases" / "001" / "manifest.json").read_text())
    assert manifest["root"] == 20 and manifest["formats"] == ["adapter", "merged"]
    assert (run / "releases" / "001" / "merged" / "root" / "adapter_config.json").exists()
    word, label = next(iter(LABELS.items()))
    on = tunewright("chat", "promot", "--say", f"help me with the {word} today", folder=home)
    assert on.out.splitlines()[0] == label
    off = tunewright("chat", "promot:weights", "--say", f"help me with the {word} today", folder=home)
    assert off.code == 0 and off.out.strip() and "%" in on.out and "%" not in off.out, "labels weighed, and words said"
    (home / "ask.csv").write_text(f"text\ntell me about the {word} again\n")
    for name in ("promot", "promot:weights"):
        assert tunewright("answer", name, "ask.csv", "--out", f"{name}.csv", folder=home).code == 0
    assert (home / "promot.csv").read_text().splitlines()[1].split(",")[1] == label
    assert (home / "promot:weights.csv").read_text().startswith("text,answer")
    proved = tunewright("prove", "promot", folder=home)
    assert proved.code == 0, proved.out


def test_a_second_prompt_and_a_release_without_one_end_in_a_sentence(home: Path) -> None:
    recipe = tunewright("init", "again.yaml", "--template", "promot", folder=home)
    assert recipe.code == 0
    text = (home / "again.yaml").read_text()
    (home / "again.yaml").write_text(text.replace("{kind: lora, rank: 16}", "prompt"))
    bad = tunewright("check", "again.yaml", *changes(QUICK), folder=home)
    assert bad.code == 2 and "phase 'weights': method: a root is learned here" in bad.err
