"""Configs of TRL as recipes: its YAML, or the flags of its command line."""

from __future__ import annotations

from typing import Any

from tunewright.core.errors import DataError, NotThere, RecipeError, unknown
from tunewright.stages import foreign_training
from tunewright.stages.foreign import Foreign, Left, base, locate, names, number, run_name, source, switch, whole

TOOL = "TRL"
COMMANDS = ("sft", "dpo", "kto", "grpo", "reward", "rloo", "orpo", "cpo", "online_dpo")
_WORDS = {
    "lr": "learning_rate", "epochs": "num_train_epochs", "steps": "max_steps", "batch": "per_device_train_batch_size",
    "accumulation": "gradient_accumulation_steps", "schedule": "lr_scheduler_type",
}  # fmt: skip
_RATES = {"sft": 2e-5, "reward": 1e-4}  # of its trainers; all others take 1e-6
_USUAL = {"epochs": 3.0, "batch": 8, "schedule": "linear", "warmup": 0.0, "weight_decay": 0.0}
_ADAPTER = {
    "rank": "lora_r",
    "alpha": "lora_alpha",
    "dropout": "lora_dropout",
    "rslora": "use_rslora",
    "dora": "use_dora",
}
# Keys that tell which trainer a YAML is for, since the file does not say it.
_TELL = {
    "grpo": {"num_generations", "reward_funcs", "max_completion_length", "scale_rewards", "num_iterations"},
    "kto": {"desirable_weight", "undesirable_weight"},
    "dpo": {"beta", "loss_type", "ref_model_init_kwargs", "label_smoothing", "precompute_ref_log_probs"},
    "reward": {"center_rewards_coefficient", "reward_token"},
    "sft": {"completion_only_loss", "assistant_only_loss", "dataset_text_field", "packing", "packing_strategy",
            "eval_packing", "padding_free", "neftune_noise_alpha"},
}  # fmt: skip
_OF_FORMAT = {"preference": "dpo", "prompts": "grpo"}
_SCALES = {"group": "grpo", "true": "grpo", "none": "dr_grpo", "false": "dr_grpo"}


def is_one(config: dict[str, Any]) -> bool:
    """Whether the keys are this tool's."""
    named = {"dataset_name", "datasets", "dataset_train_split", "dataset_config"} & set(config)
    telling = {"reward_funcs", "dataset_text_field"} & set(config)
    return "model_name_or_path" in config and bool(named or telling)


def convert(foreign: Foreign) -> None:
    """Fill the recipe's values."""
    if (folder := foreign.take("output_dir", "name")) is not None and (name := run_name(folder)):
        foreign.put("name", name)
    base(foreign, "model_name_or_path")
    if foreign.config.get("model_revision") not in (None, "main"):
        foreign.carry("model_revision", "model.revision", lambda value, key: str(value))
    _data(foreign)
    command = foreign.command or _told(foreign)
    if command not in COMMANDS:
        raise RecipeError(unknown("TRL trainer", command, COMMANDS))
    _method(foreign)
    _objective(foreign, command)
    usual = {**_USUAL, "lr": _RATES.get(command, 1e-6)}
    foreign_training.training(foreign, _WORDS, usual)
    _lengths(foreign)
    foreign.leave_rest([
        (r"truncation_mode|max_prompt_length|keep_end", "too long answers lose their end; rows whose prompt fills them "
         "are left out, with counts"),
        (r"ref_model.*|precompute_ref.*|sync_ref_model|reference_free|force_use_ref_model", "the reference is the "
         "model as the training starts; its log-probs are computed once"),
        (r"completion_only_loss|assistant_only_loss", "answers alone are learned; objective.learn: all takes all"),
        (r"mask_truncated_completions|top_[kp]|min_p|repetition_penalty|generation_.*|vllm_.*|use_vllm|.*cache.*",
         "sampling is plain, at objective.temperature"),
        *foreign_training.REASONS,
    ])  # fmt: skip


def _told(foreign: Foreign) -> str:
    """Which trainer a YAML is for: by its keys, its name, else by its rows."""
    given = {key for key, value in foreign.config.items() if value is not None}
    for command, keys in _TELL.items():
        if keys & given:
            return command
    stem = foreign.path.stem.lower()
    if (named := next((command for command in COMMANDS if command in stem), None)) is not None:
        return named
    from tunewright.stages.starting import detect_format

    try:
        format = detect_format(foreign.values["data"]["sources"][0])
    except (DataError, NotThere, RecipeError):
        format = None
    if format is None:
        why = "the file does not say which trainer it is for; sft is taken: set objective"
        foreign.left["(trainer)"] = Left(why, "warning")
    return _OF_FORMAT.get(format or "", "sft")


def _method(foreign: Foreign) -> None:
    if not switch(foreign.take("use_peft", "method")):
        foreign.put("method", "full")
        for key in ("lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "load_in_4bit", "load_in_8bit"):
            foreign.leave(key, "without use_peft every weight trains")
        return
    four = switch(foreign.take("load_in_4bit", "method.kind"))
    usual = {"rank": 16, "alpha": 32.0, "dropout": 0.05}
    foreign_training.adapter(foreign, "qlora" if four else "lora", _ADAPTER, usual)
    targets = foreign.take("lora_target_modules", "method.targets")
    listed = names(targets or "all-linear")
    foreign.put("method.targets", "all" if listed == ["all-linear"] else listed)
    eight = switch(foreign.config.get("load_in_8bit"))
    foreign.leave("load_in_8bit", "the base is not quantised to 8 bits here", "warning" if eight else "info")
    foreign.leave("lora_modules_to_save", "embeddings and head stay frozen", "warning")
    for key in ("bnb_4bit_quant_type", "use_bnb_nested_quant", "lora_task_type"):
        foreign.leave(key, "qlora takes NF4 with scales in 8 bits")


def _objective(foreign: Foreign, command: str) -> None:
    if command == "sft":
        foreign.put("objective", "pretrain" if foreign.values["data"]["format"] == "text" else "sft")
        if foreign.values["objective"] == "sft" and foreign.config.get("completion_only_loss") is False:
            foreign.take("completion_only_loss", "objective.learn")
            foreign.put("objective.learn", "all")
        if foreign.values["objective"] == "sft" and foreign.config.get("neftune_noise_alpha") is not None:
            foreign.carry("neftune_noise_alpha", "objective.noise", number)
        if foreign.config.get("loss_type") not in (None, "nll"):
            foreign.leave("loss_type", "the mean negative log-prob of answers is learned", "warning")
        else:
            foreign.take("loss_type", "objective")
    elif command == "dpo":
        foreign.put("objective", {"kind": "dpo"})
        foreign.carry("beta", "objective.beta", number, 0.1)
        _dpo_loss(foreign)
        foreign.carry("label_smoothing", "objective.smoothing", number)
    elif command == "kto":
        foreign.put("objective", {"kind": "kto"})
        foreign.carry("beta", "objective.beta", number, 0.1)
        foreign.carry("desirable_weight", "objective.desirable", number)
        foreign.carry("undesirable_weight", "objective.undesirable", number)
        foreign.leave("loss_type", "kto is learned", "info" if foreign.config.get("loss_type") == "kto" else "warning")
    elif command in ("orpo", "cpo"):
        foreign.put("objective", {"kind": "orpo"} if command == "orpo" else {"kind": "simpo"})
        foreign.carry("beta", "objective.weight" if command == "orpo" else "objective.beta", number, 0.1)
        foreign.carry("simpo_gamma", "objective.gamma", number)
        foreign.leave("loss_type", "cpo's is simpo here" if command == "cpo" else "orpo is learned", "warning")
    elif command == "reward":
        foreign.put("objective", "reward")
        foreign.leave("center_rewards_coefficient", "rewards are not centred", "warning")
    else:
        foreign.put("objective", {"kind": "online_dpo" if command == "online_dpo" else "grpo"})
        sampled(foreign)
        if command == "rloo":
            foreign.put("objective.advantage", "rloo")


def _dpo_loss(foreign: Foreign) -> None:
    kinds = names(foreign.take("loss_type", "objective.loss_type", "sigmoid"))
    if len(kinds) == 1 and kinds[0] in ("sigmoid", "ipo", "hinge", "robust"):
        foreign.put("objective.loss_type", kinds[0])
    else:
        foreign.leave("loss_type", "sigmoid is used; ipo, hinge and robust are known beside it", "warning")


def sampled(foreign: Foreign) -> None:
    """What is sampled and how it is rewarded."""
    online = foreign.values["objective"]["kind"] == "online_dpo"
    foreign.carry("num_generations", "objective.group", whole, None if online else 8)
    foreign.carry("max_completion_length", "objective.max_new_tokens", whole, 256)
    foreign.carry("temperature", "objective.temperature", number)
    foreign.carry("beta", "objective.beta", number, None if online else 0.0)
    if not online:
        foreign.carry("epsilon", "objective.clip", number)
        foreign.carry("epsilon_high", "objective.clip_high", number)
        foreign.carry("num_iterations", "objective.updates", whole)
        scale = foreign.config.get("scale_rewards")
        if scale is not None and str(scale).lower() in _SCALES:
            foreign.take("scale_rewards", "objective.advantage")
            foreign.put("objective.advantage", _SCALES[str(scale).lower()])
        per = {"grpo": "sequence", "bnpo": "token", "dapo": "token", "dr_grpo": "constant"}
        loss = str(foreign.config.get("loss_type") or "dapo")
        if loss in per:
            foreign.take("loss_type", "objective.per")
            foreign.put("objective.per", per[loss])
    _reward(foreign)


def _reward(foreign: Foreign) -> None:
    """Its reward functions by name; those that are code of the user's must be named anew."""
    known: dict[str, Any] = {
        "accuracy_reward": "exact",
        "think_format_reward": {"kind": "regex", "pattern": r"^<think>[\s\S]*</think>[\s\S]*$"},
        "reasoning_accuracy_reward": "exact",
    }
    given = foreign.config.get("reward_funcs")
    given = [] if given is None else given if isinstance(given, list) else str(given).replace(",", " ").split()
    weights = foreign.config.get("reward_weights")
    weights = weights if isinstance(weights, list) and len(weights) == len(given) else [None] * len(given)
    found: list[Any] = []
    lost = []
    for name, weight in zip(given, weights, strict=True):
        choice = known.get(str(name).rpartition(".")[2])
        if choice is None:
            lost.append(str(name))
            continue
        part = {"kind": choice} if isinstance(choice, str) else dict(choice)
        found.append(part | ({"weight": float(number(weight, "reward_weights"))} if weight is not None else {}))
    foreign.put("objective.reward", found or "exact")
    if given:
        foreign.take("reward_funcs", "objective.reward")
    if "reward_weights" in foreign.config:
        foreign.take("reward_weights", "objective.reward")
    stands = "exact stands there" if not found else "the others stand there"
    if lost or not given:
        key = f"reward_funcs: {', '.join(lost)}" if lost else "(reward)"
        why = "code is not carried over" if lost else "no reward is named"
        foreign.left[key] = Left(f"{why}; name graders in objective.reward ({stands})", "problem")
    foreign.leave("reward_model_name_or_path", "name the run of a reward model: reward {run: runs/NAME}", "problem")


def _lengths(foreign: Foreign) -> None:
    key = "max_length" if foreign.config.get("max_length") is not None else "max_seq_length"
    foreign.carry(key, "train.max_tokens", whole)


# --- data ---


def _data(foreign: Foreign) -> None:
    mixture = foreign.config.get("datasets")
    if isinstance(mixture, list) and mixture and all(isinstance(one, dict) and one.get("path") for one in mixture):
        foreign.take("datasets", "data.sources")
        found = [_rows(foreign, str(one["path"]), one.get("data_files"), one.get("split")) for one in mixture]
        for at, one in enumerate(mixture, start=1):
            for key in sorted(set(one) - {"path", "split", "data_files"}):
                foreign.left[f"datasets[{at}].{key}"] = Left("name files, and columns in data.fields", "warning")
    elif (name := foreign.take("dataset_name", "data.sources")) is not None:
        split = foreign.take("dataset_train_split", "data.sources")
        found = [_rows(foreign, str(name), None, split)]
    else:
        raise RecipeError(f"{foreign.path}: the config names no data (dataset_name). Add it, then convert again.")
    foreign.put("data.sources", found)
    foreign.put("data.format", "auto")
    column = foreign.config.get("dataset_text_field")
    local = locate(str(foreign.config.get("dataset_name")), foreign.path)
    if column is not None and column != "text":
        foreign.take("dataset_text_field", "data.fields")
        foreign.put("data.format", "text")
        foreign.put("data.fields", {"text": column})
    elif local is not None:
        _format(foreign, found[0])
    if column is not None:
        foreign.take("dataset_text_field", "data.format")
    test = foreign.config.get("dataset_test_split")
    if test is not None and str(found[0]).startswith("hub:"):
        foreign.take("dataset_test_split", "data.validation")
        foreign.put("data.validation", source(str(foreign.config["dataset_name"]), foreign.path, split=str(test)))
    else:
        foreign.leave("dataset_test_split", "give the file in data.validation", "info" if test == "test" else "warning")
    foreign.leave("dataset_config", "no subset of a Hub data set is named here; give its files", "warning")


def _format(foreign: Foreign, file: str) -> None:
    from tunewright.stages.starting import detect_format

    try:
        foreign.put("data.format", detect_format(file))
    except (DataError, NotThere):
        return  # check tells it, with the columns found


def _rows(foreign: Foreign, name: str, files: Any, split: Any) -> str:
    if files and name in ("json", "csv", "parquet", "text"):
        return source(str(files[0] if isinstance(files, list) else files), foreign.path)
    return source(name, foreign.path, split=str(split) if split else None)
