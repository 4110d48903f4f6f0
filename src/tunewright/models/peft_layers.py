"""Tuners of the PEFT library beside a net: each of our adapters is a tuner of its own, whose layers ask the Route."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tunewright.core.errors import CannotMerge, DataError, RecipeError, unknown
from tunewright.models import adapter_files, beside, tensor_files
from tunewright.models.beside import Route
from tunewright.models.own_weights import base_parameters

# What a recipe has no say in; and tuners that need more of a training loop, or of a request, than other methods do.
FIXED = ("peft_type", "task_type", "base_model_name_or_path", "inference_mode", "revision", "auto_mapping")
LEFT_OUT = ("ADALORA", "POLY", "XLORA", "SHADOW", "CARTRIDGE", "SUPERTUNING")


@dataclass
class Held:
    """One adapter: PEFT's own model around the net, and the layers it put into it."""

    tuner: Any
    layers: list[Any]


def tuners() -> list[str]:
    """The tuners that work layer by layer, by PEFT's names."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
    from peft.tuners.tuners_utils import BaseTuner

    return sorted(
        kind.value
        for kind in PEFT_TYPE_TO_CONFIG_MAPPING
        if kind.value not in LEFT_OUT
        and kind in PEFT_TYPE_TO_TUNER_MAPPING
        and issubclass(PEFT_TYPE_TO_TUNER_MAPPING[kind], BaseTuner)
    )


def problem(tuner: str, options: Mapping[str, Any]) -> str | None:
    """What is wrong with a tuner's name or options, as one sentence."""
    if tuner not in tuners():
        return unknown("tuner of the PEFT library", tuner, tuners())
    known = [field.name for field in dataclasses.fields(_config_class(tuner)) if field.init and field.name not in FIXED]
    if strange := [name for name in options if name not in known]:
        return unknown(f"option of PEFT's {tuner}", strange[0], known)
    try:
        make_config(tuner, options)
    except (TypeError, ValueError) as error:
        return f"PEFT's {tuner} does not take these options: {_first_line(error)}"
    return None


def make_config(tuner: str, options: Mapping[str, Any]) -> Any:
    """The tuner's config. Raises what PEFT raises."""
    return _config_class(tuner)(task_type="CAUSAL_LM", **options)


def mergeable(tuner: str) -> bool:
    """Whether any layer of this tuner can be folded into the base's."""
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
    from peft.tuners.tuners_utils import BaseTunerLayer

    def kinds(layer: Any) -> list[Any]:
        return [layer, *(kind for below in layer.__subclasses__() for kind in kinds(below))]

    layer: Any = PEFT_TYPE_TO_TUNER_MAPPING[_kind(tuner)].tuner_layer_cls
    return any(kind.merge is not BaseTunerLayer.merge for kind in kinds(layer))  # type: ignore[attr-defined]


def add_adapter(net: Any, name: str, config: Any, *, seed: int = 0) -> None:
    """Let PEFT put its layers in. Raises RecipeError for what would change the base itself."""
    from peft import get_peft_model
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    before = _fingerprint(net)
    with beside.bare(net), torch.random.fork_rng(), _quiet():
        torch.manual_seed(seed)
        try:
            tuner = get_peft_model(net, config)
        except (ValueError, TypeError, NotImplementedError) as error:
            kind = config.peft_type.value
            raise RecipeError(
                f"PEFT's {kind} does not fit this model with these options: {_first_line(error)}"
            ) from None
        del net.peft_config  # or the transformers library would save in a way of its own
        layers: list[Any] = [module for module in net.modules() if isinstance(module, BaseTunerLayer)]
        for layer in layers:
            layer.stands_for = "base_layer"
            layer.forward = partial(_routed, layer, layer.forward, beside.route_of(net), name)
        wrapped = [module for module in net.modules() if isinstance(module, AuxiliaryTrainingWrapper)]
    _held(net)[name] = Held(tuner, layers)
    inside = {id(parameter) for parameter in net.parameters()}
    wrong = {
        "keeps weights outside the layers": any(p.requires_grad and id(p) not in inside for p in tuner.parameters()),
        "trains whole modules": bool(wrapped),
        "changes the vocabulary head": isinstance(net.get_output_embeddings(), BaseTunerLayer),
        "trains the base's own weights": any(p.requires_grad for _, p in base_parameters(net)),
        "changes the base's weights at the start": before != _fingerprint(net),
    }
    for what in (what for what, found in wrong.items() if found):
        drop(net, name)
        raise RecipeError(
            f"PEFT's {config.peft_type.value} with these options {what}, which cannot be taken back. Change "
            "method.options, or use one of tunewright's own methods."
        )


def save_adapter(net: Any, name: str, folder: Path) -> None:
    """Write an adapter as PEFT does."""
    config = dataclasses.replace(_held(net)[name].tuner.peft_config["default"])
    config.base_model_name_or_path = str(getattr(net.config, "_name_or_path", "")) or None
    config.inference_mode = True
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in _tensors(net, name).items()}
    tensor_files.save(tensors, folder / adapter_files.TENSORS, metadata={"format": "pt"})
    config.save_pretrained(str(folder))


def load_adapter(net: Any, name: str, folder: Path) -> None:
    """Put a saved adapter beside a net."""
    from peft import PeftConfig

    tuner = adapter_files.read_config(folder)["peft_type"]
    if tuner not in tuners():
        known = ", ".join(tuners())
        raise DataError(f"{folder} holds a {tuner} adapter, which this version cannot read. It reads: {known}.")
    try:
        with _quiet():
            config = PeftConfig.from_pretrained(str(folder))
            add_adapter(net, name, config)
    except (TypeError, ValueError) as error:
        raise DataError(f"The adapter in {folder} does not fit this model: {_first_line(error)}") from None
    fill_adapter(net, name, folder)


def fill_adapter(net: Any, name: str, folder: Path) -> None:
    """Put saved tensors into an adapter that is there already (resume). Raises DataError when keys or shapes differ."""
    from peft import set_peft_model_state_dict

    tensors = adapter_files.read_tensors(folder)
    adapter_files.refuse_other(_tensors(net, name), tensors, folder)
    with _quiet(), _alone(net, name) as tuner:
        set_peft_model_state_dict(tuner, tensors)


def merge_adapter(net: Any, name: str) -> None:
    """Fold an adapter into the base's weights and take all wrappers away, in place. Raises CannotMerge."""
    held = _held(net).pop(name)
    for layer in held.layers:
        for parameter in layer.get_base_layer().parameters():
            parameter.data = parameter.data.clone()  # others may hold the old one
    try:
        with _quiet():
            held.tuner.merge_and_unload()
    except (NotImplementedError, AttributeError, ValueError, TypeError) as error:
        kind = held.tuner.peft_config["default"].peft_type.value
        raise CannotMerge(f"PEFT's {kind} cannot be folded into the base: {_first_line(error)}") from None
    beside.take_away(net)


def drop(net: nn.Module, name: str) -> None:
    """Take an adapter away, if it is one of PEFT's."""
    held = _held(net).pop(name, None)
    if held is not None:
        own = {id(layer) for layer in held.layers}
        beside.take_away(net, lambda module: id(module) in own)


def _routed(
    layer: Any, plain: Any, route: Route, name: str, x: torch.Tensor, *given: Any, **options: Any
) -> torch.Tensor:
    """What PEFT's layer makes of the tokens that are this adapter's; the others go through what it stands for."""
    if layer.training != route.training:
        layer.train(route.training)  # its dropout
    if route.segments is None:
        chosen = plain if route.active == name else layer.base_layer
        return chosen(x, *given, **options)  # type: ignore[no-any-return]
    flat = x.reshape(-1, x.shape[-1]) if x.is_floating_point() else x.reshape(-1)
    parts = zip(route.segments, flat.split([count for _, count in route.segments]), strict=True)
    ways = ((plain if adapter == name else layer.base_layer, part) for (adapter, _), part in parts)
    pieces = [chosen(part[None], *given, **options) for chosen, part in ways]
    lead = x.shape[:-1] if x.is_floating_point() else x.shape
    return torch.cat(pieces, 1).view(*lead, -1)


def _held(net: nn.Module) -> dict[str, Held]:
    held: dict[str, Held] = net.__dict__.setdefault("_tunewright_peft", {})
    return held


def _tensors(net: nn.Module, name: str) -> dict[str, torch.Tensor]:
    from peft import get_peft_model_state_dict

    with _quiet(), _alone(net, name) as tuner:
        found: dict[str, torch.Tensor] = get_peft_model_state_dict(tuner, save_embedding_layers=False)
    return found


@contextmanager
def _alone(net: nn.Module, name: str) -> Iterator[Any]:
    """PEFT's model, while nothing else stands beside the base: names on disk are those of PEFT alone."""
    held = _held(net)[name]
    own = {id(layer) for layer in held.layers}
    with beside.bare(net, but=lambda module: id(module) in own):
        yield held.tuner


def _fingerprint(net: nn.Module) -> list[int]:
    """The sum of each weight's bits in the base; of a skeleton nothing but how many there are."""
    bits = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    weights = [p.detach() for _, p in base_parameters(net)]
    return [0 if w.is_meta else int(w.contiguous().view(bits[w.element_size()]).sum()) for w in weights]


def _kind(tuner: str) -> Any:
    from peft import PeftType

    return PeftType(tuner)


def _config_class(tuner: str) -> Any:
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    return PEFT_TYPE_TO_CONFIG_MAPPING[_kind(tuner)]


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
