"""Opens a base: its tokenizer and template alone, or with its weights. safetensors only, and none of a base's code."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from tunewright.core import private
from tunewright.core.errors import CannotDecrypt, DataError, NotThere
from tunewright.core.recipe import ModelOptions
from tunewright.models import attention, backbones, heads, new_tokens, roots
from tunewright.models.bases import base_folder
from tunewright.models.chat import Chat
from tunewright.models.documents import Documents
from tunewright.models.pages import in_large_pages
from tunewright.models.quiet import quiet
from tunewright.models.seq2seq import Seq2Seq
from tunewright.models.text_pairs import TextPairs
from tunewright.models.tunable import TunableModel

if TYPE_CHECKING:
    from transformers import PretrainedConfig

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def open_chat(options: ModelOptions) -> Chat:
    """Only the tokenizer and template of a base, with its new tokens."""
    return chat_in(base_folder(options.base), options)


def chat_in(folder: str, options: ModelOptions) -> Chat:
    """The same of a folder that need not hold weights."""
    from transformers import AutoTokenizer

    def fetch(place: str) -> Any:
        found = AutoTokenizer.from_pretrained(place, revision=options.revision, trust_remote_code=False)
        found.name_or_path = folder
        return found

    tokenizer = _fetched(fetch, folder)
    config = open_config(folder, options.revision)
    added = new_tokens.add(tokenizer, options.new_tokens)
    make = Documents if backbones.is_encoder(config) else TextPairs if backbones.is_encoder_decoder(config) else Chat
    chat = make(tokenizer)
    chat.new = added
    return chat


def open_config(folder: str, revision: str | None) -> PretrainedConfig:
    """The config of a base. Raises NotThere or DataError when it cannot be read."""
    from transformers import AutoConfig

    def fetch(place: str) -> PretrainedConfig:
        found: PretrainedConfig = AutoConfig.from_pretrained(place, revision=revision, trust_remote_code=False)
        found.name_or_path = folder
        return found

    config: PretrainedConfig = _fetched(fetch, folder)
    return config


def open_model(options: ModelOptions, *, dtype: str = "float32", device: str = "cpu") -> TunableModel:
    """Open a base for computing forests, with the head and the root that lie in its folder. Raises NotThere or
    DataError.
    """
    folder = base_folder(options.base)
    config = open_config(folder, options.revision)
    paired = backbones.is_encoder_decoder(config)
    opener, extra = backbones.auto_class(config)

    def fetch(place: str) -> Any:
        net, told = opener.from_pretrained(
            place,
            revision=options.revision,
            dtype=DTYPES[dtype],
            attn_implementation="sdpa" if paired else attention.NAME,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            **extra,
        )
        net.name_or_path = net.config.name_or_path = folder
        return net, told

    net, told = _fetched(fetch, folder)
    if told["missing_keys"]:
        raise DataError(
            f"Model '{folder}' lacks weights: {min(told['missing_keys'])} ({len(told['missing_keys'])} in all). Copy "
            "it again, or take another base."
        )
    if not paired:
        refuse_unknown_attention(net)
    if Path(folder).is_dir():
        heads.load_head(net, Path(folder))
        roots.load_fixed(net, Path(folder))
    chat = open_chat(options)
    new_tokens.put_in(net, chat.new)
    net.to(device)
    if net.device.type == "cuda":
        torch.backends.cuda.enable_cudnn_sdp(False)  # plans anew for each length: 7 ms (H100)
    in_large_pages(net)
    net.eval()
    make = Seq2Seq if paired else TunableModel
    return make(net, chat, base=options.base, plain=options.plain)


def refuse_unknown_attention(net: Any) -> None:
    """Raise DataError for architectures whose layers are not plain attention, causal or both ways."""
    config = net.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or [])
    strange = kinds - {"full_attention", "sliding_attention"}
    if strange or not getattr(net, "_supports_attention_backend", False):
        what = f"layers of kind {', '.join(sorted(strange))}" if strange else "its own attention code"
        raise DataError(
            f"Model type '{config.model_type}' has {what}, which cannot be computed as a forest. "
            "Use a model with plain causal attention (Llama, Qwen, Mistral, Gemma, Phi, GPT-2, OLMo, SmolLM ...), or "
            "an encoder such as BERT, RoBERTa, ModernBERT or MiniLM."
        )


def _fetched(load: Callable[[str], Any], folder: str) -> Any:
    """What the library makes of a folder or of a Hub id; files of a private run are opened for it in memory."""
    try:
        with quiet(), private.readable(Path(folder)) if Path(folder).is_dir() else nullcontext(folder) as place:
            return load(str(place))
    except CannotDecrypt:
        raise
    except OSError as error:
        raise NotThere(f"Model '{folder}' could not be opened: {str(error).splitlines()[0]}") from None
    except (ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:  # what damaged files lead to
        raise DataError(
            f"Model '{folder}' could not be opened: {(str(error) or repr(error)).splitlines()[0]}"
        ) from None
