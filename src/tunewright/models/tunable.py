"""TunableModel: the only face of a model that parts and stages see."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from tunewright.core.errors import DataError
from tunewright.models import adapters, backbones, beside, families, head, heads, new_rows, roots, tensor_files
from tunewright.models.attention_plan import ForestPlan, KeysValues, Past
from tunewright.models.cache import CacheStep
from tunewright.models.chat import Chat
from tunewright.models.forest import MIN_SHARE, Forest, Row, micro_batches, segments
from tunewright.models.quiet import quiet
from tunewright.models.recompute import recomputed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tunewright.models.reference import Reference
    from tunewright.models.scoring import NodeStep
    from tunewright.models.upper import StoredHidden


@dataclass
class Read:
    """Hidden states of a forest, with the keys and values of every layer."""

    hidden_ND: torch.Tensor
    captured: KeysValues


class TunableModel:
    """A causal language model or an encoder of the transformers library, with its chat, computing forests.
    An encoder with a decoder: models/seq2seq.py."""

    is_encoder_decoder: ClassVar[bool] = False

    def __init__(self, net: PreTrainedModel, chat: Chat, *, base: str, plain: bool = False) -> None:
        self.net = net
        self.chat = chat
        self.base = base
        self.plain = plain  # every layer as the transformers library computes it
        self.is_encoder = backbones.is_encoder(net.config)  # tokens see both ways; there is no vocabulary head
        self.first_position = backbones.first_position(net.config)
        self.adapters: dict[str, Path] = {}
        self.route = beside.route_of(net)
        self.stored: StoredHidden | None = None  # while training: what the frozen layers make of its rows
        self.others: Mapping[str, TunableModel] = {}  # further models that the objective asks, by its names for them
        self.reference: Reference | None = None  # while training: the model as this phase started
        self.checkpoint_layers = 0  # layers that compute again in the backward pass: train.checkpoint_layers

    @property
    def _uncached(self) -> dict[str, Any]:
        return {} if self.is_encoder else {"use_cache": False}

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
        known = getattr(self.net.config.get_text_config(), "max_position_embeddings", 0) or 2**31
        return int(known) - self.first_position

    def longest(self, adapter: str = "") -> int:
        """Longest row: of the positions, those that an adapter's root does not take."""
        return self.max_positions - roots.sizes(self.net, [adapter]).get(adapter, 0)

    @property
    def num_parameters(self) -> int:
        """Parameters of the net, shared ones counted once."""
        return sum(parameter.numel() for parameter in self.net.parameters())

    @property
    def is_tied(self) -> bool:
        """Whether the vocabulary head is the input embedding; never in a net that has none."""
        if self.is_encoder:
            return False
        embedding: Any = self.net.get_input_embeddings()
        return bool(self._head()[0].data_ptr() == embedding.weight.data_ptr())

    def beside(self) -> TunableModel:
        """Another model over the same weights in memory. What changes weights in place spoils both."""
        net = self.net
        shared: dict[int, Any] = {id(buffer): buffer for buffer in net.buffers()}
        shared |= {id(p): torch.nn.Parameter(p.data, requires_grad=p.requires_grad) for p in net.parameters()}
        return type(self)(copy.deepcopy(net, shared), self.chat, base=self.base, plain=self.plain)

    # --- forward ---

    @property
    def shares(self) -> bool:
        """Whether what rows begin with alike can be computed once: only where no token sees what comes after it."""
        return not (self.is_encoder or self.is_encoder_decoder)

    def forest(self, rows: Sequence[Row], *, share: bool = True, min_share: int = MIN_SHARE) -> Forest:
        """Rows as this model computes them: merged, behind the roots of their adapters."""
        sizes = roots.sizes(self.net, (row.adapter for row in rows))
        share = share and self.shares
        return Forest.build(rows, device=self.device, share=share, min_share=min_share, roots=sizes)

    def micro_batches(
        self, units: Sequence[Sequence[Row]], micro_tokens: int, *, share: bool = True
    ) -> list[list[Row]]:
        """Part units into forests of at most about `micro_tokens` tokens, as this model lays them out."""
        sizes = roots.sizes(self.net, (row.adapter for unit in units for row in unit))
        return micro_batches(units, micro_tokens, share=share and self.shares, root=max(sizes.values(), default=0))

    def hidden(self, forest: Forest, *, noise: float = 0.0, wanted: torch.Tensor | None = None) -> torch.Tensor:
        """Hidden states after the last layer, ND, of all tokens or of those wanted. noise: NEFTune's alpha, drawn only
        while training.
        """
        return self._read(forest, noise=noise, wanted=wanted).hidden_ND

    def read(self, forest: Forest, *, before: Sequence[Past | None] = ()) -> Read:
        """Hidden states and the keys and values of every layer: reading prompts before generating.

        before: for each row what an earlier read made of tokens that stand before it, the root among them.
        """
        return self._read(forest, capture=True, before=before)

    def _read(
        self,
        forest: Forest,
        *,
        capture: bool = False,
        before: Sequence[Past | None] = (),
        noise: float = 0.0,
        wanted: torch.Tensor | None = None,
    ) -> Read:
        laid_out = {adapter: size for adapter, _, size in forest.roots}
        if not any(before) and laid_out != roots.sizes(self.net, (row.adapter for row in forest.rows)):
            assert not capture, "prompts are read as forests of this model"
            return self._read_again(forest, noise, wanted)
        places = roots.laid_out(self.net, forest)
        prefixes = [(root, start) for root, start in places if isinstance(root, roots.PrefixRoot)]
        plan = ForestPlan(
            forest,
            dtype=self.dtype,
            capture=capture,
            before=before,
            measured=self.device.type == "cuda"
            and not (self.plain or self.is_encoder or capture or torch.is_inference_mode_enabled()),
            prefixes=roots.Prefixes(prefixes, self.device) if prefixes else None,
            both_ways=self.is_encoder,
        )
        source = self._source(forest, noise, places)
        drawn = noise and self.route.training
        known = self.stored.of(forest) if self.stored and not (capture or drawn) else None
        with (
            self._routed(forest.adapters),
            families.swapped(self.net, wanted=wanted) if not self.plain else nullcontext(False) as chosen,
            self.stored.above(known) if self.stored and known is not None else nullcontext(),
            recomputed(self.net, self.route, self.checkpoint_layers),
        ):
            positions = forest.positions_N + self.first_position
            if plan.before:
                positions = positions + plan.past_N
            out = self.net.base_model(**source, position_ids=positions[None], forest_plan=plan, **self._uncached)
        hidden = out.last_hidden_state[0]
        if wanted is not None and not chosen:
            hidden = hidden.index_select(0, wanted)
        return Read(hidden, plan.captured or {})

    def _read_again(self, forest: Forest, noise: float, wanted: torch.Tensor | None) -> Read:
        """Read the rows of a forest that was laid out for other roots (another model's, or none): what is asked of its
        tokens is found at the same tokens of the rows as they are laid out here.
        """
        here = self.forest(forest.rows, share=forest.share)
        place = np.zeros(forest.num_tokens, np.int64)
        for theirs, ours in zip(forest.row_tokens, here.row_tokens, strict=True):
            place[theirs] = ours
        place_N = torch.from_numpy(place).to(self.device)
        return self._read(here, noise=noise, wanted=place_N if wanted is None else place_N[wanted])

    def _source(self, forest: Forest, noise: float, places: list[tuple[roots.Root, int]]) -> dict[str, torch.Tensor]:
        """What the layers are given: ids, or embeddings where noise is added or a root brings its own."""
        prompts = [(root, start) for root, start in places if isinstance(root, roots.PromptRoot)]
        noisy = noise and self.route.training
        if not noisy and not prompts:
            return {"input_ids": forest.ids_N[None]}
        embedded = self.net.get_input_embeddings()(forest.ids_N)
        if noisy:
            # uniform in +-alpha / sqrt(L d), with the length L of the token's own row (arXiv 2310.05914, algorithm 1)
            reach = noise / (forest.longest_N * embedded.shape[-1]).sqrt()
            embedded = embedded + (torch.rand_like(embedded) * 2 - 1) * reach[:, None].to(embedded.dtype)
        if prompts:
            index = torch.cat([torch.arange(start, start + root.size) for root, start in prompts]).to(self.device)
            trained = torch.cat([root.table for root, _ in prompts]).to(embedded.dtype)
            embedded = embedded.index_copy(0, index, trained)
        return {"inputs_embeds": embedded[None]}

    def step(self, ids: Sequence[int], cache_step: CacheStep, adapters: list[str]) -> torch.Tensor:
        """Logits (BV) after one new token for each live sequence of a cache."""
        parts = segments((adapter, 1) for adapter in adapters)
        with self._routed(parts):
            out = self.net.base_model(
                input_ids=torch.tensor([list(ids)], device=self.device),
                position_ids=cache_step.at_B[None],
                use_cache=False,
                cache_step=cache_step,
            )
        cache_step.finish()
        return self.logits(out.last_hidden_state[0], parts)

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

    def _routed(self, parts: list[tuple[str, int]]) -> AbstractContextManager[None]:
        """Send each token to its adapter; "" means the active one."""
        return self.route.sending(parts)

    # --- head ---

    @cached_property
    def _transform(self) -> head.Transform:
        return head.transform_of(self.net.config.get_text_config())

    def _head(self) -> head.Vocabulary:
        layer, new = self.net.get_output_embeddings(), new_rows.of_head(self.net)
        rows = None if new is None else new.active()
        weight, bias = layer.weight, getattr(layer, "bias", None)
        made = head.Vocabulary(
            weight, bias, None if rows is None else rows.to(weight.dtype), new.ids.start if new else 0
        )
        # an autograd function takes a parameter that trains for one whose gradient is asked for, even without autograd
        return made if torch.is_grad_enabled() else made.detached()

    def logits(self, hidden_ND: torch.Tensor, parts: Sequence[tuple[str, int]] = ()) -> torch.Tensor:
        """Logits in float32 of some hidden states. parts: the adapters they are of, in order, as for `_routed`."""
        weight, bias, *_ = self._head()
        logits = torch.nn.functional.linear(hidden_ND, weight, bias)
        if (new := new_rows.of_head(self.net)) is not None:
            with self._routed(list(parts)):
                logits = new.said(logits, hidden_ND, bias)
        return (self._transform(logits) if self._transform else logits).float()

    def loss_sum(self, forest: Forest, *, smoothing: float = 0.0, noise: float = 0.0) -> torch.Tensor:
        """Sum over learned tokens of weight * negative log-prob (nats), with label smoothing (Szegedy et al. 2016,
        eq. 8).
        """
        return self.loss_and_right(forest, smoothing=smoothing, noise=noise)[0]

    def loss_and_right(
        self, forest: Forest, *, smoothing: float = 0.0, noise: float = 0.0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`loss_sum`, and without gradient the summed weight of learned tokens that no other token is likelier than."""
        hidden_KD = self.hidden(forest, noise=noise, wanted=forest.from_K)
        if self._transform is not None:
            made = head.transformed_log_probs(hidden_KD, self._head(), forest.target_K, self._transform)
            nll_K = -((1 - smoothing) * made.target_K + smoothing * made.mean_K)
            return (nll_K * forest.weight_K).sum(), (made.right_K * forest.weight_K).sum()
        found: tuple[torch.Tensor, torch.Tensor] = head.WeightedNLL.apply(
            hidden_KD, *self._head(), forest.target_K, forest.weight_K, smoothing
        )  # type: ignore[no-untyped-call]
        return found

    def distilled_sum(
        self, forest: Forest, teacher: TunableModel, *, temperature: float, mix: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The sum of `head.Distilled` over learned tokens, and its two parts: nll and divergence (nats)."""
        if teacher.is_encoder_decoder != self.is_encoder_decoder:
            raise DataError(
                "Of teacher and student one is an encoder-decoder and the other is not, so their tokens do not stand "
                "at the same places. Take a teacher of the student's kind."
            )
        with torch.no_grad():
            known_KD = teacher.hidden(forest, wanted=forest.from_K)
        hidden_KD = self.hidden(forest, wanted=forest.from_K)
        if self._transform is not None:
            raise DataError("This base changes its logits (soft-cap or scale), which 'distill' does not know.")
        total, nll, divergence = head.Distilled.apply(
            hidden_KD,
            *self._head(),
            forest.target_K,
            forest.weight_K,
            lambda at: teacher.logits(known_KD[at]),
            temperature,
            mix,
        )  # type: ignore[no-untyped-call]
        return total, nll, divergence

    def token_logprobs(self, forest: Forest, *, temperature: float = 1.0) -> torch.Tensor:
        """Log-prob of each learned token, K (nats), differentiable. temperature: what logits are divided by."""
        hidden_KD = self.hidden(forest, wanted=forest.from_K)
        names = {row.adapter for row in forest.rows}
        assert len(names) == 1 or new_rows.of_head(self.net) is None, "rows of new tokens speak for one adapter at once"
        with self._routed([(name, 1) for name in names]):
            return self.logprobs_from(hidden_KD, forest, temperature=temperature)

    def logprobs_from(self, hidden_KD: torch.Tensor, forest: Forest, *, temperature: float = 1.0) -> torch.Tensor:
        """Log-prob of each learned token, K (nats), from the hidden states before them."""
        vocabulary, change = self._head(), self._transform
        if change is not None:
            cooled = change if temperature == 1 else lambda logits: change(logits) / temperature
            return head.transformed_log_probs(hidden_KD, vocabulary, forest.target_K, cooled)[0]
        if temperature != 1:
            hidden_KD, bias = hidden_KD / temperature, vocabulary.bias_V
            vocabulary = vocabulary._replace(bias_V=None if bias is None else bias / temperature)
        out: torch.Tensor = head.TokenLogProbs.apply(hidden_KD, *vocabulary, forest.target_K)  # type: ignore[no-untyped-call]
        return out

    def logprobs(self, forest: Forest) -> torch.Tensor:
        """For each row, the weighted sum of its learned tokens' log-probs, R (nats), differentiable."""
        logp_K = self.token_logprobs(forest)
        parts = logp_K.index_select(0, forest.entry_K) * forest.entry_weight_E
        return parts.new_zeros(len(forest.rows)).index_add(0, forest.entry_row_E, parts)

    def said(self, forest: Forest) -> torch.Tensor:
        """What two states of a base are compared by: learned log-probs (nats) or hidden states; a head's outputs."""
        said = self.hidden(forest).flatten() if self.is_encoder else self.token_logprobs(forest)
        return torch.cat([said, self.outputs(forest).flatten()]) if heads.heads(self.net) else said

    # --- other heads ---

    def outputs(self, forest: Forest, *, adapter: str = "") -> torch.Tensor:
        """What the head makes of each row (R outputs), or of each token with a weight (E outputs), differentiable.

        adapter: whose head; the trained one, or that of merged weights, when left out. Raises DataError without a head.
        """
        layer = heads.head_of(self.net, adapter)
        found: torch.Tensor = layer(self.pooled(forest, layer.head.pool))
        return found

    def pooled(self, forest: Forest, pool: str) -> torch.Tensor:
        """One hidden state a row (R D): of its "last" or "first" token, or the "mean" of all its tokens.

        "tokens": instead, one for each token that has a weight (E D), row by row.
        """
        if pool == "mean":
            return heads.row_means(self.hidden(forest), forest)
        if pool == "tokens":
            pairs = zip(forest.rows, forest.row_tokens, strict=True)
            places = np.concatenate([tokens[np.flatnonzero(row.weights)] for row, tokens in pairs])
        else:
            places = np.array([tokens[-1 if pool == "last" else 0] for tokens in forest.row_tokens])
        return self.hidden(forest, wanted=torch.from_numpy(places).to(self.device))

    # --- adapters and files ---

    def load_adapter(self, name: str, folder: str | Path) -> None:
        """Put a saved adapter beside the base under a name; requests choose it by that name."""
        if name in self.adapters:
            raise DataError(f"An adapter called '{name}' is loaded already. Drop it first.")
        adapters.load(self.net, name, Path(folder))
        self.adapters[name] = Path(folder)

    def drop_adapter(self, name: str) -> None:
        """Take an adapter away."""
        adapters.drop(self.net, name)
        heads.drop_head(self.net, name)
        del self.adapters[name]

    def save(self, folder: Path) -> None:
        """Write weights, config, tokenizer and generation settings as the transformers library reads them; beside them
        the head and the base's own root, where there are any.
        """
        implementation = self.net.config._attn_implementation
        if not self.is_encoder:
            self.net.generation_config.eos_token_id = self.chat.stop_ids
        with quiet(), heads.aside(self.net), tensor_files.saved_by_library(folder):
            self.net.save_pretrained(folder, safe_serialization=True)
        heads.save_head(self.net, folder)
        roots.save_fixed(self.net, folder)
        self.chat.tokenizer.save_pretrained(folder)
        assert self.net.config._attn_implementation == implementation
