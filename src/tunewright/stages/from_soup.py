"""Configs of Soup (soup.yaml) as recipes."""

from __future__ import annotations

from typing import Any

from tunewright.core.errors import RecipeError, unknown
from tunewright.stages import foreign_training
from tunewright.stages.foreign import Foreign, base, flat, number, run_name, source, whole

TOOL = "Soup"
_TASKS: dict[str, Any] = {
    "sft": "sft", "dpo": "dpo", "kto": "kto", "orpo": "orpo", "simpo": "simpo", "pretrain": "pretrain",
    "reward_model": "reward", "embedding": "embed", "ipo": {"kind": "dpo", "loss_type": "ipo"},
    "grpo": {"kind": "grpo", "reward": "exact"}, "ppo": {"kind": "ppo", "reward": "exact"},
}  # fmt: skip
_FORMATS = {
    "alpaca": "instruction", "sharegpt": "sharegpt", "chatml": "chat", "dpo": "preference", "kto": "completion",
    "plaintext": "text", "auto": "auto",
}  # fmt: skip


def is_one(config: dict[str, Any]) -> bool:
    """Whether the keys are this tool's."""
    return "base" in config and bool({"task", "training"} & set(config)) and "base_model" not in config


def convert(foreign: Foreign) -> None:
    """Fill the recipe's values. Its sections are read as keys with dots."""
    foreign.config = flat(foreign.config)
    if (folder := foreign.take("output", "name")) is not None and (name := run_name(folder)):
        foreign.put("name", name)
    base(foreign, "base")
    if (rows := foreign.take("data.train", "data.sources")) is None:
        raise RecipeError(f"{foreign.path}: the config names no data (data.train). Add it, then convert again.")
    foreign.put(
        "data.sources", [source(str(one), foreign.path) for one in (rows if isinstance(rows, list) else [rows])]
    )
    format = str(foreign.take("data.format", "data.format", "auto"))
    foreign.put("data.format", _FORMATS.get(format, "auto"))
    foreign_training.sides(foreign, "data.val_split")
    foreign.carry("data.max_length", "train.max_tokens", whole)
    task = str(foreign.take("task", "objective", "sft"))
    if task not in _TASKS:
        raise RecipeError(f"task: {unknown('task', task, _TASKS)}")
    foreign.put("objective", _TASKS[task] if isinstance(_TASKS[task], str) else dict(_TASKS[task]))
    if task in ("dpo", "ipo", "kto", "simpo"):
        foreign.carry(f"training.{'dpo' if task == 'ipo' else task}_beta", "objective.beta", number)
    foreign.leave("training.reward_fn", "name graders in objective.reward (exact stands there)", "problem")
    _method(foreign)
    foreign.carry("training.epochs", "train.epochs", number)
    foreign.carry("training.lr", "train.lr", number)
    _batch(foreign)
    for key, to in (("weight_decay", "weight_decay"), ("warmup_ratio", "warmup"), ("max_grad_norm", "clip")):
        foreign.carry(f"training.{key}", f"train.{to}", number)
    foreign.carry("training.seed", "train.seed", whole)
    if str(foreign.config.get("training.scheduler")) in ("cosine", "linear", "constant"):
        foreign.carry("training.scheduler", "train.schedule", lambda value, key: str(value))
    foreign.leave_rest([
        *((rf"(?:training|data|output|model)\.(?:{pattern})", why) for pattern, why in foreign_training.REASONS),
        *foreign_training.REASONS,
    ])  # fmt: skip


def _method(foreign: Foreign) -> None:
    quantised = str(foreign.take("training.quantization", "method.kind", "none"))
    if not any(key.startswith("training.lora.") for key in foreign.config) and quantised == "none":
        foreign.put("method", "full" if foreign.config.get("training.lora") in (False, "none") else "lora")
        foreign.take("training.lora", "method")
        return
    words = {
        "rank": "training.lora.r", "alpha": "training.lora.alpha", "dropout": "training.lora.dropout",
        "dora": "training.lora.use_dora", "rslora": "training.lora.use_rslora",
    }  # fmt: skip
    foreign_training.adapter(foreign, "qlora" if quantised == "4bit" else "lora", words, {})
    if quantised not in ("4bit", "none"):
        foreign.leave("training.quantization", "the base is kept in 4 bits (qlora) or whole", "warning")
    targets = foreign.take("training.lora.target_modules", "method.targets")
    if isinstance(targets, list):
        foreign.put("method.targets", targets)


def _batch(foreign: Foreign) -> None:
    size, times = foreign.config.get("training.batch_size"), foreign.config.get("training.gradient_accumulation_steps")
    if size in (None, "auto"):
        foreign.leave("training.batch_size", "auto: choose fills it")
        foreign.leave("training.gradient_accumulation_steps", "choose fills the batch")
        return
    foreign.take("training.batch_size", "train.batch")
    foreign.take("training.gradient_accumulation_steps", "train.batch")
    foreign.put("train.batch", whole(size, "training.batch_size") * whole(times or 1, "gradient_accumulation_steps"))
