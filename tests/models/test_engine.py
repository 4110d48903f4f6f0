"""The engine answers like transformers' own generation, alone or among neighbours, with or without adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core import catalog
from tunewright.core.errors import DataError
from tunewright.models import lora_layers
from tunewright.models.engine import Engine
from tunewright.models.forest import Forest, Row
from tunewright.models.sequences import Request

PROMPTS = [[(13 * n + k) % 290 for n in range(size)] for k, size in enumerate((5, 31, 12, 40, 7, 31))]
SHARED = [[*PROMPTS[3], *ending] for ending in ([1, 2], [1, 9], [77])]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen3", "mistral"])
def test_greedy_answers_are_transformers_own(kind: str, open_tiny: Any, tiny: Any) -> None:
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(tiny(kind), dtype="float32").eval()
    prompts = [*PROMPTS, *SHARED]
    made = Engine(open_tiny(kind), max_live=4).generate(prompts, max_new_tokens=12, stop_ids=[])
    for prompt, answer in zip(prompts, made, strict=True):
        ids = torch.tensor([prompt])
        theirs = plain.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=12,
            eos_token_id=None,
            pad_token_id=0,
        )
        assert answer.ids == theirs[0, len(prompt) :].tolist()
        assert answer.finish == "length" and not answer.logprobs


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mistral", "gemma2", "gpt_oss"])
def test_a_beginning_that_waiting_prompts_share_is_read_once_and_changes_no_answer(
    kind: str, open_tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = open_tiny(kind)
    long = [(17 * n + 5) % 290 for n in range(80)]
    prompts = [[*long, *ending] for ending in ([3, 1], [3, 2, 9], [8], [8, 8, 8, 8], [250, 4])] + PROMPTS[:2]
    alone = [Engine(model).generate([prompt], max_new_tokens=6, stop_ids=[])[0].ids for prompt in prompts]
    read_tokens = []
    built = Forest.build.__func__

    def build(cls: Any, rows: Any, **options: Any) -> Forest:
        forest = built(cls, rows, **options)
        read_tokens.append(forest.num_tokens)
        return forest

    monkeypatch.setattr(Forest, "build", classmethod(build))
    engine = Engine(model, max_live=2)
    assert [made.ids for made in engine.generate(prompts, max_new_tokens=6, stop_ids=[])] == alone
    assert sum(read_tokens) < 80 + sum(map(len, PROMPTS[:2])) + 20
    assert engine.prefixes.bytes == 0


def test_log_probs_of_generated_tokens_are_those_of_scoring(open_tiny: Any) -> None:
    model = open_tiny("llama")
    [made] = Engine(model).generate([PROMPTS[1]], max_new_tokens=6, stop_ids=[], logprobs=True)
    row = Row([*PROMPTS[1], *made.ids], [0.0] * len(PROMPTS[1]) + [1.0] * 6, "a")
    with torch.no_grad():
        assert torch.allclose(model.token_logprobs(Forest.build([row])), torch.tensor(made.logprobs), atol=1e-4)


def test_an_answer_ends_before_its_stop_token(open_tiny: Any) -> None:
    engine = Engine(open_tiny("llama"))
    [free] = engine.generate([PROMPTS[0]], max_new_tokens=8, stop_ids=[])
    stop = free.ids[3]
    [made] = engine.generate([PROMPTS[0]], max_new_tokens=8, stop_ids=[stop])
    assert made.finish == "stop" and made.ids == free.ids[: free.ids.index(stop)]


def test_a_seed_decides_what_is_drawn_whatever_the_neighbours(open_tiny: Any) -> None:
    engine = Engine(open_tiny("llama"))

    def drawn(seed: int, neighbours: int) -> list[int]:
        mine = engine.admit(Request(PROMPTS[2], 10, temperature=1.0, seed=seed))
        for n in range(neighbours):
            engine.admit(Request(PROMPTS[n], 4 + n, temperature=0.7, seed=n))
        while not engine.is_idle:
            engine.step()
        return mine.ids

    assert drawn(1, 0) == drawn(1, 4)
    assert drawn(1, 0) != drawn(2, 0)


def test_a_tiny_nucleus_is_greedy(open_tiny: Any) -> None:
    engine = Engine(open_tiny("llama"))
    greedy = engine.generate([PROMPTS[1]], max_new_tokens=8, stop_ids=[])
    nucleus = engine.generate([PROMPTS[1]], max_new_tokens=8, temperature=1.0, top_p=1e-6, stop_ids=[])
    assert greedy[0].ids == nucleus[0].ids


def test_late_arrivals_and_cancellations_change_no_answer(open_tiny: Any) -> None:
    engine = Engine(open_tiny("llama"))
    alone = [made.ids for made in engine.generate(PROMPTS[:3], max_new_tokens=9, stop_ids=[])]
    first, doomed = engine.admit(Request(PROMPTS[0], 9)), engine.admit(Request(PROMPTS[4], 9))
    engine.step()
    engine.step()
    second = engine.admit(Request(PROMPTS[1], 9))
    engine.step()
    engine.cancel(doomed)
    third = engine.admit(Request(PROMPTS[2], 9))
    while not engine.is_idle:
        engine.step()
    assert [first.ids, second.ids, third.ids] == alone
    assert doomed.finish == "cancelled" and len(doomed.ids) == 3


def test_a_waiting_request_can_be_cancelled(open_tiny: Any) -> None:
    engine = Engine(open_tiny("llama"))
    sequence = engine.admit(Request(PROMPTS[0], 9))
    engine.cancel(sequence)
    assert sequence.finish == "cancelled" and not engine.waiting and engine.step() == []


def test_adapters_beside_each_other_answer_as_alone(open_tiny: Any, tmp_path: Path) -> None:
    for number in range(2):
        made = open_tiny("llama")
        method = catalog.build("methods", {"kind": "lora", "rank": 4})
        method.attach(made.net, seed=number)
        with torch.no_grad():
            for _, layer in lora_layers.layers(made.net):
                layer.B["default"].normal_(std=0.3, generator=torch.Generator().manual_seed(number))
        method.save(made.net, tmp_path / str(number))
    model = open_tiny("llama")
    engine = Engine(model)
    base = engine.generate(PROMPTS, max_new_tokens=8, stop_ids=[])
    model.load_adapter("a", tmp_path / "0")
    model.load_adapter("b", tmp_path / "1")
    names = ["a", "", "b", "a", "", "b"]
    mixed = engine.generate(PROMPTS, max_new_tokens=8, stop_ids=[], adapters=names)
    for number, (prompt, name) in enumerate(zip(PROMPTS, names, strict=True)):
        [alone] = engine.generate([prompt], max_new_tokens=8, stop_ids=[], adapters=[name])
        assert mixed[number].ids == alone.ids
    assert [mixed[n].ids for n in (1, 4)] == [base[n].ids for n in (1, 4)]
    assert any(mixed[n].ids != base[n].ids for n in (0, 2, 3, 5))


def test_an_answer_stops_at_the_end_of_the_context(open_tiny: Any) -> None:
    engine = Engine(open_tiny("llama"))
    [made] = engine.generate([[3] * 508], max_new_tokens=50, stop_ids=[])
    assert made.finish == "length" and len(made.ids) == 4
    with pytest.raises(DataError, match="at most 511"):
        engine.admit(Request([3] * 512, 1))
    with pytest.raises(DataError, match="empty"):
        engine.admit(Request([], 1))


def test_the_cache_is_empty_when_all_is_answered(open_tiny: Any) -> None:
    engine = Engine(open_tiny("llama"), max_live=2)
    engine.generate(PROMPTS, max_new_tokens=3, stop_ids=[])
    assert not engine.cache.keys and not engine.cache.lengths
