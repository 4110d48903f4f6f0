"""What a finished training has to tell people: stops, overfitting, rows that were cut or left out, skipped steps."""

from __future__ import annotations

from collections.abc import Sequence

from tunewright.core.report import Finding


def findings(
    *,
    warnings: Sequence[str],
    step: int,
    best_step: int,
    early: bool,
    never_better: bool,
    looks_without_gain: int,
    unlearned: Sequence[str],
    cut: Sequence[str],
    skipped: Sequence[int],
    rewarded: bool = False,
) -> list[Finding]:
    """Each worth a sentence, with a remedy where there is one.

    rewarded: what was looked at is the reward of the model's own answers. early: patience ended the training.
    never_better: no look was better than the one before the first step.
    """
    found = [Finding(name="checkpoint", severity="warning", message=message) for message in warnings]
    if early:
        what = "validation reward no longer rose" if rewarded else "validation loss no longer fell"
        message = f"Stopped early at step {step}: the {what}. Step {best_step} is kept."
        found.append(Finding(name="early_stop", message=message))
    if never_better and rewarded:
        message = "The reward on validation prompts was never better than before training."
        remedy = (
            "Train longer, or with a higher train.lr or group; a reward that is nearly always the same teaches nothing."
        )
        found.append(Finding(name="never_better", severity="warning", message=message, remedy=remedy))
    elif never_better:
        message = "The validation loss was never better than the base's own: training made it worse, or was too short."
        remedy = "Lower train.lr, train longer, or check that validation rows look like training rows."
        found.append(Finding(name="never_better", severity="warning", message=message, remedy=remedy))
    elif looks_without_gain >= 2 and rewarded:
        message = "The reward on validation prompts fell while training went on."
        remedy = "Lower train.lr, or pull harder towards the reference."
        found.append(Finding(name="overfitting", severity="warning", message=message, remedy=remedy))
    elif looks_without_gain >= 2:
        message = "The validation loss rose while training went on: rows were being learned by heart."
        remedy = "Fewer epochs, more or more varied rows, a smaller rank, or dropout."
        found.append(Finding(name="overfitting", severity="warning", message=message, remedy=remedy))
    if unlearned:
        message = f"{len(unlearned)} examples have no learned token within train.max_tokens and were left out."
        found.append(_rows("unlearned", message, unlearned, "Raise train.max_tokens, or shorten the prompts."))
    if cut:
        message = f"{len(cut)} examples were cut at train.max_tokens."
        found.append(_rows("cut", message, cut, "Raise train.max_tokens if the ends of these answers matter."))
    if skipped:
        message = f"{len(skipped)} steps were skipped: loss or gradient was not finite."
        found.append(Finding(name="skipped", severity="warning", message=message, count=len(skipped)))
    return found


def _rows(name: str, message: str, ids: Sequence[str], remedy: str) -> Finding:
    return Finding(name=name, severity="warning", message=message, count=len(ids), example=ids[0], remedy=remedy)
