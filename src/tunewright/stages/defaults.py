"""The rules by which `choose` fills what a recipe leaves open. Pure functions: figures in, value and reason out."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tunewright.core import catalog
from tunewright.core.evaluating import CONTESTANTS
from tunewright.core.example import Example
from tunewright.core.part import PartChoice
from tunewright.core.parts import Objective

LARGE = 1_000_000_000  # parameters from which the ranges published for large models hold
TINY = 50_000_000  # below this, full tuning is cheap and needs fewer rows
ADAPTER_ROWS = 100  # fewer rows than this: only the top layers learn
FULL_ROWS, FULL_ROWS_TINY = 10_000, 1_000  # from here full tuning pays, memory permitting
RANK_ROWS = 1_000  # from here an adapter of rank 16 rather than 8
LOOKS_PER_EPOCH, MOST_LOOKS = 2, 20
MICRO_TOKENS = {"cpu": 2048, "cuda": 16384}  # larger forests bring no more speed, and need more memory
ENOUGH_TOKENS = {"cpu": 512, "cuda": 4096}  # fewer at once cost speed; more are not worth computing layers again
PIECE_TOKENS, PIECE_TOKENS_LARGE = 512, 2048  # of documents in pretraining
FREE_SHARE = 0.5  # of the free disk that what frozen layers compute may fill
MEMORY_SHARE = 0.7  # of the machine's memory that an estimate may fill

# Peak learning rates at a number of parameters; between two anchors the rate falls as a power of the size.
LR_ANCHORS: dict[str, tuple[tuple[float, float], ...]] = {
    "full": ((4.7e6, 1e-3), (1e9, 5e-5), (7e10, 1e-5)),
    "last_layers": ((4.7e6, 2e-3), (1e9, 1e-4), (7e10, 2e-5)),
    "adapter": ((4.7e6, 4e-3), (1e9, 2e-4), (7e10, 5e-5)),
    "started": ((4.7e6, 1e-3), (1e9, 5e-5), (7e10, 2e-5)),  # 2e-5 at 7B in arXiv 2404.02948
    "prefix": ((4.7e6, 2e-1), (1e9, 1e-2), (7e10, 5e-3)),
    "prompt": ((4.7e6, 1e-1), (1e9, 3e-2), (7e10, 1e-2)),
    "ia3": ((4.7e6, 5e-2), (1e9, 5e-3), (7e10, 1e-3)),  # vectors want more: 3e-3 at 3B to 11B in arXiv 2205.05638
    "bitfit": ((4.7e6, 5e-2), (1e9, 5e-3), (7e10, 1e-3)),
}
# Of an encoder: at the size of BERT-base this is 4e-5, within the 2e-5 to 5e-5 of Devlin et al. 2019 (arXiv 1810.04805,
# appendix A.3). At the whole rate an adapter on MiniLM never named an entity (benchmarks/results_heads.py).
ENCODER_SHARE = 0.25
LR_LARGE = {  # usual range from LARGE up
    "full": (1e-5, 1e-4),
    "last_layers": (1e-5, 2e-4),
    "adapter": (2e-5, 2e-4),
    "started": (1e-5, 1e-4),
    "prefix": (1e-4, 3e-2),
    "prompt": (1e-3, 3e-1),
    "ia3": (5e-4, 1e-2),
    "bitfit": (5e-4, 1e-2),
}


@dataclass(frozen=True)
class Choice:
    """A filled value, why it was taken, and what was not taken and why."""

    value: Any
    why: str
    rejected: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Lengths:
    """Token lengths of a sample of the training rows, encoded as training will encode them."""

    rows: list[int]
    answers: list[int]

    def row(self, share: float) -> int:
        """The length that this share of the rows does not pass."""
        return quantile(self.rows, share)

    def numbers(self) -> dict[str, Any]:
        """Quantiles for a report."""
        return {
            "rows_measured": len(self.rows),
            "median": self.row(0.5),
            "p95": self.row(0.95),
            "p995": self.row(0.995),
            "longest": max(self.rows),
            "answer_median": quantile(self.answers, 0.5),
            "answer_p99": quantile(self.answers, 0.99),
        }


def quantile(values: Sequence[int], share: float) -> int:
    """The smallest value that at least this share of the values does not pass; 0 for none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0


def rate_group(method: str, *, has_adapter: bool) -> str:
    """Which anchors a method follows, by the word of its `rates`."""
    return method if method in LR_ANCHORS else "adapter" if has_adapter else "full"


def learning_rate(group: str, parameters: int) -> float:
    """The peak rate for a method on a model of this size, to two digits. The one place where the rule stands."""
    anchors = LR_ANCHORS[group]
    if parameters <= anchors[0][0]:
        return anchors[0][1]
    for (small, high), (large, low) in itertools.pairwise(anchors):
        if parameters <= large:
            share = math.log(parameters / small) / math.log(large / small)
            return float(f"{high * (low / high) ** share:.1e}")
    return anchors[-1][1]


def rate_share(objective: Objective, *, encoder: bool) -> float:
    """What part of a method's rate an objective takes on a base."""
    return objective.rate_share * (ENCODER_SHARE if encoder else 1.0)


def rate(group: str, parameters: int, *, objective: Objective, encoder: bool = False) -> Choice:
    """train.lr."""
    (small, high), (large, low), _ = LR_ANCHORS[group]
    why = (
        f"{short(parameters)} parameters, {group.replace('_', ' ')}: the rate falls with a power of the size, "
        f"{high:g} at {short(small)} to {low:g} at {short(large)}"
    )
    if objective.rate_share != 1:
        why += f"; {objective.rate_share:g} of that for {objective.kind}, which wants small steps"
    if encoder:
        why += f"; {ENCODER_SHARE:g} of that for an encoder"
    share = rate_share(objective, encoder=encoder)
    return Choice(float(f"{learning_rate(group, parameters) * share:.1e}"), why)


def times(rate: Choice, multiplier: float) -> Choice:
    """train.lr where the recipe multiplies it."""
    if multiplier == 1:
        return rate
    return Choice(float(f"{rate.value * multiplier:.3g}"), f"{multiplier:g} times {rate.value:g} ({rate.why})")


def method(rows: int, parameters: int, *, documents: bool, full_fits: bool) -> Choice:
    """method, by how many rows there are to learn from and whether full tuning fits into memory."""
    full_from = FULL_ROWS_TINY if parameters < TINY else FULL_ROWS
    rank = 16 if rows >= RANK_ROWS or documents else 8
    adapter: PartChoice = {"kind": "lora", "rank": rank}
    no_room = ("full", "weights, gradients and optimizer would not fit into this machine's memory")
    if documents and full_fits:
        why = "new language goes into all weights, and they fit"
        return Choice("full", why, (("lora", "holds less of a new domain"),))
    if documents:
        return Choice(adapter, "documents to learn, and all weights do not fit into memory", (no_room,))
    if rows < ADAPTER_ROWS:
        why = f"{rows} rows are few: only the top layers learn, so that the rest is not spoilt"
        no_lora = ("lora", f"usually wants {ADAPTER_ROWS} rows or more")
        return Choice("last_layers", why, (no_lora, ("full", "would learn the rows by heart")))
    if rows >= full_from and full_fits:
        why = f"{rows} rows are enough for all {short(parameters)} weights (from {full_from} at this size)"
        return Choice("full", why, (("lora", "learns less from this many rows"),))
    no_full = no_room if rows >= full_from else ("full", f"usually pays from {full_from} rows at this size")
    why = f"{rows} rows: an adapter learns them and forgets little; "
    why += f"rank {rank} {'from' if rank == 16 else 'below'} {RANK_ROWS} rows"
    return Choice(adapter, why, (no_full, ("last_layers", f"meant for fewer than {ADAPTER_ROWS} rows")))


def batch(units: int) -> Choice:
    """train.batch: grows with the square root of the rows."""
    size = 2 ** round(math.log2(max(1.0, math.sqrt(units) / 2)))
    size = min(32, max(4, size))
    return Choice(size, f"{units} rows: about half their square root, from 4 to 32, so that an epoch has enough steps")


def number_format(best: str, gflops: dict[str, float], parameters: int) -> Choice:
    """train.dtype: bfloat16 only where it is faster and the model large enough not to suffer."""
    speeds = ", ".join(f"{name} {speed:.0f}" for name, speed in gflops.items())
    if best == "bfloat16" and parameters >= LARGE:
        return Choice("bfloat16", f"clearly faster here ({speeds} GFLOP/s) and half the memory")
    if best == "bfloat16":
        return Choice(
            "float32", f"bfloat16 is faster here ({speeds} GFLOP/s), but too coarse for a small model's updates"
        )
    return Choice("float32", f"exact, and bfloat16 is not clearly faster here ({speeds} GFLOP/s)")


def epochs(units: int, parameters: int, *, documents: bool, objective: Objective) -> Choice:
    """train.epochs: more passes over few rows, fewer for large models, which learn rows by heart sooner."""
    if objective.usual_epochs is not None:
        return Choice(
            objective.usual_epochs, f"{objective.kind} is usually done once over the rows; more overfits soon"
        )
    passes = next((n for n, below in ((5, 2_000), (4, 10_000), (3, 50_000), (2, 200_000)) if units < below), 1)
    large = parameters >= LARGE
    passes = max(1, min(3, passes - 1)) if large else passes
    if units < ADAPTER_ROWS:
        passes = min(passes, 3)
    if documents:
        passes = min(passes, 2)
    size = "a large model" if large else "a small model"
    what = "pieces" if documents else "rows"
    return Choice(float(passes), f"{units} {what} and {size}; early stopping ends it sooner when that is better")


def looks(steps: int, steps_per_epoch: int) -> Choice:
    """train.evaluate_every: about two looks at the validation rows an epoch, at most 20 in all."""
    every = max(1, math.ceil(steps_per_epoch / LOOKS_PER_EPOCH), math.ceil(steps / MOST_LOOKS))
    why = f"{LOOKS_PER_EPOCH} looks an epoch of {steps_per_epoch} steps, at most {MOST_LOOKS} in all"
    return Choice(min(every, steps), why)


def row_limit(lengths: Lengths, context: int, parameters: int, *, documents: bool) -> Choice:
    """train.max_tokens: nearly every row whole, within the model's context."""
    if documents:
        piece = min(context, PIECE_TOKENS_LARGE if parameters >= LARGE else PIECE_TOKENS)
        return Choice(piece, f"documents are cut into pieces of this many tokens (the model knows {context} positions)")
    longest, most = max(lengths.rows, default=0), lengths.row(0.995)
    if longest <= max(2 * most, 256):  # covering a few longer rows costs nothing
        limit, why = longest, f"the longest row has {longest} tokens"
    else:
        limit, why = most, f"99.5 % of the rows have at most {most} tokens; the longest has {longest}"
    limit = max(16, 16 * math.ceil(limit / 16))
    return Choice(limit, why) if limit <= context else Choice(context, f"the model knows {context} positions; {why}")


def tokens_at_once(caps: dict[str, int], device: str, longest: int, step_tokens: int) -> int:
    """A step's tokens, up to the device's bound, and at least a row."""
    return max(longest, min(caps["cuda" if device.startswith("cuda") else "cpu"], step_tokens))


def checkpoint_layers(kept: Sequence[int], *, tokens: int, free_bytes: float) -> Choice:
    """train.checkpoint_layers: the fewest with which this many tokens at once fit. kept: bytes a token with 0, 1 ..."""
    most = kept.index(min(kept))
    value = next((number for number in range(most) if kept[number] * tokens <= free_bytes), most)
    if value == 0:
        return Choice(0, f"what {tokens} tokens keep for the backward pass fits into memory ({gib(kept[0] * tokens)})")
    need = f"{tokens} tokens would keep {gib(kept[0] * tokens)} for the backward pass, {gib(free_bytes)} are free"
    less = f"{value} of {len(kept) - 1} layers computed again leave {gib(kept[value] * tokens)}"
    return Choice(value, f"{need}; {less}, at the cost of their forward pass")


def micro_tokens(device: str, *, free_bytes: float, per_token: int, longest: int, step_tokens: int) -> Choice:
    """train.micro_tokens: as many as a step has, within memory, never less than a row."""
    cap = MICRO_TOKENS["cuda" if device.startswith("cuda") else "cpu"]
    wanted = tokens_at_once(MICRO_TOKENS, device, longest, step_tokens)
    fitting = int(free_bytes / per_token)
    if fitting >= wanted:
        need = gib(wanted * per_token)
        return Choice(wanted, f"a step of {step_tokens} tokens, at most {cap} at once; {need} for activations")
    room = f"{gib(free_bytes)} for activations at {per_token / 1024:.0f} KiB a token"
    return Choice(max(longest, fitting), f"{room}; at least one row of {longest} tokens")


def store_frozen(*, frozen: int, layers: int, draws: bool, passes: float, num_bytes: float, free_bytes: int) -> Choice:
    """train.store_frozen: whether what the frozen lower layers compute is kept for later epochs."""
    room = f"at most {gib(num_bytes)} on disk until training ends"
    if frozen == 0:
        return Choice(False, "no layer lies below everything that learns")
    if draws:
        return Choice(False, "the objective's noise changes the embeddings in every epoch")
    if num_bytes > FREE_SHARE * free_bytes:
        return Choice(
            False,
            f"{frozen} of {layers} layers are frozen, but their file would take {room}, and {gib(free_bytes)} are free",
        )
    if passes <= 1:
        return Choice(False, "each row is read once, so nothing is computed twice")
    return Choice(True, f"the lowest {frozen} of {layers} layers are frozen: each row passes them once; {room}")


def graders(examples: Sequence[Example], *, documents: bool, fitting: list[PartChoice] | None = None) -> Choice:
    """evaluate.graders, from the shape of the answers; fitting: those that the objective itself names."""
    if fitting is not None:
        return Choice(fitting, "what the objective teaches is measured so")
    answers = [example.answer for example in examples if example.answer is not None]
    if documents or not answers:
        return Choice([], "documents have no answers to grade; judge the text by the validation loss")
    if column := _options(examples):
        return Choice(
            ["exact", {"kind": "choice", "options": column}], f"answers are one of the row's own options ('{column}')"
        )
    if all(example.label is not None for example in examples):
        if any((example.label or "").startswith("[") for example in examples):
            return Choice(["multi_label", "exact"], "rows have sets of labels, whose order does not count")
        count = len({example.label for example in examples})
        return Choice(["exact", "label_f1"], f"answers are one of {count} labels")
    objects = _objects(answers)
    if objects is not None:
        found = _field_graders(objects)
        if found:
            return Choice(found, "answers are JSON: fields with few values must match, free text may differ in words")
        return Choice(["exact"], "answers are JSON objects without fields in common")
    words = quantile([len(answer.split()) for answer in answers], 0.5)
    if words <= 3:
        return Choice(["exact", "rouge"], f"answers are short ({words} words in the middle): they must match")
    return Choice(["rouge", "exact"], "answers are free text: overlap of words with the expected answer")


def _options(examples: Sequence[Example]) -> str | None:
    """The column in which every row lists options, its answer among them."""

    def holds(example: Example, column: str) -> bool:
        listed = example.meta.get(column)
        return isinstance(listed, list) and len(listed) > 1 and example.answer in listed

    return next((one for one in examples[0].meta if all(holds(example, one) for example in examples)), None)


def contestants(*, asked: bool) -> Choice:
    """evaluate.against. asked: whether the untuned model can be asked for the same."""
    if asked:
        return Choice(list(CONTESTANTS), "the untouched base, asked plainly and with examples")
    return Choice([], "the untuned model cannot be asked for what is taught, so there is nobody to beat")


def with_goal(choice: Choice, goal: Sequence[str]) -> Choice:
    """The graders, with those that the goal names added when their kinds are known and they are not among them."""
    names = [part if isinstance(part, str) else part.get("name", part["kind"]) for part in choice.value]
    added = [name for name in goal if name not in names and name in catalog.kinds("graders")]
    if not added or not choice.value:
        return choice
    said = " and ".join(f"'{name}'" for name in added)
    return Choice([*choice.value, *added], f"{choice.why}; and {said}, which the goal names")


def _objects(answers: Sequence[str]) -> list[dict[str, Any]] | None:
    """The answers as JSON objects, when nearly all are."""
    found = []
    for answer in answers:
        if answer.lstrip().startswith("{"):
            try:
                value = json.loads(answer)
            except ValueError:
                continue
            if isinstance(value, dict):
                found.append(value)
    return found if len(found) >= 0.95 * len(answers) else None


def _field_graders(objects: Sequence[dict[str, Any]]) -> list[PartChoice]:
    counts: dict[str, int] = {}
    for value in objects:
        for name in value:
            counts[name] = counts.get(name, 0) + 1
    common = [name for name, count in counts.items() if count >= 0.95 * len(objects)]
    chosen: list[PartChoice] = []
    for kind, wanted in (("exact", True), ("rouge", False)):
        for name in [name for name in common if _categorical([value.get(name) for value in objects]) == wanted][:3]:
            first = not any(isinstance(part, dict) and part["kind"] == kind for part in chosen)
            part = {"kind": kind, "field": name}
            chosen.append(part if first else {**part, "name": f"{kind}_{name}"})
    return chosen


def _categorical(values: Sequence[Any]) -> bool:
    """Whether a field has few distinct, short values (or is no text at all), so that it must match."""
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) < 0.5 * len(values):
        return True
    distinct = set(texts)
    return max(map(len, distinct)) <= 60 and len(distinct) <= max(2, min(200, len(texts) // 5))


def answer_limit(answers: Sequence[int], context: int, sampled: int | None = None) -> Choice:
    """evaluate.max_new_tokens: room for nearly every answer; where none is known, for those that training samples."""
    if not answers and sampled is not None:
        return Choice(sampled, "no answers are known, and training samples answers of this length")
    p99 = quantile(answers, 0.99)
    limit = min(max(8, 8 * math.ceil(1.1 * p99 / 8)), max(8, context // 2))
    return Choice(limit, f"99 % of the answers have at most {p99} tokens; a tenth more, rounded up")


def formats(*, has_adapter: bool, mergeable: bool = True) -> Choice:
    """deploy.formats."""
    if not mergeable:
        return Choice(["adapter"], "a small file beside the base; this method cannot be folded into plain weights")
    if has_adapter:
        return Choice(["adapter", "merged"], "a small file beside the base, and plain weights that open anywhere")
    return Choice(["merged"], "this method changes the base's own weights, so there is no adapter")


def short(number: float) -> str:
    """4737792 -> 4.7M."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{unit}".replace(".0", "")
    return f"{number:.0f}"


def gib(number: float) -> str:
    """Bytes for people."""
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.0f} MiB"
