"""From a CSV file to a release that answers: what the README promises, command by command."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

from walking import LABELS, OVERFIT, Ended, changes, tunewright


def test_check_names_the_defaults_and_every_mistake(home: Path) -> None:
    good = tunewright("check", "recipe.yaml", folder=home)
    assert good.code == 0
    assert "next      tunewright run recipe.yaml" in good.out
    bad = tunewright("check", "recipe.yaml", "--set", "train.rl=1", "--set", "method=lorra", folder=home)
    assert bad.code == 2
    assert "Did you mean 'lr'?" in bad.err
    assert "Did you mean 'lora'?" in bad.err


def test_run_ends_with_go_a_page_and_a_release(home: Path, released: Ended) -> None:
    assert released.code == 0, released.out + released.err
    assert "GO" in released.out
    assert "tunewright chat" in released.out
    run = home / "runs" / "messages"
    page = (run / "report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert not re.search(r"(src|href)=[\"']?(https?:)?//|url\(\s*[\"']?(https?:)?//|@import", page)
    manifest = json.loads((run / "releases" / "001" / "manifest.json").read_text())
    assert manifest["verdict"] == "GO"
    assert manifest["decode"]["kind"] == "choices"
    assert manifest["decode"]["labels"] == sorted(LABELS.values())
    assert (run / "releases" / "001" / "adapter" / "adapter_config.json").exists()
    assert (run / "releases" / "001" / "merged" / "model.safetensors").exists()
    for stage in ("prepare", "choose", "train", "evaluate", "deploy"):
        report = json.loads((run / stage / "report.json").read_text())
        assert all(proof["holds"] for proof in report["proofs"])


def test_show_tells_where_the_run_stands(home: Path, released: Ended) -> None:
    shown = tunewright("show", "messages", "--json", folder=home)
    assert shown.code == 0
    assert shown.report["verdict"] == "GO"
    rows = tunewright("show", "messages", "--rows", "2", folder=home)
    assert rows.code == 0
    assert len(re.findall(r"\[\[.*?(zib|mog|tak|wep).*?\]\]", rows.out, re.DOTALL)) == 2


def test_chat_says_a_label(home: Path, released: Ended) -> None:
    said = tunewright("chat", "messages", "--say", "help me with the parcel today", folder=home)
    assert said.code == 0
    assert said.out.splitlines()[0] == "mog"


def test_answer_fills_a_file_in_order(home: Path, released: Ended) -> None:
    asked = [(f"tell me about the {word} again", label) for word, label in LABELS.items()]
    (home / "new.csv").write_text("text\n" + "".join(f"{text}\n" for text, _ in asked))
    ended = tunewright("answer", "messages", "new.csv", "--out", "answered.csv", folder=home)
    assert ended.code == 0, ended.err
    with (home / "answered.csv").open(newline="") as file:
        assert [(row["text"], row["answer"]) for row in csv.DictReader(file)] == asked


def test_prove_measures_again(home: Path, released: Ended) -> None:
    ended = tunewright("prove", "messages", "--only", "template", "--only", "split", "--json", folder=home)
    assert ended.code == 0, ended.err
    assert {proof["name"]: proof["holds"] for proof in ended.report["proofs"]} == {"template": True, "split": True}


def test_a_second_run_finds_the_work_done(home: Path, released: Ended) -> None:
    run = home / "runs" / "messages"
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.safetensors")}
    again = tunewright("run", "recipe.yaml", *changes(OVERFIT), folder=home)
    assert again.code == 0
    assert again.err.count("done before, kept") == 5
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*.safetensors")}


def test_another_rate_is_refused_and_fresh_keeps_the_old_run(home: Path, released: Ended) -> None:
    # later than the tests above in this file: it puts their run aside
    other = [*changes(OVERFIT), "--set", "train.lr=0.001"]
    refused = tunewright("run", "recipe.yaml", *other, folder=home)
    assert refused.code == 2
    assert "train.lr: None -> 0.001" in refused.err
    assert "--fresh" in refused.err
    fresh = tunewright("prepare", "recipe.yaml", *other, "--fresh", folder=home)
    assert fresh.code == 0
    aside = [path for path in (home / "runs").iterdir() if path.name.startswith("messages.")]
    assert len(aside) == 1
    try:
        assert (aside[0] / "releases" / "001" / "manifest.json").exists()
        said = tunewright("show", aside[0], "--json", folder=home)
        assert said.report["verdict"] == "GO"
    finally:  # the other stories go on with the first run
        import shutil

        shutil.rmtree(home / "runs" / "messages")
        aside[0].rename(home / "runs" / "messages")


def test_a_run_that_is_not_there(home: Path) -> None:
    ended = tunewright("show", "nothing", folder=home)
    assert ended.code == 2
    assert "There is no" in ended.err
