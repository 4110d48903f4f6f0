"""GGUF, the format of llama.cpp: written from a folder in the transformers library's layout.

Names and their meaning: the GGUF specification of the ggml project (docs/gguf.md) and the tables of the `gguf` package.
Nets: Llama, Mistral, Qwen2 and Qwen3; tokenizers: byte-level BPE. Others are refused: a file that makes other tokens
than the model learned would be worse than none.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.core import storage
from tunewright.core.errors import DataError, MissingPackage

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFWriter

MODEL = "model.gguf"
# transformers' model_type -> the architecture's name in GGUF
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
# How llama.cpp calls the pattern by which a byte-level tokenizer parts text before it looks for pieces.
GPT2 = "gpt-2"
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PATTERNS = {rf"{_WORDS}\p{{N}}{{1,3}}{_REST}": "llama-bpe", rf"{_WORDS}\p{{N}}{_REST}": "qwen2"}
TYPES = ("f32", "f16", "bf16", "q8_0", "q5_0", "q4_0")


@dataclass(frozen=True)
class Source:
    """A folder that can be written as GGUF."""

    config: dict[str, Any]
    tokenizer: dict[str, Any]
    architecture: str
    pre_tokenizer: str


def check(folder: Path) -> Source:
    """What of a folder decides the file. Raises DataError for a net or tokenizer that is not known, MissingPackage."""
    if importlib.util.find_spec("gguf") is None:
        raise MissingPackage("tunewright[edge]", needed_for="Writing GGUF")
    config = storage.read_json(folder / "config.json")
    kind = config.get("model_type")
    if kind not in ARCHITECTURES:
        raise _unknown(f"A net of type '{kind}' cannot be written as GGUF yet; known are {', '.join(ARCHITECTURES)}")
    if config.get("hidden_act", "silu") != "silu" or config.get("mlp_bias"):
        raise _unknown("GGUF has no place for this net's feed-forward part (its activation or its biases)")
    rope = _rope(config)
    if rope.get("rope_type", "default") not in ("default", "linear", "llama3"):
        raise _unknown(f"Positions of type '{rope['rope_type']}' cannot be written as GGUF yet")
    if not (folder / "tokenizer.json").exists():
        raise _unknown("The base has no tokenizer.json, from which GGUF's tokens are made")
    tokenizer = storage.read_json(folder / "tokenizer.json")
    return Source(config, tokenizer, ARCHITECTURES[kind], pre_tokenizer(tokenizer))


def write(folder: Path, target: Path, *, kind: str, name: str) -> None:
    """Write the net and tokenizer of a folder as one GGUF file. kind: one of TYPES, for the matrices; vectors stay in
    float32. Raises as `check`.
    """
    source = check(folder)
    import gguf

    writer = gguf.GGUFWriter(target, source.architecture)
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(name)
    _add_shape(writer, source.config)
    _add_tokenizer(writer, folder, source)
    plain = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16"}
    writer.add_file_type(gguf.LlamaFileType[plain.get(kind, f"MOSTLY_{kind.upper()}")])
    if kind not in plain:
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for tensor_name, values in _tensors(folder, source):
        _add_tensor(writer, tensor_name, values, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _unknown(what: str) -> DataError:
    return DataError(f"{what}. Leave 'gguf' out of deploy.formats.")


def _rope(config: dict[str, Any]) -> dict[str, Any]:
    return config.get("rope_parameters") or {"rope_theta": config.get("rope_theta", 10000.0)}


def pre_tokenizer(tokenizer: dict[str, Any]) -> str:
    """How llama.cpp calls the way in which a tokenizer (tokenizer.json) parts text. Raises DataError if it has none."""
    model, before = tokenizer["model"], tokenizer.get("pre_tokenizer") or {}
    steps = before.get("pretokenizers", [before])
    if (
        model.get("type") == "BPE"
        and model.get("merges")
        and not model.get("byte_fallback")
        and tokenizer.get("normalizer") is None
    ):
        bytes_only = [step for step in steps if step.get("type") == "ByteLevel" and not step.get("add_prefix_space")]
        splits = [step["pattern"].get("Regex") for step in steps if step.get("type") == "Split"]
        if len(steps) == len(bytes_only) == 1 and bytes_only[0].get("use_regex", True):
            return GPT2
        if len(steps) == 2 and bytes_only and len(splits) == 1 and splits[0] in PATTERNS:
            return PATTERNS[splits[0]]
    raise _unknown(
        "This base's tokenizer parts text in a way that is not known to be one of llama.cpp's, so GGUF could make "
        "other tokens than were trained"
    )


def _add_shape(writer: GGUFWriter, config: dict[str, Any]) -> None:
    heads = int(config["num_attention_heads"])
    head_size = int(config.get("head_dim") or config["hidden_size"] // heads)
    rope = _rope(config)
    writer.add_vocab_size(int(config["vocab_size"]))
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(int(config["hidden_size"]))
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads") or heads))
    writer.add_key_length(head_size)
    writer.add_value_length(head_size)
    writer.add_rope_dimension_count(head_size)
    writer.add_rope_freq_base(float(rope["rope_theta"]))
    writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
    if rope.get("rope_type") == "linear":
        from gguf import RopeScalingType

        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))


def _add_tokenizer(writer: GGUFWriter, folder: Path, source: Source) -> None:
    import gguf

    tokenizer = source.tokenizer
    texts = {number: text for text, number in tokenizer["model"]["vocab"].items()}
    added = {int(token["id"]): token for token in tokenizer.get("added_tokens", [])}
    tokens, types = [], []
    for number in range(int(source.config["vocab_size"])):
        token = added.get(number)
        if token is not None:
            tokens.append(token["content"])
            types.append(gguf.TokenType.CONTROL if token["special"] else gguf.TokenType.USER_DEFINED)
        elif number in texts:
            tokens.append(texts[number])
            types.append(gguf.TokenType.NORMAL)
        else:  # rows of the embedding that no token has
            tokens.append(f"[PAD{number}]")
            types.append(gguf.TokenType.UNUSED)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(source.pre_tokenizer)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    merges = tokenizer["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    config = storage.read_json(folder / "tokenizer_config.json")
    ids = {text: number for number, text in enumerate(tokens)}
    for key, add in (("bos_token", writer.add_bos_token_id), ("eos_token", writer.add_eos_token_id)):
        text = config.get(key)
        text = text["content"] if isinstance(text, dict) else text
        if text in ids:
            add(ids[text])
    writer.add_add_bos_token(False)  # the chat template writes it, where the model has one
    template = folder / "chat_template.jinja"
    if template.exists():
        writer.add_chat_template(template.read_text(encoding="utf-8"))


def _tensors(folder: Path, source: Source) -> Iterator[tuple[str, np.ndarray]]:
    """Every tensor under its name in GGUF, in float32."""
    import gguf
    import torch
    from safetensors import safe_open

    config, architecture = source.config, source.architecture
    blocks = int(config["num_hidden_layers"])
    table = gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture.upper()], blocks)
    heads = int(config["num_attention_heads"])
    key_heads = int(config.get("num_key_value_heads") or heads)
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as held:
            for name in held.keys():  # noqa: SIM118 - no mapping
                if name == "lm_head.weight" and config.get("tie_word_embeddings"):
                    continue
                renamed = table.get_name(name, try_suffixes=(".weight", ".bias"))
                if renamed is None:
                    raise _unknown(f"GGUF has no place for the tensor '{name}'")
                values = held.get_tensor(name).to(torch.float32).numpy()
                if architecture == "llama" and ".q_proj." in name:
                    values = _interleaved(values, heads)
                if architecture == "llama" and ".k_proj." in name:
                    values = _interleaved(values, key_heads)
                yield renamed, values
    factors = _llama3_factors(config)
    if factors is not None:
        yield "rope_freqs.weight", factors


def _interleaved(values: np.ndarray, heads: int) -> np.ndarray:
    """Rows of queries or keys in the order in which llama.cpp turns them: pairs beside each other, not half a head
    apart.
    """
    return (
        values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
    )


def _llama3_factors(config: dict[str, Any]) -> np.ndarray | None:
    """By what each frequency is divided where positions are scaled as in Llama 3.1 (its `rope_type: llama3`)."""
    import numpy as np

    rope = _rope(config)
    if rope.get("rope_type") != "llama3":
        return None
    size = int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])
    wavelengths = 2 * math.pi * float(rope["rope_theta"]) ** (np.arange(0, size, 2) / size)
    factor, low, high = (float(rope[key]) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    context = float(rope["original_max_position_embeddings"])
    smooth = (context / wavelengths - low) / (high - low)
    blended = 1 / ((1 - smooth) / factor + smooth)
    factors = np.where(wavelengths < context / high, 1.0, np.where(wavelengths > context / low, factor, blended))
    return factors.astype(np.float32)


def _add_tensor(writer: GGUFWriter, name: str, values: np.ndarray, kind: str) -> None:
    import gguf
    import numpy as np

    if values.ndim < 2 or kind == "f32":
        writer.add_tensor(name, np.ascontiguousarray(values))
        return
    wanted = gguf.GGMLQuantizationType[kind.upper()]
    block = gguf.GGML_QUANT_SIZES[wanted][0]
    if values.shape[-1] % block:  # llama.cpp does the same with rows that do not part into whole blocks
        wanted = gguf.GGMLQuantizationType.F16
    writer.add_tensor(name, gguf.quantize(values, wanted), raw_dtype=wanted)
