"""Private runs of every kind end with the same weights as plain ones; commands, doors and recipes with a key."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import tunewright as tw
from tunewright.cli import app
from tunewright.core import private, storage
from tunewright.core.errors import NoKey, RecipeError, RunError, TunewrightError
from tunewright.core.recipe import Recipe
from tunewright.core.run import Run
from tunewright.privacy import vault

LABELS = ("card", "fees", "access")
TRAIN = {"epochs": 1, "batch": 6, "lr": 0.01, "micro_tokens": 256, "threads": 1, "save_every": 2, "evaluate_every": 3}
PAIRS = {"data": {"sources": ["pairs.jsonl"], "format": "preference", "test": None}}
KINDS: dict[str, dict[str, Any]] = {
    "full": {"method": "full"},
    "prefix": {"method": {"kind": "prefix", "tokens": 3}},
    "peft": {"method": {"kind": "peft", "tuner": "LOHA", "options": {"r": 2, "target_modules": "all-linear"}}},
    "a head over stored layers": {
        "method": {"kind": "last_layers", "layers": 1},
        "objective": {"kind": "classify", "labels": list(LABELS)},
        "train": TRAIN | {"store_frozen": True, "epochs": 2},
    },
    "pairs with a reference": {"objective": "dpo"} | PAIRS,
    "new tokens": {"method": {"kind": "lora", "rank": 2}, "model": {"new_tokens": ["<card>", "<fees>"]}},
}


@pytest.fixture(scope="module")
def folder(tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows, pairs and a key."""
    folder = tmp_path_factory.mktemp("private")
    rows = [{"text": f"question {n} of Zoe", "label": LABELS[n % 3]} for n in range(36)]
    pairs = [{"prompt": f"question {n}", "chosen": f"yes {n}", "rejected": f"no {n % 7}"} for n in range(20)]
    for name, content in (("rows", rows), ("pairs", pairs)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    vault.new_key(folder / "own.key")
    return folder


def recipe(folder: Path, base: Path, name: str, changes: dict[str, Any], *, key: bool) -> Recipe:
    """A small training, private or not."""
    values: dict[str, Any] = {
        "name": name,
        "data": {"sources": ["rows.jsonl"], "format": "labels"},
        "method": {"kind": "lora", "rank": 2},
        "train": TRAIN,
        "evaluate": {"against": []},
        **changes,
    }
    values["model"] = {"base": str(base), **(changes.get("model") or {})}
    if key:
        values["privacy"] = {"vault": {"key": "own.key"}}
    return Recipe.parse(values, folder=folder)


def trained(run: Run) -> dict[str, str]:
    """Digests of what training saved."""
    report = run.report("train")
    assert report is not None
    home = run.path("checkpoints", report.numbers["checkpoint"])
    return {path.name: storage.sha256(path) for path in sorted(home.rglob("*.safetensors"))}


@pytest.mark.parametrize("kind", KINDS)
def test_a_private_training_has_the_same_weights(
    kind: str, folder: Path, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    for name, key in (("plain", False), ("own", True)):
        tw.train(recipe(folder, tiny("llama"), name, KINDS[kind], key=key), runs=tmp_path)
    plain, own = Run(tmp_path / "plain"), Run(tmp_path / "own")
    assert trained(plain) == trained(own) and len(trained(own)) >= 2
    assert not in_plain(own.folder)


def in_plain(folder: Path) -> list[str]:
    """Files in plain that are not meant to be."""
    files = [path for path in folder.rglob("*") if path.is_file() and not private.stays_plain(path)]
    return [str(path) for path in files if not private.sealed.is_sealed(path)]


def test_phases_keep_and_go_on_in_private(folder: Path, tiny: Callable[[str], Path], tmp_path: Path) -> None:
    phases = [
        {"name": "first", "data": {"sources": ["rows.jsonl"], "format": "labels", "limit": 18}},
        {"name": "second", "from": "first", "retention": [{"kind": "replay"}, {"kind": "ewc", "rows": 3}]},
    ]
    for name, key in (("plain", False), ("own", True)):
        given = recipe(folder, tiny("llama"), name, {"phases": phases}, key=key)
        tw.train(given, runs=tmp_path)
    for child in ("01-first", "02-second"):
        assert trained(Run(tmp_path / "plain" / "children" / child)) == trained(
            Run(tmp_path / "own" / "children" / child)
        )
    assert not in_plain(tmp_path / "own")


@pytest.fixture(scope="module")
def released(folder: Path, tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a private run with a release of both formats. Copy it, do not change it."""
    runs = tmp_path_factory.mktemp("released")
    changes = {"deploy": {"formats": ["adapter", "merged"]}}
    tw.run(recipe(folder, tiny("llama"), "desk", changes, key=True), runs=runs, override="a test")
    return runs / "desk"


@pytest.fixture
def desk(released: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(released, tmp_path / "desk"))


def test_a_recipe_never_holds_the_key(released: Path, folder: Path) -> None:
    secret = (folder / "own.key").read_text().split("\n")[2]
    for path in released.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes()
    assert yaml.safe_load((released / "recipe.yaml").read_text())["privacy"] == {
        "vault": {"key": str(folder / "own.key"), "passphrase": None}
    }


def test_what_is_in_plain_is_what_the_page_lists(released: Path) -> None:
    plain = {path.name for path in released.rglob("*") if path.is_file() and not private.sealed.is_sealed(path)}
    assert plain == {
        private.VAULT, ".lock", "run.json", "recipe.yaml", "recipe.given.yaml", "ledger.jsonl", "config.json",
        "generation_config.json", "adapter_config.json", "tokenizer.json", "tokenizer_config.json",
        "chat_template.jinja",
    }  # fmt: skip
    page = (Path(__file__).parents[2] / "docs" / "vault.md").read_text()
    assert all(f"`{name}`" in page for name in (*private.PLAIN, *private.LIBRARIES))


def test_a_failure_quotes_nothing_in_run_json(folder: Path, tiny: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"text": "Zoe"}\n' * 9)
    bad = recipe(folder, tiny("llama"), "bad", {"data": {"sources": [str(tmp_path / "bad.jsonl")]}}, key=True)
    with pytest.raises(TunewrightError):
        tw.prepare(bad, runs=tmp_path)
    facts = Run(tmp_path / "bad").facts()
    assert facts["state"] == "failed" and " " not in facts["error"]


# --- doors ---


def command(*arguments: str | Path) -> Any:
    """A command line's result."""
    return CliRunner().invoke(app(), [str(argument) for argument in arguments])


def test_answers_are_given_by_adapter_and_by_merged_weights(desk: Path, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "question 1"}\n{"text": "question 2"}\n')
    assert command("answer", desk, tmp_path / "in.jsonl", "--out", tmp_path / "out.jsonl").exit_code == 0
    first = (tmp_path / "out.jsonl").read_text()
    assert first.count("\n") == 2  # a file that the user named, elsewhere: in plain
    merged = Path(shutil.copytree(desk / "releases" / "001", tmp_path / "alone"))
    shutil.rmtree(merged / "adapter")
    manifest = storage.read_json(merged / "manifest.json")
    manifest["files"] = {name: told for name, told in manifest["files"].items() if not name.startswith("adapter")}
    manifest.pop("sha256")
    storage.write_json(merged / "manifest.json", {**manifest, "sha256": storage.digest(manifest)})
    from tunewright.models.release import open_release

    opened = open_release(merged)
    assert opened.adapter == "" and opened.model.net.name_or_path == str(merged / "merged")
    inside = desk / "answers.csv"  # one inside a private folder: encrypted
    assert command("answer", desk, tmp_path / "in.jsonl", "--out", inside).exit_code == 0
    assert private.sealed.is_sealed(inside) and b"question" not in inside.read_bytes()
    assert command("answer", desk, tmp_path / "in.jsonl", "--out", inside).exit_code == 0


def test_a_server_serves_it(desk: Path) -> None:
    from starlette.testclient import TestClient

    from tunewright.server.app import build
    from tunewright.server.front import Front
    from tunewright.server.registry import Registry

    registry = Registry([Run(desk)])
    registry.start()
    with TestClient(build(Front(registry)), base_url="http://localhost") as client:
        asked = {"model": "desk", "messages": [{"role": "user", "content": "question 1"}]}
        told = client.post("/v1/chat/completions", json=asked).json()
    assert "choices" in told, told
    assert told["choices"][0]["message"]["content"] in LABELS


def test_show_and_data_commands(desk: Path, tmp_path: Path, folder: Path) -> None:
    assert command("show", desk).exit_code == 0
    shown = command("data", "read", desk, "report.html", "--out", tmp_path / "report.html")
    assert shown.exit_code == 0 and "<html" in (tmp_path / "report.html").read_text()[:200]
    locked = trained(Run(desk))
    unlocked = command("data", "unlock", desk, "--json")
    assert unlocked.exit_code == 0 and json.loads(unlocked.stdout)["numbers"]["files"] > 20
    assert not private.is_private(desk) and not [p for p in desk.rglob("*.jsonl") if private.sealed.is_sealed(p)]
    assert trained(Run(desk)) == locked and storage.damage(desk / "releases" / "001") is None
    for verb in ("lock", "unlock"):  # without a key, and of a plain run
        assert isinstance(command("data", verb, desk).exception, RunError)
    (tmp_path / "words").write_text("a passphrase\n")
    assert command("data", "lock", desk, "--passphrase", tmp_path / "words").exit_code == 0
    assert not in_plain(desk) and storage.damage(desk / "releases" / "001") is None
    (desk / "data" / "train.jsonl").write_text("{}\n")  # put there by hand
    assert command("data", "lock", desk, "--key", folder / "own.key").exit_code == 0
    assert storage.read_bytes(desk / "data" / "train.jsonl") == b"{}\n" and not in_plain(desk)


def test_a_release_is_moved_and_decrypted_alone(desk: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copytree(desk / "releases" / "001", tmp_path / "alone"))
    shutil.rmtree(desk)
    from tunewright.models.release import open_release

    assert open_release(alone).adapter
    assert command("data", "unlock", alone).exit_code == 0
    assert storage.damage(alone) is None and open_release(alone).adapter and not private.is_private(alone)


def test_a_wrong_key_is_one_sentence_and_exit_code_two(
    desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.new_key(tmp_path / "other.key")
    monkeypatch.setenv(vault.VARIABLE, str(tmp_path / "other.key"))
    vault._open.clear()
    vault._unwrapped.clear()
    with pytest.raises(NoKey, match="encrypted to the key age1"):
        tw.run(desk)


def test_a_flipped_bit_in_a_checkpoint_is_told_and_an_earlier_one_used(desk: Path) -> None:
    path = next(desk.glob("checkpoints/*/model/adapter_model.safetensors"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    from tunewright.training import checkpoints

    told: list[str] = []
    checkpoints.newest(desk / "checkpoints", about={}, warn=told.append)
    assert len(told) == 1 and "cannot be decrypted: it was changed" in told[0]


# --- recipes ---


def test_a_run_begun_in_plain_is_not_made_private_silently(
    folder: Path, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    tw.prepare(recipe(folder, tiny("llama"), "desk", {}, key=False), runs=tmp_path)
    with pytest.raises(RunError, match="tunewright data lock"):
        tw.prepare(recipe(folder, tiny("llama"), "desk", {}, key=True), runs=tmp_path)
    assert tw.prepare(recipe(folder, tiny("llama"), "desk", {}, key=True), runs=tmp_path, fresh=True).stage == "prepare"
    assert tw.prepare(recipe(folder, tiny("llama"), "desk", {}, key=False), runs=tmp_path).stage == "prepare"
    assert not in_plain(tmp_path / "desk"), "a run that is private stays so"


def test_what_is_private_is_not_written_in_plain_by_another_run(
    released: Path, folder: Path, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    for changes in (
        {"model": {"from": str(released)}},
        {"data": {"sources": [str(released / "data" / "*.jsonl")]}},
        {"retention": [{"kind": "replay", "runs": [str(released)]}]},
    ):
        with pytest.raises(RunError, match="is private, and what is made from it"):
            tw.prepare(recipe(folder, tiny("llama"), "next", changes, key=False), runs=tmp_path)
        shutil.rmtree(tmp_path / "next")
    from tunewright.models.compose import compose

    with pytest.raises(RunError, match="is private"):
        compose(tmp_path / "both", [str(released / "releases" / "001")])
    private_next = recipe(folder, tiny("llama"), "next", {"model": {"from": str(released)}}, key=True)
    tw.train(private_next, runs=tmp_path)
    assert not in_plain(tmp_path / "next")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "give either key or passphrase"),
        ({"key": "a", "passphrase": "b"}, "give either key or passphrase"),
        ({"key": "AGE-SECRET-KEY-1SECRET"}, "this is the key itself"),
        ({"keys": "a"}, "Did you mean 'key'"),
    ],
)
def test_a_vault_that_cannot_be_is_told_without_its_secret(given: dict[str, str], told: str, tmp_path: Path) -> None:
    values = {"name": "desk", "data": {"sources": ["a"]}, "privacy": {"vault": given}}
    with pytest.raises(RecipeError, match=told) as error:
        Recipe.parse(values, folder=tmp_path)
    assert "SECRET-KEY-1SECRET" not in str(error.value)


def test_keys_are_located_beside_the_recipe(tmp_path: Path) -> None:
    def located(given: dict[str, str]) -> dict[str, Any]:
        values = {"name": "desk", "data": {"sources": ["a"]}, "privacy": {"vault": given}}
        found: dict[str, Any] = Recipe.parse(values, folder=tmp_path).to_dict()["privacy"]["vault"]
        return {key: value for key, value in found.items() if value}

    assert located({"key": "own.key"}) == {"key": str(tmp_path / "own.key")}
    for given in ({"key": "env:NAME"}, {"passphrase": "ask"}, {"passphrase": "env:NAME"}):
        assert located(given) == given
