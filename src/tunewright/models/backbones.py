"""What stands under a head: a causal net of the transformers library, or an encoder, in which tokens see both ways.

A config tells which of the two a base is. Encoders are opened without their pooling layer: what a row comes to is a
choice of the objective.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PretrainedConfig

SHIFTED = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "roberta-prelayernorm", "data2vec-text", "xmod"}


def is_encoder(config: PretrainedConfig) -> bool:
    """Whether tokens see what comes after them (BERT, RoBERTa, ModernBERT, MiniLM ...)."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    if getattr(config, "is_encoder_decoder", False) or getattr(config, "is_decoder", False):
        return False
    return config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES


def auto_class(config: PretrainedConfig) -> tuple[Any, dict[str, Any]]:
    """The class of the transformers library that opens this base, and options for it."""
    from transformers import AutoModel, AutoModelForCausalLM

    if not is_encoder(config):
        return AutoModelForCausalLM, {}
    found: Any = AutoModel._model_mapping[type(config)]
    own = found[0] if isinstance(found, tuple) else found
    pools = "add_pooling_layer" in inspect.signature(own).parameters
    return AutoModel, {"add_pooling_layer": False} if pools else {}


def first_position(config: PretrainedConfig) -> int:
    """The position of a row's first token: RoBERTa and its kin count from behind the padding token's number."""
    return int(config.pad_token_id or 0) + 1 if config.model_type in SHIFTED else 0
