"""Below the lowest trained layer nothing is computed twice: every row goes through the frozen layers once, before the
first step.
"""

from __future__ import annotations

import errno
import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from tunewright.core import private
from tunewright.core.errors import CheckpointError
from tunewright.models.forest import Forest, Row
from tunewright.models.tunable import TunableModel
from tunewright.models.upper import StoredHidden, frozen_layers

UNITS = 1000  # laid out together; the rows of this many examples share what they begin with


def store(
    model: TunableModel,
    splits: Sequence[Sequence[Sequence[Row]]],
    *,
    micro_tokens: int,
    folder: Path,
    poll: Callable[[int], None],
) -> StoredHidden | None:
    """Compute what the frozen layers make of every row, into a file without a name in `folder` (gone with the
    process; of a private run, in memory).

    Returns None when this model's layers hand on more than hidden states. The forests depend on the examples alone, so
    that a resumed training finds the same numbers. splits: examples to learn from, and those that watch. `poll` is told
    how many are done and may raise to stop.
    """
    stored = StoredHidden(model.net, frozen_layers(model.net), private.open_nameless(folder))
    if not _can_be_parted(model, stored, model.forest(splits[0][0])):
        stored.close()
        return None
    try:
        for number, units in enumerate(_laid_out_together(splits)):
            poll(number * UNITS)
            fresh = [[row for row in unit if not stored.has(row.items)] for unit in units]
            for rows in model.micro_batches(fresh, micro_tokens):
                forest = model.forest(rows)
                stored.add(forest, below(model, stored, forest))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise CheckpointError(
            f"The disk is full: what the frozen layers compute could not be kept in {folder}, with "
            f"{shutil.disk_usage(folder).free:,} bytes free. Free some space and run the same command again, or start "
            "over with train.store_frozen=false."
        ) from error
    stored.finish()
    return stored


def _laid_out_together(splits: Sequence[Sequence[Sequence[Row]]]) -> Iterator[list[Sequence[Row]]]:
    units = itertools.chain.from_iterable(splits)
    while together := list(itertools.islice(units, UNITS)):
        yield together


@torch.no_grad()
def below(model: TunableModel, stored: StoredHidden, forest: Forest) -> torch.Tensor:
    """What the lowest trained layer receives, ND."""
    with stored.only_below() as reached:
        model.hidden(forest)
    return reached[0][0]


def _can_be_parted(model: TunableModel, stored: StoredHidden, forest: Forest) -> bool:
    """Whether the upper layers, handed what the lower ones made, answer bit for bit like the whole, and no gradient
    is lost.
    """
    plain: list[bool] = []
    hooks = [
        layer.register_forward_hook(lambda layer, given, out: plain.append(isinstance(out, torch.Tensor)))
        for layer in stored.layers
    ]
    whole = model.hidden(forest)
    for hook in hooks:
        hook.remove()
    if not all(plain):
        return False
    with stored.only_below() as reached:
        model.hidden(forest)
    if reached[0].requires_grad:
        return False
    with stored.above(reached[0][0]):
        return torch.equal(model.hidden(forest), whole)
