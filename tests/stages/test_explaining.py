"""One answer explained on a run that was made by hand: words, confidence, neighbours, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_evaluate import base, make_run  # noqa: F401

from tunewright.core.errors import DataError, NotThere
from tunewright.core.run import Run
from tunewright.stages import explaining
from tunewright.stages.evaluate import evaluate


def frozen_run(folder: Path, model: Path, **options: Any) -> Run:
    recipe, run = make_run(folder, model, against=[], **options)
    run.path("recipe.yaml").write_text(recipe.to_yaml({}))
    return run


def test_an_answer_is_explained_by_words_labels_and_neighbours(tmp_path: Path, base: Path) -> None:  # noqa: F811
    run = frozen_run(tmp_path, base)
    found = explaining.explain(run.folder, "test:3").numbers
    assert found["answer"] == found["labels"][0]["label"]
    assert found["confidence"] == found["labels"][0]["share"]
    assert sum(one["share"] for one in found["labels"]) == pytest.approx(1, abs=1e-3)
    assert "".join(word["text"] for word in found["words"]) == found["asked"] == "fraud question 3"
    assert found["against"] == found["labels"][1]["label"]
    parts = sum(word["adds"] for word in found["words"])
    assert parts == pytest.approx(found["score"] - found["score_without"], abs=0.06 * abs(parts) + 1e-3)
    assert found["nearest"][0]["id"].startswith("train:")
    assert found["nearest"][0]["answer"] == "fraud"


def test_a_written_answer_tells_how_sure_each_token_was(tmp_path: Path, base: Path) -> None:  # noqa: F811
    run = frozen_run(tmp_path, base, labels=False)
    found = explaining.explain(run.folder, message="about fees").numbers
    assert found["labels"] == []
    assert found["tokens"]
    assert all(0 <= token["probability"] <= 1 for token in found["tokens"])


def test_what_cannot_be_explained_is_told(tmp_path: Path, base: Path) -> None:  # noqa: F811
    run = frozen_run(tmp_path, base)
    report = explaining.explain(run.folder, "some/folder/test.jsonl:3")  # a line of the file, as an editor names it
    assert report.numbers["row"] == "test:3"
    with pytest.raises(NotThere, match=r"test:3"):
        explaining.explain(run.folder, "test:33x")
    with pytest.raises(DataError, match="--message"):
        explaining.explain(run.folder, message="  ")
    with pytest.raises(NotThere, match="tunewright evaluate"):
        explaining.failures_of(run.folder)


def test_failures_stand_in_the_report(tmp_path: Path, base: Path) -> None:  # noqa: F811
    recipe, run = make_run(tmp_path, base, against=["base"])
    report = evaluate(recipe, run)
    report.save(run.path("evaluate"))
    found = explaining.failures_of(run.folder).numbers["failures"]
    assert found["rows"] == 36
    assert found["failing"] == round(36 * (1 - report.contestants["tuned"]["exact"]["value"]))
