"""An encoder-decoder (T5, BART ...) with the face of a TunableModel: rows stay single documents.

A row's prompt is everything before its first learned token; the encoder reads it, once where several rows share it. The
decoder says the rest. Rows of similar lengths are computed together; what fills up the shorter ones is masked, and is
little (PADDING). Shape letters: N forest tokens, B rows of a batch, T prompt tokens, S answer tokens, D hidden
size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch

from tunewright.core.errors import DataError
from tunewright.models.attention_plan import Past
from tunewright.models.forest import MIN_SHARE, Forest, Row
from tunewright.models.head import Vocabulary
from tunewright.models.tunable import Read, TunableModel

READ_TOKENS = 4096  # tokens of rows whose labels are scored together
SEEN_TOKENS = 16384  # prompt tokens that the rows of one decoder batch see, added up
PADDING = 0.25  # of the real tokens, in batches of more than
FEW_TOKENS = 256  # below which reading the weights takes the time: a tiny batch costs as much as this one

Member = TypeVar("Member")
States = tuple[torch.Tensor, torch.Tensor | None]
Prompt = tuple[str, tuple[int, ...], int]  # adapter, ids, and a number that keeps equal prompts apart (0: they meet)


class Chains(Forest):
    """Rows that share no nodes. share: equal prompts are read once."""

    share: bool = True


class Seq2Seq(TunableModel):
    """An encoder-decoder language model. Each learned token's hidden state stands at the place of the token before it,
    as in a causal model, so that losses and log-probs are the same code.
    """

    is_encoder_decoder: ClassVar[bool] = True

    @cached_property
    def start_id(self) -> int:
        """The token that begins what the decoder sees. Raises DataError when the config names none."""
        config, settings = self.net.config, self.net.generation_config
        found = getattr(config, "decoder_start_token_id", None)
        found = settings.decoder_start_token_id if found is None and settings is not None else found
        if found is None:
            raise DataError(
                f"The config of '{self.base}' names no decoder_start_token_id, so answers have no beginning. Add it."
            )
        return int(found)

    @cached_property
    def _scale(self) -> float:
        """T5 with the original head multiplies hidden states by d ** -0.5 before it."""
        config: Any = self.net.config
        return float(config.d_model**-0.5) if config.model_type == "t5" and config.scale_decoder_outputs else 1.0

    def _head(self) -> Vocabulary:
        fixed = dict(self.net.named_buffers()).get("final_logits_bias")  # of BART and its kin
        return super()._head() if fixed is None else super()._head()._replace(bias_V=fixed[0])

    # --- forward ---

    def forest(self, rows: Sequence[Row], *, share: bool = True, min_share: int = MIN_SHARE) -> Forest:
        """Rows as this model computes them."""
        chains = Chains.build(rows, device=self.device, share=False)
        assert isinstance(chains, Chains)
        chains.share = share
        return chains

    def _read(
        self,
        forest: Forest,
        *,
        capture: bool = False,
        before: Sequence[Past | None] = (),
        noise: float = 0.0,
        wanted: torch.Tensor | None = None,
    ) -> Read:
        assert not capture and not before and not noise, "refused before: stages/suited.py"
        assert len(forest.trees) == len(forest.rows), "rows of an encoder-decoder share no nodes: use model.forest"
        share = not isinstance(forest, Chains) or forest.share
        begins = [_answer_begins(row) for row in forest.rows]
        prompts: list[Prompt] = [
            (row.adapter, tuple(row.items[:at]), 0 if share else 1 + number)
            for number, (row, at) in enumerate(zip(forest.rows, begins, strict=True))
        ]
        said = [number for number, row in enumerate(forest.rows) if begins[number] < len(row.items)]
        read = self.encoded([prompts[number] for number in said])
        places: list[np.ndarray] = []
        found: list[torch.Tensor] = []
        sizes = {n: (begins[n], len(forest.rows[n].items) - begins[n]) for n in said}
        for batch in _similar(said, lambda n: prompts[n][0], sizes.__getitem__):
            answers = [[self.start_id, *forest.rows[n].items[begins[n] : -1]] for n in batch]
            states_BTD, mask_BT = _together([read[prompts[n]] for n in batch])
            with self._routed([(prompts[batch[0]][0], 1)]):
                out = self.net.get_decoder()(
                    input_ids=_padded(answers, self.device),  # no token sees what comes behind it
                    encoder_hidden_states=states_BTD,
                    encoder_attention_mask=mask_BT,
                    use_cache=False,
                )
            for n, hidden_SD in zip(batch, out.last_hidden_state, strict=True):
                found.append(hidden_SD[: sizes[n][1]])
                places.append(forest.row_tokens[n][begins[n] - 1 : -1])
        hidden_ND = torch.zeros(forest.num_tokens, self.net.config.hidden_size, dtype=self.dtype, device=self.device)
        if found:
            index = torch.from_numpy(np.concatenate(places)).to(self.device)
            hidden_ND = hidden_ND.to(found[0].dtype).index_copy(0, index, self._scaled(torch.cat(found)))
        return Read(hidden_ND if wanted is None else hidden_ND.index_select(0, wanted), {})

    def encoded(self, prompts: Iterable[Prompt]) -> dict[Prompt, torch.Tensor]:
        """The encoder's states (TD) of each prompt; equal ones are computed once."""
        read: dict[Prompt, torch.Tensor] = {}
        distinct = list(dict.fromkeys(prompts))
        for batch in _similar(distinct, lambda prompt: prompt[0], lambda prompt: (len(prompt[1]), 0)):
            ids = [prompt[1] for prompt in batch]
            with self._routed([(batch[0][0], 1)]):
                out = self.net.get_encoder()(
                    input_ids=_padded(ids, self.device), attention_mask=_mask(ids, self.device)
                )
            for prompt, states_TD in zip(batch, out.last_hidden_state, strict=True):
                read[prompt] = states_TD[: len(prompt[1])]
        return read

    def waiting_states(self, prompts: Sequence[Sequence[int]], adapter: str) -> States:
        """What the decoder sees of these prompts: BTD, and BT where some are shorter than others."""
        keys: list[Prompt] = [(adapter, tuple(ids), 0) for ids in prompts]
        read = self.encoded(keys)
        return _together([read[key] for key in keys])

    def next_logits(self, ids: Sequence[int], states: States, cache: Any, adapter: str) -> torch.Tensor:
        """Logits (BV) after one more token of each answer. cache: the library's, filled here."""
        with self._routed([(adapter, 1)]):
            out = self.net.get_decoder()(
                input_ids=torch.tensor([[token] for token in ids], device=self.device),
                encoder_hidden_states=states[0],
                encoder_attention_mask=states[1],
                past_key_values=cache,
                use_cache=True,
            )
        return self.logits(self._scaled(out.last_hidden_state[:, -1]), [(adapter, len(ids))])

    def _scaled(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden * self._scale if self._scale != 1.0 else hidden


def scores(
    model: TunableModel,
    prompts: Sequence[Sequence[int]],
    endings: Sequence[Sequence[int]],
    adapter: str,
    progress: Callable[[int], None] | None,
) -> np.ndarray:
    """Summed log-prob (nats) of each ending after each prompt: the encoder reads a prompt once for all endings."""
    model.net.eval()
    found: list[list[float]] = []
    size = max(1, READ_TOKENS // (max(map(len, prompts), default=0) + sum(map(len, endings))))
    for start in range(0, len(prompts), size):
        some = prompts[start : start + size]
        rows = [Row([*p, *e], [0.0] * len(p) + [1.0] * len(e), "", adapter) for p in some for e in endings]
        with torch.inference_mode():
            found += model.logprobs(model.forest(rows)).view(len(some), len(endings)).tolist()
        if progress:
            progress(len(found))
    return np.array(found).reshape(len(prompts), len(endings))


def _answer_begins(row: Row) -> int:
    """The place of the first learned token; the row's length where none is learned."""
    return next((place for place, weight in enumerate(row.weights) if weight and place), len(row.items))


def _similar(
    members: Sequence[Member], adapter: Callable[[Member], str], sizes: Callable[[Member], tuple[int, int]]
) -> Iterator[list[Member]]:
    """Members of one adapter and of similar sizes together: of a batch of more than FEW_TOKENS, what fills it up is at
    most PADDING; it sees at most about SEEN_TOKENS prompt tokens.
    """
    batch: list[Member] = []
    tokens = longest = widest = 0
    for member in sorted(members, key=lambda one: (adapter(one), *sizes(one))):
        prompt, answer = sizes(member)
        longest, widest, tokens = max(longest, prompt), max(widest, answer), tokens + prompt + answer
        whole = (len(batch) + 1) * (longest + widest)
        wasteful = whole > FEW_TOKENS and whole > tokens * (1 + PADDING)
        full = wasteful or (len(batch) + 1) * longest > SEEN_TOKENS
        if batch and (full or adapter(member) != adapter(batch[0])):
            yield batch
            batch, longest, widest, tokens = [], prompt, answer, prompt + answer
        batch.append(member)
    if batch:
        yield batch


def _padded(ids: Sequence[Sequence[int]], device: torch.device) -> torch.Tensor:
    longest = max(map(len, ids))
    return torch.tensor([[*one, *[0] * (longest - len(one))] for one in ids], device=device)


def _mask(parts: Sequence[Any], device: torch.device) -> torch.Tensor | None:
    """1 where there is something (BT); None where all are equally long."""
    lengths = [len(part) for part in parts]
    if len(set(lengths)) == 1:
        return None
    mask_BT = torch.arange(max(lengths), device=device) < torch.tensor(lengths, device=device)[:, None]
    return mask_BT.long()


def _together(states: Sequence[torch.Tensor]) -> States:
    """States (TD each) as a batch, and its mask."""
    return torch.nn.utils.rnn.pad_sequence(list(states), batch_first=True), _mask(states, states[0].device)
