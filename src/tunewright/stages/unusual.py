"""What is unusual about a filled recipe, in sentences: the value is kept, and what usually happens then is said."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tunewright.core.recipe import Recipe
from tunewright.core.report import Finding
from tunewright.stages import defaults

if TYPE_CHECKING:
    from tunewright.models.estimate import ModelFacts

FAR = 5  # times the usual rate, up or down, that is worth a word for small models
FEW_ROWS, FEW_VALIDATION = 100, 20


def settings(recipe: Recipe, facts: ModelFacts, *, units: int, steps: int) -> list[Finding]:
    """Values outside the usual ranges."""
    train, heat = recipe.train, recipe.evaluate.temperature
    assert train.batch is not None
    passes = steps * train.batch / units
    batch = f"train.batch {train.batch} is"
    looked_at: list[tuple[bool, str, str, str | None]] = [
        (train.batch < 4, "batch", f"{batch} below the usual 4 to 32: steps are noisy.", "Lower train.lr with it."),
        (train.batch > 32, "batch", f"{batch} above the usual 4 to 32: few steps, often a worse result.", "Try 32."),
        (
            passes > 5.5,
            "epochs",
            f"The rows are read {passes:.1f} times, usually 1 to 5: the model begins to learn them by heart.",
            "Keep train.patience, so that the best checkpoint is the one that counts.",
        ),
        (
            passes < 0.95,
            "epochs",
            f"Only {passes:.0%} of the rows are read before training ends.",
            "Raise train.steps or train.epochs.",
        ),
        (
            train.warmup > 0.3,
            "warmup",
            f"train.warmup {train.warmup:g} keeps the rate below its peak for long; usual is 0 to 0.1.",
            None,
        ),
        (
            train.weight_decay > 0.2,
            "weight_decay",
            f"train.weight_decay {train.weight_decay:g} is above the usual 0 to 0.1: it undoes learning.",
            None,
        ),
        (
            heat > 0,
            "temperature",
            f"evaluate.temperature {heat:g}: answers are drawn by chance, which adds noise to the verdict.",
            "Use 0 to measure, and set a temperature when serving.",
        ),
    ]
    found = [_warn(name, message, remedy) for unusual, name, message, remedy in looked_at if unusual]
    found = [*_start(recipe), *_sampling(recipe), *_unopened(recipe, facts.layers, steps, passes), *found]
    return [*_rate(recipe, facts), *_method(recipe, facts.parameters, units), *found]


def _rate(recipe: Recipe, facts: ModelFacts) -> list[Finding]:
    parameters, method, rate = facts.parameters, recipe.the_method(), recipe.train.lr
    assert rate is not None
    group = defaults.rate_group(method.rates, has_adapter=method.has_adapter)
    objective, encoder = recipe.the_objective(), facts.is_encoder
    share = defaults.rate_share(objective, encoder=encoder)
    usual: float = defaults.rate(group, parameters, objective=objective, encoder=encoder).value
    large = parameters >= defaults.LARGE
    low, high = (share * end for end in defaults.LR_LARGE[group]) if large else (usual / FAR, usual * FAR)
    size = f"{method.kind} on {defaults.short(parameters)} parameters"
    remedy = f"Leave train.lr out, or try {usual:g}."
    if rate > high:
        what = (
            f"train.lr {rate:g} is above the usual {low:.1g} to {high:.1g} for {size}: the loss "
            "usually jumps or diverges."
        )
        return [_warn("lr", what, remedy)]
    if rate < low:
        what = (
            f"train.lr {rate:g} is below the usual {low:.1g} to {high:.1g} for {size}: it usually "
            "learns too little in a few epochs."
        )
        return [_warn("lr", what, remedy)]
    return []


def _method(recipe: Recipe, parameters: int, units: int) -> list[Finding]:
    method = recipe.the_method()
    rank = method.model_dump().get("rank")
    found = []
    if rank is not None and not 4 <= rank <= 64:
        happens = "it can hold little" if rank < 4 else "memory and time for no better result"
        found.append(_warn("rank", f"method.rank {rank} is outside the usual 4 to 64: {happens}.", "Use 8 or 16."))
    if method.kind == "full" and parameters >= defaults.LARGE and units < defaults.FULL_ROWS:
        message = (
            f"Full tuning of {defaults.short(parameters)} parameters on {units} rows usually forgets "
            "more than it learns."
        )
        found.append(_warn("method", message, f"Use lora below {defaults.FULL_ROWS} rows."))
    return found


def _unopened(recipe: Recipe, layers: int, steps: int, passes: float) -> list[Finding]:
    """Gradual unfreezing that ends before the lowest layers have come."""
    method, groups = recipe.the_method(), layers + 1  # the embeddings are one more
    if method.kind != "gradual":
        return []
    every = method.model_dump()["every"] or 1 / passes
    num_open = math.ceil(1 / every)
    if num_open >= groups:
        return []
    message = f"gradual opens {num_open} of {groups} groups of layers in {steps} steps: the lower ones never learn."
    remedy = f"Give method.every, say {0.5 / groups:.2g} to open all in half of the steps, or raise train.epochs."
    return [_warn("unopened", message, remedy)]


def _start(recipe: Recipe) -> list[Finding]:
    """An objective that compares answers, on a model that has not learned to answer."""
    objective = recipe.the_objective()
    if not objective.after_sft or recipe.model.start is not None:
        return []
    message = f"'{objective.kind}' compares answers that the model should be able to give, and it begins from the base."
    remedy = "Unless the base answers such prompts well, train sft on good answers first and name that run: model.from."
    return [Finding(name="sft_first", message=message, remedy=remedy)]


def _sampling(recipe: Recipe) -> list[Finding]:
    """What the estimate of an on-policy objective leaves out."""
    if not recipe.the_objective().on_policy:
        return []
    message = "The estimate counts the gradient steps. Sampling answers takes about as long again where they are short."
    return [Finding(name="sampling", message=message)]


def lengths(recipe: Recipe, measured: defaults.Lengths, *, num_left_out: int) -> list[Finding]:
    """Rows and answers that do not fit."""
    limit, longest_answer = recipe.train.max_tokens, recipe.evaluate.max_new_tokens
    assert limit is not None and longest_answer is not None
    found = []
    cut = sum(length > limit for length in measured.rows)
    if cut:
        message = (
            f"{cut} of {len(measured.rows)} measured rows are longer than train.max_tokens {limit}: "
            "they are cut or left out."
        )
        found.append(_warn("long_rows", message, "Raise train.max_tokens, or shorten the rows.", count=cut))
    if num_left_out:
        message = f"{num_left_out} of the measured rows have no answer that is learned; they are left out."
        found.append(_warn("left_out", message, "Look at their roles and weights.", count=num_left_out))
    short = sum(length > longest_answer for length in measured.answers)
    if short > 0.02 * len(measured.answers):
        message = (
            f"{short} of {len(measured.answers)} answers are longer than evaluate.max_new_tokens "
            f"{longest_answer}: they would be cut."
        )
        found.append(_warn("max_new_tokens", message, "Raise evaluate.max_new_tokens.", count=short))
    return found


def amounts(units: int, num_validation: int) -> list[Finding]:
    """Too little data to learn from, or to watch by."""
    found = []
    if units < FEW_ROWS:
        message = f"{units} rows to learn from are few: expect an imitation of their form more than of their content."
        found.append(
            _warn("few_rows", message, f"From {FEW_ROWS} rows results become dependable; varied ones count most.")
        )
    if num_validation < FEW_VALIDATION:
        message = f"{num_validation} validation rows: early stopping follows chance as much as learning."
        found.append(_warn("few_validation", message, "Give data.split.validation a larger share, or add rows."))
    return found


def memory(need: int, parts: dict[str, int], have: int) -> list[Finding]:
    """More memory than the machine has."""
    if need <= have:
        return []
    largest = max(parts, key=lambda name: parts[name])
    remedies = {
        "activations": "Lower train.micro_tokens or train.max_tokens; the result stays the same for the first.",
        "optimizer": "Use train.optimizer adamw_8bit, the method lora, or a smaller base.",
        "gradients": "Use the method lora, or a smaller base.",
        "weights": "Take a smaller base, or train.dtype bfloat16.",
    }
    message = (
        f"Training is estimated to need {defaults.gib(need)}, and there are {defaults.gib(have)}; "
        f"most is for {largest}."
    )
    remedy = remedies.get(largest, "Take a smaller base.")
    return [Finding(name="memory", severity="problem", message=message, remedy=remedy)]


def _warn(name: str, message: str, remedy: str | None, *, count: int | None = None) -> Finding:
    return Finding(name=name, severity="warning", message=message, remedy=remedy, count=count)
