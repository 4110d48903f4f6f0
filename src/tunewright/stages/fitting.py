"""How training is made to fit into memory: which costs are estimated, how many tokens are computed at once, and how
many layers compute again in the backward pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunewright.core.errors import RecipeError
from tunewright.core.parts import Method
from tunewright.core.recipe import Recipe
from tunewright.stages import defaults

if TYPE_CHECKING:
    from tunewright.models.estimate import Estimate, ModelFacts
    from tunewright.models.hardware import Hardware
    from tunewright.stages.choose import Filling, Measured


def costs(
    recipe: Recipe,
    facts: ModelFacts,
    machine: Hardware,
    measured: Measured,
    method: Method,
    *,
    micro_tokens: int,
    checkpoint_layers: int = 0,
) -> Estimate:
    """What training of this recipe costs with a method; layers that the recipe has computed again count before
    `checkpoint_layers`.
    """
    from tunewright.models import estimate

    lengths = measured.lengths.rows
    given = recipe.train.checkpoint_layers
    return estimate.estimate(
        facts,
        method,
        micro_tokens=micro_tokens,
        dtype=recipe.train.dtype,
        hardware=machine,
        learned_share=measured.learned_share if not recipe.the_objective().by_head else 0.0,
        row_tokens=sum(lengths) / len(lengths),
        plain=recipe.model.plain,
        checkpoint_layers=checkpoint_layers if given is None else given,
        optimizer=recipe.train.optimizer,
    )


def fill(filling: Filling, facts: ModelFacts, machine: Hardware, measured: Measured, found: Estimate) -> None:
    """Fill `checkpoint_layers` and `micro_tokens`. found: the costs with one row at a time. Raises RecipeError where
    more layers are asked for than gradients reach.
    """
    train = filling.recipe.train
    assert train.batch is not None and train.max_tokens is not None
    free = max(0.0, defaults.MEMORY_SHARE * machine.training_bytes - found.memory_bytes + found.parts["activations"])
    step = train.batch * measured.lengths.row(0.95)
    kept = found.bytes_per_token
    if train.checkpoint_layers is None:
        enough = defaults.tokens_at_once(defaults.ENOUGH_TOKENS, train.device, train.max_tokens, step)
        tokens = train.micro_tokens or enough
        filling.take("train", "checkpoint_layers", defaults.checkpoint_layers(kept, tokens=tokens, free_bytes=free))
    elif train.checkpoint_layers >= len(kept):
        raise RecipeError(
            f"train.checkpoint_layers: gradients flow through {len(kept) - 1} of {facts.layers} layers here, found "
            f"{train.checkpoint_layers}. Give at most {len(kept) - 1}, or leave it out."
        )
    if train.micro_tokens is None:
        again = filling.recipe.train.checkpoint_layers
        assert again is not None
        filling.take(
            "train",
            "micro_tokens",
            defaults.micro_tokens(
                train.device, free_bytes=free, per_token=kept[again], longest=train.max_tokens, step_tokens=step
            ),
        )
