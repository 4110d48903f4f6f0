"""TunableModel: the only face of a model that parts and stages see."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tunewright.core.errors import DataError, NotThere
from tunewright.core.recipe import ModelOptions
from tunewright.models import attention, families, head, lora_layers
from tunewright.models.bases import base_folder
from tunewright.models.cache import CacheStep
from tunewright.models.chat import Chat
from tunewright.models.forest import Forest, segments
from tunewright.models.quiet import quiet

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tunewright.models.reference import Reference
    from tunewright.models.scoring import NodeStep
    from tunewright.models.upper import StoredHidden

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass
class Read:
    """Hidden states of a forest, with the keys and values of every layer."""

    hidden_ND: torch.Tensor
    captured: dict[int, tuple[torch.Tensor, torch.Tensor]]


class TunableModel:
    """A causal language model of the transformers library, with its chat, computing forests."""

    def __init__(self, net: PreTrainedModel, chat: Chat, *, base: str, plain: bool = False) -> None:
        self.net = net
        self.chat = chat
        self.base = base
        self.plain = plain  # every layer as the transformers library computes it
        self.adapters: dict[str, Path] = {}
        self.route = lora_layers.route_of(net)
        self.stored: StoredHidden | None = None  # while training: what the frozen layers make of its rows
        self.reference: Reference | None = None  # while training: the model as this phase started

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.net.device

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the base's weights."""
        return self.net.dtype

    @property
    def max_positions(self) -> int:
        """Longest sequence the model knows."""
        return int(getattr(self.net.config.get_text_config(), "max_position_embeddings", 0) or 2**31)

    @property
    def num_parameters(self) -> int:
        """Parameters of the net, shared ones counted once."""
        return sum(parameter.numel() for parameter in self.net.parameters())

    @property
    def is_tied(self) -> bool:
        """Whether the vocabulary head is the input embedding."""
        embedding: Any = self.net.get_input_embeddings()
        return bool(self._head()[0].data_ptr() == embedding.weight.data_ptr())

    def beside(self) -> TunableModel:
        """Another model over the same weights in memory. What changes weights in place spoils both."""
        net = self.net
        shared: dict[int, Any] = {id(buffer): buffer for buffer in net.buffers()}
        shared |= {id(p): torch.nn.Parameter(p.data, requires_grad=p.requires_grad) for p in net.parameters()}
        return TunableModel(copy.deepcopy(net, shared), self.chat, base=self.base, plain=self.plain)

    # --- forward ---

    def hidden(self, forest: Forest, *, noise: float = 0.0, wanted: torch.Tensor | None = None) -> torch.Tensor:
        """Hidden states after the last layer, ND, of all tokens or of those wanted. noise: NEFTune's alpha, drawn only
        while training.
        """
        return self._read(forest, noise=noise, wanted=wanted).hidden_ND

    def read(self, forest: Forest) -> Read:
        """Hidden states and the keys and values of every layer: reading prompts before generating."""
        return self._read(forest, capture=True)

    def _read(
        self, forest: Forest, *, capture: bool = False, noise: float = 0.0, wanted: torch.Tensor | None = None
    ) -> Read:
        plan = attention.ForestPlan(forest, dtype=self.dtype, capture=capture)
        if noise and self.route.training:
            embedded = self.net.get_input_embeddings()(forest.ids_N)
            # uniform in +-alpha / sqrt(L d), with the length L of the token's own row (arXiv 2310.05914, algorithm 1)
            reach = noise / (forest.longest_N * embedded.shape[-1]).sqrt()
            embedded = embedded + (torch.rand_like(embedded) * 2 - 1) * reach[:, None].to(embedded.dtype)
            source = {"inputs_embeds": embedded[None]}
        else:
            source = {"input_ids": forest.ids_N[None]}
        known = self.stored.of(forest) if self.stored and not capture and "input_ids" in source else None
        with (
            self._routed(forest.adapters),
            families.swapped(self.net, wanted=wanted) if not self.plain else nullcontext(False) as chosen,
            self.stored.above(known) if self.stored and known is not None else nullcontext(),
        ):
            out = self.net.base_model(
                **source, position_ids=forest.positions_N[None], use_cache=False, forest_plan=plan
            )
        hidden = out.last_hidden_state[0]
        if wanted is not None and not chosen:
            hidden = hidden.index_select(0, wanted)
        return Read(hidden, plan.captured or {})

    def step(self, ids: Sequence[int], cache_step: CacheStep, adapters: list[str]) -> torch.Tensor:
        """Logits (BV) after one new token for each live sequence of a cache."""
        with self._routed(segments((adapter, 1) for adapter in adapters)):
            out = self.net.base_model(
                input_ids=torch.tensor([list(ids)], device=self.device),
                position_ids=cache_step.at_B[None],
                use_cache=False,
                cache_step=cache_step,
            )
        cache_step.finish()
        return self.logits(out.last_hidden_state[0])

    def after(self, ids_N: torch.Tensor, node_step: NodeStep, adapter: str) -> torch.Tensor:
        """Hidden states (ND) of tokens behind prompts that were read before."""
        with self._routed([(adapter, len(ids_N))]):
            out = self.net.base_model(
                input_ids=ids_N[None], position_ids=node_step.positions_N[None], use_cache=False, cache_step=node_step
            )
        hidden: torch.Tensor = out.last_hidden_state[0]
        return hidden

    @contextmanager
    def training(self) -> Iterator[None]:
        """Draw the method's dropout and the objective's noise. The base's own dropout stays off: it is not the
        recipe's.
        """
        self.route.training = True
        try:
            yield
        finally:
            self.route.training = False

    @contextmanager
    def _routed(self, parts: list[tuple[str, int]]) -> Iterator[None]:
        """Send each token to its adapter; "" means the active one."""
        named = any(adapter for adapter, _ in parts)
        before = (self.route.active, self.route.segments)
        if len(parts) == 1 and named:
            self.route.active = parts[0][0]
        elif named:
            self.route.segments = parts
        try:
            yield
        finally:
            self.route.active, self.route.segments = before

    # --- head ---

    @cached_property
    def _transform(self) -> head.Transform:
        config = self.net.config.get_text_config()
        cap = getattr(config, "final_logit_softcapping", None)
        scale = getattr(config, "logit_scale", None) or 1.0
        divide = getattr(config, "logits_scaling", None) or 1.0
        if cap is None and scale == 1.0 and divide == 1.0:
            return None

        def change(logits: torch.Tensor) -> torch.Tensor:
            logits = logits * (scale / divide)
            return torch.tanh(logits / cap) * cap if cap is not None else logits

        return change

    def _head(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        layer = self.net.get_output_embeddings()
        weight, bias = layer.weight, getattr(layer, "bias", None)
        if torch.is_grad_enabled():
            return weight, bias
        # an autograd function takes a parameter that trains for one whose gradient is asked for, even without autograd
        return weight.detach(), None if bias is None else bias.detach()

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits in float32 of some hidden states (... D)."""
        weight, bias = self._head()
        logits = torch.nn.functional.linear(hidden, weight, bias)
        return (self._transform(logits) if self._transform else logits).float()

    def loss_sum(self, forest: Forest, *, smoothing: float = 0.0, noise: float = 0.0) -> torch.Tensor:
        """Sum over learned tokens of weight * negative log-prob (nats), with label smoothing (Szegedy et al. 2016,
        eq. 8).
        """
        hidden_KD = self.hidden(forest, noise=noise, wanted=forest.from_K)
        weight, bias = self._head()
        if self._transform is not None:
            target, mean = head.transformed_log_probs(hidden_KD, weight, bias, forest.target_K, self._transform)
            return -(((1 - smoothing) * target + smoothing * mean) * forest.weight_K).sum()
        total: torch.Tensor = head.WeightedNLL.apply(
            hidden_KD, weight, bias, forest.target_K, forest.weight_K, smoothing
        )  # type: ignore[no-untyped-call]
        return total

    def token_logprobs(self, forest: Forest, *, temperature: float = 1.0) -> torch.Tensor:
        """Log-prob of each learned token, K (nats), differentiable. temperature: what logits are divided by."""
        return self.logprobs_from(self.hidden(forest, wanted=forest.from_K), forest, temperature=temperature)

    def logprobs_from(self, hidden_KD: torch.Tensor, forest: Forest, *, temperature: float = 1.0) -> torch.Tensor:
        """Log-prob of each learned token, K (nats), from the hidden states before them."""
        weight, bias = self._head()
        change = self._transform
        if change is not None:
            cooled = change if temperature == 1 else lambda logits: change(logits) / temperature
            return head.transformed_log_probs(hidden_KD, weight, bias, forest.target_K, cooled)[0]
        if temperature != 1:
            hidden_KD = hidden_KD / temperature
            bias = None if bias is None else bias / temperature
        out: torch.Tensor = head.TokenLogProbs.apply(hidden_KD, weight, bias, forest.target_K)  # type: ignore[no-untyped-call]
        return out

    def logprobs(self, forest: Forest) -> torch.Tensor:
        """For each row, the weighted sum of its learned tokens' log-probs, R (nats), differentiable."""
        logp_K = self.token_logprobs(forest)
        parts = logp_K.index_select(0, forest.entry_K) * forest.entry_weight_E
        return parts.new_zeros(len(forest.rows)).index_add(0, forest.entry_row_E, parts)

    # --- adapters and files ---

    def load_adapter(self, name: str, folder: str | Path) -> None:
        """Put a saved adapter beside the base under a name; requests choose it by that name."""
        if name in self.adapters:
            raise DataError(f"An adapter called '{name}' is loaded already. Drop it first.")
        lora_layers.load_adapter(self.net, name, Path(folder))
        self.adapters[name] = Path(folder)

    def drop_adapter(self, name: str) -> None:
        """Take an adapter away."""
        lora_layers.drop_adapter(self.net, name)
        del self.adapters[name]

    def save(self, folder: Path) -> None:
        """Write weights, config, tokenizer and generation settings as the transformers library reads them."""
        implementation = self.net.config._attn_implementation
        self.net.generation_config.eos_token_id = self.chat.stop_ids
        with quiet():
            self.net.save_pretrained(folder, safe_serialization=True)
        self.chat.tokenizer.save_pretrained(folder)
        assert self.net.config._attn_implementation == implementation


def open_chat(options: ModelOptions) -> Chat:
    """Only the tokenizer and template of a base."""
    from transformers import AutoTokenizer

    folder = base_folder(options.base)
    return Chat(
        _fetched(
            lambda: AutoTokenizer.from_pretrained(folder, revision=options.revision, trust_remote_code=False), folder
        )
    )


def open_model(options: ModelOptions, *, dtype: str = "float32", device: str = "cpu") -> TunableModel:
    """Open a base for computing forests. Raises NotThere or DataError when it cannot be."""
    from transformers import AutoModelForCausalLM

    folder = base_folder(options.base)
    net = _fetched(
        lambda: AutoModelForCausalLM.from_pretrained(
            folder,
            revision=options.revision,
            dtype=DTYPES[dtype],
            attn_implementation=attention.NAME,
            trust_remote_code=False,
            use_safetensors=True,
        ),
        folder,
    )
    refuse_unknown_attention(net)
    net.to(device)
    net.eval()
    return TunableModel(net, open_chat(options), base=options.base, plain=options.plain)


def refuse_unknown_attention(net: Any) -> None:
    """Raise DataError for architectures whose layers are not plain causal attention."""
    config = net.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or [])
    strange = kinds - {"full_attention", "sliding_attention"}
    if strange or not getattr(net, "_supports_attention_backend", False):
        what = f"layers of kind {', '.join(sorted(strange))}" if strange else "its own attention code"
        raise DataError(
            f"Model type '{config.model_type}' has {what}, which cannot be computed as a forest. "
            "Use a model with plain causal attention (Llama, Qwen, Mistral, Gemma, Phi, GPT-2, OLMo, SmolLM ...)."
        )


def _fetched(load: Any, folder: str) -> Any:
    try:
        with quiet():
            return load()
    except OSError as error:
        raise NotThere(f"Model '{folder}' could not be opened: {str(error).splitlines()[0]}") from None
    except (ValueError, KeyError, json.JSONDecodeError) as error:
        raise DataError(f"Model '{folder}' could not be opened: {str(error).splitlines()[0]}") from None
