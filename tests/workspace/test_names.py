"""A name means what its project can ask for, is never made into a path, and costs little among a thousand others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunewright.core import storage
from tunewright.core.errors import TunewrightError
from tunewright.workspace import aliases
from tunewright.workspace.config import Config, Serving
from tunewright.workspace.models import delete
from tunewright.workspace.names import Base, Names, Release
from tunewright.workspace.place import Workspace
from tunewright.workspace.tables import Job, Model, Permission


def make_release(folder: Path, *, base: str = "nano") -> None:
    about = {"run": folder.parent.parent.name, "release": 1, "created": "2026-01-02T03:04:05+00:00", "base": base}
    storage.write_json(folder.parent.parent / "run.json", {"name": folder.parent.parent.name})
    with storage.new_folder(folder, about=about | {"decode": {"kind": "generate"}}) as target:
        storage.write_text(target / "adapter" / "weights", folder.name)


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    """desk by hand; a job's run with a tuned model in each of two projects, and a checkpoint."""
    place = Workspace.open(tmp_path)
    for name in ("desk/releases/001", "desk/releases/002", "ours/releases/001", "theirs/releases/001"):
        make_release(place.runs / name)
    make_release(place.runs / "theirs" / "checkpoints-served" / "step-5")
    (tmp_path / "secret").mkdir()
    make_release(tmp_path / "secret" / "releases" / "001")
    plain = {"model": "nano", "base": "nano", "status": "succeeded", "training_file": "f", "seed": 0, "method": {}}
    with place.database.writing() as session:
        for run, project in (("ours", "default"), ("theirs", "else")):
            session.add(Job(id=f"ftjob-{run}", run=run, project=project, **plain))
            folder = f"{run}/releases/001"
            session.add(Model(name=f"ft:nano:local:{run}:1", project=project, folder=folder, base="nano"))
        folder = "theirs/checkpoints-served/step-5"
        session.add(Model(name="ft:nano:local:theirs:1:ckpt-step-5", project="else", folder=folder, base="nano"))
    return place


def test_names_mean_what_their_project_has(place: Workspace) -> None:
    names = Names(workspace=place)

    def first(name: str, project: str = "default") -> str | None:
        found = names.find(name, project)
        return found and f"{found.candidates[0].name} {type(found.candidates[0]).__name__}"

    assert first("nano") == first("nano", "else") == "nano Base"
    assert first("desk") == first("desk:002") == "desk:002 Release"
    assert first("desk:001") == "desk:001 Release"
    assert first("ft:nano:local:ours:1") == "ft:nano:local:ours:1 Release"
    assert first("ours:001") == "ours:001 Release"
    for name in ("theirs", "theirs:001", "ft:nano:local:theirs:1", "ft:nano:local:theirs:1:ckpt-step-5", "desk:003"):
        assert first(name) is None and names.one(name) is None
        assert name not in {known.name for known in names.listed()}
    for name in ("desk", "desk:001", "ours", "ft:nano:local:ours:1"):
        assert first(name, "else") is None
    assert first("theirs", "else") == "theirs:001 Release"


def test_a_permission_opens_one_checkpoint_to_another_project(place: Workspace) -> None:
    names, name = Names(workspace=place), "ft:nano:local:theirs:1:ckpt-step-5"
    with place.database.writing() as session:
        session.add(Permission(id="cp_1", model=name, project="default"))
    found = names.find(name)
    assert found and isinstance(found.candidates[0], Release) and found.candidates[0].fingerprint
    assert names.find("ft:nano:local:theirs:1") is None
    assert name in {known.name for known in names.listed()}
    with place.database.writing() as session:
        assert not delete(session, name, project="default")


def test_a_deleted_model_is_not_there_and_its_run_stays(place: Workspace) -> None:
    names, name = Names(workspace=place), "ft:nano:local:ours:1"
    with place.database.writing() as session:
        assert not delete(session, name, project="else")
        aliases.put(session, "live", "default", {name: 1.0}, is_model=lambda model: model != "live")
    with pytest.raises(TunewrightError, match="Alias 'live'"), place.database.writing() as session:
        delete(session, name, project="default")
    with place.database.writing() as session:
        aliases.promote(session, "live", "default", "desk", is_model=lambda model: model != "live")
        assert delete(session, name, project="default")
        assert not delete(session, name, project="default")
    assert names.find(name) is None
    assert (place.runs / "ours" / "releases" / "001" / "manifest.json").exists()


def test_the_newest_release_is_first_and_older_ones_follow(place: Workspace) -> None:
    names = Names(workspace=place)
    make_release(place.runs / "desk" / "releases" / "003")
    found = names.find("desk")
    assert found and [one.name for one in found.candidates] == ["desk:003", "desk:002", "desk:001"]
    (place.runs / "desk").rename(place.runs / "desk.20260101-000000")  # as a fresh start does
    assert names.find("desk") == found


STRANGE = [
    "../../etc",
    "/etc/passwd",
    "a/../desk",
    "..%2f",
    "%252e%252e",
    "..\\",
    "desk\0",
    "\u2024\u2024/x",
    "x" * 300,
    "NUL",
    "CON:001",
    "../secret",
    "../secret:001",
    "secret",
    "desk:../../secret/releases/001",
    "desk:001/../001",
    "desk/",
    "./desk",
    "",
    "\ud800",
    ":",
    "::",
    "desk:",
    "desk:1",
    "*",
    "desk:*",
]


@pytest.mark.parametrize("name", STRANGE, ids=ascii)
def test_strange_names_mean_nothing(place: Workspace, name: str) -> None:
    names = Names(workspace=place)
    found = names.find(name)
    # "desk:" is the run's name and no number
    assert found is None or name == "desk:"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=40), st.sampled_from(["", "desk", "desk:", "ft:", "../"]))
def test_any_text_is_a_name_or_none(place: Workspace, text: str, before: str) -> None:
    found = Names(workspace=place).find(before + text)
    for one in found.candidates if found else ():
        assert isinstance(one, Base) or one.folder.resolve().is_relative_to(place.runs.resolve())


def test_a_thousand_models_are_listed_without_reading_their_files_again(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with place.database.writing() as session:
        for number in range(1000):
            folder = f"ours/releases/{1 + number % 9:03d}"
            session.add(Model(name=f"ft:nano:local::{number}", folder=folder, base="nano"))
    names = Names(workspace=place)
    first = names.listed()
    assert len(first) >= 1000

    def read(path: Path) -> None:
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr(storage, "read_json", read)
    monkeypatch.setattr(storage, "sha256", read)
    monkeypatch.setattr(storage, "damage", read)
    assert names.listed() == first


def test_the_settings_that_the_page_shows_are_valid() -> None:
    page = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yml\n(# \.tunewright/workspace\.yaml\n.*?)```", page, re.DOTALL)
    serving = Config.model_validate(yaml.safe_load(shown)).serving
    assert set(yaml.safe_load(shown)["serving"]) == set(Serving.model_fields)
    assert serving == Serving(preload=["desk"])
