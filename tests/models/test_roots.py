"""Roots in the engine, in scoring and in forests: each row finds its own root, and places are counted with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core import catalog
from tunewright.core.errors import CannotMerge, DataError, RecipeError
from tunewright.core.parts import Head
from tunewright.models import heads, roots, scoring
from tunewright.models.decode import Decode, answer, prompt_ids
from tunewright.models.engine import Engine
from tunewright.models.forest import Forest, Row, micro_batches
from tunewright.models.sequences import Request
from tunewright.models.vectors import vectors

PROMPTS = [[(13 * n + k) % 290 for n in range(size)] for k, size in enumerate((5, 31, 12, 40, 7, 31))]
SHARED = [[*PROMPTS[3], *ending] for ending in ([1, 2], [1, 9], [77])]
LABELS = [[5, 6, 7, 0], [5, 6, 9, 0], [8, 0], [5, 0]]
NAMES = ["words", "", "keys", "low", "words", "keys"]


@pytest.fixture(scope="module")
def folders(open_tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An adapter of each kind, away from where it begins."""
    made = {}
    for name, options in {"words": "prompt", "keys": "prefix", "low": "lora"}.items():
        model = open_tiny("llama")
        method = catalog.build("methods", {"kind": options, **({} if options == "lora" else {"tokens": 6})})
        method.attach(model.net, seed=4)
        draw = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for parameter in model.net.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.5)
        made[name] = tmp_path_factory.mktemp(name)
        method.save(model.net, made[name])
    return made


@pytest.fixture
def model(folders: dict[str, Path], open_tiny: Any) -> Any:
    """A base with all of them beside it."""
    opened = open_tiny("llama")
    for name, folder in folders.items():
        opened.load_adapter(name, folder)
    return opened


@pytest.mark.parametrize("plain", [False, True])
def test_every_request_finds_its_own_root(model: Any, plain: bool) -> None:
    engine = Engine(model, max_live=4, plain=plain)
    prompts, names = [*PROMPTS, *SHARED], [*NAMES, "words", "keys", "words"]
    mixed = engine.generate(prompts, max_new_tokens=8, stop_ids=[], adapters=names, logprobs=True)
    for prompt, name, made in zip(prompts, names, mixed, strict=True):
        row = Row([*prompt, *made.ids], [0.0] * len(prompt) + [1.0] * 8, "a", adapter=name)
        with torch.no_grad():
            forest = model.forest([row])
            said = model.token_logprobs(forest)
            best = model.logits(model.hidden(forest)[forest.from_K]).argmax(-1)
        assert torch.allclose(said, torch.tensor(made.logprobs), atol=1e-4)
        assert best.tolist() == made.ids
    names = ["", "words", "keys", "low"]
    said = engine.generate([PROMPTS[1]] * 4, max_new_tokens=8, stop_ids=[], adapters=names)
    assert len({tuple(made.ids) for made in said}) == 4


@pytest.mark.parametrize("name", ["words", "keys"])
def test_labels_are_scored_behind_the_root(model: Any, name: str) -> None:
    prompts = [*SHARED, PROMPTS[0]]
    scores = scoring.scores(model, prompts, LABELS, adapter=name)
    for prompt, found in zip(prompts, scores, strict=True):
        rows = [Row([*prompt, *label], [0.0] * len(prompt) + [1.0] * len(label), "a", name) for label in LABELS]
        with torch.no_grad():
            alone = [float(model.logprobs(model.forest([row]))) for row in rows]
        assert found == pytest.approx(alone, abs=1e-4)
    best = scoring.best(model, prompts, LABELS, adapter=name)
    assert best == [row.index(max(row)) for row in scores]


def test_the_context_holds_the_root_too(model: Any) -> None:
    engine = Engine(model)
    assert model.longest("words") == 506 and model.longest() == 512
    [made] = engine.generate([[3] * 502], max_new_tokens=50, stop_ids=[], adapters=["keys"])
    assert made.finish == "length" and len(made.ids) == 4
    with pytest.raises(DataError, match="at most 505"):
        engine.admit(Request([3] * 506, 1, adapter="words"))
    engine.admit(Request([3] * 506, 1))


@pytest.mark.parametrize("kind", ["classify", "embed"])
def test_a_text_that_fills_the_context_is_refused_behind_a_root(kind: str, open_tiny: Any) -> None:
    model = open_tiny("gpt2")  # whose positions are a table
    catalog.build("methods", {"kind": "prompt", "tokens": 6}).attach(model.net)
    heads.attach_head(model.net, Head(2, "classes", pool="last"))
    engine, decode = Engine(model), Decode(kind=kind, labels=["a", "b"])
    size = len(prompt_ids(model.chat, decode, [{"role": "user", "content": ""}]))
    longest = [{"role": "user", "content": "?" * (506 - size)}]
    assert len(prompt_ids(model.chat, decode, longest)) == model.longest() == 506
    assert answer(engine, decode, [longest])[0].text in ("a", "b")
    with pytest.raises(DataError, match="507 tokens does not fit the model's 506"):
        answer(engine, decode, [[{"role": "user", "content": "?" * (507 - size)}]])
    with pytest.raises(DataError, match="507 tokens does not fit the model's 506"):
        vectors(model, Decode(kind="embed"), [[3] * 507])


def test_a_forest_has_one_root_for_each_adapter_and_rows_keep_their_own_tokens() -> None:
    rows = [Row([9, n, n + 1], [0.0, 1.0, 1.0], str(n), adapter) for n in range(4) for adapter in ("", "a")]
    forest = Forest.build(rows, roots={"a": 3})
    assert forest.num_tokens == 4 * 3 + 3 + 4 * 3 and forest.num_row_tokens == 24
    assert [(adapter, size) for adapter, _, size in forest.roots] == [("a", 3)]
    for row, own, line in zip(rows, forest.row_tokens, forest.lines, strict=True):
        root = 3 if row.adapter else 0
        assert forest.items[own].tolist() == row.items and line[root:].tolist() == own.tolist()
        assert forest.positions_N[torch.from_numpy(line)].tolist() == list(range(root + 3))
    assert torch.equal(forest.longest_N, torch.full_like(forest.longest_N, 3))
    apart = Forest.build(rows, share=False, roots={"a": 3})
    assert apart.num_tokens == 4 * 3 + 4 * 6 and len(apart.roots) == 4


def test_micro_batches_count_a_shared_root_once() -> None:
    units = [[Row([n, *range(10)], [0.0] + [1.0] * 10, str(n))] for n in range(20)]
    batches = micro_batches(units, 80, root=30)
    assert [len(batch) for batch in batches] == [4] * 5
    assert all(Forest.build(batch, roots={"": 30}).num_tokens <= 80 for batch in batches)
    assert all(len(batch) == 1 for batch in micro_batches(units, 80, share=False, root=30))


def test_noise_leaves_the_root_alone(open_tiny: Any) -> None:
    model = open_tiny("llama")
    catalog.build("methods", {"kind": "prompt", "tokens": 4}).attach(model.net)
    forest = model.forest([Row([1, 2, 3], [0.0, 1.0, 1.0], "a")])
    with model.training(), torch.no_grad():
        source = model._source(forest, 5.0, roots.laid_out(model.net, forest))["inputs_embeds"][0]
    own = model.net.get_input_embeddings()(torch.tensor([1, 2, 3]))
    assert torch.equal(source[:4], roots.find(model.net, "default").table)
    assert not torch.isclose(source[4:], own).any()
    assert (source[4:] - own).abs().max() <= 5 / (3 * 32) ** 0.5


def test_a_root_is_refused_where_it_does_not_fit(folders: dict[str, Path], open_tiny: Any) -> None:
    with pytest.raises(DataError, match="for another model"):
        open_tiny("gpt2").load_adapter("it", folders["keys"])
    model = open_tiny("llama")
    method = catalog.build("methods", {"kind": "prompt", "tokens": 5})
    method.attach(model.net)
    with pytest.raises(DataError, match="does not fit"):
        method.load(model.net, folders["words"])
    with pytest.raises(CannotMerge, match="adapter"):
        method.merge(model.net)
    with pytest.raises(RecipeError, match="no token"):
        catalog.build("methods", {"kind": "prompt", "text": ""}).attach(open_tiny("llama").net)
    with pytest.raises(RecipeError, match="hidden"):
        catalog.build("methods", {"kind": "prefix", "hidden": 3})
    with pytest.raises(RecipeError, match="text"):
        catalog.build("methods", {"kind": "prefix", "reparametrise": True, "text": "a"})


@pytest.mark.parametrize("name", ["words", "keys"])
def test_a_beginning_that_is_held_includes_the_root(model: Any, name: str) -> None:
    long = [(17 * n + 5) % 290 for n in range(80)]
    prompts = [[*long, *ending] for ending in ([3, 1], [3, 2, 9], [8], [8, 8, 8, 8], [250, 4])] + PROMPTS[:2]
    options: dict[str, Any] = {"max_new_tokens": 6, "stop_ids": []}
    alone = [Engine(model).generate([prompt], adapters=[name], **options)[0].ids for prompt in prompts]
    engine = Engine(model, max_live=2)
    held: list[int] = []
    made = engine.generate(
        prompts,
        adapters=[name] * 7,
        progress=lambda done: held.append(engine.prefixes.bytes),
        **options,
    )
    assert [answer.ids for answer in made] == alone
    layers, groups, size = 3, 2, 8
    assert max(held) == (6 + 80) * layers * 2 * groups * size * 4  # keys and values in float32
