"""What rows are in the tokens of the model that the recipe names: rows that teach nothing, and rows that are cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tunewright.core.errors import DataError, NotThere, RecipeError
from tunewright.core.recipe import Recipe
from tunewright.core.report import Finding
from tunewright.core.run import Run
from tunewright.data import profile, showing
from tunewright.stages import sorting
from tunewright.stages.mending import Mended, poller

if TYPE_CHECKING:
    from tunewright.core.parts import Objective
    from tunewright.models.chat import Chat

SAMPLE = 20_000  # rows to learn from that are encoded, evenly spread


def names_model(recipe: Recipe) -> bool:
    """Whether the recipe says which base it is about; what an earlier run left is opened by choose."""
    return recipe.model.start is None and "base" in recipe.model.model_fields_set


def findings(
    recipe: Recipe, run: Run, state: Mended, files: Mapping[str, str], card: Mapping[str, Any]
) -> list[Finding]:
    """Findings in tokens, and figures in the notes (`tokens`): none where the recipe names no model, or where its
    objective needs what only choose can fill in. A model that cannot be opened is told, not refused: the rest of the
    stage needs none.
    """
    if not names_model(recipe):
        return []
    from tunewright.models import backbones, bases, opening
    from tunewright.models.estimate import NO_LIMIT

    try:
        chat = opening.open_chat(recipe.model)
        config = opening.open_config(bases.base_folder(recipe.model.base), recipe.model.revision)
    except (NotThere, DataError) as error:
        message = f"Tokens were not counted: {error}"
        return [Finding(name="tokens_not_counted", message=message, remedy="Correct model.base before choose.")]
    try:
        facts = {"encoder": backbones.is_encoder(config), "hidden": config.get_text_config().hidden_size}
        objective = recipe.the_objective().fitted({**card, **facts})
        context = getattr(config.get_text_config(), "max_position_embeddings", None) or NO_LIMIT
        limit = recipe.train.max_tokens or context - backbones.first_position(config)
        return _counted(objective, chat, state, run, files, limit)
    except (DataError, RecipeError):  # what model and objective cannot do together is refused by choose
        return []


def _counted(
    objective: Objective, chat: Chat, state: Mended, run: Run, files: Mapping[str, str], limit: int
) -> list[Finding]:
    from tunewright.models.estimate import NO_LIMIT
    from tunewright.training.encoding import Tally, rows_of

    numbers = np.sort(np.concatenate([state.found.sides[side] for side in ("train", "validation")]))
    numbers = numbers[:: max(1, -(-len(numbers) // SAMPLE))]
    poll = poller(run)
    examples = state.spool.examples(numbers, lambda done: poll("counting tokens", done, len(numbers)))
    tally = Tally()
    lengths: list[int] = []
    num_tokens = num_learned = 0
    never: list[int] = []
    too_long: list[int] = []
    cut: list[int] = []
    encoded = rows_of(examples, objective, chat, max_tokens=limit, tally=tally)
    for number, (example, rows) in zip(numbers.tolist(), encoded, strict=False):
        learned = [row for row in rows if row.num_learned > 0]
        lengths += [len(row.items) for row in learned]
        num_tokens += sum(len(row.items) for row in learned)
        num_learned += sum(sum(weight > 0 for weight in row.weights) for row in learned)
        if not learned:
            whole = objective.encode(example, chat, max_tokens=NO_LIMIT)
            (too_long if any(row.num_learned > 0 for row in whole) else never).append(number)
        elif any(row.cut for row in learned):
            cut.append(number)
    if not lengths and not never and not too_long:
        return []
    state.notes["tokens"] = {
        "limit": limit if limit < NO_LIMIT else None,
        "rows_looked_at": len(numbers),
        "rows": profile.lengths(lengths),
        "learned_share": round(num_learned / num_tokens, 4) if num_tokens else 0.0,
        "without_learned": len(never) + len(too_long),
        "truncated": len(cut),
    }
    return _told(never, too_long, cut, limit, state, files, len(numbers))


def _told(
    never: list[int],
    too_long: list[int],
    cut: list[int],
    limit: int,
    state: Mended,
    files: Mapping[str, str],
    num_rows: int,
) -> list[Finding]:
    found = []
    for name, rows, message, remedy in (
        (
            "no_learned_token",
            sorted([*never, *too_long]),
            f"have no token to learn after the template and a limit of {limit:,} tokens ({len(too_long):,} of them "
            "because they are too long); they teach nothing",
            "Look at their answers, roles and weights; raise train.max_tokens for long ones.",
        ),
        (
            "truncated_rows",
            cut,
            f"are longer than {limit:,} tokens and lose their end",
            "Raise train.max_tokens, or shorten the rows: a cut answer teaches to stop in the middle.",
        ),
    ):
        if rows:
            found.append(
                Finding(
                    name=name,
                    severity="warning",
                    message=f"{len(rows):,} of {num_rows:,} rows to learn from {message}.",
                    count=len(rows),
                    rows=sorting.places(state.spool, files, np.array(rows, np.int64)),
                    example=showing.row(state.spool[rows[0]]),
                    remedy=remedy,
                )
            )
    return found
