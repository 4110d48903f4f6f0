"""Folders of models that are made to harm: nothing of theirs is run, and what they ask for is limited."""

from __future__ import annotations

import contextlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunewright.core.errors import TunewrightError
from tunewright.core.recipe import ModelOptions
from tunewright.models import chat as chat_module
from tunewright.models.chat import Chat
from tunewright.models.opening import open_chat, open_model

HELLO: list[Any] = [{"role": "user", "content": "hello"}]
ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.popen('touch SENTINEL').read() }}",
    "{{ self.__init__.__globals__ }}",
    "{{ messages.append(1) }}",
    "{{ messages.__class__.__base__.__subclasses__() }}",
    "{% set x = lipsum.__globals__['os'].system('touch SENTINEL') %}{{ x }}",
    "{{ '{0.__class__.__mro__}'.format(1) }}",
    "{{ strftime_now.__globals__['__builtins__']['open']('SENTINEL', 'w') }}",
    "{% include '/etc/passwd' %}",
]
HIDDEN = ["{{ ''|attr('__class__')|attr('__mro__') }}", "{{ raise_exception.__globals__ }}", "{{ ''.__class__ }}"]
HEAVY = [
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% for i in range(10**9) %}{% endfor %}",
    "{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
    "{{ 'x' * 10**13 }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{{ 1 // 0 }}",
    "{{ messages[0].content + 1 }}",
]


@pytest.fixture
def copied(tiny: Callable[[str], Path], tmp_path: Path) -> Path:
    """A base of one's own."""
    shutil.copytree(tiny("llama"), tmp_path / "base")
    return tmp_path / "base"


def templated(folder: Path, template: str) -> Chat:
    """The base's chat with another template."""
    chat = open_chat(ModelOptions(base=str(folder)))
    chat.tokenizer.chat_template = template
    return chat


@pytest.mark.parametrize("template", ESCAPES)
def test_a_template_that_reaches_out_is_refused(copied: Path, tmp_path: Path, template: str) -> None:
    sentinel = tmp_path / "sentinel"
    chat = templated(copied, template.replace("SENTINEL", str(sentinel)))
    with pytest.raises(TunewrightError, match="template"):
        chat.prompt_ids(HELLO)
    assert not sentinel.exists()


@pytest.mark.parametrize("template", HIDDEN)
def test_a_template_sees_nothing_of_the_inside(copied: Path, template: str) -> None:
    chat = templated(copied, f"-{template}-")
    assert chat.decode(chat.prompt_ids(HELLO), keep_control=True) == "--"


@pytest.mark.parametrize("template", HEAVY)
def test_a_template_without_end_is_ended(copied: Path, monkeypatch: pytest.MonkeyPatch, template: str) -> None:
    monkeypatch.setattr(chat_module, "RENDER_SECONDS", 0.3)
    chat = templated(copied, template)
    with pytest.raises(TunewrightError, match="template"):
        chat.prompt_ids(HELLO)


class Harm:
    """What a pickle may bring."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.sentinel,)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pkl", "model.safetensors"])
def test_weights_in_a_pickle_are_not_opened(copied: Path, tmp_path: Path, name: str) -> None:
    sentinel = tmp_path / "sentinel"
    for path in copied.glob("*.safetensors*"):
        path.unlink()
    (copied / name).write_bytes(pickle.dumps(Harm(sentinel)))
    with pytest.raises(TunewrightError):
        open_model(ModelOptions(base=str(copied)))
    assert not sentinel.exists()
    pickle.loads((copied / name).read_bytes())
    assert sentinel.exists()  # it would have been


@pytest.mark.parametrize("nested", [False, True])
def test_code_beside_a_model_is_not_run(copied: Path, tmp_path: Path, nested: bool) -> None:
    sentinel = tmp_path / "sentinel"
    (copied / "evil.py").write_text(f"open({str(sentinel)!r}, 'w')\nclass Evil: ...\n")
    kinds = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoTokenizer")
    mapped = {"auto_map": {kind: "evil.Evil" for kind in kinds}}
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        path = copied / name
        held = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(held | ({"text_config": mapped, "vision_config": mapped} if nested else mapped)))
    with contextlib.suppress(TunewrightError):  # refusing it is as good
        open_model(ModelOptions(base=str(copied)))
    assert not sentinel.exists()


def test_a_kind_of_model_that_needs_its_own_code_is_refused(copied: Path, tmp_path: Path) -> None:
    sentinel = tmp_path / "sentinel"
    (copied / "evil.py").write_text(f"open({str(sentinel)!r}, 'w')\nclass Evil: ...\n")
    config = json.loads((copied / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}}
    (copied / "config.json").write_text(json.dumps(config))
    with pytest.raises(TunewrightError):
        open_model(ModelOptions(base=str(copied)))
    assert not sentinel.exists()
