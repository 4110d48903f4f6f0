"""Tokens that a base's tokenizer lacks: added to it, with rows of their own in the base's vocabulary matrices.

A new token's row begins as the mean of the rows of the pieces that its text was split into before (Gee et al. 2022,
arXiv 2402.09977), so that it begins near what the base already reads there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tunewright.core.errors import RecipeError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IDS = "_tunewright_new_ids"  # under which a net keeps the ids of its new tokens


@dataclass(frozen=True)
class NewTokens:
    """The ids of new tokens, one behind the other, and the pieces that each text was before: none for a token that an
    earlier training added.
    """

    first: int
    pieces: tuple[tuple[int, ...], ...]
    known: tuple[str, ...]  # the texts of those that were there

    @property
    def ids(self) -> range:
        """All of them."""
        return range(self.first, self.first + len(self.pieces))


def add(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> NewTokens | None:
    """Add texts to a tokenizer, each as one token that answers show like any other word. None where there are none.

    Those that were added before are found again. Raises RecipeError for what is one token already.
    """
    from transformers import AddedToken

    if not texts:
        return None
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if not token.special}
    fresh = [text for text in texts if text not in added]
    pieces = {text: tuple(tokenizer.encode(text, add_special_tokens=False)) for text in fresh}
    vocabulary = tokenizer.get_vocab()
    if single := [text for text in fresh if text in vocabulary or _is_one(tokenizer, text, pieces[text])]:
        raise RecipeError(told_known(single))
    if unread := [text for text in fresh if not pieces[text]]:
        raise RecipeError(
            f"model.new_tokens: this base's tokenizer makes nothing of {_quoted(unread)}, so there is no row to begin "
            "from. Spell them otherwise."
        )
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in fresh])
    ids: Any = tokenizer.convert_tokens_to_ids(list(texts))
    by_id = dict(sorted(zip(ids, texts, strict=True)))
    first = min(by_id)
    if list(by_id) != list(range(first, first + len(texts))):
        raise RecipeError(
            f"model.new_tokens: {_quoted(texts)} do not stand one behind the other in this base's vocabulary (found "
            f"{', '.join(map(str, by_id))}). Name all tokens that the earlier training added, or none of them."
        )
    ordered = tuple(pieces.get(text, ()) for text in by_id.values())
    return NewTokens(first, ordered, tuple(text for text in texts if text in added))


def told_known(texts: Sequence[str]) -> str:
    """The sentence about texts that are no new tokens."""
    return (
        f"model.new_tokens: this base has tokens of their own for {_quoted(texts)} already. Leave them out: every "
        "method learns to use them as they are."
    )


def put_in(net: Any, new: NewTokens | None) -> None:
    """Give new tokens their rows in a net, those that its matrices have to spare or more at their end, and their
    starts.
    """
    if new is None:
        return
    give_rows(net, new.ids)
    with torch.no_grad():
        for _, matrix in matrices(net):
            weight: Any = matrix.weight
            for token, pieces in zip(new.ids, new.pieces, strict=True):
                if pieces:
                    weight[token] = weight[list(pieces)].float().mean(0).to(weight.dtype)


def give_rows(net: Any, ids: Sequence[int]) -> None:
    """Make room for new tokens, and let the net know them; what stands in their rows is not said."""
    if not ids:
        return
    if len(net.get_input_embeddings().weight) <= ids[-1]:
        own: list[Any] = [matrix.weight for _, matrix in matrices(net)][1:]  # of a head that is another matrix
        with torch.random.fork_rng(devices=[]):  # the library draws the rows that it adds
            net.resize_token_embeddings(ids[-1] + 1, mean_resizing=False)
        if own and len([*matrices(net)]) == 1:  # and ties the head of some nets (T5 from 1.1 on) that had one apart
            more = own[0].new_zeros(ids[-1] + 1 - len(own[0]), own[0].shape[1])
            net.get_output_embeddings().weight = nn.Parameter(torch.cat([own[0].detach(), more]))
    net.__dict__[IDS] = range(ids[0], ids[-1] + 1)


def matrices(net: Any) -> Iterator[tuple[str, nn.Module]]:
    """The modules that hold a net's vocabulary, by name: its embedding, and its head where that is another matrix."""
    embedding, head = net.get_input_embeddings(), net.get_output_embeddings()
    names = {id(module): name for name, module in net.named_modules()}
    yield names[id(embedding)], embedding
    if head is not None and head.weight is not embedding.weight:
        yield names[id(head)], head


def texts_of(folder: Path, ids: Sequence[int]) -> tuple[str, ...]:
    """What ids stand for in the tokenizer beside a saved adapter; nothing where there is no tokenizer."""
    from transformers import AutoTokenizer

    if not (folder / "tokenizer_config.json").exists():
        return ()
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    return tuple(tokenizer.convert_ids_to_tokens(list(ids)))


def _is_one(tokenizer: PreTrainedTokenizerBase, text: str, pieces: Sequence[int]) -> bool:
    return len(pieces) == 1 and tokenizer.decode(list(pieces), clean_up_tokenization_spaces=False) == text


def _quoted(texts: Sequence[str]) -> str:
    return ", ".join(f"'{text}'" for text in texts)
