"""LoRA: small low-rank matrices beside frozen linear layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from tunewright.methods._beside import BesideBase, base_name

if TYPE_CHECKING:
    from torch import nn

    from tunewright.models.lora_layers import LoraShape


class Lora(BesideBase):
    """Learns B and A in W + (alpha / rank) B A; the base stays untouched, the result is a small file beside it.

    Hu et al. 2021 (arXiv 2106.09685, eq. 3); rsLoRA scaling alpha / sqrt(rank): Kalajdzievski 2023 (arXiv 2312.03732);
    DoRA: Liu et al. 2024 (arXiv 2402.09353, eq. 5); LoRA+: Hayou et al. 2024 (arXiv 2402.12354); PiSSA: Meng et al.
    2024 (arXiv 2404.02948, eq. 2); OLoRA: Buyukakyuz 2024 (arXiv 2406.01775). Saved in PEFT's layout. Neighbours: full
    (every weight, more memory), last_layers (some of the base's own weights), ia3 (vectors only).
    """

    fits_encoder_decoders: ClassVar[bool] = True

    rank: int = Field(16, ge=1, description="Size of the adapter: higher learns more, costs memory.")
    alpha: float | None = Field(None, gt=0, description="Strength of the adapter; twice the rank when left out.")
    targets: str | list[str] = Field(
        "all", description="'all' linear layers, name endings, or a pattern over the whole name."
    )
    layers: int | None = Field(
        None, ge=1, description="Only this many layers from the top: faster, and learns less; all when left out."
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="Drops inputs of the adapter while training; fights overfitting, slows learning."
    )
    rslora: bool = Field(False, description="Scale by 1/sqrt(rank): keeps high ranks learning.")
    dora: bool = Field(
        False, description="Learn each row's length apart from its direction (DoRA): learns more at low ranks, slower."
    )
    plus: float | None = Field(
        None,
        gt=0,
        description="B's rate as a multiple of A's (LoRA+, usual 16): learns faster; one rate when left out.",
    )
    start: Literal["default", "pissa", "olora"] = Field(
        "default",
        description="Begin at B = 0, or at W's largest singular values (pissa) or its QR (olora): learns faster at "
        "first, attaching takes a decomposition of every layer, and the file has twice the rank.",
    )
    ranks: dict[str, int] = Field(
        {}, description="Another rank where a layer's name, or its end, matches a pattern; the first match counts."
    )
    alphas: dict[str, float] = Field({}, description="Another alpha, likewise.")

    @property
    def rates(self) -> str:
        """From a start of their own both matrices move what is computed at once: that wants smaller steps."""
        return self.kind if self.start == "default" else "started"

    @property
    def draws(self) -> bool:
        """Dropout draws."""
        return self.dropout > 0

    def attach(self, net: nn.Module, name: str = "default", *, seed: int = 0) -> nn.Module:
        """Freeze the base and put the adapter beside the chosen layers."""
        from tunewright.models import beside, lora_layers

        shape = self._shape(self._chosen(net))
        self._check(net, shape)
        net.requires_grad_(False)
        lora_layers.add_adapter(net, name, shape, seed=seed)
        beside.route_of(net).active = name
        return net

    def merge(self, net: nn.Module, name: str = "default") -> nn.Module:
        """Fold B A into the base's weights."""
        from tunewright.models import lora_layers

        lora_layers.merge_adapter(net, name)
        return net

    def save(self, net: nn.Module, folder: Path, name: str = "default") -> None:
        """Write the adapter in PEFT's layout."""
        from tunewright.models import lora_files

        lora_files.save_adapter(net, name, folder, self._shape([]), base=base_name(net))

    def load(self, net: nn.Module, folder: Path, name: str = "default") -> None:
        """Fill the attached adapter from a folder."""
        from tunewright.models import lora_files

        lora_files.fill_adapter(net, name, folder)

    def groups(self, net: nn.Module, lr: float) -> list[dict[str, Any]]:
        """B at `plus` times the rate, where that is given."""
        from tunewright.models import lora_layers

        found = super().groups(net, lr)
        if self.plus is None:
            return found
        fast = {id(b) for _, layer in lora_layers.layers(net) for b in layer.B.parameters()}
        apart = [p for group in found for p in group["params"] if id(p) in fast]
        rest = [{**group, "params": [p for p in group["params"] if id(p) not in fast]} for group in found]
        return [*rest, {"params": apart, "lr": lr * self.plus, "decay": True}]

    def _chosen(self, net: nn.Module) -> list[str]:
        from tunewright.core.errors import RecipeError
        from tunewright.models import lora_layers
        from tunewright.models.own_weights import top_layers

        chosen = lora_layers.matching(net, self.targets)
        if self.layers is None:
            return chosen
        tops = tuple(f"{path}." for path in top_layers(net, self.layers))
        if kept := [path for path in chosen if path.startswith(tops)]:
            return kept
        raise RecipeError(
            f"method.layers: nothing that method.targets names lies in the top {self.layers} layers; the nearest is "
            f"{chosen[-1]}. Raise layers, or change targets."
        )

    def _check(self, net: nn.Module, shape: LoraShape) -> None:
        from tunewright.core.errors import RecipeError
        from tunewright.models import beside, lora_layers

        for option, patterns in (("ranks", self.ranks), ("alphas", self.alphas)):
            for pattern in patterns:
                if not any(lora_layers.fits(pattern, path) for path in shape.targets):
                    raise RecipeError(
                        f"method.{option}: '{pattern}' matches none of the layers that method.targets chooses. Their "
                        f"names look like: {', '.join(shape.targets[-3:])}."
                    )
        layers: dict[str, Any] = {path: beside.chain_at(net, path)[-1].module for path in shape.targets}
        wide = {path: (min(layer.weight.shape), shape.at(path).rank) for path, layer in layers.items()}
        if too_much := [(most, rank, path) for path, (most, rank) in wide.items() if rank > most]:
            most, rank, path = min(too_much)
            raise RecipeError(
                f"method.rank: layer {path} is {most} wide at its narrowest, found a rank of {rank}. Give {most} or "
                "less, or another rank to such layers by method.ranks."
            )

    def _shape(self, targets: list[str]) -> LoraShape:
        from tunewright.models.lora_layers import LoraShape

        twice = {pattern: 2.0 * rank for pattern, rank in self.ranks.items()} if self.alpha is None else {}
        return LoraShape(
            rank=self.rank,
            alpha=2.0 * self.rank if self.alpha is None else self.alpha,
            rslora=self.rslora,
            dropout=self.dropout,
            targets=targets,
            ranks=self.ranks,
            alphas=self.alphas | {pattern: alpha for pattern, alpha in twice.items() if pattern not in self.alphas},
            dora=self.dora,
            start=self.start,
        )
