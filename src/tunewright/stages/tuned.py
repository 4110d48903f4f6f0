"""Opens the models of a run: the base as the phase started, and the tuned one. Knows how a run's answers are
decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.core import phases, storage
from tunewright.core.errors import CheckpointError, NotThere, RecipeError
from tunewright.core.parts import Method
from tunewright.core.recipe import ModelOptions, Recipe
from tunewright.core.run import Run

if TYPE_CHECKING:
    from tunewright.models.decode import Decode
    from tunewright.models.release import Checked, Opened
    from tunewright.models.tunable import TunableModel

Bases = dict[tuple[ModelOptions, str, str, str], "TunableModel"]
_opened: ContextVar[Bases | None] = ContextVar("opened", default=None)


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
    return ModelOptions(base=str(folder), plain=recipe.model.plain, new_tokens=recipe.model.new_tokens)


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


def open_base(recipe: Recipe, run: Run, *, dtype: str | None = None, for_training: bool = False) -> TunableModel:
    """The model as this phase started. dtype: instead of the recipe's. for_training: in the form that the method
    trains on (quantised, for some).
    """
    method = final(recipe, run)[0].the_method()  # a recipe of phases need not name one
    form = method.model_dump_json() if for_training and method.quantised else ""
    model = _opened_base(method, (start_options(recipe, run), dtype or _dtype(recipe), device(recipe), form))
    model.checkpoint_layers = recipe.train.checkpoint_layers or 0
    if named := recipe.the_objective().others:
        model.others = _Others(recipe, model, named)
    return model


def untouched(recipe: Recipe) -> Recipe:
    """The recipe whose base reads as it always did, without new tokens: what a tuned model is measured against."""
    return recipe.changed("model", new_tokens=())


def _opened_base(method: Method, key: tuple[ModelOptions, str, str, str]) -> TunableModel:
    from tunewright.models.opening import open_model

    def opened_now() -> TunableModel:
        model = open_model(key[0], dtype=key[1], device=key[2])
        if key[3]:
            method.quantise(model.net)
        return model

    opened = _opened.get()
    if opened is None or not method.has_adapter:  # other methods change the base's own weights
        return opened_now()
    if key not in opened:
        opened.clear()  # one at a time: the next run may have another base
        opened[key] = opened_now()
    return opened[key].beside()


def final(recipe: Recipe, run: Run) -> tuple[Recipe, Run]:
    """The recipe and the run whose result is this run's: those of the last phase, where there are phases."""
    if not recipe.phases:
        return recipe, run
    last = Run.open(run.path("children", phases.folder_names(recipe)[-1]))
    return last.recipe(), last


def open_tuned(recipe: Recipe, run: Run, *, dtype: str | None = None) -> TunableModel:
    """The base with what training learned. Raises NotThere before training is done."""
    recipe, run = final(recipe, run)
    return open_trained(recipe, run, trained_folder(run), dtype=dtype)


def open_trained(
    recipe: Recipe, run: Run, trained: Path, *, dtype: str | None = None, as_trained: bool = False
) -> TunableModel:
    """The base with what a folder of `Method.save` holds, and the head beside it. as_trained: on the base in the form
    it was trained on.
    """
    model = open_base(recipe, run, dtype=dtype, for_training=as_trained)
    attach(recipe, model)
    put_back(recipe, model, trained)
    model.net.requires_grad_(False)
    return model


def attach(recipe: Recipe, model: TunableModel) -> None:
    """Make a model trainable: what the method trains, rows of new tokens, and a head where the objective has one."""
    from tunewright.models import heads, new_rows

    method = recipe.the_method()
    method.attach(model.net, seed=recipe.train.seed)
    new_rows.attach(model.net, thaws=method.thaws)
    heads.attach_head(model.net, recipe.the_objective().head, seed=recipe.train.seed)


def put_back(recipe: Recipe, model: TunableModel, saved: Path) -> None:
    """What a checkpoint holds of it. Raises DataError where it does not fit."""
    from tunewright.models import heads, new_rows

    recipe.the_method().load(model.net, saved)
    new_rows.load(model.net, saved)
    heads.load_head(model.net, saved)


class _Others(dict[str, "TunableModel"]):
    """The further models of an objective, opened when they are asked for, frozen, with the tuned model's tokens."""

    def __init__(self, recipe: Recipe, model: TunableModel, named: dict[str, str]) -> None:
        super().__init__()
        self._recipe, self._model, self._named = recipe, model, named

    def __missing__(self, name: str) -> TunableModel:
        where, opened = self._named[name], _opened.get()
        key = (ModelOptions(base=where), str(self._model.dtype), str(self._model.device), name)
        found = opened.get(key) if opened else None
        if found is None:
            found = open_other(where, device=device(self._recipe))
            net: Any = found.net
            net.to(self._model.dtype).requires_grad_(False)
        if found.chat.tokenizer.get_vocab() != self._model.chat.tokenizer.get_vocab():
            raise RecipeError(
                f"objective.{name}: '{where}' has another tokenizer than '{self._recipe.model.base}'"
                f"{' with model.new_tokens' if self._recipe.model.new_tokens else ''}, so their tokens cannot be "
                "compared. Take a model of the same family (with the same new tokens), or learn from the answers that "
                "it writes: tunewright answer, then the objective sft."
            )
        if opened is not None:
            opened[key] = found
        self[name] = found
        return found


def open_other(where: str, *, device: str) -> TunableModel:
    """A model named in a recipe: a run's result, a release, or a base. Raises NotThere."""
    from tunewright.models.opening import open_model
    from tunewright.models.release import open_release

    folder = Path(where)
    if (folder / "run.json").exists():
        run = Run(folder)
        return open_tuned(run.recipe(), run, dtype="float32")
    if (folder / "manifest.json").exists():
        released = open_release(folder, device=device)
        released.model.route.active = released.adapter
        return released.model
    return open_model(ModelOptions(base=where), device=device)


def open_released(recipe: Recipe, checked: Checked) -> Opened:
    """A release for answering, beside the base that `one_base` holds where it stands on the same."""
    from tunewright.models import release

    opened = _opened.get()
    key = (checked.options, checked.dtype, device(recipe), "")
    if not checked.has_adapter or opened is None or key not in opened:
        return release.open_release(checked.folder, device=device(recipe))
    return release.put_beside(checked, opened[key].beside())


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
    from tunewright.models import adapters, new_rows, new_tokens
    from tunewright.models.opening import open_model

    if (start / "run.json").exists():
        before, earlier = final(Run(start).recipe(), Run(start))
        model = open_tuned(before, earlier, dtype="float32")
        before.the_method().hand_on(model.net)
        new_rows.merge(model.net)
    elif (start / "adapter_config.json").exists():
        base = recipe.model
        named = adapters.base_of(start)
        if "base" not in recipe.model.model_fields_set and named:
            base = ModelOptions(base=named)
        ids = new_rows.read_ids(start)  # of its own new tokens; the recipe's others come when its base is opened
        texts = (new_tokens.texts_of(start, ids) or recipe.model.new_tokens) if ids else ()
        model = open_model(base.model_copy(update={"start": None, "new_tokens": texts}))
        adapters.merge_into(model.net, start)
    else:
        raise NotThere(f"model.from: {start} is neither a run nor an adapter folder.")
    with storage.new_folder(folder, point="base", about={"from": str(start)}) as temporary:
        model.save(temporary)
