"""A method that does not fit is refused in one sentence, while the model is still a skeleton."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunewright.core import catalog
from tunewright.core.checks import problems
from tunewright.core.errors import RecipeError, TunewrightError
from tunewright.core.recipe import Recipe
from tunewright.models import estimate


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"kind": "lora", "rank": 33}, "k_proj is 16 wide at its narrowest, found a rank of 33. Give 16 or less"),
        ({"kind": "lora", "ranks": {"up_proj": 64}}, "up_proj is 32 wide at its narrowest, found a rank of 64"),
        ({"kind": "lora", "ranks": {"query": 4}}, "method.ranks: 'query' matches none of the layers"),
        ({"kind": "lora", "targets": ["q_proj"], "alphas": {"v_proj": 4.0}}, "method.alphas: 'v_proj' matches none"),
        ({"kind": "lora", "targets": ["query"]}, "No linear layer matches ['query']"),
        ({"kind": "lora", "targets": []}, "No linear layer matches []"),
        ({"kind": "ia3", "outputs": ["query"]}, "No linear layer matches ['query']"),
        ({"kind": "ia3", "outputs": [], "inputs": []}, "outputs and inputs are both empty"),
        ({"kind": "ia3", "outputs": ["q_proj"], "inputs": ["q_proj"]}, "is among outputs and among inputs"),
        ({"kind": "bitfit"}, "this model has none. Say norms: true"),
        ({"kind": "bottleneck", "size": 33}, "would be 33 wide, and the model is 32 wide"),
        ({"kind": "bottleneck", "reduction": 100}, "would be 0 wide"),
        ({"kind": "last_layers", "pattern": "nothing"}, "matches no parameter"),
        (
            {"kind": "peft", "tuner": "LOHA", "options": {"target_modules": ["query"]}},
            "PEFT's LOHA does not fit this model with these options",
        ),
        (
            {"kind": "peft", "tuner": "LORA", "options": {"target_modules": ["q_proj", "lm_head"]}},
            "changes the vocabulary head",
        ),
        (
            {"kind": "peft", "tuner": "LORA", "options": {"modules_to_save": ["input_layernorm"]}},
            "trains whole modules",
        ),
    ],
)
def test_what_does_not_fit_the_model(options: dict[str, Any], told: str, tiny: Callable[[str], Path]) -> None:
    method = catalog.build("methods", options)
    if options["kind"] == "lora" and "rank" not in options:
        method = method.model_copy(update={"rank": 8})
    with pytest.raises(TunewrightError) as refused:
        estimate.work(estimate.facts(str(tiny("llama"))), method)
    assert told in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"init_lora_weights": "pissa"}, "changes the base's weights at the start"),
        ({"init_lora_weights": "olora"}, "changes the base's weights at the start"),
        ({"bias": "all"}, "trains the base's own weights, which cannot be taken back"),
    ],
)
def test_a_tuner_that_changes_the_base_is_refused(
    options: dict[str, Any], told: str, open_tiny: Callable[..., Any]
) -> None:
    net = open_tiny("qwen2").net
    with pytest.raises(RecipeError, match=told):
        catalog.build("methods", {"kind": "peft", "tuner": "LORA", "options": options}).attach(net)
    assert not any("lora" in name for name, _ in net.named_modules())


def test_a_method_that_trains_nothing_is_refused(tiny: Callable[[str], Path]) -> None:
    class Nothing(type(catalog.build("methods", "full"))):  # type: ignore[misc]
        def attach(self, net: Any, name: str = "default", *, seed: int = 0) -> Any:
            return net.requires_grad_(False)

    with pytest.raises(RecipeError, match="trains nothing on this model"):
        estimate.work(estimate.facts(str(tiny("llama"))), Nothing())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"kind": "peft", "tuner": "VERRA"}, "Did you mean 'VERA'? Choose from: "),
        ({"kind": "peft", "tuner": "PROMPT_TUNING"}, "Unknown tuner of the PEFT library 'PROMPT_TUNING'"),
        ({"kind": "peft", "tuner": "VERA", "options": {"rank": 4}}, "Unknown option of PEFT's VERA 'rank'."),
        ({"kind": "peft", "tuner": "LORA", "options": {"peft_type": "LOHA"}}, "Unknown option of PEFT's LORA"),
        ({"kind": "bottleneck", "size": 4, "reduction": 2}, "give size or reduction, not both"),
        ({"kind": "lora", "start": "pisa"}, "lora.start"),
        ({"kind": "gradual", "every": 2.0}, "gradual.every"),
    ],
)
def test_what_is_wrong_in_itself(options: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError) as refused:
        catalog.build("methods", options)
    assert told in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("method", ["bottleneck", {"kind": "peft", "tuner": "TRAINABLE_TOKENS"}])
def test_what_cannot_be_merged_is_not_released_merged(method: Any, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a", "label": "b"}\n')
    values = {"name": "a", "data": {"sources": ["rows.jsonl"]}, "method": method, "deploy": {"formats": ["merged"]}}
    found = problems(Recipe.parse(values, folder=tmp_path))
    if catalog.build("methods", method).mergeable:
        assert found == []
    else:
        assert len(found) == 1 and "cannot be folded into plain weights" in found[0]
