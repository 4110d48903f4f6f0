"""Opens the models of a run: the base as the phase started, and the tuned one. Knows how a run's answers are
decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from tunewright.core import storage
from tunewright.core.errors import CheckpointError, NotThere
from tunewright.core.recipe import ModelOptions, Recipe
from tunewright.core.run import Run

if TYPE_CHECKING:
    from tunewright.models.decode import Decode
    from tunewright.models.tunable import TunableModel

Opened = dict[tuple[ModelOptions, str, str], "TunableModel"]
_opened: ContextVar[Opened | None] = ContextVar("opened", default=None)


def start_options(recipe: Recipe, run: Run) -> ModelOptions:
    """What this phase starts from, as a base that can be opened.

    With `model.from`, the earlier result is merged once into `<run>/base/`: from there on it is the base like any
    other.
    """
    if recipe.model.start is None:
        return recipe.model
    folder = run.path("base")
    if not (folder / "config.json").exists() or _merged_from(folder) != recipe.model.start:
        _merge_start(recipe, Path(recipe.model.start), folder)
    return ModelOptions(base=str(folder), plain=recipe.model.plain)


@contextmanager
def one_base() -> Iterator[None]:
    """While this holds, a base is opened once for all that put an adapter beside it, this run or the next."""
    if _opened.get() is not None:
        yield
        return
    token = _opened.set({})
    try:
        yield
    finally:
        _opened.reset(token)


def open_base(recipe: Recipe, run: Run, *, dtype: str | None = None) -> TunableModel:
    """The model as this phase started. dtype: instead of the recipe's."""
    from tunewright.models.tunable import open_model

    key = (start_options(recipe, run), dtype or _dtype(recipe), device(recipe))
    opened = _opened.get()
    if opened is None or not recipe.the_method().has_adapter:  # other methods change the base's own weights
        return open_model(key[0], dtype=key[1], device=key[2])
    if key not in opened:
        opened.clear()  # one at a time: the next run may have another base
        opened[key] = open_model(key[0], dtype=key[1], device=key[2])
    return opened[key].beside()


def open_tuned(recipe: Recipe, run: Run, *, dtype: str | None = None) -> TunableModel:
    """The base with what training learned. Raises NotThere before training is done."""
    return open_trained(recipe, run, trained_folder(run), dtype=dtype)


def open_trained(recipe: Recipe, run: Run, trained: Path, *, dtype: str | None = None) -> TunableModel:
    """The base with what a folder of `Method.save` holds, and the head beside it."""
    from tunewright.models.heads import load_head

    model = open_base(recipe, run, dtype=dtype)
    method = recipe.the_method()
    method.attach(model.net, seed=recipe.train.seed)
    method.load(model.net, trained)
    load_head(model.net, trained)
    model.net.requires_grad_(False)
    return model


def trained_folder(run: Run) -> Path:
    """What the best checkpoint of a finished training holds. Raises NotThere, or CheckpointError when it is damaged."""
    report = run.report("train")
    if report is None:
        raise NotThere(f"Run '{run.name}' has not finished training. Go on with: tunewright train {run.folder}")
    folder = run.path("checkpoints", report.numbers["checkpoint"])
    if (folder / "manifest.json").exists() and (wrong := storage.damage(folder)):  # one made by hand has no manifest
        raise CheckpointError(
            f"Checkpoint {folder.name} of run '{run.name}' is damaged: {wrong}. Bring it back, or train again "
            f"with --fresh."
        )
    return folder / "model"


def decode_of(recipe: Recipe, run: Run) -> Decode:
    """How the tuned model answers: by its head where it has one, else as the base would."""
    from tunewright.models.decode import Decode

    headed = recipe.the_objective().decoding()
    return base_decode_of(recipe, run) if headed is None else Decode(**headed, system=_system(recipe, run))


def base_decode_of(recipe: Recipe, run: Run) -> Decode:
    """How the base answers: by scoring every label where the data is labels, else token by token."""
    from tunewright.models.decode import Decode

    prepared = run.report("prepare")
    numbers = prepared.numbers if prepared else {}
    system = _system(recipe, run)
    labels = sorted(numbers.get("labels") or {})
    if labels:
        return Decode(kind="choices", labels=labels, system=system)
    assert recipe.evaluate.max_new_tokens is not None, "choose fills it"
    return Decode(
        kind="generate",
        max_new_tokens=recipe.evaluate.max_new_tokens,
        temperature=recipe.evaluate.temperature,
        system=system,
    )


def _system(recipe: Recipe, run: Run) -> str | None:
    prepared = run.report("prepare")
    systems = (prepared.numbers if prepared else {}).get("system_messages") or []
    return systems[0] if len(systems) == 1 else recipe.data.system


def device(recipe: Recipe) -> str:
    """The device that the frozen recipe names."""
    import torch

    return recipe.train.device if recipe.train.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def _dtype(recipe: Recipe) -> str:
    return "float32" if recipe.train.dtype == "auto" else recipe.train.dtype


def _merged_from(folder: Path) -> str | None:
    manifest = folder / "manifest.json"
    return storage.read_json(manifest).get("from") if manifest.exists() else None


def _merge_start(recipe: Recipe, start: Path, folder: Path) -> None:
    from tunewright.models import lora_layers
    from tunewright.models.tunable import open_model

    if (start / "run.json").exists():
        earlier = Run(start)
        before = earlier.recipe()
        model = open_tuned(before, earlier, dtype="float32")
        before.the_method().merge(model.net)
    elif (start / "adapter_config.json").exists():
        base = recipe.model
        named = str(lora_layers.read_shape(start).get("base_model_name_or_path") or "")
        if "base" not in recipe.model.model_fields_set and named:
            base = ModelOptions(base=named)
        model = open_model(base.model_copy(update={"start": None}))
        lora_layers.load_adapter(model.net, "default", start)
        lora_layers.merge_adapter(model.net, "default")
    else:
        raise NotThere(f"model.from: {start} is neither a run nor an adapter folder.")
    with storage.new_folder(folder, point="base", about={"from": str(start)}) as temporary:
        model.save(temporary)
