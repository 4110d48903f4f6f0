"""S27: of a private run nothing lies on the disk in plain: while it works, after it was killed, and at its end.

What is searched for: texts planted in rows of every fate, their token ids, and the weights that training ends with.
Where: the run, the folder for temporary files, the Hub's caches, and files without a name that this process holds.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file
from small_job import KILLED, Job, forked, write_job

import tunewright as tw
from tunewright.core import private, storage
from tunewright.core.errors import RunError
from tunewright.privacy import vault

PLANTED = "Zoe Plantagenet-4711 of Elm Street"
LABEL = "plantedlabel-4711"
CHANGES = ["deploy.formats=[adapter,merged]", "train.store_frozen=false"]


@dataclass(frozen=True)
class Place:
    """A recipe whose rows hold planted texts, its key, a folder for temporary files, and what must not be found."""

    recipe: Path
    key: Path
    watched: Path
    needles: list[bytes]

    def run(self, runs: Path) -> None:
        """From prepare to a release, private."""
        changes = [*CHANGES, f"privacy.vault.key={self.key}"]
        tw.run(self.recipe, runs=runs, changes=changes, override="a test")

    def found(self, runs: Path) -> list[str]:
        """Where something was found."""
        files = [path for folder in (runs, self.watched) for path in folder.rglob("*") if path.is_file()]
        return [f"{path}: {needle[:40]!r}" for path in [*files, *nameless()] for needle in self.in_file(path)]

    def in_file(self, path: Path) -> list[bytes]:
        """What was found in a file."""
        try:
            content = path.read_bytes()
        except OSError:
            return []  # it has gone in the meantime
        return [needle for needle in self.needles if needle in content]


def nameless() -> Iterator[Path]:
    """Files on a disk that this process holds open and that have no name any more."""
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except OSError:
            continue
        if target.endswith(" (deleted)") and not target.startswith("/memfd:"):
            yield descriptor


def weights_of(release: Path) -> list[bytes]:
    """Pieces of the tensors of a plain release that the base does not have."""
    found = []
    for tensor in load_file(release / "adapter" / "adapter_model.safetensors").values():
        content = tensor.numpy().tobytes()
        found += [content[:48], content[-48:]]
    return [piece for piece in found if len(set(piece)) > 8]


@pytest.fixture(scope="module")
def plain(tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The same job in plain, to its release."""
    folder = tmp_path_factory.mktemp("planted")
    recipe = write_job(folder, tiny("llama"))
    for name, number in (("train", 3), ("train", 5), ("validation", 2), ("test", 1), ("test", 6)):
        path = folder / f"{name}.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        rows[number]["text"] += f" {PLANTED}"
        rows[number - 1]["label"] = LABEL
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with (folder / "train.jsonl").open("a") as file:
        file.write(json.dumps({"text": "", "label": "card", "who": PLANTED}) + "\n")  # goes to the quarantine
        file.write(f'{{"text": "{PLANTED}" torn\n')
    assert forked(lambda: tw.run(recipe, runs=folder / "runs", changes=CHANGES, override="a test")) == 0
    return Job(recipe, folder / "runs")


@pytest.fixture
def place(plain: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Where the private run is to be made."""
    from tunewright.core.recipe import ModelOptions
    from tunewright.models.opening import open_chat

    base = json.loads(plain.path.read_text())["model"]
    tokenizer: Any = open_chat(ModelOptions(base=base)).tokenizer
    ids = tokenizer(f" {PLANTED}", add_special_tokens=False)["input_ids"]
    weights = weights_of(plain.run.path("releases", "001"))
    assert len(ids) > 10 and len(weights) > 10
    tokens = [np.array(ids[2:-2], form).tobytes() for form in ("<i2", "<i4", "<i8")]
    watched = tmp_path / "temporary"
    watched.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(watched))
    for variable, folder in (("TMPDIR", ""), ("HF_HOME", "hub"), ("XDG_CACHE_HOME", "cache")):
        monkeypatch.setenv(variable, str(watched / folder))
    vault.new_key(tmp_path / "own.key")
    needles = [PLANTED.encode(), PLANTED.encode("utf-16-le"), LABEL.encode(), *tokens, *weights]
    return Place(plain.path, tmp_path / "own.key", watched, needles)


def test_a_plain_run_has_everything_that_is_searched_for(plain: Job, place: Place) -> None:
    found = {needle for path in plain.run.folder.rglob("*") if path.is_file() for needle in place.in_file(path)}
    number = place.needles.index
    missing = [needle for needle in place.needles if needle not in found]
    assert sorted(map(number, missing)) == [1, 3, 5], "UTF-16, and ids of two and eight bytes: nothing writes these"


def test_nothing_is_in_plain_at_any_moment(plain: Job, place: Place, tmp_path: Path) -> None:
    runs, looks = tmp_path / "runs", tmp_path / "looks"

    def work() -> None:
        num_looks = 0

        def look(point: str) -> None:
            nonlocal num_looks
            num_looks += 1
            if found := place.found(runs):
                raise AssertionError(f"at {point}: {found[:5]}")

        storage.failpoint = look
        place.run(runs)
        looks.write_text(str(num_looks))

    assert forked(work) == 0
    assert int(looks.read_text()) > 200
    assert place.found(runs) == []
    private_run = Job(plain.path, runs).run
    for file in ("adapter/adapter_model.safetensors", "merged/model.safetensors"):
        released = (run.path("releases", "001", file) for run in (plain.run, private_run))
        assert len({storage.sha256(path) for path in released}) == 1, "the same weights, bit by bit"
    assert Job(plain.path, runs).outcome() == {**plain.outcome(), "state": Job(plain.path, runs).outcome()["state"]}


# Points of every stage at which what was just written is still under its temporary name, or has just got its own.
POINTS = [
    "data.sync:1", "data.sync:3", "data.rename:2", "report.sync:1", "page.sync:1", "rows.begin:1", "rows.sync3:1",
    "rows.manifest:1", "save.sync1:1", "save.sync3:2", "save.rename:2", "events:40", "ledger:5", "answers:3",
    "answers:12", "answers.sync:1", "proofs.sync:1", "release.sync0:1", "release.sync5:1", "release.rename:1",
]  # fmt: skip


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_process_leaves_nothing_in_plain(place: Place, point: str, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    assert forked(lambda: place.run(runs), fail=f"{point}:kill") == KILLED
    assert (runs / "job" / private.VAULT).exists()
    assert place.found(runs) == []


@pytest.mark.parametrize("point", ["data.rename:2", "save.rename:2", "answers:3", "release.rename:1"])
def test_the_same_command_goes_on_to_the_same_weights(plain: Job, place: Place, point: str, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    assert forked(lambda: place.run(runs), fail=f"{point}:kill") == KILLED
    assert forked(lambda: place.run(runs)) == 0
    own = Job(plain.path, runs)
    assert own.outcome()["adapter"] == plain.outcome()["adapter"]
    assert own.outcome()["ledger"] == plain.outcome()["ledger"]
    assert place.found(runs) == []


@pytest.mark.parametrize("what", ["lock", "unlock"])
def test_a_killed_lock_or_unlock_leaves_a_run_that_works_and_is_finished(
    plain: Job, place: Place, what: str, tmp_path: Path
) -> None:
    from tunewright.stages import vaults

    job = plain.copied(tmp_path / "runs")
    if what == "unlock":
        vaults.lock(job.run.folder, key=str(place.key))
    before = plain.outcome()

    def work() -> None:
        if what == "lock":
            vaults.lock(job.run.folder, key=str(place.key))
        else:
            vaults.unlock(job.run.folder)

    for visit in (1, 9):
        assert forked(work, fail=f"form.rename:{visit}:kill") == KILLED
        assert job.outcome() == before, "every file is whole, in one form or the other"
    with pytest.raises(RunError, match="only partly encrypted"):
        tw.run(job.run.folder, override="a test")
    work()
    assert job.outcome() == before
    assert bool(place.found(tmp_path / "runs")) == (what == "unlock")
    assert private.is_private(job.run.folder) == (what == "lock")
    assert storage.damage(job.run.path("releases", "001")) is None
