"""Releases that are weights and a fixed root: with it on the task, without it under `:weights`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from tunewright.core import catalog
from tunewright.core.errors import DataError
from tunewright.core.recipe import ModelOptions
from tunewright.core.run import Run
from tunewright.models.engine import Engine
from tunewright.models.opening import open_model
from tunewright.models.release import open_release
from tunewright.server.front import Front
from tunewright.server.registry import Registry
from tunewright.stages.answering import Speaker

from .conftest import LABELS, Place, make_base, shake
from .shop import served

HELLO: list[Any] = [{"role": "user", "content": "hello there"}]


@pytest.fixture(scope="module")
def rooted(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A base with a root of its own, and releases on it: an adapter, a choosing one, weights of their own, a head."""
    folder = tmp_path_factory.mktemp("rooted")
    make_base(folder / "plain")
    model = open_model(ModelOptions(base=str(folder / "plain")))
    method = catalog.build("methods", {"kind": "prompt", "tokens": 6})
    method.attach(model.net)
    shake(model.net, 9)
    method.hand_on(model.net)
    model.save(folder / "tiny")
    place = Place(folder / "runs", folder / "tiny")
    place.release("low", 1)
    place.release("desk", 2, kind="choices", labels=LABELS)
    place.release("whole", 3, merged=True)
    place.release("judge", 4, kind="reward")
    Place(folder / "runs", folder / "plain").release("bare", 5)
    return place


@pytest.fixture(scope="module")
def client(rooted: Place) -> Iterator[OpenAI]:
    runs = [Run.open(name, runs=rooted.runs) for name in ("low", "desk", "whole", "bare")]
    with served(Front(Registry(runs))) as url:
        yield OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=30)


def said(client: OpenAI, model: str) -> str:
    return client.chat.completions.create(model=model, messages=HELLO, max_tokens=16).choices[0].message.content or ""


def by_hand(place: Place, run: str, *, rootless: bool) -> str:
    """The answer of a release whose root was taken off the disk, or not."""
    import shutil

    release = place.runs / run / "releases" / "001"
    merged = (release / "merged").exists()
    base = release.parents[2] / f"{run}-{rootless}"
    shutil.copytree(release / "merged" if merged else place.base, base)
    if rootless:
        shutil.rmtree(base / "root")
    model = open_model(ModelOptions(base=str(base)))
    if not merged:
        model.load_adapter("it", release / "adapter")
    ids = model.chat.prompt_ids(HELLO)
    [made] = Engine(model).generate([ids], max_new_tokens=16, adapters=["" if merged else "it"])
    return model.chat.answer_text(made.ids)


def test_a_release_answers_with_the_root_and_its_weights_without(client: OpenAI, rooted: Place) -> None:
    for run in ("low", "whole"):
        both = said(client, run), said(client, f"{run}:weights")
        assert both == (by_hand(rooted, run, rootless=False), by_hand(rooted, run, rootless=True))
        assert both[0] != both[1]
    assert said(client, "desk") in LABELS and said(client, "desk:weights") not in LABELS
    assert said(client, "desk:001:weights") == said(client, "desk:weights")


def test_the_names_are_listed_and_others_refused(client: OpenAI) -> None:
    names = {model.id for model in client.models.list()}
    assert {f"{run}{number}:weights" for run in ("low", "desk", "whole") for number in ("", ":001")} <= names
    assert not {name for name in names if name.startswith(("bare", "tiny")) and name.endswith(":weights")}
    for name in ("bare:weights", "tiny:weights", "nobody:weights"):
        with pytest.raises(openai.NotFoundError):
            said(client, name)


def test_chat_and_answer_know_the_same_name(client: OpenAI, rooted: Place) -> None:
    for run in ("low", "whole"):
        speaker = Speaker.open(f"{run}:weights", runs=rooted.runs)
        assert speaker.name == f"{run}:001:weights"
        assert speaker.answer([HELLO])[0].text.startswith(said(client, f"{run}:weights"))
    for run in ("bare", "judge"):
        with pytest.raises(DataError, match="has no root"):
            open_release(rooted.runs / run / "releases" / "001", alone=True)
