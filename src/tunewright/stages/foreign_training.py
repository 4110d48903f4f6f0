"""What configs of other tools have in common: adapters, and the arguments of the transformers library's trainer."""

from __future__ import annotations

from typing import Any

from tunewright.stages.foreign import Foreign, number, switch, whole

_SCHEDULES = {
    "cosine": "cosine", "linear": "linear", "constant": "constant", "constant_with_warmup": "constant",
    "cosine_with_min_lr": "cosine", "cosine_with_restarts": "cosine", "cosine_warmup_with_min_lr": "cosine",
    "warmup_stable_decay": "constant", "polynomial": "linear", "inverse_sqrt": "linear",
}  # fmt: skip
_SAME_SCHEDULE = ("cosine", "linear", "constant", "constant_with_warmup")
_EIGHT_BITS = ("adamw_8bit", "adamw_bnb_8bit", "paged_adamw_8bit", "adamw_torch_8bit", "paged_adamw_8bits")

# Keys that a recipe needs none of, by pattern; what they are for is done all the same, or not at all.
REASONS: list[tuple[str, str]] = [
    (r"log.*|include_num_input_tokens_seen|include_tokens_per_second|disable_tqdm|debug", "every step is logged as an "
     "event"),
    (r"report_to|.*wandb.*|.*mlflow.*|.*comet.*|.*swanlab.*|.*trackio.*|.*tensorboard.*|run_name|push_to_hub.*|hub_.*|"
     r"project|plot_loss", "nothing is sent anywhere; report.html draws the curves"),
    (r"deepspeed.*|fsdp.*|ddp.*|.*parallel.*|accelerator_config|local_rank|device_map|zero3_.*|distributed.*|cpu_offload",
     "one process trains, and choose plans its memory"),
    (r"gradient_checkpointing.*|activation_offloading|enable_activation.*|use_reentrant.*|disable_gradient_checkpointing|"
     r"layer_offloading", "choose decides how many layers are computed again (train.checkpoint_layers)"),
    (r".*packing.*|padding_free|pad_to_sequence_len|group_by_length|pad_to_multiple_of|multipack.*|sample_pack.*|packed",
     "rows of a step share one forest without padding, with the same result"),
    (r"flash_attn.*|flash_attention.*|attn_implementation|sdp_attention|xformers.*|eager_attention|s2_attention|"
     r"shift_attn|use_unsloth.*|.*liger.*|enable_liger_kernel|use_kernels|.*_kernel|unsloth.*|compile|torch_compile.*|"
     r"lora_.*_kernel|use_cache", "the kernels follow the device; the result is the same"),
    (r"(pure_)?bf16.*|fp16.*|fp8.*|tf32|torch_dtype|dtype|model_dtype|bfloat16|float16|upcast.*|half_precision.*|"
     r"infer_dtype|compute_dtype", "train.dtype is probed; set bfloat16 or float16 to force one"),
    (r"preprocessing.*|dataloader.*|.*num_proc.*|dataset_prepared.*|overwrite_cache|tokenized_path|remove_unused_columns|"
     r"streaming|buffer_size|dataset_shard.*|shuffle.*|skip_prepare_dataset|dataset_kwargs|pretokenize.*",
     "prepare reads every row once, in flat memory"),
    (r"save.*|overwrite_output_dir|.*resume.*|load_best_model_at_end|ignore_data_skip|metric_for_best_model|"
     r"greater_is_better|saves_per_epoch|auto_resume.*|checkpointer", "checkpoints are kept, the best one wins, and "
     "the same command goes on"),
    (r"eval_.*|evaluation_strategy|per_device_eval_batch_size|predict_.*|compute_accuracy|evals_per_epoch|"
     r"bench.*|prediction_loss_only|test_.*_size|include_for_metrics", "tunewright evaluate measures on test rows; "
     "train.evaluate_every sets the looks at the validation loss"),
    (r"do_(train|eval|predict)", "the stages are commands of their own: tunewright train, tunewright evaluate"),
    (r"device", "train.device follows the machine"),
    (r"trust_remote_code|trust_remote.*", "code of a model's repository is never run"),
    (r"chat_template.*|template|jinja.*|tokenizer.*|special_tokens|use_fast_tokenizer|resize_.*|eos_token.*|pad_token|"
     r"bos_token.*|model_type|is_.*_derived_model|add_special_tokens|split_special_tokens|enable_thinking|"
     r"processor_type|overrides_of_model_config|tool_format", "the base's own tokenizer and chat template are used"),
    (r"adam_epsilon|adam_beta3|adam_epsilon2|optim_args|optim_target_modules|lr_scheduler_kwargs|lr_scheduler_args|"
     r"cosine_.*_ratio|lr_div_factor", "AdamW's usual values are used"),
    (r"use_peft|use_cpu|no_cuda|jit_mode_eval|torchdynamo|full_determinism|low_cpu_mem.*|cache_dir|model_init_kwargs|"
     r"hf_.*|gc_steps|strict|base_model_config|download_mode|plugins|loss_watchdog.*|adapter_folder|data_seed|ray_.*|"
     r"length_column_name|average_tokens_across_devices|torch_empty_cache_steps|vllm.*|use_vllm|infer_backend|optimizer_cpu",
     "the stages see to it"),
]  # fmt: skip


def training(foreign: Foreign, words: dict[str, str], usual: dict[str, Any]) -> None:
    """How long and how fast: `words` are the tool's for lr, epochs, batch, accumulation, schedule, steps; `usual` its
    defaults by the key of `train`.
    """
    put_steps = foreign.config.get(words["steps"])
    if put_steps is not None and whole(put_steps, words["steps"]) > 0:
        foreign.carry(words["steps"], "train.steps", whole)
        foreign.leave(words["epochs"], f"{words['steps']} says how long")
    else:
        foreign.leave(words["steps"], "below 1: epochs say how long")
        foreign.carry(words["epochs"], "train.epochs", number, usual.get("epochs"))
    _batch(foreign, words, usual)
    foreign.carry(words["lr"], "train.lr", number, usual.get("lr"))
    _schedule(foreign, words["schedule"], usual)
    _warmup(foreign, usual)
    foreign.carry("weight_decay", "train.weight_decay", number, usual.get("weight_decay"))
    foreign.carry("max_grad_norm", "train.clip", number)
    foreign.carry("seed", "train.seed", whole)
    _optimizer(foreign, words.get("optimizer", "optim"))
    _looks(foreign)


def _batch(foreign: Foreign, words: dict[str, str], usual: dict[str, Any]) -> None:
    """Examples in an optimizer step: those at once times how often gradients are added up."""
    at_once, times = foreign.take(words["batch"], "train.batch"), foreign.take(words["accumulation"], "train.batch")
    if at_once is None and times is None and "batch" not in usual:
        return
    size = whole(at_once if at_once is not None else usual.get("batch", 1), words["batch"])
    foreign.put("train.batch", size * whole(times if times is not None else 1, words["accumulation"]))
    if at_once is None:
        foreign.usual["train.batch"] = f"{foreign.tool}'s default of {size} at once"


def _schedule(foreign: Foreign, word: str, usual: dict[str, Any]) -> None:
    given = foreign.take(word, "train.schedule")
    if given is None:
        if "schedule" in usual:
            foreign.carry(word, "train.schedule", lambda value, key: value, usual["schedule"])
        return
    name = str(given).lower()
    if name not in _SCHEDULES:
        foreign.leave(word, "no such schedule here; cosine is used", "warning")
        return
    foreign.put("train.schedule", _SCHEDULES[name])
    if name not in _SAME_SCHEDULE:
        foreign.leave(word, f"no '{name}' here; the nearest, {_SCHEDULES[name]}, is used", "warning")
    if name == "constant":
        foreign.put("train.warmup", 0)


def _warmup(foreign: Foreign, usual: dict[str, Any]) -> None:
    """The share of the steps in which the rate rises."""
    steps = foreign.config.get("warmup_steps")
    total = foreign.values.get("train", {}).get("steps")
    if steps is not None and number(steps, "warmup_steps") > 0:
        given = float(number(steps, "warmup_steps"))
        share = given if given < 1 else given / total if total else None
        if share is None or share >= 1:
            foreign.leave("warmup_steps", "a share of the steps is needed here: set train.warmup", "warning")
        else:
            foreign.take("warmup_steps", "train.warmup")
            foreign.put("train.warmup", round(share, 6))
        foreign.leave("warmup_ratio", "warmup_steps comes before it")
        return
    if "warmup_steps" in foreign.config:
        foreign.take("warmup_steps", "train.warmup")
    if foreign.config.get("warmup_ratio") is None and "warmup" in foreign.values.get("train", {}):
        return
    foreign.carry("warmup_ratio", "train.warmup", number, usual.get("warmup"))


def _optimizer(foreign: Foreign, word: str) -> None:
    name = foreign.take(word, "train.optimizer")
    if name is not None and str(name) in _EIGHT_BITS:
        foreign.put("train.optimizer", "adamw_8bit")
    elif name is not None and not str(name).startswith(("adamw", "paged_adamw")):
        foreign.leave(word, "AdamW is used; rates of other optimizers may not fit it", "warning")
    first, second = foreign.take("adam_beta1", "train.betas"), foreign.take("adam_beta2", "train.betas")
    if first is not None or second is not None:
        foreign.put("train.betas", [number(first or 0.9, "adam_beta1"), number(second or 0.999, "adam_beta2")])


def _looks(foreign: Foreign) -> None:
    """How often the validation loss is looked at and a checkpoint is kept, where steps are given."""
    for key, to in (("eval_steps", "train.evaluate_every"), ("save_steps", "train.save_every")):
        value = foreign.config.get(key)
        if value is not None and number(value, key) >= 1:
            foreign.carry(key, to, whole)
        elif value is not None:
            foreign.leave(key, f"a number of steps is needed; {to} is filled by choose")


def adapter(foreign: Foreign, kind: str, words: dict[str, str], usual: dict[str, Any]) -> None:
    """The method lora or qlora with its options; `words` are the tool's for them."""
    foreign.put("method.kind", kind)
    foreign.carry(words["rank"], "method.rank", whole, usual.get("rank"))
    rank = foreign.values["method"].get("rank", 16)
    alpha = usual.get("alpha")
    foreign.carry(words["alpha"], "method.alpha", number, alpha(rank) if callable(alpha) else alpha)
    foreign.carry(words["dropout"], "method.dropout", number, usual.get("dropout"))
    for name in ("rslora", "dora"):
        if name in words and foreign.config.get(words[name]) is not None:
            foreign.carry(words[name], f"method.{name}", lambda value, key: switch(value))
    if "plus" in words:
        foreign.carry(words["plus"], "method.plus", number)


def sides(foreign: Foreign, key: str, *, test: float = 0.15) -> None:
    """A share of the rows for validation; rows for the verdict are kept apart beside it."""
    value = foreign.config.get(key)
    if value is None:
        return
    share = float(number(value, key))
    if share == 0:
        foreign.leave(key, "rows to validate and to judge by are always kept apart; data.split says how many")
    elif share >= 1 - test:
        foreign.leave(key, "a number of rows; a share is needed here: set data.split", "warning")
    else:
        foreign.take(key, "data.split.validation")
        foreign.put("data.split", {"train": round(1 - share - test, 6), "validation": share, "test": test})
