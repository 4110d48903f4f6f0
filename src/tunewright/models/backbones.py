"""What a base is: a causal net of the transformers library, an encoder, in which tokens see both ways, or both in a
row.

A config tells which of them a base is. Encoders are opened without their pooling layer: what a row comes to is a
choice of the objective.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from tunewright.core.errors import DataError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

SHIFTED = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "roberta-prelayernorm", "data2vec-text", "xmod"}

PAIRED = ("t5", "mt5", "bart", "pegasus")  # encoder-decoders whose heads models/seq2seq.py knows


def is_encoder_decoder(config: PretrainedConfig) -> bool:
    """Whether one stack reads the question and another says the answer (T5, BART ...)."""
    return bool(getattr(config, "is_encoder_decoder", False))


def has_own_head(config: PretrainedConfig) -> bool:
    """Whether an encoder-decoder's vocabulary head is not its embedding, which the library finds out when it loads: T5
    from version 1.1 on (Flan-T5 too) and mT5.
    """
    return config.model_type == "mt5" or (config.model_type == "t5" and not config.scale_decoder_outputs)


def is_encoder(config: PretrainedConfig) -> bool:
    """Whether tokens see what comes after them (BERT, RoBERTa, ModernBERT, MiniLM ...)."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    if is_encoder_decoder(config) or getattr(config, "is_decoder", False):
        return False
    return config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES


def auto_class(config: PretrainedConfig) -> tuple[Any, dict[str, Any]]:
    """The class of the transformers library that opens this base, and options for it. Raises DataError for
    encoder-decoders that are not known here.
    """
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    if is_encoder_decoder(config):
        if config.model_type not in PAIRED:
            raise DataError(
                f"Model type '{config.model_type}' is an encoder-decoder of a kind that is not known here. Known are "
                f"{', '.join(PAIRED)}: take one of them, or a causal model."
            )
        return AutoModelForSeq2SeqLM, {}

    if not is_encoder(config):
        return AutoModelForCausalLM, {}
    found: Any = AutoModel._model_mapping[type(config)]
    own = found[0] if isinstance(found, tuple) else found
    pools = "add_pooling_layer" in inspect.signature(own).parameters
    return AutoModel, {"add_pooling_layer": False} if pools else {}


def first_position(config: PretrainedConfig) -> int:
    """The position of a row's first token: RoBERTa and its kin count from behind the padding token's number."""
    return int(config.pad_token_id or 0) + 1 if config.model_type in SHIFTED else 0
