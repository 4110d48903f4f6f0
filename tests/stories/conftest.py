"""A tiny job that any base can learn, carried from its file to a release once for all stories."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from walking import ENDINGS, LABELS, OPENINGS, OVERFIT, Ended, changes, tunewright


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder with a CSV file of labelled messages."""
    folder = tmp_path_factory.mktemp("home")
    with (folder / "messages.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        for opening in OPENINGS:
            for ending in ENDINGS:
                rows.writerows([f"{opening} the {word} {ending}", label] for word, label in LABELS.items())
    assert tunewright("init", "--data", "messages.csv", folder=folder).code == 0
    return folder


@pytest.fixture(scope="session")
def released(home: Path) -> Ended:
    """How `tunewright run` ended on it."""
    return tunewright("run", "recipe.yaml", *changes(OVERFIT), folder=home)
