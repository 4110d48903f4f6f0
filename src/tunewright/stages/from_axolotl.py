"""Configs of Axolotl as recipes."""

from __future__ import annotations

from typing import Any

from tunewright.core.errors import RecipeError, unknown
from tunewright.stages import foreign_training
from tunewright.stages.foreign import Foreign, Left, base, locate, names, number, run_name, source, switch, whole

TOOL = "Axolotl"
_WORDS = {
    "lr": "learning_rate", "epochs": "num_epochs", "steps": "max_steps", "batch": "micro_batch_size",
    "accumulation": "gradient_accumulation_steps", "schedule": "lr_scheduler", "optimizer": "optimizer",
}  # fmt: skip
_USUAL = {"epochs": 1.0, "batch": 1, "schedule": "cosine", "warmup": 0.0, "weight_decay": 0.0}
_ADAPTER = {
    "rank": "lora_r", "alpha": "lora_alpha", "dropout": "lora_dropout", "rslora": "peft_use_rslora",
    "dora": "peft_use_dora", "plus": "loraplus_lr_ratio",
}  # fmt: skip
# Its types of data sets by what they begin with, and the format here; None: found from the columns.
_TYPES = {
    "chat_template": "chat", "alpaca": "instruction", "completion": "text", "input_output": "segments",
    "sharegpt": "sharegpt", "gpteacher": "instruction", "context_qa": "completion", "reflection": "instruction",
}  # fmt: skip


def is_one(config: dict[str, Any]) -> bool:
    """Whether the keys are this tool's."""
    return "base_model" in config


def convert(foreign: Foreign) -> None:
    """Fill the recipe's values."""
    if (folder := foreign.take("output_dir", "name")) is not None and (name := run_name(folder)):
        foreign.put("name", name)
    base(foreign, "base_model")
    if foreign.config.get("revision_of_model") is not None:
        foreign.carry("revision_of_model", "model.revision", lambda value, key: str(value))
    if (start := foreign.config.get("lora_model_dir")) is not None:
        if (found := locate(str(start), foreign.path)) is not None:
            foreign.take("lora_model_dir", "model.from")
            foreign.put("model.from", str(found))
        else:
            foreign.leave("lora_model_dir", "there is no such folder; name a run or adapter in model.from", "warning")
    _data(foreign)
    _method(foreign)
    _objective(foreign)
    foreign_training.training(foreign, _WORDS, _USUAL)
    foreign.carry("sequence_len", "train.max_tokens", whole)
    foreign.carry("early_stopping_patience", "train.patience", whole)
    foreign.leave_rest([
        (r"dataset_exact_deduplication", "copies are always dropped, with counts"),
        (r"excess_length_strategy|drop_.*|min_sample_len|overrides_.*", "too long rows are cut or left out"),
        (r"train_on_eos|train_on_eot|eot_tokens", "an answer is learned with its end of turn"),
        (r"cls_.*|trl|hf_use_auth_token|relora.*|lisa.*|mlflow.*", "there is no such setting here"),
        *foreign_training.REASONS,
    ])  # fmt: skip


def _method(foreign: Foreign) -> None:
    kind = foreign.take("adapter", "method")
    kind = str(kind) if kind else "full"
    four, eight = (switch(foreign.config.get(key)) for key in ("load_in_4bit", "load_in_8bit"))
    if kind in ("lora", "qlora"):
        four = four or kind == "qlora"
        foreign_training.adapter(foreign, "qlora" if four else "lora", _ADAPTER, {"dropout": None})
        targets = foreign.config.get("lora_target_modules")
        if targets is not None and not (isinstance(targets, str) and targets == "all-linear"):
            foreign.take("lora_target_modules", "method.targets")
            foreign.put("method.targets", targets if isinstance(targets, str) and "*" in targets else names(targets))
        else:
            foreign.take("lora_target_modules", "method.targets")
            foreign.put("method.targets", "all")
        foreign.take("lora_target_linear", "method.targets")
    elif kind == "full":
        foreign.put("method", "full")
    else:
        raise RecipeError(f"adapter: {unknown('adapter', kind, ['lora', 'qlora'])}")
    if "load_in_4bit" in foreign.config:
        foreign.take("load_in_4bit", "method.kind")
    why = "the base stays in whole numbers; qlora keeps it in 4 bits" if eight else "the base is not quantised"
    foreign.leave("load_in_8bit", why, "warning" if eight else "info")
    wanted = bool(foreign.config.get("lora_modules_to_save"))
    why = "embeddings and head stay frozen; model.new_tokens trains the rows of new tokens"
    foreign.leave("lora_modules_to_save", why, "warning" if wanted else "info")
    foreign.leave("unfrozen_parameters", "take last_layers with a pattern", "warning")
    foreign.leave("peft_layers_to_transform", "method.layers takes the top layers", "warning")


def _objective(foreign: Foreign) -> None:
    loss = foreign.take("rl", "objective")
    if loss is None and switch(foreign.take("reward_model", "objective")):
        foreign.put("objective", "reward")
        return
    if switch(foreign.config.get("process_reward_model")):
        raise RecipeError("process_reward_model: no objective here judges steps. Join them, and take kto or reward.")
    if loss is None:
        foreign.put("objective", "pretrain" if foreign.values["data"].get("format") == "text" else "sft")
        if switch(foreign.take("train_on_inputs", "objective.learn")) and foreign.values["objective"] == "sft":
            foreign.put("objective.learn", "all")
        if foreign.config.get("neftune_noise_alpha") is not None and foreign.values["objective"] != "pretrain":
            foreign.carry("neftune_noise_alpha", "objective.noise", number)
        return
    _preferences(foreign, str(loss))


def _preferences(foreign: Foreign, loss: str) -> None:
    beta = "rl_beta" if foreign.config.get("rl_beta") is not None else "dpo_beta"
    if loss in ("dpo", "ipo"):
        foreign.put("objective", {"kind": "dpo"})
        foreign.carry(beta, "objective.beta", number, 0.1)
        if loss == "ipo":
            foreign.put("objective.loss_type", "ipo")
        elif (given := foreign.config.get("dpo_loss_type")) is not None:
            _dpo_loss(foreign, given)
        if foreign.config.get("dpo_label_smoothing") is not None:
            foreign.carry("dpo_label_smoothing", "objective.smoothing", number)
    elif loss == "kto":
        foreign.put("objective", {"kind": "kto"})
        foreign.carry(beta, "objective.beta", number, 0.1)
        foreign.carry("kto_desirable_weight", "objective.desirable", number)
        foreign.carry("kto_undesirable_weight", "objective.undesirable", number)
    elif loss == "orpo":
        foreign.put("objective", {"kind": "orpo"})
        foreign.carry("orpo_alpha" if "orpo_alpha" in foreign.config else beta, "objective.weight", number, 0.1)
    elif loss == "simpo":
        foreign.put("objective", {"kind": "simpo"})
        foreign.carry(beta, "objective.beta", number, 2.0)
        _simpo_lead(foreign)
        foreign.leave("cpo_alpha", "no loss is added beside the pairs", "warning")
    elif loss in ("grpo", "gdpo"):
        _grpo(foreign)
    else:
        raise RecipeError(f"rl: {unknown('objective', loss, ['dpo', 'ipo', 'kto', 'orpo', 'simpo', 'grpo'])}")


def _dpo_loss(foreign: Foreign, given: Any) -> None:
    kinds = names(given)
    if len(kinds) == 1 and kinds[0] in ("sigmoid", "ipo", "hinge", "robust"):
        foreign.take("dpo_loss_type", "objective.loss_type")
        foreign.put("objective.loss_type", kinds[0])
    else:
        foreign.leave("dpo_loss_type", "sigmoid is used; ipo, hinge and robust are known beside it", "warning")


def _simpo_lead(foreign: Foreign) -> None:
    """Its simpo_gamma is the lead in rewards, as ours."""
    foreign.carry("simpo_gamma", "objective.gamma", number, 0.5)


def _grpo(foreign: Foreign) -> None:
    options = foreign.config.get("trl") or {}
    if not isinstance(options, dict):
        raise RecipeError("trl: a mapping is needed.")
    foreign.take("trl", "objective")
    inner = Foreign(TOOL, options, foreign.path, values={"objective": {"kind": "grpo"}})
    from_trl_options(inner)
    foreign.values["objective"] = inner.values["objective"]
    inner.leave_rest(foreign_training.REASONS)
    foreign.left |= {f"trl.{key}": left for key, left in inner.left.items()}
    foreign.carried |= {f"trl.{key}": to for key, to in inner.carried.items()}


def from_trl_options(foreign: Foreign) -> None:
    """What is sampled and how it is rewarded: the words of TRL's GRPO, which this tool has too."""
    from tunewright.stages.from_trl import sampled

    sampled(foreign)


# --- data ---


def _data(foreign: Foreign) -> None:
    key = "datasets" if foreign.config.get("datasets") else "pretraining_dataset"
    listed = foreign.take(key, "data.sources")
    listed = [listed] if isinstance(listed, dict | str) else listed
    if not isinstance(listed, list) or not listed:
        raise RecipeError(f"{foreign.path}: the config names no data (datasets). Add them, then convert again.")
    entries = [{"path": one} if isinstance(one, str) else one for one in listed]
    if not all(isinstance(one, dict) and one.get("path") for one in entries):
        raise RecipeError(f"{key}: each entry needs a path.")
    foreign.put("data.sources", [])
    for number_, entry in enumerate(entries, start=1):
        foreign.values["data"]["sources"] += _files(foreign, entry)
        _columns(foreign, entry, number_, pretraining=key == "pretraining_dataset")
    held = foreign.config.get("test_datasets")
    if isinstance(held, list) and len(held) == 1 and isinstance(held[0], dict) and held[0].get("path"):
        foreign.take("test_datasets", "data.validation")
        foreign.put("data.validation", _files(foreign, held[0])[0])
    else:
        foreign.leave("test_datasets", "one validation file is taken: name it in data.validation", "warning")
    foreign_training.sides(foreign, "val_set_size")


def _files(foreign: Foreign, entry: dict[str, Any]) -> list[str]:
    files = entry.get("data_files")
    if files and (entry["path"] in ("json", "csv", "parquet", "text", "arrow") or locate(str(files), foreign.path)):
        return [source(str(one), foreign.path) for one in (files if isinstance(files, list) else [files])]
    return [source(str(entry["path"]), foreign.path, split=entry.get("split"), revision=entry.get("revision"))]


def _columns(foreign: Foreign, entry: dict[str, Any], at: int, *, pretraining: bool) -> None:
    """What a data set's type and words for columns say, as format and fields."""
    kind = entry.get("type")
    format: str | None = "text" if pretraining else None
    fields: dict[str, str] = {}
    if isinstance(kind, dict):
        format = "instruction"
        words = {"field_instruction": "instruction", "field_input": "input", "field_output": "output"}
        fields = {ours: str(kind[word]) for word, ours in words.items() if kind.get(word) and kind[word] != ours}
        if kind.get("field_system") not in (None, "system"):
            fields["system"] = str(kind["field_system"])
        for key in sorted(set(kind) - {*words, "field_system"}):
            foreign.left[f"datasets[{at}].type.{key}"] = Left("the base's own chat template is used", "warning")
    elif isinstance(kind, str) and not pretraining:
        format = next((ours for theirs, ours in _TYPES.items() if kind.startswith(theirs)), None)
        if kind.startswith("stepwise"):
            raise RecipeError("datasets: stepwise_supervised judges steps, which no objective here learns. Use kto.")
    if loss := str(foreign.config.get("rl") or ""):
        format = "preference" if loss in ("dpo", "ipo", "orpo", "simpo") else None
    column = (
        entry.get("field_messages") or (entry.get("field") if format == "text" else None) or entry.get("text_column")
    )
    usual = {"messages", "conversations", "conversation"} if format != "text" else {"text"}
    if column and str(column) not in usual:
        fields["messages" if format != "text" else "text"] = str(column)
    for key in ("field_chosen", "field_rejected", "field_tools", "field_system"):
        ours = key.removeprefix("field_")
        if entry.get(key) not in (None, ours):
            fields[ours] = str(entry[key])
    if format == "chat":
        format = None  # role and content, or from and value: told by the rows
    foreign.settle(f"datasets[{at}]", format or "auto", fields, others="the first")
    _left_of(foreign, entry, at)


_CARRIED = {
    "path", "data_files", "ds_type", "type", "split", "revision", "field_messages", "field", "text_column",
    "field_chosen", "field_rejected", "field_tools", "field_system",
}  # fmt: skip
_USUAL_WORDS: dict[str, tuple[Any, ...]] = {
    "roles_to_train": (["assistant"], ["gpt"], ["assistant", "gpt"]),
    "message_field_role": ("role", "from"),
    "message_field_content": ("content", "value"),
    "message_field_training": ("train",),
}
_USUAL_MAPPINGS = ({"role": "role", "content": "content"}, {"role": "from", "content": "value"})


def _left_of(foreign: Foreign, entry: dict[str, Any], at: int) -> None:
    """Options of a data set that no recipe has."""
    for key, value in entry.items():
        if key in _CARRIED or value is None:
            continue
        name = f"datasets[{at}].{key}"
        if key == "message_property_mappings" and value in _USUAL_MAPPINGS:
            foreign.carried[name] = "data.format"
        elif key in ("roles_to_train", "message_field_role", "message_field_content", "message_field_training"):
            if value in _USUAL_WORDS[key]:
                foreign.carried[name] = "data.format"
            else:
                foreign.left[name] = Left("rename in the file: role and content, with 'train' or 'weight'", "warning")
        elif key in ("train_on_eos", "train_on_eot"):
            foreign.left[name] = Left("an answer is learned with its end of turn")
        elif key.startswith("chat_template") or key == "roles":
            foreign.left[name] = Left("the base's own chat template is used; roles as in docs/prepare.md")
        else:
            foreign.left[name] = Left("a recipe has nothing like it", "warning")
