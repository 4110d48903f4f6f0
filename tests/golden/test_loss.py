"""Label smoothing, NEFTune and the vocabulary head against plain PyTorch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from tunewright.models import head
from tunewright.models.forest import Forest, Row


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_label_smoothing_is_pytorch_s(
    kind: str, smoothing: float, open_tiny: Any, open_plain: Any, gradients_of: Any, gap: Any
) -> None:
    items = [(7 * n) % 290 for n in range(40)]
    model, plain = open_tiny(kind), open_plain(kind)
    logits = plain(input_ids=torch.tensor([items]), use_cache=False).logits[0]
    truth = cross_entropy(logits[9:-1], torch.tensor(items[10:]), reduction="sum", label_smoothing=smoothing)
    truth.backward()
    loss = model.loss_sum(Forest.build([Row(items, [0.0] * 10 + [1.0] * 30, "a")]), smoothing=smoothing)
    loss.backward()
    assert loss.item() == pytest.approx(truth.item(), rel=1e-6)
    assert gap(gradients_of(model.net), gradients_of(plain)) <= 1e-5


@pytest.mark.parametrize(
    "trained", [(True, False, False), (True, True, True), (False, True, False), (True, True, False)]
)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("chunk", [7, 10**6])
def test_head_gradients_are_autograd_s(
    trained: tuple[bool, bool, bool], bias: bool, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(head.CHUNK_ELEMENTS, "cpu", 50 * chunk)
    draw = torch.Generator().manual_seed(0)
    shapes = [(20, 16), (50, 16), *([(50,)] if bias else [])]
    values = [torch.randn(shape, generator=draw, dtype=torch.float64) for shape in shapes]
    target = torch.randint(0, 50, (20,), generator=draw)
    weights = torch.rand(20, generator=draw, dtype=torch.float64)

    def leaves() -> list[torch.Tensor]:
        return [value.clone().requires_grad_(flag) for value, flag in zip(values, trained, strict=False)]

    def grads(made: list[torch.Tensor]) -> list[torch.Tensor]:
        return [leaf.grad for leaf in made if leaf.grad is not None]

    truth, ours, slopes = leaves(), leaves(), leaves()
    logits = truth[0] @ truth[1].t() + (truth[2] if bias else 0)
    nll = cross_entropy(logits, target, reduction="none", label_smoothing=0.2)
    (3 * (nll * weights).sum()).backward()
    (3 * head.WeightedNLL.apply(*ours, *([] if bias else [None]), None, 0, target, weights, 0.2)[0]).backward()
    assert len(grads(ours)) == len(grads(truth)) == sum(trained[: len(values)])
    for got, want in zip(grads(ours), grads(truth), strict=True):
        assert torch.allclose(got, want, rtol=1e-10, atol=1e-12)

    truth = leaves()
    logp = -cross_entropy(truth[0] @ truth[1].t() + (truth[2] if bias else 0), target, reduction="none")
    torch.nn.functional.logsigmoid(logp * weights).sum().backward()  # not linear in log-probs
    out = head.TokenLogProbs.apply(*slopes, *([] if bias else [None]), None, 0, target)
    torch.nn.functional.logsigmoid(out * weights).sum().backward()
    assert torch.allclose(out, logp, rtol=1e-10)
    for got, want in zip(grads(slopes), grads(truth), strict=True):
        assert torch.allclose(got, want, rtol=1e-10, atol=1e-12)


def test_half_formats_are_summed_in_float32() -> None:
    hidden, weight = torch.randn(5, 8).bfloat16(), torch.randn(40, 8).bfloat16()
    target, ones = torch.arange(5), torch.ones(5)
    total, _ = head.WeightedNLL.apply(hidden, weight, None, None, 0, target, ones, 0.0)
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(
        cross_entropy((hidden @ weight.t()).float(), target, reduction="sum").item(), rel=1e-5
    )
    assert head.TokenLogProbs.apply(hidden, weight, None, None, 0, target).dtype == torch.float32


def noise_drawn(model: Any, rows: list[Row], alpha: float, *, training: bool) -> torch.Tensor:
    """What was added to the embeddings of the forest's tokens, one line a token."""
    seen: dict[str, torch.Tensor] = {}
    hook = model.net.base_model.register_forward_pre_hook(lambda _, args, kwargs: seen.update(kwargs), with_kwargs=True)
    forest = Forest.build(rows, share=False)
    with torch.no_grad():
        if training:
            with model.training():
                model.loss_sum(forest, noise=alpha)
        else:
            model.loss_sum(forest, noise=alpha)
    hook.remove()
    if "inputs_embeds" not in seen:
        return torch.zeros(1)
    return seen["inputs_embeds"][0] - model.net.get_input_embeddings()(forest.ids_N).detach()


def test_neftune_noise_reaches_its_bound_and_no_further(tmp_path: Any, tokenizer_of: Any) -> None:
    """alpha 5, length 64, width 768: uniform within 0.02255."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from tunewright.core.recipe import ModelOptions
    from tunewright.models.opening import open_model
    from tunewright.models.tunable import TunableModel

    config = LlamaConfig(
        vocab_size=300, hidden_size=768, intermediate_size=16, num_hidden_layers=1, num_attention_heads=12
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    tokenizer_of().save_pretrained(tmp_path)
    model: TunableModel = open_model(ModelOptions(base=str(tmp_path)))
    noise = noise_drawn(model, [Row([3] * 64, [0.0] + [1.0] * 63, "a")], 5.0, training=True)
    assert 0.0225 < noise.abs().max() <= 0.02256
    assert noise.abs().mean() == pytest.approx(0.02255 / 2, rel=0.02)
    assert noise_drawn(model, [Row([3] * 64, [0.0] + [1.0] * 63, "a")], 5.0, training=False).abs().max() == 0


def test_neftune_s_length_is_the_document_s_own_when_packed(open_tiny: Any) -> None:
    rows = [Row([3] * 16, [0.0] + [1.0] * 15, "short"), Row([4] * 144, [0.0] + [1.0] * 143, "long")]
    noise = noise_drawn(open_tiny("llama"), rows, 5.0, training=True).abs()
    bounds = [5 / (16 * 32) ** 0.5, 5 / (144 * 32) ** 0.5]
    assert 0.95 * bounds[0] < noise[:16].max() <= bounds[0] * 1.0001
    assert 0.95 * bounds[1] < noise[16:].max() <= bounds[1] * 1.0001
