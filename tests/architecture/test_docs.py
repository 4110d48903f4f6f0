"""docs/architecture.md names the modules that are there, and its examples of new parts work as they stand."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tunewright.core import catalog
from tunewright.core.example import Example, Message
from tunewright.core.guarding import GuardScene
from tunewright.core.parts import Past, Subject

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```python\n# src/tunewright/(\w+)/(\w+)\.py\n(.*?)```", re.DOTALL)
SHOWN = {(family, kind): source for family, kind, source in BLOCK.findall(PAGE)}
EXAMPLE = Example(
    id="e1",
    messages=[Message(role="user", content="Where is my card?"), Message(role="assistant", content="On its way.")],
)


@pytest.fixture(scope="module")
def tree_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tree_page", ROOT / "scripts" / "tree_page.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def shown_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The examples of the page as files in their families' folders, for the length of a test."""
    for (family, kind), source in SHOWN.items():
        (tmp_path / family).mkdir(exist_ok=True)
        (tmp_path / family / f"{kind}.py").write_text(source, encoding="utf-8")
        package = importlib.import_module(f"tunewright.{family}")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / family)])
    yield
    for family, kind in SHOWN:
        sys.modules.pop(f"tunewright.{family}.{kind}", None)
    catalog.part_class.cache_clear()


def test_the_tree_names_every_module_and_no_other(tree_script: ModuleType) -> None:
    named, there = tree_script.named(PAGE), tree_script.modules()
    remedy = "Run: python scripts/tree_page.py"
    assert not there - named, f"docs/architecture.md lacks {sorted(there - named)}. {remedy}"
    assert not named - there, f"docs/architecture.md names {sorted(named - there)}, which are not there. {remedy}"


def test_an_example_is_shown_for_every_family() -> None:
    assert {family for family, _ in SHOWN} == set(catalog.FAMILIES)


@pytest.mark.parametrize(("family", "kind"), sorted(SHOWN))
def test_a_shown_part_is_found_by_its_file_name(family: str, kind: str, shown_parts: None) -> None:
    part = catalog.part_class(family, kind)
    assert kind in catalog.kinds(family)
    assert part.__name__.lower() == kind
    assert all(field.description for field in part.model_fields.values())


def test_the_shown_grader_grades(shown_parts: None) -> None:
    grader = catalog.build("graders", {"kind": "brevity", "words": 3})
    assert grader.grade(EXAMPLE, "on its way").score == 1
    assert grader.grade(EXAMPLE, "it is on its way").why == "5 words"


def test_the_shown_contestant_asks(shown_parts: None) -> None:
    contestant = catalog.build("contestants", {"kind": "prompted", "system": "Be brief."})
    asked = contestant.prompts([EXAMPLE], [])
    assert asked == [[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is my card?"}]]


def test_the_shown_edit_changes_what_is_asked(shown_parts: None) -> None:
    from tunewright.data import augment

    row = augment.made(EXAMPLE, catalog.build("edits", {"kind": "greeting", "words": ["Hi!"]}), seed=0, copy=0)
    assert row is not None
    assert [message.content for message in row.messages] == ["Hi! Where is my card?", "On its way."]


def test_the_shown_guard_measures(shown_parts: None) -> None:
    def ask(who: str, conversations: list, *, name: str, **_: object) -> list[str]:
        return ["short" if who == "tuned" else "twice as long"] * len(conversations)

    def never(*_: object) -> None:
        raise AssertionError

    scene = GuardScene(
        splits={"test": [EXAMPLE]}, labels=[], answers={}, grade=never, ask=ask, logprobs=never, open=never, folder=ROOT
    )
    found = catalog.build("guards", {"kind": "shorter", "at_least": 0.5}).measure(scene)
    assert found.measures[0].value == pytest.approx(5 / 13)
    assert found.state == "broken"


def test_the_shown_monitor_counts(shown_parts: None) -> None:
    from tunewright.core.monitoring import MonitorScene
    from tunewright.core.traffic import Exchanged

    rest = dict(created=0.0, project="", model="", release="", fingerprint="", seconds=0.1, finish="stop")
    traffic = [
        Exchanged(id=f"c{n}", prompt_tokens=1, completion_tokens=1, answer="" if n < 9 else "yes", **rest)  # type: ignore[arg-type]
        for n in range(90)
    ]
    scene = MonitorScene(traffic=traffic, vectors=lambda *_: pytest.fail("no text is compared"))
    (figure,) = catalog.build("monitors", "empty").watch(scene).figures
    assert figure.value == pytest.approx(0.1)
    assert figure.p is not None and figure.p < 1e-5
    assert figure.examples == [f"c{n}" for n in range(9)]


def test_the_shown_retention_holds(open_tiny: Callable, tmp_path: Path, shown_parts: None) -> None:
    import torch

    model = open_tiny()
    catalog.build("methods", "lora").attach(model.net)
    unused: Callable = lambda *_: pytest.fail("not needed by this retention")  # noqa: E731
    past = Past(
        model=model, units=unused, open_runs=[], trained=[], batch=1, seed=0, folder=tmp_path, poll=unused
    )  # fmt: skip
    keeping = catalog.build("retention", {"kind": "nearby", "strength": 2}).keep(past)
    assert float(keeping.penalty(model).detach()) == 0
    trained = [p for p in model.net.parameters() if p.requires_grad]
    with torch.no_grad():
        for parameter in trained:
            parameter.fill_(0.1)
    keeping.penalty(model).backward()
    assert all(parameter.grad.all() for parameter in trained)


def test_the_shown_method_objective_exporter_and_proof_work(
    open_tiny: Callable, tmp_path: Path, shown_parts: None
) -> None:
    import torch

    from tunewright.models.forest import Forest

    model, method, objective = open_tiny(), catalog.build("methods", "vectors"), catalog.build("objectives", "even")
    method.attach(model.net)
    rows = objective.encode(EXAMPLE, model.chat, max_tokens=200)
    assert objective.counts(rows) == {"nll": 1}
    assert rows[0].num_learned == pytest.approx(1)
    value, _ = objective.loss(model, Forest.build(rows)).terms["nll"]
    value.backward()
    assert {p.dim() for p in model.net.parameters() if p.grad is not None and p.grad.any()} == {1}

    method.save(model.net, tmp_path / "saved")
    again = open_tiny()
    method.load(method.attach(again.net), tmp_path / "saved")
    proof = catalog.build("proofs", "finite")

    def subject() -> Subject:
        unused: Callable = lambda *_: pytest.fail("not needed by this proof")  # noqa: E731
        return Subject(
            method=method, objective=objective, examples=[EXAMPLE], max_tokens=200, micro_tokens=200, folder=tmp_path,
            open_chat=unused, encoded=unused, open_base=unused, gradients=unused, open_tuned=lambda: again,
        )  # fmt: skip

    assert proof.prove(subject()).holds
    catalog.build("exporters", "half").export(method, again, tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").exists()
    assert again.dtype == torch.float16

    with torch.no_grad():
        next(again.net.parameters()).view(-1)[0] = float("nan")
    assert not proof.prove(subject()).holds
