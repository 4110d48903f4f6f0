"""Refusals and the way round them, going on from an earlier run, Python in place of commands, real words."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from walking import QUICK, Ended, changes, tunewright

ROOT = Path(__file__).parents[2]
DESK = ROOT / "examples" / "support-desk"


def test_the_support_desk_is_not_released_without_a_go(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text("".join((DESK / "test.jsonl").open().readlines()[::24]))
    small = [*QUICK, f"data.test={tmp_path / 'test.jsonl'}", "data.limit=64", "method=lora"]
    small += ["train.epochs=null", "train.steps=4", "train.batch=4", "evaluate.max_new_tokens=8"]
    options = ["--runs", str(tmp_path / "runs"), *changes(small)]
    judged = tunewright("run", DESK / "recipe.yaml", *options, "--json", folder=tmp_path)
    assert judged.code in (3, 4), judged.err
    assert judged.code == {"NO-GO": 3, "NEED MORE": 4}[judged.report["verdict"]]
    run = tmp_path / "runs" / "support-desk"
    assert not (run / "releases").exists()
    refused = tunewright("deploy", DESK / "recipe.yaml", *options, folder=tmp_path)
    assert refused.code == 3
    assert "Not released" in refused.err
    assert "--override" in refused.err
    reason = "a rehearsal of the release"
    released = tunewright("deploy", DESK / "recipe.yaml", *options, "--override", reason, "--json", folder=tmp_path)
    assert released.code == 0, released.err
    manifest = json.loads((run / "releases" / "001" / "manifest.json").read_text())
    assert manifest["override"] == reason
    assert manifest["verdict"] == judged.report["verdict"]
    assert reason in (run / "releases" / "001" / "README.md").read_text()


def test_a_run_goes_on_from_an_earlier_one(home: Path, released: Ended) -> None:
    first = home / "runs" / "messages"
    start = json.loads((first / "train" / "report.json").read_text())["numbers"]["validation_loss"]
    more = [*QUICK, "name=second", f"model.from={first}", "method=lora", "train.steps=2", "train.batch=16"]
    ended = tunewright("train", "recipe.yaml", *changes(more), folder=home)
    assert ended.code == 0, ended.out + ended.err
    second = home / "runs" / "second"
    assert (second / "base" / "model.safetensors").exists()
    events = [json.loads(line) for line in (second / "events.jsonl").read_text().splitlines()]
    (untuned,) = [event["loss"] for event in events if event["event"] == "validation" and event["step"] == 0]
    assert untuned == pytest.approx(start, rel=1e-4), "it begins where the first one ended"


def test_python_says_the_same_words(home: Path, released: Ended) -> None:
    import tunewright as tw
    from tunewright.core.errors import RunError

    heard: list[str] = []
    recipe, runs = home / "recipe.yaml", home / "runs"
    given = tw.Run.open("messages", runs=runs).path("recipe.given.yaml")
    report = tw.run(tw.Recipe.load(given), runs=runs, listeners=[lambda event: heard.append(event["event"])])
    assert report.verdict == "GO"
    assert report.exit_code == 0
    assert heard.count("stage_kept") == 5
    assert report.contestants["tuned"]["exact"]["value"] >= 0.9
    with pytest.raises(RunError, match=r"train\.steps: 100 -> 5"):
        tw.train(tw.Recipe.load(given, ["train.steps=5"]), runs=runs)
    changed = ["name=in-python", "data.limit=48", "train.threads=1", "train.steps=2", "evaluate.against=[base]"]
    changed += ["evaluate.goal.beat=[base]", "method=full"]
    tuned = tw.train(recipe, changes=changed, runs=runs)
    assert tuned.numbers["steps"] == 2
    assert all(proof.holds for proof in tuned.proofs)


def test_real_customers_words(tmp_path: Path) -> None:
    data = Path(os.environ.get("TUNEWRIGHT_DATA", ROOT.parent / "shared" / "data")) / "intent-banking77"
    if not data.exists():
        pytest.skip(f"real data is not there: {data} (set TUNEWRIGHT_DATA)")
    for name, step in (("train", 60), ("validation", 60), ("test", 100)):
        lines = (data / f"{name}.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        (tmp_path / f"{name}.jsonl").write_text("".join(lines[::step]), encoding="utf-8")
    files = {"sources": ["train.jsonl"], "validation": "validation.jsonl", "test": "test.jsonl"}
    (tmp_path / "recipe.json").write_text(json.dumps({"name": "bank-intents", "data": files}))
    small = ["train.threads=1", "evaluate.against=[base]", "train.steps=4", "train.batch=8", "method=lora"]
    ended = tunewright("evaluate", "recipe.json", *changes(small), "--json", folder=tmp_path)
    assert ended.code == 0, ended.err  # no goal: every result is a GO
    report = ended.report
    assert set(report["contestants"]) == {"tuned", "base"}
    exact = report["contestants"]["tuned"]["exact"]
    assert exact["low"] <= exact["value"] <= exact["high"]
    assert exact["n"] == len((tmp_path / "test.jsonl").read_text().splitlines())
