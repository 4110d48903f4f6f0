"""Roots against PEFT (PROMPT_TUNING, PREFIX_TUNING) and against rows alone: logits, losses, gradients, files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core import catalog
from tunewright.models import roots
from tunewright.models.forest import Forest, Row

METHODS: list[dict[str, Any]] = [
    {"kind": "prompt", "tokens": 5},
    {"kind": "prefix", "tokens": 5},
    {"kind": "prefix", "tokens": 5, "reparametrise": True, "hidden": 6},
]
KINDS = ["llama", "gpt2", "qwen2", "qwen3", "mistral", "gemma2"]
IDS = ["prompt", "prefix", "network"]


def attached(model: Any, options: dict[str, Any], *, seed: int = 3) -> Any:
    """A method whose root is moved away from where it begins."""
    method = catalog.build("methods", options)
    method.attach(model.net, seed=seed)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in roots.find(model.net, "default").parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.3)
    return method


def their_logprobs(net: Any, rows: Sequence[Row]) -> torch.Tensor:
    """For each row alone through PEFT, the weighted sum of its log-probs; R, differentiable."""
    out = []
    for row in rows:
        logits = net(input_ids=torch.tensor([row.items])).logits[0, -len(row.items) : -1]
        logp = torch.log_softmax(logits, -1).gather(1, torch.tensor(row.items)[1:, None])[:, 0]
        out.append((logp * torch.tensor(row.weights[1:], dtype=logp.dtype)).sum())
    return torch.stack(out)


def opened_by_peft(net: Any, folder: Path) -> Any:
    from peft import PeftModel

    opened = PeftModel.from_pretrained(net, folder).eval()
    opened.prompt_encoder.requires_grad_(True)
    return opened


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", METHODS[:2], ids=IDS[:2])
def test_values_and_gradients_of_a_forest_are_those_of_peft_s_rows_alone(
    options: dict[str, Any], kind: str, open_tiny: Any, open_plain: Any, random_rows: Any, gap: Any, tmp_path: Path
) -> None:
    rows = random_rows("mixed", 1)[::3]
    model = open_tiny(kind)
    method = attached(model, options)
    method.save(model.net, tmp_path)
    theirs = opened_by_peft(open_plain(kind), tmp_path)
    alone = their_logprobs(theirs, rows)
    together = model.logprobs(model.forest(rows))
    assert torch.allclose(together, alone, rtol=1e-5, atol=1e-4)
    assert not torch.allclose(together, logprobs_of(open_tiny(kind), rows), atol=1e-2)
    alone.sum().backward()
    together.sum().backward()
    truth = theirs.prompt_encoder["default"].embedding.weight.grad
    assert gap({"": roots.find(model.net, "default").table.grad}, {"": truth}) <= 1e-5


def logprobs_of(model: Any, rows: Sequence[Row]) -> torch.Tensor:
    with torch.no_grad():
        return model.logprobs(model.forest(rows))


@pytest.mark.parametrize("options", METHODS, ids=IDS)
@pytest.mark.parametrize("plain", [False, True])
def test_loss_and_gradients_do_not_change_with_micro_batches_or_sharing(
    options: dict[str, Any], plain: bool, open_tiny: Any, random_rows: Any, gap: Any
) -> None:
    units = [[row] for row in random_rows("mixed", 1)[::2]]

    def measured(micro_tokens: int, share: bool) -> tuple[float, dict[str, torch.Tensor]]:
        model = open_tiny("llama", double=True)
        model.plain = plain
        attached(model, options)
        model.net.double()
        total = 0.0
        for rows in model.micro_batches(units, micro_tokens, share=share):
            loss = model.loss_sum(model.forest(rows, share=share))
            loss.backward()
            total += float(loss.detach())
        return total, {name: p.grad for name, p in model.net.named_parameters() if p.requires_grad}

    loss, gradients = measured(10_000, True)
    for micro_tokens, share in ((150, True), (1, False)):
        other, others = measured(micro_tokens, share)
        assert other == pytest.approx(loss, rel=1e-9)
        assert gap(gradients, others) <= 1e-6


@pytest.mark.parametrize("options", METHODS[:2], ids=IDS[:2])
def test_a_forest_laid_out_for_another_root_gives_the_same(
    options: dict[str, Any], open_tiny: Any, random_rows: Any
) -> None:
    rows = random_rows("mixed", 1)[::3]
    model = open_tiny("llama")
    base = model.token_logprobs(Forest.build(rows))
    method = attached(model, options)
    with torch.no_grad():
        bare, rooted = Forest.build(rows), model.forest(rows)
        assert rooted.num_tokens > bare.num_tokens
        assert torch.equal(rooted.target_K.sort().values, bare.target_K.sort().values)
        tuned = model.logprobs(rooted)
        assert torch.equal(model.logprobs(bare), tuned)
        assert torch.allclose(model.hidden(bare)[bare.last_tokens()], model.hidden(rooted)[rooted.last_tokens()])
        with method.off(model.net):
            assert torch.allclose(model.token_logprobs(bare), base, atol=1e-6)
            assert torch.equal(model.logprobs(rooted), model.logprobs(bare))
    assert not torch.allclose(base.sum(), model.token_logprobs(rooted).sum(), atol=1e-2)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("projected", [None, False, True], ids=["prompt", "prefix", "network"])
def test_peft_s_root_opened_here(
    projected: bool | None, kind: str, open_tiny: Any, open_plain: Any, random_rows: Any, tmp_path: Path
) -> None:
    from peft import PrefixTuningConfig, PromptTuningConfig, get_peft_model

    rows = random_rows("deep", 1)[::3]
    torch.manual_seed(2)
    options: dict[str, Any] = {"task_type": "CAUSAL_LM", "num_virtual_tokens": 4}
    config = PromptTuningConfig(**options) if projected is None else PrefixTuningConfig(
        **options, prefix_projection=projected, encoder_hidden_size=7
    )  # fmt: skip
    net = get_peft_model(open_plain(kind), config).eval()
    theirs = their_logprobs(net, rows)
    net.save_pretrained(tmp_path)
    model = open_tiny(kind)
    before = logprobs_of(model, rows)
    model.load_adapter("theirs", tmp_path)
    assert torch.equal(logprobs_of(model, rows), before)  # nobody asked for it yet
    named = [Row(row.items, row.weights, row.example, adapter="theirs") for row in rows]
    assert torch.allclose(logprobs_of(model, named), theirs, rtol=1e-5, atol=1e-4)
    assert model.longest("theirs") == model.longest() - 4
    model.drop_adapter("theirs")
    assert torch.equal(logprobs_of(model, rows), before) and not roots.held(model.net)


def test_the_network_of_a_prefix_is_peft_s(open_tiny: Any, open_plain: Any, random_rows: Any, gap: Any) -> None:
    from peft import PrefixTuningConfig, get_peft_model

    rows = random_rows("deep", 1)[::3]
    config = PrefixTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=5, prefix_projection=True, encoder_hidden_size=6
    )
    theirs = get_peft_model(open_plain("llama"), config).eval()
    model = open_tiny("llama")
    attached(model, METHODS[2])
    ours = roots.find(model.net, "default")
    encoder = theirs.prompt_encoder["default"]
    with torch.no_grad():
        encoder.embedding.weight.copy_(ours.table)
    encoder.transform.load_state_dict(ours.transform.state_dict())
    alone, together = their_logprobs(theirs, rows), model.logprobs(model.forest(rows))
    assert torch.allclose(together, alone, rtol=1e-5, atol=1e-4)
    alone.sum().backward()
    together.sum().backward()
    assert gap({"": ours.table.grad}, {"": encoder.embedding.weight.grad}) <= 1e-5
    assert gap({"": ours.transform[0].weight.grad}, {"": encoder.transform[0].weight.grad}) <= 1e-5


def test_a_prefix_begins_as_the_words_themselves(open_tiny: Any, open_plain: Any) -> None:
    items = [(7 * n) % 290 for n in range(30)]
    text = "My card was stolen"
    for options in ({"kind": "prompt"}, {"kind": "prefix"}):
        model = open_tiny("llama")
        words = model.chat.tokenizer.encode(text)
        catalog.build("methods", options | {"text": text, "tokens": len(words)}).attach(model.net)
        row = Row(items, [0.0] + [1.0] * 29, "a")
        with torch.no_grad():
            ours = model.token_logprobs(model.forest([row]))
            logits = open_plain("llama")(input_ids=torch.tensor([words + items])).logits[0, len(words) : -1]
        theirs = torch.log_softmax(logits, -1).gather(1, torch.tensor(items[1:])[:, None])[:, 0]
        assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "options", "count"),
    [
        pytest.param((1024, 24, 16, 16), {"kind": "prompt", "tokens": 8}, 8_192, id="bloomz-560m-prompt-8"),
        pytest.param((1024, 24, 16, 16), {"kind": "prefix", "tokens": 20}, 983_040, id="t5-large-prefix-20"),
        pytest.param(
            (896, 24, 14, 2), {"kind": "prefix", "tokens": 20}, 20 * 24 * 2 * 128, id="qwen2.5-0.5b-prefix-20"
        ),
    ],
)
def test_number_of_trained_weights(config: tuple[int, ...], options: dict[str, Any], count: int) -> None:
    from transformers import AutoModelForCausalLM, LlamaConfig

    hidden, layers, heads, kv = config
    shape = LlamaConfig(
        vocab_size=64, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=kv, intermediate_size=64,
    )  # fmt: skip
    with torch.device("meta"):
        net = AutoModelForCausalLM.from_config(shape)
    catalog.build("methods", options).attach(net)
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == count


def test_what_is_released_needs_no_network(open_tiny: Any, random_rows: Any, tmp_path: Path) -> None:
    rows = random_rows("deep", 1)[::3]
    model = open_tiny("llama")
    method = attached(model, METHODS[2])
    tuned = logprobs_of(model, rows)
    method.save(model.net, tmp_path / "checkpoint")
    again = open_tiny("llama")
    method.attach(again.net, seed=9)
    method.load(again.net, tmp_path / "checkpoint")
    method.export(again.net, tmp_path / "release")
    assert {file.name for file in (tmp_path / "release").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    assert json.loads((tmp_path / "release" / "adapter_config.json").read_text())["num_virtual_tokens"] == 5
    served = open_tiny("llama")
    served.load_adapter("it", tmp_path / "release")
    named = [Row(row.items, row.weights, row.example, adapter="it") for row in rows]
    assert torch.allclose(logprobs_of(served, named), tuned, atol=1e-5)
