"""Which effective weights a training changes, and how much each mattered for an earlier run (diagonal Fisher)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import nn

from tunewright.core import storage
from tunewright.core.errors import RecipeError
from tunewright.core.parts import Past
from tunewright.models import lora_layers, tensor_files
from tunewright.models.beside import key, route_of
from tunewright.models.forest import Row
from tunewright.models.tunable import TunableModel

Held = dict[str, tuple[torch.Tensor, torch.Tensor]]


def changes(net: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """What training changes, by the weight's name in the plain base, differentiable, in float32.

    A layer with an adapter: the change of its weight. A weight that trains itself: its value.
    """
    name = route_of(net).active
    inside: set[int] = set()
    for path, layer in lora_layers.layers(net, name):
        inside |= {id(held[key(name)]) for held in (layer.A, layer.B, layer.M) if key(name) in held}
        yield f"{path}.weight", layer.merged(name) - layer.weight.float()
    for plain, parameter in net.named_parameters():
        if parameter.requires_grad and id(parameter) not in inside:
            yield plain, parameter.float()


def consolidated(past: Past, *, rows: int) -> Held:
    """For each changed weight that the earlier models had: the sum of their F, and the centre of the penalty in terms
    of `changes`. Measured once, then read from the past's folder. Raises RecipeError when there is none.
    """
    target = past.folder / "fisher"
    made_of = storage.digest([rows, [storage.listing(folder) for folder in past.trained]])
    if storage.damage(target) is not None or storage.read_json(target / "manifest.json").get("key") != made_of:
        with storage.new_folder(target, point="retention", about={"key": made_of}) as folder:
            _measure(past, rows, folder / "fisher.safetensors")
    saved = tensor_files.load(target / "fisher.safetensors", device=str(past.model.device))
    starts = {name: layer.weight for name, layer in _adapted(past.model.net)}
    held: Held = {}
    for name in [held_as.removeprefix("f.") for held_as in saved if held_as.startswith("f.")]:
        centre = saved[f"w.{name}"]
        held[name] = saved[f"f.{name}"], centre - starts[name].float() if name in starts else centre
    sizes = {name: change.shape for name, change in changes(past.model.net)}
    _refuse_grown(name for name, (found, _) in held.items() if found.shape != sizes.get(name, found.shape))
    return held


def _refuse_grown(names: Iterable[str]) -> None:
    if wrong := sorted(names):
        raise RecipeError(
            f"retention.ewc: {wrong[0]} has another size than in an earlier training, which had fewer new tokens. Name "
            "all model.new_tokens from the first one on, or keep by 'replay'."
        )


def _adapted(net: nn.Module) -> list[tuple[str, lora_layers.LoraLinear]]:
    name = route_of(net).active
    return [(f"{path}.weight", layer) for path, layer in lora_layers.layers(net, name)]


def _measure(past: Past, rows: int, file: Path) -> None:
    """Write F summed over runs, and the weights at which the sum of all parabolas is lowest."""
    wanted = {name for name, _ in changes(past.model.net)}
    sums: dict[str, torch.Tensor] = {}
    moments: dict[str, torch.Tensor] = {}
    latest: dict[str, torch.Tensor] = {}
    for open_run, units in zip(past.open_runs, past.units(), strict=False):
        earlier = open_run()
        stride = max(1, len(units) // rows)
        for name, found in fisher(earlier, units[::stride][:rows], wanted, poll=past.poll).items():
            weight = earlier.net.get_parameter(name).detach().float().cpu()
            found = found.cpu()
            _refuse_grown([name] if name in sums and sums[name].shape != found.shape else [])
            sums[name] = sums.get(name, 0.0) + found
            moments[name] = moments.get(name, 0.0) + found * weight
            latest[name] = weight
    if not sums:
        raise RecipeError(
            "retention.ewc: this method trains nothing that the earlier models had, so there is nothing to hold. "
            "Use the method lora, full or last_layers, or keep by 'replay'."
        )
    tensors = {f"f.{name}": value.contiguous() for name, value in sums.items()}
    for name, value in sums.items():
        tensors[f"w.{name}"] = torch.where(value > 0, moments[name] / value, latest[name]).contiguous()
    tensor_files.save(tensors, file)


def fisher(
    model: TunableModel, units: Sequence[Sequence[Row]], wanted: set[str], *, poll: Callable[[], None]
) -> dict[str, torch.Tensor]:
    """Mean over units of the squared gradient of the unit's summed log-prob, for the named weights of a plain net.

    One unit goes through at a time: shared work would mix the gradients that have to be squared apart.
    """
    net = model.net
    net.requires_grad_(False)
    found = {}
    for name, parameter in net.named_parameters():
        if name in wanted:
            parameter.requires_grad_(True)
            found[name] = torch.zeros_like(parameter, dtype=torch.float32)
    if not found:
        return {}
    for unit in units:
        poll()
        net.zero_grad(set_to_none=True)
        model.loss_sum(model.forest(list(unit))).backward()  # type: ignore[no-untyped-call]
        for name in found:
            gradient = net.get_parameter(name).grad
            if gradient is not None:
                found[name] += gradient.float().square() / len(units)
    net.zero_grad(set_to_none=True)
    net.requires_grad_(False)
    return found
