"""Configs of LLaMA-Factory as recipes: the YAML of a training, and data/dataset_info.json beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tunewright.core.errors import RecipeError, unknown
from tunewright.data.columns import FORMATS
from tunewright.stages import foreign_training
from tunewright.stages.foreign import Foreign, Left, base, locate, names, number, run_name, source, switch, whole

TOOL = "LLaMA-Factory"
_WORDS = {
    "lr": "learning_rate", "epochs": "num_train_epochs", "steps": "max_steps", "batch": "per_device_train_batch_size",
    "accumulation": "gradient_accumulation_steps", "schedule": "lr_scheduler_type",
}  # fmt: skip
# What its trainer takes where a key is left out.
_USUAL = {"lr": 5e-5, "epochs": 3.0, "batch": 8, "schedule": "linear", "warmup": 0.0, "weight_decay": 0.0}
_ADAPTER = {
    "rank": "lora_rank", "alpha": "lora_alpha", "dropout": "lora_dropout", "rslora": "use_rslora", "dora": "use_dora",
    "plus": "loraplus_lr_ratio",
}  # fmt: skip
_LOSSES = {"sigmoid": "sigmoid", "hinge": "hinge", "ipo": "ipo"}
_ROLES = {  # its word for a column -> ours, by format
    "instruction": {"prompt": "instruction", "query": "input", "response": "output"},
    "preference": {"prompt": "instruction", "query": "input", "chosen": "chosen", "rejected": "rejected"},
    "text": {"prompt": "text"},
    "talk": {"messages": "messages", "chosen": "chosen", "rejected": "rejected", "tools": "tools"},
}
_BESIDE = ("system", "history", "images", "videos", "audios")


def is_one(config: dict[str, Any]) -> bool:
    """Whether the keys are this tool's."""
    return bool({"stage", "finetuning_type"} & set(config)) or {"dataset", "template"} <= set(config)


def convert(foreign: Foreign) -> None:
    """Fill the recipe's values."""
    if (folder := foreign.take("output_dir", "name")) is not None and (name := run_name(folder)):
        foreign.put("name", name)
    base(foreign, "model_name_or_path")
    if (start := foreign.config.get("adapter_name_or_path")) is not None:
        if (found := locate(str(start), foreign.path)) is not None:
            foreign.take("adapter_name_or_path", "model.from")
            foreign.put("model.from", str(found))
        else:
            foreign.leave(
                "adapter_name_or_path", "there is no such folder; name a run or adapter in model.from", "warning"
            )
    if foreign.config.get("model_revision") not in (None, "main"):
        foreign.carry("model_revision", "model.revision", lambda value, key: str(value))
    judged = _data(foreign)
    _method(foreign)
    _objective(foreign)
    if judged is not None and foreign.config.get("stage") == "kto":
        foreign.put("objective.column", judged)
    foreign_training.training(foreign, _WORDS, _USUAL)
    foreign.carry("cutoff_len", "train.max_tokens", whole)
    foreign.carry("early_stopping_steps", "train.patience", whole)
    foreign.leave_rest([
        (r"mix_strategy|interleave_probs", "data.mix balances several tasks"),
        (r"ref_model.*|reward_model.*", "the reference is the model as the training starts"),
        (r"export_.*", "tunewright deploy writes releases"),
        *foreign_training.REASONS,
    ])  # fmt: skip


def _method(foreign: Foreign) -> None:
    kind = str(foreign.take("finetuning_type", "method", "lora"))
    bits = foreign.config.get("quantization_bit")
    if kind == "lora":
        four = bits is not None and whole(bits, "quantization_bit") == 4
        foreign_training.adapter(
            foreign, "qlora" if four else "lora", _ADAPTER, {"rank": 8, "alpha": lambda rank: 2 * rank}
        )
        _targets(foreign)
        if foreign.config.get("pissa_init") is not None:
            foreign.carry("pissa_init", "method.start", lambda value, key: "pissa" if switch(value) else "default")
        if four:
            foreign.take("quantization_bit", "method.kind")
    elif kind == "full":
        foreign.put("method", "full")
    elif kind == "freeze":
        foreign.put("method.kind", "last_layers")
        layers = whole(foreign.take("freeze_trainable_layers", "method.layers", 2), "freeze_trainable_layers")
        if layers < 1:
            foreign.leave(
                "freeze_trainable_layers", "the first layers alone cannot train here; 2 of the top do", "warning"
            )
        foreign.put("method.layers", layers if layers > 0 else 2)
    elif kind == "oft":
        foreign.put("method", {"kind": "peft", "tuner": "OFT"})
    else:
        raise RecipeError(f"finetuning_type: {unknown('method', kind, ['lora', 'full', 'freeze', 'oft'])}")
    if "quantization_bit" not in foreign.carried:
        foreign.leave("quantization_bit", "only LoRA on 4 bits is known here: method qlora", "warning")
    for key in ("additional_target", "freeze_trainable_modules", "freeze_extra_modules"):
        foreign.leave(key, "name the layers in method.targets, or take last_layers with a pattern", "warning")


def _targets(foreign: Foreign) -> None:
    targets = names(foreign.take("lora_target", "method.targets", "all"))
    foreign.put("method.targets", "all" if targets == ["all"] else targets)


def _objective(foreign: Foreign) -> None:
    stage = str(foreign.take("stage", "objective", "sft"))
    beta = foreign.take("pref_beta", "objective.beta", 0.1) if stage in ("dpo", "kto") else None
    if stage == "pt":
        foreign.put("objective", "pretrain")
    elif stage == "sft":
        _sft(foreign)
    elif stage == "dpo":
        _pairs(foreign, number(beta, "pref_beta"))
    elif stage == "kto":
        foreign.put("objective", {"kind": "kto", "beta": number(beta, "pref_beta")})
        foreign.carry("kto_chosen_weight", "objective.desirable", number)
        foreign.carry("kto_rejected_weight", "objective.undesirable", number)
    elif stage == "rm":
        foreign.put("objective", "reward")
    elif stage == "ppo":
        foreign.put("objective", {"kind": "ppo", "reward": "exact"})
        foreign.leave("reward_model", "name the run of a reward model: objective.reward {run: runs/NAME}", "problem")
        foreign.leave("reward_model_type", "as reward_model")
    else:
        raise RecipeError(f"stage: {unknown('stage', stage, ['pt', 'sft', 'rm', 'ppo', 'dpo', 'kto'])}")
    foreign.leave("pref_ftx", "no loss is added beside the pairs; orpo learns the chosen answers too", "warning")


def _sft(foreign: Foreign) -> None:
    foreign.put("objective", "sft")
    learn = {"train_on_prompt": "all", "mask_history": "last"}
    for key, what in learn.items():
        if key in foreign.config and switch(foreign.take(key, "objective.learn")):
            foreign.put("objective.learn", what)
    if foreign.config.get("neftune_noise_alpha") is not None:
        foreign.carry("neftune_noise_alpha", "objective.noise", number)


def _pairs(foreign: Foreign, beta: float) -> None:
    loss = str(foreign.take("pref_loss", "objective", "sigmoid"))
    if loss in _LOSSES:
        foreign.put("objective", {"kind": "dpo", "beta": beta, "loss_type": _LOSSES[loss]})
        foreign.carry("dpo_label_smoothing", "objective.smoothing", number)
    elif loss == "orpo":
        foreign.put("objective", {"kind": "orpo", "weight": beta})
    elif loss == "simpo":
        foreign.put("objective", {"kind": "simpo", "beta": beta})
        foreign.carry("simpo_gamma", "objective.gamma", number, 0.5)
    elif loss == "kto_pair":
        foreign.put("objective", {"kind": "kto", "beta": beta})
    else:
        known = [*_LOSSES, "orpo", "simpo", "kto_pair"]
        raise RecipeError(f"pref_loss: {unknown('loss of pairs', loss, known)}")


# --- data ---


def _data(foreign: Foreign) -> str | None:
    """Where the rows are and what their columns are; the column that judges answers, where there is one."""
    listed = names(foreign.take("dataset", "data.sources", []))
    if not listed:
        raise RecipeError(f"{foreign.path}: the config names no data (dataset). Add it, then convert again.")
    entries, folder = _entries(foreign)
    foreign.put("data.sources", [])
    judged = [_source(foreign, name, entries, folder) for name in listed]
    held = names(foreign.config.get("eval_dataset") or [])
    if len(held) == 1:
        foreign.take("eval_dataset", "data.validation")
        foreign.put("data.validation", _path(foreign, held[0], entries, folder))
    elif held:
        foreign.leave(
            "eval_dataset", "one validation file is taken: join them, and name it in data.validation", "warning"
        )
    foreign_training.sides(foreign, "val_size")
    foreign.carry("max_samples", "data.limit", whole)
    if foreign.config.get("default_system") is not None:
        foreign.carry("default_system", "data.system", lambda value, key: str(value))
    return next((column for column in judged if column), None)


def _entries(foreign: Foreign) -> tuple[dict[str, Any], Path]:
    """What dataset_info.json says of each data set, and the folder that its files are in."""
    given = foreign.take("dataset_dir", "data.sources", "data")
    info = locate(f"{given}/dataset_info.json", foreign.path)
    if info is None:
        return {}, locate(str(given), foreign.path) or Path(str(given))
    try:
        found = json.loads(info.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise RecipeError(f"{info} is not readable as JSON: {error}.") from None
    if not isinstance(found, dict):
        raise RecipeError(f'{info} is no mapping of data sets. Begin with: {{"name": {{"file_name": ...}}}}')
    return found, info.parent


def _path(foreign: Foreign, name: str, entries: dict[str, Any], folder: Path) -> str:
    entry = entries.get(name)
    if not isinstance(entry, dict):
        if (folder / name).exists():
            return str((folder / name).resolve())
        if entries or (locate(name, foreign.path) is None and "/" not in name):
            where = folder / "dataset_info.json"
            raise RecipeError(f"dataset: {unknown(f'data set (of {where})', name, entries)}")
        return source(name, foreign.path)
    if entry.get("file_name") is not None:
        return str((folder / str(entry["file_name"])).resolve())
    hub = entry.get("hf_hub_url") or entry.get("ms_hub_url")
    if hub is None:
        raise RecipeError(f"dataset: '{name}' has neither file_name nor hf_hub_url; give it a file.")
    return source(str(hub), foreign.path, split=entry.get("split"))


def _source(foreign: Foreign, name: str, entries: dict[str, Any], folder: Path) -> str | None:
    """Add a data set: its file, its format, and which column is what. Returns the column that judges answers."""
    foreign.values["data"]["sources"].append(_path(foreign, name, entries, folder))
    entry = entries.get(name)
    if not isinstance(entry, dict):
        return None
    columns, tags = _mapping(entry, "columns"), _mapping(entry, "tags")
    talk = entry.get("formatting") == "sharegpt"
    if talk:
        format = "preference" if entry.get("ranking") else "chat" if tags.get("role_tag") == "role" else "sharegpt"
    else:
        format = (
            "preference" if entry.get("ranking") else "text" if foreign.config.get("stage") == "pt" else "instruction"
        )
    roles = _ROLES["talk" if talk else format]
    if format == "text" and not columns:
        roles, columns = {}, {}
    fields = {roles[word]: column for word, column in columns.items() if word in roles and column}
    fields |= {word: columns[word] for word in _BESIDE if columns.get(word) and format != "text"}
    fields = {ours: column for ours, column in fields.items() if not _known(ours, column)}
    foreign.settle(f"dataset {name}", format, fields, others="the others")
    for key in entry:
        if key in ("subset", "folder", "num_samples", "script_url", "cloud_file_name") and entry[key]:
            foreign.left[f"dataset {name}: {key}"] = _of_entry(key)
    unknown_tags = {tag: word for tag, word in tags.items() if tag.endswith("_tag") and not _usual_tag(tag, word)}
    if unknown_tags:
        foreign.left[f"dataset {name}: tags"] = _of_entry("tags")
    judged = columns.get("kto_tag")
    return str(judged) if judged else None


def _mapping(entry: dict[str, Any], part: str) -> dict[str, str]:
    found = entry.get(part) or {}
    if not isinstance(found, dict):
        raise RecipeError(f"dataset_info.json: {part} must map words to columns, found {str(found)[:40]!r}.")
    return {str(key): str(word) for key, word in found.items() if word}


def _known(ours: str, column: str) -> bool:
    return any(role.name == ours and column in role.columns for roles in FORMATS.values() for role in roles)


def _of_entry(key: str) -> Left:
    why = {
        "num_samples": "data.limit is for all sources together",
        "tags": "name roles user, assistant, system, tool (or human, gpt, function_call, observation) in the file",
    }.get(key, "give the file itself")
    return Left(why, "warning")


def _usual_tag(tag: str, word: Any) -> bool:
    usual = {
        "role_tag": ("role", "from"), "content_tag": ("content", "value"), "user_tag": ("user", "human"),
        "assistant_tag": ("assistant", "gpt"), "system_tag": ("system",),
        "function_tag": ("function_call", "tool_call"),
        "observation_tag": ("observation", "tool", "tool_response"),
    }  # fmt: skip
    return word in usual.get(tag, ())
