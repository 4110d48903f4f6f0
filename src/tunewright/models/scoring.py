"""Labels after prompts: the summed log-prob of each, only which is the likeliest, or the share that it has.

Labels are merged into one trie. A prompt is read once, with its neighbours as a forest; then nodes of the trie are put
behind it. A node is computed only where something follows it, and, when only the best label is asked for, only where a
label below it can still win: log-probs are at most 0, so a beginning is never less likely than the whole. For the
share of the best label, as many nodes more are computed as it takes to know what those left aside can change about it.
Shape letters: P prompts, N trie nodes computed at once, T tokens, S slots, A ancestors, G key/value heads, R query
heads of each, D head size, K keys in all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from tunewright.models import head, seq2seq
from tunewright.models.forest import MIN_SHARE, Row, common_length
from tunewright.models.label_trie import Trie
from tunewright.models.tunable import TunableModel

READ_TOKENS = 4096  # tokens computed at once
LOOK_AHEAD = 8  # nodes of a prompt computed at once when only the best label is asked for
NEAR = 0.005  # how far the share that is told of the best label may be from its own
FEW = 64  # nodes computed at once, at least, where few prompts are left: a pass costs the same for fewer

Ids = Sequence[int]
Progress = Callable[[int], None] | None


def scores(
    model: TunableModel, prompts: Sequence[Ids], endings: Sequence[Ids], *, adapter: str = "", progress: Progress = None
) -> list[list[float]]:
    """Summed log-prob (nats) of each ending after each prompt. progress is told how many prompts are done."""
    return _searched(model, prompts, endings, adapter, progress, near=0.0)[0].tolist()


def best(
    model: TunableModel, prompts: Sequence[Ids], endings: Sequence[Ids], *, adapter: str = "", progress: Progress = None
) -> list[int]:
    """For each prompt the number of its likeliest ending, the first of equals: what `scores` would say, sooner."""
    return _searched(model, prompts, endings, adapter, progress, near=math.inf)[0].argmax(1).tolist()


@dataclass(frozen=True)
class Likely:
    """The likeliest endings after a prompt, best first: number -> share of the mass of all endings (the softmax of
    their summed log-probs).

    Those left aside may have all of the mass of what they begin with, or none of it: the shares told are in the middle
    of both. near: how far they may be from their own, at most.
    """

    shares: dict[int, float]
    near: float


def likely(
    model: TunableModel,
    prompts: Sequence[Ids],
    endings: Sequence[Ids],
    *,
    most: int = 4,
    near: float = NEAR,
    adapter: str = "",
    progress: Progress = None,
) -> list[Likely]:
    """For each prompt its likeliest endings, `most` at most, the first one as `best` says it."""
    scores_PE, unseen_P = _searched(model, prompts, endings, adapter, progress, near=near)
    most_PE = np.exp(scores_PE - scores_PE.max(1, keepdims=True))
    most_PE /= most_PE.sum(1, keepdims=True)
    shares_PE = (most_PE + most_PE / (1 + unseen_P[:, None])) / 2
    near_P = (most_PE - shares_PE).max(1)
    order_PE = np.argsort(-scores_PE, axis=1, kind="stable")[:, :most]
    return [
        Likely({number: float(shares[number]) for number in order.tolist()}, float(off))
        for order, shares, off in zip(order_PE, shares_PE, near_P, strict=True)
    ]


@dataclass
class Behind:
    """The keys and values that nodes behind some prompts can see: the prompts' and those of nodes computed before."""

    prompts: dict[int, tuple[torch.Tensor, torch.Tensor]]  # layer -> GTD, all tokens of the forest
    shared_T: torch.Tensor  # forest positions of what all prompts begin with
    own_PT: torch.Tensor  # forest positions of each prompt's rest, padded
    lengths_P: torch.Tensor  # of the whole prompts
    nodes: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)  # layer -> GSD, in order of slots
    num_slots: int = 0


class NodeStep:
    """One pass over trie nodes behind their prompts; the attention function finds what each sees here."""

    def __init__(self, behind: Behind, of_N: np.ndarray, depth_N: np.ndarray, slots_NA: np.ndarray) -> None:
        """of_N: the prompt of each node, rising. slots_NA: the slots of its line, itself last and repeated."""
        self.behind = behind
        device = behind.shared_T.device
        who, row_N, counts = np.unique(of_N, return_inverse=True, return_counts=True)
        self.shape = (len(who), int(counts.max()))
        place_N = np.arange(len(of_N)) - np.repeat(np.cumsum(counts) - counts, counts)
        valid_N = row_N * self.shape[1] + place_N
        padded = np.zeros(self.shape[0] * self.shape[1], np.int64)
        padded[valid_N] = np.arange(len(of_N))
        self.valid_N, self.padded = torch.from_numpy(valid_N).to(device), torch.from_numpy(padded).to(device)
        self.own_PT = behind.own_PT[torch.from_numpy(who).to(device)]
        self.slots_NA = torch.from_numpy(slots_NA).to(device)
        self.length_N = behind.lengths_P[torch.from_numpy(of_N).to(device)]
        self.depth_N = torch.from_numpy(depth_N).to(device)
        self.positions_N = self.length_N + self.depth_N - 1
        self._masks: dict[int | None, torch.Tensor] = {}

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        scaling: float | None,
        window: int | None,
        softcap: float | None,
        sinks: torch.Tensor | None,
    ) -> torch.Tensor:
        """query 1HND, key and value 1GND; returns 1NHD. Keys and values of the nodes are kept for later passes."""
        groups, count, size = key.shape[1:]
        q_GRND = query[0].reshape(groups, -1, count, size)
        q_GRND = q_GRND * (scaling if scaling is not None else size**-0.5)
        keys, values = self.behind.prompts[layer]
        node_keys, node_values = self._kept(layer, key[0], value[0])
        shared, own = self.behind.shared_T, self.own_PT
        line = self.slots_NA.flatten()
        keys_GNAD = node_keys.index_select(1, line).view(groups, *self.slots_NA.shape, size)
        values_GNAD = node_values.index_select(1, line).view(groups, *self.slots_NA.shape, size)
        scores = torch.cat(
            [
                (q_GRND.flatten(1, 2) @ keys.index_select(1, shared).transpose(1, 2)).view(
                    *q_GRND.shape[:3], len(shared)
                ),
                self._flat(self._padded(q_GRND) @ _rows(keys, own).transpose(-1, -2)),
                (q_GRND.transpose(1, 2) @ keys_GNAD.transpose(2, 3)).transpose(1, 2),
            ],
            -1,
        )
        if softcap is not None:
            scores = torch.tanh(scores / softcap) * softcap
        scores = scores + self._mask(window, scores.dtype)
        if sinks is not None:
            sink = sinks.view(groups, -1, 1, 1).expand(*scores.shape[:3], 1).to(scores.dtype)
            scores = torch.cat([scores, sink], -1)
        weights = torch.softmax(scores, -1, dtype=torch.float32).to(query.dtype)
        sizes = [len(shared), own.shape[1], self.slots_NA.shape[1]]
        w_shared, w_own, w_line = weights[..., : sum(sizes)].split(sizes, -1)
        out = (w_shared.flatten(1, 2) @ values.index_select(1, shared)).view(q_GRND.shape)
        out = out + self._flat(self._padded(w_own) @ _rows(values, own))
        out = out + (w_line.transpose(1, 2) @ values_GNAD).transpose(1, 2)
        return out.flatten(0, 1).transpose(0, 1)[None]

    def _kept(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        held = self.behind.nodes.get(layer)
        if held is not None:
            key, value = torch.cat([held[0], key], 1), torch.cat([held[1], value], 1)
        self.behind.nodes[layer] = (key, value)
        return key, value

    def _padded(self, x_GRNX: torch.Tensor) -> torch.Tensor:
        """GRNX -> PG(RE)X: the nodes of each prompt side by side, E at most."""
        groups, repeats, _, size = x_GRNX.shape
        x = x_GRNX.index_select(2, self.padded).view(groups, repeats, *self.shape, size)
        return x.permute(2, 0, 1, 3, 4).reshape(self.shape[0], groups, repeats * self.shape[1], size)

    def _flat(self, x: torch.Tensor) -> torch.Tensor:
        """PG(RE)X -> GRNX."""
        prompts, groups, rows, size = x.shape
        x = x.view(prompts, groups, rows // self.shape[1], self.shape[1], size).permute(1, 2, 0, 3, 4)
        return x.flatten(2, 3).index_select(2, self.valid_N)

    def _mask(self, window: int | None, dtype: torch.dtype) -> torch.Tensor:
        """NK: 0 where a node sees a key, -inf elsewhere."""
        if window not in self._masks:
            num_shared, num_own, num_line = len(self.behind.shared_T), self.own_PT.shape[1], self.slots_NA.shape[1]
            device = self.positions_N.device
            at_prompt = torch.arange(num_shared + num_own, device=device)[None]
            in_line = torch.arange(num_line, device=device)[None]
            at = torch.cat([at_prompt.expand(len(self.length_N), -1), self.length_N[:, None] + in_line], 1)
            sees = torch.cat([at_prompt < self.length_N[:, None], in_line < self.depth_N[:, None]], 1)
            if window is not None:
                sees &= self.positions_N[:, None] - at < window
            self._masks[window] = torch.zeros(sees.shape, dtype=dtype, device=device).masked_fill_(~sees, float("-inf"))
        return self._masks[window]


def _rows(x_GTD: torch.Tensor, index_PT: torch.Tensor) -> torch.Tensor:
    """GTD -> PGTD."""
    groups, _, size = x_GTD.shape
    return x_GTD.index_select(1, index_PT.flatten()).view(groups, *index_PT.shape, size).transpose(0, 1)


class Search:
    """What is known of the trie behind some prompts that were read together."""

    def __init__(self, model: TunableModel, trie: Trie, prompts: Sequence[Ids], adapter: str) -> None:
        self.model, self.trie, self.adapter = model, trie, adapter
        rows = [Row(list(prompt), [0.0] * len(prompt), str(number), adapter) for number, prompt in enumerate(prompts)]
        forest = model.forest(rows)
        read = model.read(forest)
        shared = common_length(list(prompts[0]), list(prompts[-1])) if len(prompts) > 1 else len(prompts[0])
        shared += len(forest.lines[0]) - len(rows[0].items)  # the root stands before all of them
        own = [tokens[shared:] for tokens in forest.lines]
        own_PT = np.zeros((len(own), max(map(len, own))), np.int64)
        for number, tokens in enumerate(own):
            own_PT[number, : len(tokens)] = tokens
        self.behind = Behind(
            {layer: (key[0], value[0]) for layer, (key, value) in read.captured.items()},
            torch.from_numpy(forest.lines[0][:shared]).to(model.device),
            torch.from_numpy(own_PT).to(model.device),
            torch.tensor([len(tokens) for tokens in forest.lines], device=model.device),
        )
        self.slot_PN = np.zeros((len(prompts), trie.size), np.int64)
        self.computed_PN = np.zeros((len(prompts), trie.size), bool)
        self.logp_PN = np.full((len(prompts), trie.size), np.nan)  # of a node's token after those before it
        of = np.arange(len(prompts))
        self._learn(of, np.zeros_like(of), read.hidden_ND.index_select(0, forest.last_tokens()))

    def compute(self, of_N: np.ndarray, node_N: np.ndarray) -> None:
        """Put nodes behind their prompts: what follows them becomes known. Prompts and nodes in rising order."""
        behind, trie = self.behind, self.trie
        self.slot_PN[of_N, node_N] = behind.num_slots + np.arange(len(of_N))
        behind.num_slots += len(of_N)
        line_NA = trie.line[node_N][:, : trie.depth[node_N].max()]
        step = NodeStep(behind, of_N, trie.depth[node_N], self.slot_PN[of_N[:, None], line_NA])
        ids_N = torch.from_numpy(trie.token[node_N]).to(self.model.device)
        self._learn(of_N, node_N, self.model.after(ids_N, step, self.adapter))

    def _learn(self, of_N: np.ndarray, node_N: np.ndarray, hidden_ND: torch.Tensor) -> None:
        """Log-probs of the children of nodes, from the nodes' hidden states."""
        trie = self.trie
        self.computed_PN[of_N, node_N] = True
        for at in head.chunks(len(of_N), self.model.net.config.get_text_config().vocab_size, hidden_ND.device):
            counts = trie.num_children[node_N[at]]
            from_E = np.repeat(np.arange(len(counts)), counts)
            place_E = np.arange(len(from_E)) - np.repeat(np.cumsum(counts) - counts, counts)
            child_E = trie.children[trie.first_child[node_N[at]][from_E] + place_E]
            logits = self.model.logits(hidden_ND[at], [(self.adapter, len(counts))])
            norm = torch.logsumexp(logits, -1)
            row = torch.from_numpy(from_E).to(logits.device)
            token = torch.from_numpy(trie.token[child_E]).to(logits.device)
            self.logp_PN[of_N[at][from_E], child_E] = (logits[row, token] - norm[row]).double().cpu().numpy()

    def reach(self) -> np.ndarray:
        """PN: summed log-prob of the way to each node; nan where it is not known."""
        trie, reach = self.trie, np.zeros_like(self.logp_PN)
        for level in trie.levels:
            reach[:, level] = reach[:, trie.parent[level]] + self.logp_PN[:, level]
        return reach

    def endings(self) -> np.ndarray:
        """P x endings: summed log-probs, -inf where an ending was left aside."""
        return np.nan_to_num(self.reach()[:, self.trie.node_of], nan=-np.inf)

    def compute_all(self) -> None:
        """Every node that something follows, behind every prompt."""
        nodes = np.flatnonzero(self.trie.inner)
        at_once = max(1, READ_TOKENS // max(1, len(nodes)))
        for start in range(0, len(self.slot_PN) if len(nodes) else 0, at_once):
            of = np.arange(start, min(start + at_once, len(self.slot_PN)))
            self.compute(np.repeat(of, len(nodes)), np.tile(nodes, len(of)))
            self.behind.nodes, self.behind.num_slots = {}, 0

    def compute_likeliest(self, near: float) -> None:
        """Best first, until no ending that is left aside can be the likeliest, and all of them together cannot change
        the share of the likeliest by more than twice `near`.
        """
        while True:
            reach = self.reach()
            won_P = np.nan_to_num(reach[:, self.trie.node_of], nan=-np.inf).max(1)
            open_PN = self.trie.inner & ~self.computed_PN & (reach >= won_P[:, None])
            if near < math.inf:
                open_PN |= self._too_heavy(reach, near)
            waiting = np.flatnonzero(open_PN.any(1))
            if not len(waiting):
                return
            room = max(LOOK_AHEAD, FEW // len(waiting))
            taken = [self._promising(np.flatnonzero(open_PN[of]), reach[of], room) for of in waiting]
            self.compute(np.repeat(waiting, [len(nodes) for nodes in taken]), np.concatenate(taken))

    def masses(self, reach_PN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """PE and PN: the mass of each known ending, and the most that those behind each waiting node can have; both
        relative to the likeliest of all.
        """
        waiting_PN = self.trie.inner & ~self.computed_PN & ~np.isnan(reach_PN)
        left_PN = np.where(waiting_PN, reach_PN + self.trie.log_most, -np.inf)
        known_PE = np.nan_to_num(reach_PN[:, self.trie.node_of], nan=-np.inf)
        top_P1 = np.maximum(left_PN.max(1), known_PE.max(1))[:, None]
        return np.exp(known_PE - top_P1), np.exp(left_PN - top_P1)

    def unseen(self) -> np.ndarray:
        """P: the mass of the endings left aside, at most, over that of the known ones."""
        known_PE, left_PN = self.masses(self.reach())
        return left_PN.sum(1) / known_PE.sum(1)

    def _too_heavy(self, reach_PN: np.ndarray, near: float) -> np.ndarray:
        """PN: the waiting nodes without which the lighter ones together leave the share of the best near enough."""
        known_PE, left_PN = self.masses(reach_PN)
        known_P, best_P = known_PE.sum(1), known_PE.max(1)
        # best / known - best / (known + left) <= 2 near
        spare_P = best_P - 2 * near * known_P
        most_P = np.divide(2 * near * known_P**2, spare_P, out=np.full_like(spare_P, np.inf), where=spare_P > 0)
        most_P[known_P == 0] = 0.0
        order_PN = np.argsort(left_PN, axis=1)
        heavy_PN = np.take_along_axis(left_PN, order_PN, 1).cumsum(1) > most_P[:, None]
        open_PN = np.zeros_like(heavy_PN)
        np.put_along_axis(open_PN, order_PN, heavy_PN, 1)
        return open_PN

    def _promising(self, open_nodes: np.ndarray, reach_N: np.ndarray, room: int) -> np.ndarray:
        """The likeliest nodes to go on from, each with all that is below it where there is room."""
        taken: list[int] = []
        for node in open_nodes[np.argsort(-reach_N[open_nodes], kind="stable")].tolist():
            below = self.trie.below(node)
            if len(taken) + len(below) > room:
                below = [node]
            taken += below
            if len(taken) >= room:
                break
        return np.sort(np.array(taken))


@torch.inference_mode()
def _searched(
    model: TunableModel,
    prompts: Sequence[Ids],
    endings: Sequence[Ids],
    adapter: str,
    progress: Progress,
    near: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Summed log-probs P x endings, -inf for those left aside, and P: what those weigh at most, over the known ones."""
    if model.is_encoder_decoder:
        return seq2seq.scores(model, prompts, endings, adapter, progress), np.zeros(len(prompts))
    model.net.eval()
    trie = Trie(endings)
    found, left = np.zeros((len(prompts), len(endings))), np.zeros(len(prompts))
    done = 0
    for chunk in _read_together(prompts):
        search = Search(model, trie, [prompts[number] for number in chunk], adapter)
        if near == 0:
            search.compute_all()
        else:
            search.compute_likeliest(near)
            left[chunk] = search.unseen()
        found[chunk] = search.endings()
        done += len(chunk)
        if progress:
            progress(done)
    return found, left


def _read_together(prompts: Sequence[Ids]) -> Iterator[list[int]]:
    """Prompts in order of their tokens, parted so that the rests behind a common beginning fill READ_TOKENS."""
    order = sorted(range(len(prompts)), key=lambda number: list(prompts[number]))
    chunk: list[int] = []
    longest = 0
    for number in order:
        size = len(prompts[number])
        if chunk:
            shared = common_length(list(prompts[chunk[0]]), list(prompts[number]))
            own = max(longest, size) - (shared if shared >= MIN_SHARE else 0)
            if own * (len(chunk) + 1) > READ_TOKENS:
                yield chunk
                chunk, longest = [], 0
        chunk.append(number)
        longest = max(longest, size)
    if chunk:
        yield chunk
