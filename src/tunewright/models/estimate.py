"""What a model and a training run will cost, before any weight is loaded: from config.json and an empty skeleton."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tunewright.core.errors import NotThere, RecipeError
from tunewright.models import adapter_files, backbones, families, lora_layers, new_rows
from tunewright.models.bases import ROOT, base_folder
from tunewright.models.eight_bit import moment_bytes
from tunewright.models.hardware import Hardware
from tunewright.models.head import CHUNK_ELEMENTS
from tunewright.models.new_tokens import give_rows
from tunewright.models.opening import DTYPES
from tunewright.models.quantised import bits_a_weight
from tunewright.models.quiet import quiet
from tunewright.models.upper import frozen_layers

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig

    from tunewright.core.parts import Method

PROGRAM_BYTES = 550_000_000  # Python, torch and transformers themselves
EFFICIENCY = 0.45  # share of the probed speed that a training step reaches, all its small operations included
# Numbers kept per token and layer for the backward pass: this many hidden vectors and this many feed-forward ones.
KEPT = (12, 4)
KEPT_KNOWN = (7, 2)  # where models/families.py knows the layers
KEPT_MORE_BESIDE = 1.25  # adapters beside frozen layers were measured to keep this much more
OPTIMIZER_COPIES = 2  # AdamW's two moments
NO_LIMIT = 2**31  # context of models whose positions have no end


@dataclass(frozen=True)
class ModelFacts:
    """A base model as its config.json describes it."""

    base: str
    folder: str
    revision: str | None
    architecture: str
    parameters: int
    layers: int
    hidden: int
    feed_forward: int
    vocabulary: int
    context: int
    root: int  # of the context, what the base's own root takes
    is_encoder: bool  # tokens see both ways, and there is no vocabulary head
    is_encoder_decoder: bool  # layers and context are then those of one of the two
    licence: str | None
    disk_bytes: int | None  # None for a Hub model, whose weights are not looked at
    new_tokens: tuple[int, ...] = ()  # the ids of those that the recipe adds


@dataclass(frozen=True)
class Estimate:
    """What training costs. `parts` names the bytes that add up to memory_bytes."""

    memory_bytes: int
    bytes_per_token: tuple[int, ...]  # of the activations, with 0, 1, 2 ... layers computed again
    seconds_per_1000_tokens: float
    trainable_parameters: int
    new_rows: int  # of those, in rows of new tokens that learn apart from their matrix
    parts: dict[str, int]
    frozen_layers: int  # below everything that trains
    frozen_seconds_per_1000_tokens: float  # of those above: what these layers take


@dataclass(frozen=True)
class Work:
    """Weights met by one token, split by what the backward pass does there."""

    weight_bytes: int  # everything that is loaded or added
    trainable: int  # parameters that learn
    new_rows: int  # of those, in rows of new tokens that learn apart from their matrix
    trainable_bytes: int
    trainable_sizes: tuple[int, ...]  # numbers in each tensor that learns
    products: int  # weights in matrix products, the vocabulary head apart
    passed: int  # of those, at or above the lowest weight that learns: gradients flow through them
    learned: int  # of those, that learn themselves
    head: int
    head_learns: bool
    frozen_layers: int  # below everything that learns
    lean: bool  # models/families.py knows every layer


def facts(base: str, *, revision: str | None = None, new_tokens: Sequence[int] = ()) -> ModelFacts:
    """The facts of the bundled base, a folder or a Hub id, with room for new tokens of these ids. Raises NotThere;
    loads no weights.
    """
    folder = base_folder(base)
    config = _config(folder, revision)
    net: Any = _skeleton(config, "float32", new_tokens)
    text = config.get_text_config()
    local = Path(folder)
    own = local / ROOT
    root = int(adapter_files.read_config(own)["num_virtual_tokens"]) if own.exists() else 0
    known = getattr(text, "max_position_embeddings", None) or NO_LIMIT
    return ModelFacts(
        base=base,
        folder=folder,
        revision=revision,
        architecture=(config.architectures or [config.model_type])[0],
        parameters=sum(p.numel() for p in net.parameters()),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        feed_forward=getattr(text, "intermediate_size", None) or 4 * text.hidden_size,  # GPT-2 leaves it out
        vocabulary=len(net.get_input_embeddings().weight),
        context=known - backbones.first_position(config) - root,
        root=root,
        is_encoder=backbones.is_encoder(config),
        is_encoder_decoder=backbones.is_encoder_decoder(config),
        licence=licence(local),
        disk_bytes=sum(file.stat().st_size for file in local.glob("*.safetensors")) if local.is_dir() else None,
        new_tokens=tuple(new_tokens),
    )


def work(model: ModelFacts, method: Method, *, dtype: str = "float32") -> Work:
    """Count a method's work on an empty skeleton of the model."""
    net: Any = _skeleton(_config(model.folder, model.revision), dtype, model.new_tokens)
    output, embedding = net.get_output_embeddings(), net.get_input_embeddings().weight
    head = None if output is None else output.weight
    net = method.attach(net)
    new_rows.attach(net, thaws=method.thaws)
    products = passed = learned = 0
    learning_below = embedding.requires_grad
    for parameter in net.parameters():  # in the order of the forward pass
        table = parameter is head or parameter is embedding
        learning_below = learning_below or (parameter.requires_grad and not table)
        if parameter.dim() < 2 or table:
            continue
        count = int(parameter.numel() * _active_share(net, parameter))
        products += count
        passed += count if learning_below else 0
        learned += count if parameter.requires_grad else 0
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    if not trained:
        raise RecipeError(f"method: '{method.kind}' with these options trains nothing on this model. Change them.")
    return Work(
        weight_bytes=sum(p.numel() * p.element_size() for p in net.parameters()) - _saved_bytes(net, method),
        trainable=sum(p.numel() for p in trained),
        new_rows=sum(p.numel() for name, p in net.named_parameters() if new_rows.is_of_rows(name)),
        trainable_bytes=sum(p.numel() * p.element_size() for p in trained),
        trainable_sizes=tuple(p.numel() for p in trained),
        products=products,
        passed=passed,
        learned=learned,
        head=0 if head is None else head.numel(),
        head_learns=head is not None and head.requires_grad,
        frozen_layers=0 if model.is_encoder_decoder else frozen_layers(net),
        lean=families.all_known(net),
    )


def estimate(
    model: ModelFacts,
    method: Method,
    *,
    micro_tokens: int,
    dtype: str,
    hardware: Hardware,
    learned_share: float = 1.0,
    row_tokens: float = 0.0,
    plain: bool = False,
    checkpoint_layers: int = 0,
    optimizer: str = "adamw",
) -> Estimate:
    """Memory and time of training. learned_share: of the tokens that are learned; row_tokens: mean length of a row;
    plain, checkpoint_layers, optimizer: the recipe's.
    """
    counted = work(model, method, dtype=dtype)
    if model.is_encoder_decoder:
        checkpoint_layers = 0  # none of its layers is computed again
    size = DTYPES[dtype].itemsize
    through = counted.passed / counted.products if counted.products else 1.0
    more = KEPT_MORE_BESIDE if method.has_adapter else 1.0
    lean = counted.lean and not (plain or method.draws)
    of_hidden, of_feed_forward = KEPT_KNOWN if lean else KEPT
    of_layer = more * (of_hidden * model.hidden + of_feed_forward * model.feed_forward) * size
    reached = model.layers * through

    def per_token(again: int) -> int:  # at least one layer is whole at a time: the one that is computed again
        whole = max(reached - again, min(1.0, reached))
        return int(of_layer * whole + (4 + min(again, reached)) * model.hidden * size)

    parts = {
        "program": PROGRAM_BYTES,
        "weights": counted.weight_bytes,
        "gradients": counted.trainable_bytes,
        "optimizer": moment_bytes(counted.trainable_sizes)
        if optimizer == "adamw_8bit"
        else counted.trainable_bytes * OPTIMIZER_COPIES,
        "activations": per_token(checkpoint_layers) * micro_tokens,
        "logits": min(CHUNK_ELEMENTS[hardware.device], int(micro_tokens * learned_share) * model.vocabulary) * 4 * 2,
    }
    # A product costs 2 operations a weight forward, 2 for the gradient that passes through, 2 for the weight itself.
    # Layers computed again cost their forward pass once more: this share of those that gradients reach.
    twice = min(1.0, checkpoint_layers / reached) if reached else 0.0
    attention = 2 * row_tokens * model.hidden * model.layers * (1 + (2 + twice) * through)
    head = learned_share * counted.head * (6 if counted.head_learns else 4)
    operations = 2 * (counted.products + (1 + twice) * counted.passed + counted.learned) + attention + head
    most = 1 if model.is_encoder_decoder else model.layers - counted.frozen_layers + 1
    speed = hardware.gflops.get(dtype, hardware.gflops["float32"]) * 1e9 * EFFICIENCY
    return Estimate(
        memory_bytes=sum(parts.values()),
        bytes_per_token=tuple(per_token(again) for again in range(most)),
        seconds_per_1000_tokens=operations * 1000 / speed,
        trainable_parameters=counted.trainable,
        new_rows=counted.new_rows,
        parts=parts,
        frozen_layers=counted.frozen_layers,
        frozen_seconds_per_1000_tokens=2 * (counted.products - counted.passed) * 1000 / speed,
    )


def _config(folder: str, revision: str | None) -> PretrainedConfig:
    from transformers import AutoConfig

    try:
        with quiet():
            config: PretrainedConfig = AutoConfig.from_pretrained(folder, revision=revision, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise NotThere(
            f"The config of model '{folder}' could not be read: {str(error).splitlines()[0]} "
            "Check the id and the network, or download the model elsewhere and give its folder."
        ) from None
    return config


def _skeleton(config: PretrainedConfig, dtype: str, new_ids: Sequence[int]) -> nn.Module:
    """The model without memory behind its weights."""
    opener, extra = backbones.auto_class(config)
    with torch.device("meta"):
        net: Any = opener.from_config(config, dtype=DTYPES[dtype], **extra)
    if backbones.has_own_head(config):
        net.lm_head.weight = torch.nn.Parameter(torch.empty_like(net.lm_head.weight))
    give_rows(net, new_ids)
    return net


def _saved_bytes(net: Any, method: Method) -> int:
    """What keeping the frozen linear layers in fewer bits saves."""
    if not method.quantised:
        return 0
    frozen: list[Any] = [net.get_submodule(path) for path in lora_layers.linear_names(net)]
    bases: list[Any] = [layer.base if isinstance(layer, lora_layers.LoraLinear) else layer for layer in frozen]
    bits = bits_a_weight(double=bool(getattr(method, "double", True)))
    return int(sum(base.weight.numel() * (base.weight.element_size() - bits / 8) for base in bases))


def _active_share(net: Any, parameter: torch.Tensor) -> float:
    """Of a stack of experts each token meets only the chosen ones; of encoder and decoder one."""
    config = net.config.get_text_config()
    if backbones.is_encoder_decoder(config):
        return 0.5
    if parameter.dim() < 3:
        return 1.0
    chosen = getattr(config, "num_experts_per_tok", None)
    return chosen / parameter.shape[0] if chosen else 1.0


def licence(folder: Path) -> str | None:
    """The licence that a model card's front matter names."""
    card = folder / "README.md"
    if not card.is_file():
        return None
    found = re.search(r"\A---\n.*?^license:\s*(\S+)", card.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return found.group(1) if found else None
