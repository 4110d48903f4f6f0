"""Each way of keeping what was learned is the formula it names, whatever `micro_tokens` is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tunewright.core import catalog
from tunewright.core.errors import RecipeError
from tunewright.core.parts import Keeping, Past
from tunewright.models import adapters, fisher, lora_layers
from tunewright.models.forest import Forest, Row
from tunewright.models.lora_files import read_adapter
from tunewright.models.reference import Reference
from tunewright.models.tunable import TunableModel
from tunewright.training.keeping import Kept
from tunewright.training.step import gradients

Unit = list[Row]
Open = Callable[..., TunableModel]


def units_of(count: int, seed: int, length: int = 14) -> list[Unit]:
    """Rows of random ids, half of them learned; each a little longer than the one before."""
    draw = torch.Generator().manual_seed(seed)
    made = []
    for number in range(count):
        items = torch.randint(0, 290, (length + number,), generator=draw).tolist()
        made.append([Row(items, [0.0] * 7 + [1.0] * (len(items) - 7), f"s{seed}e{number}")])
    return made


NEW, OLD = units_of(6, seed=1), units_of(9, seed=2)


def nudged(model: TunableModel, size: float = 0.05) -> TunableModel:
    """The trained weights moved, so that nothing is at its start."""
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.net.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=draw) * size)
    return model


@pytest.fixture
def past_of(open_tiny: Open, tmp_path: Path) -> Callable[..., tuple[Past, TunableModel]]:
    """past_of(method): a model with the method attached, and one earlier run for each group of rows."""

    def made(
        method: Any = "lora", groups: Sequence[Sequence[Unit]] = (OLD,), *, batch: int = 4, moved: float = 0.02
    ) -> tuple[Past, TunableModel]:
        model = open_tiny("llama", double=True)
        part = catalog.build("methods", method)
        part.attach(model.net, seed=3)
        model.reference = Reference(model, part, lambda: open_tiny("llama", double=True))

        def earlier(number: int) -> Callable[[], TunableModel]:
            def opened() -> TunableModel:
                found = open_tiny("llama", double=True)
                return nudged(found, moved * number)

            return opened

        trained = []
        for number in range(len(groups)):
            other = open_tiny("llama")
            lora = catalog.build("methods", "lora")
            lora.attach(other.net, seed=10 + number)
            lora.save(other.net, tmp_path / f"adapter-{number}")
            trained.append(tmp_path / f"adapter-{number}")
        past = Past(
            model=model, units=lambda: list(groups), open_runs=[earlier(n) for n in range(len(groups))],
            trained=trained, batch=batch, seed=7, folder=tmp_path / "past", poll=lambda: None,
        )  # fmt: skip
        return past, model

    return made


def gradient_of(keeping: Keeping, model: TunableModel, *, step: int = 1, micro_tokens: int = 10_000) -> torch.Tensor:
    """The gradient of a whole step on NEW with this retention."""
    model.net.zero_grad(set_to_none=True)
    whole = Kept({"it": keeping}).gradients(step)
    whole(model, catalog.build("objectives", "sft"), NEW, micro_tokens=micro_tokens, share=True)
    return flat(model)


def flat(model: TunableModel) -> torch.Tensor:
    grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in model.net.parameters() if p.requires_grad]
    return torch.cat([gradient.flatten().clone() for gradient in grads])


def close(ours: torch.Tensor, theirs: torch.Tensor, *, within: float = 5e-6) -> bool:
    """Equal but for the rounding of adapters and logits in float32."""
    return bool((ours - theirs).abs().max() <= within * theirs.abs().max())


def build(kind: str, **options: Any) -> Any:
    return catalog.build("retention", {"kind": kind, **options})


@pytest.mark.parametrize("kind", catalog.kinds("retention"))
def test_micro_tokens_change_nothing(kind: str, past_of: Any) -> None:
    past, model = past_of()
    keeping = build(kind, runs=["r"]).keep(past)
    nudged(model)
    whole = gradient_of(keeping, model)
    assert whole.abs().max() > 1e-4
    for micro_tokens in (17, 60):
        assert close(gradient_of(keeping, model, micro_tokens=micro_tokens), whole)


# --- replay ---


@pytest.mark.parametrize(("share", "batch"), [(0.2, 4), (0.25, 2), (0.5, 3), (0.1, 5), (0.9, 1)])
def test_replayed_rows_have_their_exact_share_and_none_comes_twice_before_all(
    share: float, batch: int, past_of: Any
) -> None:
    past, _ = past_of(groups=(OLD, units_of(4, seed=3)), batch=batch)
    keeping = build("replay", share=share, runs=["r", "s"]).keep(past)
    drawn = [[unit[0].example for unit in keeping.units(step, NEW)] for step in range(1, 41)]
    for step in range(1, 41):
        assert abs(sum(map(len, drawn[:step])) - step * batch * share / (1 - share)) <= 0.5 + 1e-9
    flat_ids = [name for step in drawn for name in step]
    for first in range(0, len(flat_ids) - 12, 13):
        assert len(set(flat_ids[first : first + 13])) == len(flat_ids[first : first + 13])
    again = build("replay", share=share, runs=["r", "s"]).keep(past)
    assert [[u[0].example for u in again.units(step, NEW)] for step in (40, 3, 17)] == [
        drawn[step - 1] for step in (40, 3, 17)
    ], "a function of the seed and the step alone"


def test_replay_is_the_loss_of_one_mixed_batch(past_of: Any) -> None:
    new, old = [[row] for unit in NEW for row in unit], OLD[:2]
    past, model = past_of(groups=(old,), batch=6)
    learned = [sum(row.num_learned for unit in units for row in unit) for units in (new, old)]
    share = 2 / 8
    keeping = build("replay", share=share, weight=learned[1] / learned[0] * (1 - share) / share).keep(past)
    assert len(keeping.units(1, NEW)) == 2
    nudged(model)
    ours = gradient_of(keeping, model)
    model.net.zero_grad(set_to_none=True)
    gradients(model, catalog.build("objectives", "sft"), [*new, *old], micro_tokens=10_000, share=True)
    assert close(ours, flat(model) * sum(learned) / learned[0])


def test_rows_bounds_what_is_kept_of_each_run(past_of: Any) -> None:
    past, _ = past_of(groups=(OLD, OLD[:2]))
    keeping = build("replay", rows=3, share=0.5).keep(past)
    assert len({unit[0].example for step in range(1, 30) for unit in keeping.units(step, NEW)}) in (3, 4, 5)
    assert [group for group, _ in keeping.members].count(0) == 3


# --- ewc ---


def plain_fisher(model: TunableModel, units: Sequence[Unit]) -> dict[str, torch.Tensor]:
    """Row by row through the library's own forward pass."""
    found = {name: torch.zeros_like(p) for name, p in model.net.named_parameters()}
    model.net.requires_grad_(True)
    for [row] in units:
        model.net.zero_grad()
        hidden = model.hidden(Forest.build([row]))
        logits = torch.nn.functional.linear(hidden, model.net.get_output_embeddings().weight)
        ids = torch.tensor(row.items)
        logp = torch.log_softmax(logits, -1)[:-1].gather(1, ids[1:, None])[:, 0]
        (logp * torch.tensor(row.weights[1:])).sum().backward()
        for name, p in model.net.named_parameters():
            if p.grad is not None:
                found[name] += p.grad**2 / len(units)
    return found


def test_fisher_is_the_mean_of_squared_gradients_row_by_row(open_tiny: Open) -> None:
    model = open_tiny("llama", double=True)
    wanted = {name for name, _ in model.net.named_parameters()}
    ours = fisher.fisher(model, OLD, wanted, poll=lambda: None)
    theirs = plain_fisher(open_tiny("llama", double=True), OLD)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert torch.allclose(ours[name].double(), value, rtol=1e-4, atol=1e-9), name
    batch = fisher.fisher(model, [[row for unit in OLD for row in unit]], wanted, poll=lambda: None)
    assert not torch.allclose(batch["lm_head.weight"], ours["lm_head.weight"], rtol=0.5), "squares of sums are others"


@pytest.mark.parametrize("method", ["lora", "full", "last_layers"])
def test_the_penalty_is_the_formula_over_effective_weights_and_earlier_runs(method: str, past_of: Any) -> None:
    groups = (OLD, units_of(4, seed=3))
    past, model = past_of(method, groups)
    keeping = build("ewc", strength=3.0, runs=["r", "s"]).keep(past)
    start = {name: p.detach().clone() for name, p in open_plain(past).items()}
    nudged(model)
    model.net.zero_grad(set_to_none=True)
    keeping.penalty(model).backward()
    ours = flat(model)

    model.net.zero_grad(set_to_none=True)
    total: Any = 0.0
    for opened, units in zip(past.open_runs, groups, strict=True):
        earlier = opened()
        importance = plain_fisher(earlier, units)
        ends = dict(earlier.net.named_parameters())
        for name, change in fisher.changes(model.net):
            now = start[name] + change if method == "lora" else change
            total = total + 3.0 / 2 * (importance[name] * (now - ends[name].detach()) ** 2).sum()
    total.backward()
    assert ours.abs().max() > 0
    assert close(ours, flat(model), within=1e-5)


def open_plain(past: Past) -> dict[str, torch.Tensor]:
    """The base's weights by their plain names."""
    return {
        name.replace(".base.", "."): p
        for name, p in past.model.net.named_parameters()
        if ".A." not in name and ".B." not in name
    }


def test_the_penalty_begins_at_nothing_right_after_the_earlier_run(past_of: Any) -> None:
    past, model = past_of(moved=0.0)
    keeping = build("ewc", runs=["r"]).keep(past)
    assert float(keeping.penalty(model).detach()) == pytest.approx(0.0, abs=1e-9)
    nudged(model)
    assert float(keeping.penalty(model).detach()) > 0


def test_fisher_is_measured_once(past_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    past, model = past_of()
    first = build("ewc", runs=["r"]).keep(past)
    monkeypatch.setattr(fisher, "fisher", lambda *_, **__: pytest.fail("measured again"))
    nudged(model)
    again = build("ewc", runs=["r"]).keep(past)
    assert torch.equal(first.penalty(model), again.penalty(model))


def test_ewc_with_nothing_to_hold_says_so(past_of: Any) -> None:
    past, model = past_of()
    model.net.requires_grad_(False)
    adapters.drop(model.net, "default")
    with pytest.raises(RecipeError, match="nothing to hold"):
        build("ewc", runs=["r"]).keep(past)


# --- anchor ---


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_anchor_is_the_divergence_from_the_model_at_the_start(
    method: str, temperature: float, past_of: Any, open_tiny: Open
) -> None:
    past, model = past_of(method)
    keeping = build("anchor", strength=0.7, temperature=temperature).keep(past)
    assert keeping.units(1, NEW) is NEW, "without rows of its own, the new ones: learning without forgetting"
    rows = [row for unit in NEW for row in unit]
    value, weight = keeping.loss(model, Forest.build(rows)).terms["anchor"]
    assert float(value.detach()) == pytest.approx(0.0, abs=1e-9)
    nudged(model)
    forest = Forest.build(rows)
    value, weight = keeping.loss(model, forest).terms["anchor"]
    assert weight == pytest.approx(0.7 * temperature**2)
    start = open_tiny("llama", double=True)
    with torch.no_grad():
        before = torch.log_softmax(start.net.lm_head(start.hidden(forest, wanted=forest.from_K)) / temperature, -1)
        now = torch.log_softmax(model.net.lm_head(model.hidden(forest, wanted=forest.from_K)) / temperature, -1)
        theirs = torch.nn.functional.kl_div(now, before, reduction="none", log_target=True).sum(-1)
    assert float(value.detach()) == pytest.approx(float((theirs * forest.weight_K).sum()), rel=1e-5)


def test_anchor_s_gradient_is_autograd_s_through_whole_logits(past_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunewright.models import divergence

    past, model = past_of()
    keeping = build("anchor").keep(past)
    nudged(model)
    forest = Forest.build([row for unit in NEW for row in unit])
    monkeypatch.setattr(divergence, "CHUNK_LOGITS", 300 * 7)  # seven tokens a chunk
    keeping.loss(model, forest).terms["anchor"][0].backward()
    ours = flat(model)
    model.net.zero_grad(set_to_none=True)
    with torch.no_grad(), model.reference.frozen() as frozen:
        before = torch.log_softmax(frozen.net.lm_head(frozen.hidden(forest, wanted=forest.from_K)) / 2, -1)
    now = torch.log_softmax(model.net.lm_head(model.hidden(forest, wanted=forest.from_K)) / 2, -1)
    ((before.exp() * (before - now)).sum(-1) * forest.weight_K).sum().backward()
    assert close(ours, flat(model))


def test_named_rows_come_round(past_of: Any) -> None:
    past, _ = past_of()
    keeping = build("anchor", rows=4, runs=["r"]).keep(past)
    drawn = [unit[0].example for step in range(1, 10) for unit in keeping.units(step, NEW)]
    assert len(drawn) == 36 and all(drawn.count(unit[0].example) == 4 for unit in OLD)


# --- orthogonal ---


def test_orthogonal_is_the_sum_of_squared_products(past_of: Any) -> None:
    past, model = past_of(groups=(OLD, OLD))
    value = build("orthogonal", strength=0.5, runs=["r", "s"]).keep(past).penalty(model)
    total = 0.0
    for folder in past.trained:
        for path, old in read_adapter(folder).items():
            new, _ = dict(lora_layers.layers(model.net, "default"))[path].matrices("default")
            total += float((old.a.to(new) @ new.detach().t()).pow(2).sum())
    assert float(value.detach()) == pytest.approx(0.5 * total, rel=1e-6)
    assert value.requires_grad
