"""The objective as data and model allow it: what it leaves open is filled, and what cannot be is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tunewright.core import checks, repeated
from tunewright.core.errors import DataError, RecipeError
from tunewright.core.example import Example
from tunewright.core.parts import Objective
from tunewright.core.recipe import Recipe
from tunewright.core.report import Finding

if TYPE_CHECKING:
    from tunewright.models.chat import Chat
    from tunewright.models.estimate import Estimate, ModelFacts
    from tunewright.models.forest import Row


def refuse_encoder(recipe: Recipe, facts: ModelFacts) -> None:
    """Raise RecipeError where an encoder, alone or with a decoder, cannot do what the recipe asks for."""
    objective, goal = recipe.the_objective(), recipe.evaluate.goal
    if facts.is_encoder_decoder:
        _refuse_encoder_decoder(recipe, facts)
    if not facts.is_encoder:
        return
    what = f"'{facts.base}' is an encoder ({facts.architecture})"
    if not objective.fits_encoders:
        raise RecipeError(
            f"model.base: {what}: it reads and says nothing, so it cannot learn objective '{objective.kind}'. Take a "
            "causal model, or an objective with a head such as classify."
        )
    if recipe.evaluate.against or (goal and goal.beat):
        raise RecipeError(
            f"evaluate.against and goal.beat: {what}, which cannot be asked before tuning. Leave both out."
        )


def _refuse_encoder_decoder(recipe: Recipe, facts: ModelFacts) -> None:
    objective, options = recipe.the_objective(), recipe.the_objective().model_dump()
    what = f"'{facts.base}' is an encoder-decoder ({facts.architecture})"
    found = []
    if not objective.fits_encoder_decoders:
        found.append(f"model.base: {what}, which cannot learn objective '{objective.kind}'. Take sft, or another base.")
    if options.get("learn") == "all":
        found.append(f"objective.learn: {what}, which says answers only. Leave learn out.")
    if options.get("noise"):
        found.append(f"objective.noise: {what}, whose embeddings get no noise here. Leave noise out.")
    if recipe.method is not None and not recipe.the_method().fits_encoder_decoders:
        kind = recipe.the_method().kind
        found.append(f"method: {what}, which method '{kind}' does not train. Take lora, full or last_layers.")
    if recipe.train.checkpoint_layers:
        found.append(f"train.checkpoint_layers: {what}, whose layers are not computed again. Leave it out.")
    if found:
        raise RecipeError(found)


def refuse_samples(recipe: Recipe, numbers: Mapping[str, Any]) -> None:
    """Raise RecipeError where several answers are asked for, and prepare found labels, which are weighed."""
    options = recipe.evaluate
    if wrong := repeated.problems(options.samples, options.temperature, free=not numbers.get("labels")):
        raise RecipeError(wrong)


def refuse_media(numbers: Mapping[str, Any]) -> None:
    """Raise DataError where prepare found rows that hold images, sounds or films: nothing here reads them yet."""
    if seen := numbers.get("media"):
        what = ", ".join(f"{kind} in {count:,} rows" for kind, count in seen.items())
        raise DataError(
            f"The data holds more than text ({what}), and every model and objective here reads texts alone: name the "
            "columns of texts in data.fields to train without it, or leave those rows out."
        )


def refuse_known_tokens(recipe: Recipe, chat: Chat) -> None:
    """Raise RecipeError for new tokens that no earlier training added and that are there all the same."""
    from tunewright.models.new_tokens import told_known

    if recipe.model.start is None and chat.new is not None and chat.new.known:
        raise RecipeError(told_known(chat.new.known))


def fitted(recipe: Recipe, numbers: Mapping[str, Any], facts: ModelFacts) -> tuple[Recipe, dict[str, str]]:
    """The recipe with its objective filled from prepare's numbers and the model, and the reason of each filled option.

    Raises DataError or RecipeError when they do not fit.
    """
    objective = recipe.the_objective()
    after = objective.fitted({**numbers, "encoder": facts.is_encoder, "hidden": facts.hidden}).model_dump(mode="json")
    before = objective.model_dump(mode="json")
    filled = {key: value for key, value in after.items() if value != before[key]}
    if not filled:
        return recipe, {}
    given = recipe.objective
    options = {"kind": given} if isinstance(given, str) else dict(given)
    reasons = {f"objective.{key}": "from the training rows and the model" for key in filled}
    recipe = recipe.model_copy(update={"objective": options | filled})
    checks.check(recipe)
    return recipe, reasons


def unread(objective: Objective, facts: ModelFacts, examples: Sequence[Example]) -> list[Finding]:
    """What a model that reads one text never sees: messages beside the last one of the user."""
    if not facts.is_encoder and objective.kind != "tag":
        return []
    more = [example for example in examples if len(example.prompt) > 1]
    if not more:
        return []
    message = (
        f"{len(more)} of {len(examples)} measured rows have other messages beside the user's last one (a system "
        "message, earlier turns): only that last one is read."
    )
    remedy = "Write what matters into the user's message, or take a causal model."
    return [
        Finding(name="unread", severity="warning", message=message, count=len(more), example=more[0].id, remedy=remedy)
    ]


def new_tokens(chat: Chat, costs: Estimate, sample: Sequence[Sequence[Row]]) -> list[Finding]:
    """What new tokens cost, and those that no measured row holds."""
    if chat.new is None:
        return []
    ids = chat.new.ids
    apart = f"{costs.new_rows:,} of the {costs.trainable_parameters:,} numbers that train"
    message = (
        f"{len(ids)} new tokens, ids {ids.start} to {ids.stop - 1}: their rows are "
        f"{apart if costs.new_rows else 'part of the vocabulary matrices, which train'}."
    )
    found = [Finding(name="new tokens", message=message)]
    seen = {token for unit in sample for row in unit for token in row.items}
    if unseen := [chat.decode([token]) for token in ids if token not in seen]:
        message = f"{', '.join(unseen)}: these new tokens stand in none of {len(sample):,} measured rows."
        remedy = "Look at how the rows write them, or take them out of model.new_tokens."
        found.append(Finding(name="unseen tokens", severity="warning", message=message, remedy=remedy))
    return found


def unsaid(chat: Chat, examples: Sequence[Example]) -> list[Finding]:
    """Answers that the tokenizer cannot spell: it would read and say them otherwise."""
    lost = [
        example
        for example in examples
        if any(
            chat.readable(message.content).strip() != message.content.strip()
            for message in example.messages
            if message.role == "assistant"
        )
    ]
    if not lost:
        return []
    message = (
        f"{len(lost)} of {len(examples)} measured rows have answers that this base's tokenizer does not spell as they "
        "stand (T5's knows no line breaks, and some signs not at all; some put a space behind a new token): they are "
        "learned as it spells them."
    )
    remedy = "Write answers without them (a space or ' | ' for a line break), or take another base."
    return [
        Finding(name="unsaid", severity="warning", message=message, count=len(lost), example=lost[0].id, remedy=remedy)
    ]
