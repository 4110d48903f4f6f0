"""What is kept of earlier prompts changes no answer, serves its owner only, and stays within its memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.core import catalog
from tunewright.models.attention_plan import KeysValues
from tunewright.models.engine import Engine
from tunewright.models.prefix_cache import WORTH, PrefixCache
from tunewright.models.sequences import Live, Request

OWNER = ("", "", 0)
LONG = [(17 * n + 5) % 290 for n in range(200)]
TURNS = [[3, 1, 4], [8] * 20, [250, 4, 9, 9], [7] * 33]
METHODS: dict[str, dict[str, Any]] = {
    "base": {},
    "lora": {"kind": "lora", "rank": 4},
    "dora": {"kind": "lora", "rank": 4, "dora": True},
    "ia3": {"kind": "ia3"},
    "bottleneck": {"kind": "bottleneck", "place": "parallel", "size": 8},
    "prompt": {"kind": "prompt", "tokens": 6},
    "prefix": {"kind": "prefix", "tokens": 6},
    "peft": {"kind": "peft", "tuner": "LOHA", "options": {"r": 4, "target_modules": "all-linear"}},
}


def made_of(ids: list[int], root: int = 0) -> KeysValues:
    """Keys and values that tell which tokens they are of: 1GND with G = D = 1."""
    line = torch.tensor([*range(-root, 0), *ids], dtype=torch.float32).view(1, 1, -1, 1)
    return {0: (line, line + 0.5), 1: (line + 1000, line - 1000)}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=90), min_size=1, max_size=12),
    st.integers(0, 3),
    st.sampled_from([400, 4000, 10**6]),
)
def test_what_is_found_is_what_was_made(prompts: list[list[int]], root: int, max_bytes: int) -> None:
    cache = PrefixCache(max_bytes)
    for number, prompt in enumerate(prompts):
        found = cache.find(OWNER, prompt)
        if found:
            assert WORTH <= found.size < len(prompt) and found.root == root
            for layer, pair in made_of(prompt[: found.size], root).items():
                assert all(torch.equal(a, b) for a, b in zip(pair, found.made[layer], strict=True))
        if max_bytes == 10**6:  # nothing was dropped
            shared = max((_common(prompt[:-1], other) for other in prompts[:number]), default=0)
            size = found.size if found else 0
            assert shared - WORTH < size <= shared or shared < 2 * WORTH
        cache.put(OWNER, prompt, made_of(prompt, root))
        assert cache.bytes <= max_bytes
        assert cache.bytes == sum(run.bytes for run in cache._used)
    cache.drop(lambda owner: owner == OWNER)
    assert cache.bytes == 0 and not cache._tops and not cache._used


def _common(a: list[int], b: list[int]) -> int:
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def test_what_was_used_least_lately_goes_first() -> None:
    one, two, three = ([number] * 40 for number in range(3))
    size = 40 * 4 * 4  # two layers of a key and a value
    cache = PrefixCache(2 * size)
    for ids in (one, two):
        cache.put(OWNER, ids, made_of(ids))
    assert cache.find(OWNER, [*one, 9])
    cache.put(OWNER, three, made_of(three))
    assert cache.find(OWNER, [*one, 9]) and cache.find(OWNER, [*three, 9]) and not cache.find(OWNER, [*two, 9])


@pytest.fixture
def opened(request: pytest.FixtureRequest, open_tiny: Any, tmp_path: Path) -> tuple[Any, str]:
    """A model with an adapter of a method, shaken, and the adapter's name."""
    options = METHODS[request.param]
    model = open_tiny("llama")
    if not options:
        return model, ""
    made = open_tiny("llama")
    method = catalog.build("methods", options)
    method.attach(made.net, seed=1)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in made.net.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    method.save(made.net, tmp_path / "it")
    model.load_adapter("it", tmp_path / "it")
    return model, "it"


def talk(engine: Engine, adapter: str) -> list[Live]:
    """A conversation of some turns: each prompt begins with the one before it and its answer."""
    said, done = list(LONG), []
    for turn in TURNS:
        said = [*said, *turn]
        sequence = engine.admit(Request(said, 9, adapter=adapter, logprobs=True))
        while not engine.is_idle:
            engine.step()
        done.append(sequence)
        said = [*said, *sequence.ids]
    return done


@pytest.mark.parametrize("opened", METHODS, indirect=True)
def test_a_conversations_next_turn_is_not_read_again_and_answered_the_same(opened: tuple[Any, str]) -> None:
    model, adapter = opened
    plain = talk(Engine(model, plain=True), adapter)
    kept = talk(Engine(model, keep=2**24), adapter)
    for place, (mine, theirs) in enumerate(zip(kept, plain, strict=True)):
        assert mine.ids == theirs.ids
        assert torch.allclose(torch.tensor(mine.logprobs), torch.tensor(theirs.logprobs), atol=1e-4)
        assert theirs.cached == 0
        before = len(mine.request.prompt) - len(TURNS[place])
        assert mine.cached >= before - WORTH if place else mine.cached == 0


@pytest.mark.parametrize("kind", ["gpt2", "qwen3", "mistral", "gemma2", "gpt_oss"])
def test_every_family_of_nets_answers_the_same(kind: str, open_tiny: Any) -> None:
    model = open_tiny(kind)
    plain, kept = talk(Engine(model, plain=True), ""), talk(Engine(model, keep=2**24, pause=0.0), "")
    assert [one.ids for one in kept] == [one.ids for one in plain]
    assert all(one.cached for one in kept[1:])


@pytest.mark.parametrize("opened", ["base", "prompt", "prefix"], indirect=True)
def test_prompts_read_in_parts_beside_others_are_answered_the_same(opened: tuple[Any, str]) -> None:
    model, adapter = opened
    prompts = [LONG, LONG[:70], [*LONG[:150], 3, 3], [9] * 130, [*LONG, 4], [11, 12], LONG[5:190]]
    names = [adapter, "", adapter, "", adapter, "", adapter]
    alone = [
        Engine(model, plain=True).generate([prompt], max_new_tokens=6, stop_ids=[], adapters=[name])[0].ids
        for prompt, name in zip(prompts, names, strict=True)
    ]
    engine = Engine(model, max_live=4, keep=2**24, pause=0.0)  # reads 64 tokens at once
    tenants = ["a", "b", "a", "b", "c", "c", "c"]
    asked = [
        engine.admit(Request(prompt, 6, adapter=name, tenant=tenant))
        for prompt, name, tenant in zip(prompts, names, tenants, strict=True)
    ]
    most = 0
    while not engine.is_idle:
        engine.step()
        most = max(most, len(engine.live) + len(engine.reading))
    assert [sequence.ids for sequence in asked] == alone
    assert most == 4
    assert asked[2].cached >= 128 and not asked[4].cached  # another tenant's prompt is of no use


def test_a_prompt_waits_for_one_that_begins_alike(open_tiny: Any) -> None:
    engine = Engine(open_tiny("llama"), keep=2**24, pause=0.0)
    first, second = (engine.admit(Request([*LONG, *end], 4)) for end in ([1, 2], [5]))
    while not engine.is_idle:
        engine.step()
        assert len(engine.reading) <= 1
    assert first.cached == 0 and second.cached == 192


def test_a_long_prompt_holds_nobody_up(open_tiny: Any) -> None:
    engine = Engine(open_tiny("llama"), pause=0.0)
    long = engine.admit(Request([(7 * n) % 290 for n in range(500)], 4))
    engine.step()
    short = engine.admit(Request([5, 6, 7], 20))
    engine.step()
    assert len(short.ids) == 1 and not long.ids
    engine.step()
    assert len(short.ids) == 2 and not long.ids
    engine.cancel(long)
    assert long not in engine.reading and long.finish == "cancelled"


def test_tenants_and_adapters_share_nothing(open_tiny: Any, tmp_path: Path) -> None:
    made = open_tiny("llama")
    method = catalog.build("methods", {"kind": "lora", "rank": 4})
    method.attach(made.net, seed=1)
    method.save(made.net, tmp_path / "it")
    model = open_tiny("llama")
    model.load_adapter("it", tmp_path / "it")
    engine = Engine(model, keep=2**24)

    def cached(tenant: str, adapter: str) -> int:
        sequence = engine.admit(Request(LONG, 2, tenant=tenant, adapter=adapter))
        while not engine.is_idle:
            engine.step()
        return sequence.cached

    assert [cached("a", ""), cached("b", ""), cached("a", "it"), cached("b", "it")] == [0, 0, 0, 0]
    assert cached("a", "") and cached("b", "it")
    before = engine.prefixes.bytes
    model.drop_adapter("it")
    engine.forget_dropped()
    assert engine.prefixes.bytes == before / 2
    model.load_adapter("it", tmp_path / "it")
    assert cached("a", "it") == 0 and cached("a", "it")


def test_tenants_that_ask_at_once_share_nothing(open_tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunewright.models.forest import Forest

    sizes: list[int] = []
    built = Forest.__init__

    def init(self: Forest, *given: Any, **options: Any) -> None:
        built(self, *given, **options)
        sizes.append(self.num_tokens)

    monkeypatch.setattr(Forest, "__init__", init)
    for tenants, tokens in ((("a", "a"), 201), (("a", "b"), 401)):
        sizes.clear()
        engine = Engine(open_tiny("llama"))
        for number, tenant in enumerate(tenants):
            engine.admit(Request([*LONG, 1][: 200 + number], 1, tenant=tenant))
        engine.step()
        assert sum(sizes) == tokens


def test_nothing_is_kept_where_weights_may_change(open_tiny: Any) -> None:
    engine = Engine(open_tiny("llama"))
    assert not any(sequence.cached for sequence in talk(engine, ""))
    assert engine.prefixes.bytes == 0


def test_long_answers_to_one_party_do_not_lock_another_out(open_tiny: Any) -> None:
    engine = Engine(open_tiny("llama"), max_live=2)
    crowd = [engine.admit(Request([5, 6, n], 40, party="crowd")) for n in range(6)]
    engine.step()
    single = [engine.admit(Request([9, 9, n], 3, party="single")) for n in range(2)]
    engine.step()
    assert [len(one.ids) for one in (*crowd[:3], *single)] == [2, 2, 0, 1, 0]
    while not engine.is_idle:
        engine.step()
        assert len(engine.live) <= 3
    assert all(one.finish == "length" for one in (*crowd, *single))
