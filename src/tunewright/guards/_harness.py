"""Tasks of the LM Evaluation Harness (Gao et al., EleutherAI) put to our models: its adapter, and what changed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np

from tunewright.core.errors import RecipeError
from tunewright.core.guarding import GuardScene, Who
from tunewright.core.report import Measure
from tunewright.guards._compared import difference

if TYPE_CHECKING:
    from tunewright.models.tunable import TunableModel

MICRO_TOKENS = 2048
AT_ONCE = 64  # prompts answered together


def measures(
    scene: GuardScene, tasks: Sequence[str], *, folder: str | None, most: int, bound: float | None
) -> list[Measure]:
    """For each task how much of its first metric was lost, over the same documents. Raises RecipeError, Stopped."""
    found: dict[Who, Any] = {}
    with _silent():
        known = _known(tasks, folder)
        for who in ("base", "tuned"):
            found[who] = _evaluated(scene, who, tasks, known, most)
    return [_lost(name, found["base"], found["tuned"], bound) for name in sorted(found["base"]["samples"])]


def _known(tasks: Sequence[str], folder: str | None) -> Any:
    """The harness's list of tasks; its own thousands are read only where one of them is named."""
    from lm_eval.tasks import TaskManager

    if folder is not None:
        own = TaskManager(include_path=folder, include_defaults=False)
        if all(task in own.all_tasks for task in tasks):
            return own
    known = TaskManager(include_path=folder)
    if unknown := [task for task in tasks if task not in known.all_tasks]:
        raise RecipeError(
            f"forgetting.lm_eval: the harness knows no task '{unknown[0]}'. List them with: lm-eval ls tasks; task "
            "files of your own go in lm_eval_folder."
        )
    return known


def _evaluated(scene: GuardScene, who: Who, tasks: Sequence[str], known: Any, most: int) -> Any:
    """The harness's results of one model, with its samples."""
    from lm_eval import simple_evaluate

    return simple_evaluate(
        model=adapter(scene.open(who), poll=lambda done, total: scene.poll(f"{who}, harness", done, total)),
        tasks=list(tasks),
        task_manager=known,
        limit=most,
        bootstrap_iters=0,
        log_samples=True,
        verbosity="ERROR",
    )


def _lost(name: str, base: Any, tuned: Any, bound: float | None) -> Measure:
    """What a task lost by its first metric, as its documents tell; without an interval where they have no number."""
    key = next(key for key in base["results"][name] if "," in key and "_stderr" not in key)
    metric, _, filtered = key.partition(",")
    sign = 1.0 if base["higher_is_better"].get(name, {}).get(metric, True) else -1.0
    values = [float(one["results"][name][key]) for one in (base, tuned)]
    told = [_by_document(one["samples"][name], metric, filtered) for one in (base, tuned)]
    n = len(told[0])
    interval = None
    if n and len(told[1]) == n and np.allclose([each.mean() for each in told], values, atol=1e-6):
        better, worse = told if sign > 0 else told[::-1]
        interval = difference(better.tolist(), worse.tolist())
    return Measure(
        name=f"{name}, {metric} lost",
        value=sign * (values[0] - values[1]),
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        n=n or None,
        base=values[0],
        tuned=values[1],
        bound=bound if interval else None,
    )


def _by_document(samples: Sequence[dict[str, Any]], metric: str, filtered: str) -> np.ndarray:
    """The metric of each document in their order; empty where it is no number of a document's own."""
    own = sorted((one for one in samples if one["filter"] == filtered), key=lambda one: one["doc_id"])
    values = [one.get(metric) for one in own]
    plain = all(isinstance(value, bool | int | float | np.number) for value in values)
    return np.array(values if plain else [], float)


def adapter(model: TunableModel, *, poll: Any = lambda done, total: None) -> Any:
    """A model as the harness asks it: log-probs of continuations, whole texts, and answers until a text comes."""
    from lm_eval.api.model import LM

    class Ours(LM):  # type: ignore[misc]
        """The harness's face of a TunableModel. Texts are read plainly, without the chat template."""

        def loglikelihood(self, requests: Any) -> list[tuple[float, bool]]:
            """Summed log-prob of each continuation, and whether greedy decoding would say it."""
            pairs = [parted(model, *request.args) for request in requests]
            return _scored(model, pairs, poll)

        def loglikelihood_rolling(self, requests: Any) -> list[float]:
            """Summed log-prob of each whole text, read in windows of the context's length."""
            from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

            found = []
            for request in requests:
                ids = _plain_ids(model, request.args[0])
                windows = get_rolling_token_windows(ids, _beginning(model), model.longest() - 1, 1)
                pairs = [(list(a), list(b)) for a, b in map(make_disjoint_window, windows)]
                found.append(sum(total for total, _ in _scored(model, pairs, poll)))
            return found

        def generate_until(self, requests: Any) -> list[str]:
            """Greedy answers, each up to the first text at which it shall end."""
            found: list[str] = [""] * len(requests)
            lengths: dict[int, list[int]] = {}
            for at, request in enumerate(requests):
                lengths.setdefault(int(request.args[1].get("max_gen_toks") or 256), []).append(at)
            for most, places in lengths.items():
                for start in range(0, len(places), AT_ONCE):
                    poll(start, len(places))
                    some = places[start : start + AT_ONCE]
                    texts = _said(model, [requests[at].args[0] for at in some], most)
                    for at, text in zip(some, texts, strict=True):
                        found[at] = _until(text, requests[at].args[1].get("until") or [])
            return found

    return Ours()


def parted(model: TunableModel, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """Token ids of a context and of what follows, parted where the harness parts them: white space at the context's end
    goes to what follows, and both are encoded as one text.
    """
    if not context:
        return [_beginning(model)], _plain_ids(model, continuation)
    spaces = len(context) - len(context.rstrip())
    if spaces:
        context, continuation = context[:-spaces], context[-spaces:] + continuation
    before = model.chat.beginning_ids(context)
    return before, model.chat.beginning_ids(context + continuation)[len(before) :]


def _scored(model: TunableModel, pairs: Sequence[tuple[list[int], list[int]]], poll: Any) -> list[tuple[float, bool]]:
    """Log-probs of what follows, and whether each token of it is the likeliest. Contexts lose their beginning where
    both do not fit.
    """
    import torch

    from tunewright.models.forest import Row
    from tunewright.models.verbatim import likeliest

    longest = model.longest()
    fitting = [(before[max(0, len(before) + len(after) - longest) :], after) for before, after in pairs]
    totals = [0.0] * len(pairs)
    rows = [
        [Row([*before, *after], [0.0] * len(before) + [1.0] * len(after), str(at))]
        for at, (before, after) in enumerate(fitting)
        if after
    ]
    done = 0
    with torch.inference_mode():
        for batch in model.micro_batches(rows, MICRO_TOKENS):
            poll(done, len(pairs))
            for row, value in zip(batch, model.logprobs(model.forest(batch)).tolist(), strict=True):
                totals[int(row.example)] = value
            done += len(batch)
    greedy = likeliest(model, [before for before, _ in fitting], [after for _, after in fitting])
    return [(total, bool(hits.all())) for total, hits in zip(totals, greedy, strict=True)]


def _said(model: TunableModel, prompts: Sequence[str], most: int) -> list[str]:
    from tunewright.models.seq2seq_engine import engine_for

    room = max(1, model.longest() - most)
    ids = [model.chat.beginning_ids(prompt)[-room:] or [_beginning(model)] for prompt in prompts]
    made = engine_for(model).generate(ids, max_new_tokens=most)
    return [model.chat.decode(one.ids) for one in made]


def _plain_ids(model: TunableModel, text: str) -> list[int]:
    ids = model.chat.beginning_ids(text)
    return ids[1:] if model.chat.bos_id is not None else ids


def _beginning(model: TunableModel) -> int:
    """What stands before a text that begins with nothing: the token that begins one, else the one that ends one."""
    return model.chat.bos_id if model.chat.bos_id is not None else model.chat.end_id


def _until(text: str, ends: Sequence[str] | str) -> str:
    for end in [ends] if isinstance(ends, str) else ends:
        text = text.split(end)[0] if end else text
    return text


@contextmanager
def _silent() -> Iterator[None]:
    """Without the harness's own log lines, its bars, and its look at git and the machine, of which nothing is used."""
    import datasets
    from tqdm import tqdm

    log = logging.getLogger("lm_eval")
    level, bars = log.level, datasets.is_progress_bar_enabled()
    log.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    try:
        with (
            patch("lm_eval.api.task.tqdm", partial(tqdm, disable=True)),
            patch("lm_eval.evaluator.get_git_commit_hash", return_value=None),
            patch("lm_eval.evaluator.add_env_info"),
        ):
            yield
    finally:
        log.setLevel(level)
        if bars:
            datasets.enable_progress_bars()
