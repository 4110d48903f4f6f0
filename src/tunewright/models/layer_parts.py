"""What a transformer layer is made of, by name: its attention, its feed-forward part, and linear layers in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from tunewright.core.errors import DataError
from tunewright.models.lora_layers import Conv1D, Linears, own
from tunewright.models.own_weights import decoder_layers

FEED_FORWARD = ("mlp", "feed_forward", "ffn")


@dataclass(frozen=True)
class LayerParts:
    """Names in the untouched base, of one layer."""

    keys_values: tuple[str, ...]  # what makes keys and values; one layer that makes queries too, where they are fused
    attention_out: str
    feed_forward: str
    feed_forward_out: str


def layer_parts(net: Any) -> list[LayerParts]:
    """The parts of every layer, from the bottom. Raises DataError where they are not plain linear layers."""
    stack, layers = decoder_layers(net)
    size = net.config.get_text_config().hidden_size
    return [_parts(f"{stack}.{number}", layer, size) for number, layer in enumerate(layers)]


def _parts(path: str, layer: nn.Module, size: int) -> LayerParts:
    children = [name for name, _ in layer.named_children()]
    attention = next((name for name in children if "att" in name and "norm" not in name), None)
    feed_forward = next((name for name in children if name in FEED_FORWARD), None)
    ends = [_linears(layer, part) for part in (attention, feed_forward)]
    if not all(linears and _num_out(linears[-1][1]) == size for linears in ends):
        raise DataError(
            f"The layers of this model ({type(layer).__name__}) have no attention or no feed-forward part that ends in "
            "a linear layer, where this method puts its adapters. Use the method 'lora'."
        )
    within, inner = (f"{path}.{part}" for part in (attention, feed_forward))
    names = [name for name, _ in ends[0]]
    apart = tuple(f"{within}.{name}" for name in names if name in ("k_proj", "v_proj"))
    return LayerParts(
        keys_values=apart or (f"{within}.{names[0]}",),
        attention_out=f"{within}.{names[-1]}",
        feed_forward=inner,
        feed_forward_out=f"{inner}.{ends[1][-1][0]}",
    )


def _linears(layer: nn.Module, part: str | None) -> list[tuple[str, nn.Module]]:
    if part is None:
        return []
    children = own(layer.get_submodule(part)).named_children()
    return [(name, own(child)) for name, child in children if isinstance(own(child), Linears)]


def _num_out(linear: nn.Module) -> int:
    return int(linear.nf if isinstance(linear, Conv1D) else linear.out_features)  # type: ignore[arg-type]
