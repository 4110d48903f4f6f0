"""Runs the proofs of a run on probes of its own data: before training, after it, or again at any time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.core import catalog, storage
from tunewright.core.errors import NotThere
from tunewright.core.parts import Proof, Subject
from tunewright.core.recipe import Recipe
from tunewright.core.report import ProofResult
from tunewright.core.run import Run
from tunewright.stages import encoded, tuned

if TYPE_CHECKING:
    from tunewright.models.chat import Chat
    from tunewright.models.tunable import TunableModel
    from tunewright.training.stored_rows import StoredRows

PROBES = 8
_none_wanted: ContextVar[bool] = ContextVar("none_wanted", default=False)


@contextmanager
def without_proofs() -> Iterator[None]:
    """While this holds nothing is measured and nothing claimed: for trainings that are thrown away once graded."""
    token = _none_wanted.set(True)
    try:
        yield
    finally:
        _none_wanted.reset(token)


def before_training(recipe: Recipe, run: Run) -> list[ProofResult]:
    """The proofs that need no trained weights; measured once and kept, so that going on does not repeat them."""
    kept = run.path("train", "proofs.before.json")
    if kept.exists():
        return [ProofResult.model_validate(row) for row in storage.read_json(kept)]
    results = _measure(recipe, run, lambda proof: proof.when == "before", None)
    storage.write_json(kept, [result.model_dump() for result in results], point="proofs")
    return results


def after_training(recipe: Recipe, run: Run, trained: Path) -> list[ProofResult]:
    """The proofs of the trained weights."""
    return _measure(recipe, run, lambda proof: proof.when == "after", trained)


def prove(recipe: Recipe, run: Run, *, names: list[str] | None = None) -> list[ProofResult]:
    """All proofs, or those named. Raises RecipeError for an unknown name, NotThere before training is done."""
    wanted = [catalog.build("proofs", name).kind for name in names] if names else catalog.kinds("proofs")
    return _measure(recipe, run, lambda proof: proof.kind in wanted, tuned.trained_folder(run))


def forget(run: Run) -> None:
    """Drop what was measured before a training that left no checkpoint: it may have been for another recipe."""
    for name in ("proofs.before.json", "frozen.json"):
        run.path("train", name).unlink(missing_ok=True)


def remember_frozen(run: Run, model: TunableModel) -> None:
    """Write a digest of every frozen tensor, at the first start of a training only."""
    path = run.path("train", "frozen.json")
    if not path.exists():
        from tunewright.models.own_weights import digests

        storage.write_json(path, digests(model.net), point="proofs")


def _measure(recipe: Recipe, run: Run, choose: Callable[[Proof], bool], trained: Path | None) -> list[ProofResult]:
    if _none_wanted.get():
        return []
    subject = _subject(recipe, run, trained)
    results = []
    for proof in (catalog.build("proofs", kind) for kind in catalog.kinds("proofs")):
        if not choose(proof):
            continue
        run.stop_if_asked()
        result: ProofResult = proof.prove(subject)
        run.log("proof", **result.model_dump())
        results.append(result)
    return results


def _subject(recipe: Recipe, run: Run, trained: Path | None) -> Subject:
    from tunewright.models.opening import open_chat
    from tunewright.training.step import gradients

    splits = {name: run.split(name) for name in ("train", "validation", "test")}
    training = splits["train"]
    if not training:
        raise NotThere(f"Run '{run.name}' has no training rows. Prepare the data first.")
    objective, stride = recipe.the_objective(), max(1, len(training) // PROBES)

    @cache
    def rows() -> StoredRows:
        return encoded.rows(recipe, run, "train", open_chat(tuned.start_options(recipe, run)))

    frozen = run.path("train", "frozen.json")
    assert recipe.train.max_tokens and recipe.train.micro_tokens
    return Subject(
        method=recipe.the_method(),
        objective=objective,
        examples=[objective.with_answer(example) for example in training[::stride][:PROBES]],
        splits=splits,
        max_tokens=recipe.train.max_tokens,
        micro_tokens=recipe.train.micro_tokens,
        seed=recipe.train.seed,
        folder=run.folder,
        trained=trained,
        frozen_before=storage.read_json(frozen) if frozen.exists() else None,
        encoded=lambda: zip(map(objective.with_answer, training), rows().by_example(), strict=True),
        open_chat=lambda: open_chat(tuned.start_options(recipe, run)),
        open_base=lambda: tuned.open_base(recipe, run, dtype="float32", for_training=True),
        gradients=gradients,
        open_tuned=(lambda: tuned.open_trained(recipe, run, trained, dtype="float32")) if trained else None,
        open_as_trained=(lambda: tuned.open_trained(recipe, run, trained, dtype="float32", as_trained=True))
        if trained
        else None,
        served_ids=_served_ids(recipe, run),
    )


def _served_ids(recipe: Recipe, run: Run) -> Callable[[Chat, list[dict[str, Any]]], list[int]]:
    """Token ids exactly as the server makes them from a request's messages."""

    def ids(chat: Chat, messages: list[dict[str, Any]]) -> list[int]:
        from tunewright.models.decode import prompt_ids

        return prompt_ids(chat, tuned.decode_of(recipe, run), messages, None)

    return ids
