"""Configs of other tools with small rows, written from the keys that those tools document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MANY = 40
TRAINING = """
per_device_train_batch_size: 2
gradient_accumulation_steps: 4
learning_rate: 1.0e-4
num_train_epochs: 2.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
seed: 7
bf16: true
logging_steps: 10
save_steps: 500
report_to: none
ddp_timeout: 180000000
"""
ROWS: dict[str, Any] = {
    "alpaca": lambda n: {"instruction": f"Add {n} and 1.", "input": "", "output": f"{n + 1}", "system": "Count."},
    "named": lambda n: {"q": f"Add {n} and 1.", "a": f"{n + 1}"},
    "pairs": lambda n: {
        "conversations": [{"from": "human", "value": f"Add {n} and 1."}],
        "chosen": {"from": "gpt", "value": f"{n + 1}"},
        "rejected": {"from": "gpt", "value": f"{n}"},
    },
    "judged": lambda n: {
        "messages": [{"role": "user", "content": f"Add {n} and 1."}, {"role": "assistant", "content": f"{n + n % 2}"}],
        "good": n % 2 == 1,
    },
    "unpaired": lambda n: {"prompt": f"Add {n} and 1.", "completion": f"{n + n % 2}", "label": n % 2 == 1},
    "prefer": lambda n: {"prompt": f"Add {n} and 1.", "chosen": f"{n + 1}", "rejected": f"{n}"},
    "intel": lambda n: {"system": "Count.", "question": f"Add {n} and 1.", "chosen": f"{n + 1}", "rejected": f"{n}"},
    "chat": lambda n: {
        "messages": [{"role": "user", "content": f"Add {n} and 1."}, {"role": "assistant", "content": f"{n + 1}"}]
    },
    "prompts": lambda n: {"prompt": f"Add {n} and 1.", "solution": f"{n + 1}"},
    "text": lambda n: {"text": f"The number after {n} is {n + 1}."},
}
INFO: dict[str, Any] = {
    "alpaca": {"file_name": "alpaca.jsonl"},
    "named": {"file_name": "named.jsonl", "columns": {"prompt": "q", "response": "a"}},
    "pairs": {
        "file_name": "pairs.jsonl", "formatting": "sharegpt", "ranking": True,
        "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"},
    },
    "judged": {
        "file_name": "judged.jsonl", "formatting": "sharegpt", "columns": {"messages": "messages", "kto_tag": "good"},
        "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
    },
    "text": {"file_name": "text.jsonl", "columns": {"prompt": "text"}},
    "hub": {"hf_hub_url": "owner/rows", "subset": "small"},
}  # fmt: skip

LLAMA_FACTORY = {
    "sft-lora": """
model_name_or_path: nano
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 8
lora_target: all
dataset: alpaca
template: llama3
cutoff_len: 512
max_samples: 1000
overwrite_cache: true
preprocessing_num_workers: 16
output_dir: saves/llama3-8b/lora/sft
plot_loss: true
overwrite_output_dir: true
val_size: 0.1
per_device_eval_batch_size: 1
eval_strategy: steps
eval_steps: 500
"""
    + TRAINING,
    "dpo": """
model_name_or_path: nano
stage: dpo
finetuning_type: lora
lora_rank: 8
lora_alpha: 32
lora_target: q_proj,v_proj
pref_beta: 0.2
pref_loss: hinge
dataset: pairs
template: qwen
output_dir: saves/dpo
"""
    + TRAINING,
    "kto": """
model_name_or_path: nano
stage: kto
finetuning_type: lora
pref_beta: 0.3
kto_chosen_weight: 1.5
dataset: judged
template: qwen
output_dir: saves/kto
"""
    + TRAINING,
    "pretrain": "model_name_or_path: nano\nstage: pt\nfinetuning_type: lora\ndataset: text\noutput_dir: saves/pt\n"
    "packing: true\ntemplate: default\n" + TRAINING,
    "full": "model_name_or_path: nano\nstage: sft\nfinetuning_type: full\ndataset: named\ntemplate: qwen\n"
    "deepspeed: examples/deepspeed/ds_z3_config.json\npure_bf16: true\noutput_dir: saves/full\n" + TRAINING,
    "freeze": "model_name_or_path: nano\nstage: sft\nfinetuning_type: freeze\nfreeze_trainable_layers: 1\n"
    "dataset: alpaca\ntemplate: qwen\nneftune_noise_alpha: 5\ntrain_on_prompt: true\n" + TRAINING,
}

_AXOLOTL = """
base_model: nano
load_in_8bit: false
load_in_4bit: false
sequence_len: 512
sample_packing: true
gradient_accumulation_steps: 4
micro_batch_size: 2
num_epochs: 2
optimizer: adamw_8bit
lr_scheduler: cosine
learning_rate: 0.0002
warmup_ratio: 0.1
val_set_size: 0.05
output_dir: ./outputs/{name}
bf16: auto
gradient_checkpointing: true
logging_steps: 1
attn_implementation: flash_attention_2
evals_per_epoch: 4
saves_per_epoch: 1
weight_decay: 0.0
special_tokens:
  pad_token: <|end_of_text|>
"""
_LORA = "adapter: lora\nlora_r: 32\nlora_alpha: 16\nlora_dropout: 0.05\nlora_target_linear: true\n"
AXOLOTL = {
    "sft-lora": _AXOLOTL.format(name="sft") + _LORA + "datasets:\n  - path: data/chat.jsonl\n    type: chat_template\n"
    "    field_messages: messages\n    message_property_mappings: {role: role, content: content}\n"
    "    roles_to_train: [assistant]\n    train_on_eos: turn\nchat_template: chatml\n",
    "dpo": _AXOLOTL.format(name="dpo") + _LORA + "rl: dpo\nrl_beta: 0.2\ndatasets:\n  - path: data/intel.jsonl\n"
    "    type: chatml.intel\n    split: train\n",
    "kto": _AXOLOTL.format(name="kto") + _LORA + "rl: kto\nkto_desirable_weight: 1.2\nkto_undesirable_weight: 1.0\n"
    "datasets:\n  - path: data/unpaired.jsonl\n    type: chatml\n",
    "pretrain": _AXOLOTL.format(name="pt") + "datasets:\n  - path: json\n    data_files: [data/text.jsonl]\n"
    "    type: completion\n    field: text\n",
    "full": _AXOLOTL.format(name="full") + "adapter:\ndatasets:\n  - path: data/alpaca.jsonl\n    type: alpaca\n"
    "dataset_prepared_path: last_run_prepared\ndeepspeed: deepspeed_configs/zero2.json\nearly_stopping_patience: 5\n",
    "columns": _AXOLOTL.format(name="columns") + _LORA + "datasets:\n  - path: data/named.jsonl\n    type:\n"
    "      field_instruction: q\n      field_output: a\n      format: 'Q: {instruction}'\ntrain_on_inputs: true\n",
}

TRL = {
    "sft": "model_name_or_path: nano\ndataset_name: data/chat.jsonl\nuse_peft: true\nlora_r: 8\nlora_alpha: 16\n"
    "max_length: 512\npacking: true\noutput_dir: out/trl-sft\neval_strategy: 'no'\n" + TRAINING,
    "dpo": "model_name_or_path: nano\ndataset_name: data/prefer.jsonl\nbeta: 0.2\nloss_type: [ipo]\n"
    "use_peft: true\nlora_target_modules: [q_proj, v_proj]\noutput_dir: out/trl-dpo\nmax_prompt_length: 128\n"
    + TRAINING,
    "grpo": "model_name_or_path: nano\ndataset_name: data/prompts.jsonl\nnum_generations: 4\n"
    "max_completion_length: 16\n"
    "reward_funcs: [accuracy_reward, think_format_reward, mine.length_reward]\nreward_weights: [1.0, 0.5, 0.1]\n"
    "loss_type: dr_grpo\nuse_vllm: false\nuse_peft: true\noutput_dir: out/trl-grpo\n" + TRAINING,
    "kto": "model_name_or_path: nano\ndataset_name: data/unpaired.jsonl\ndesirable_weight: 1.1\noutput_dir: out/kto\n"
    + TRAINING,
}

SOUP = """
base: nano
task: dpo
data: {train: data/prefer.jsonl, format: dpo, val_split: 0.1, max_length: 512}
training:
  epochs: 2
  lr: 2e-5
  batch_size: auto
  dpo_beta: 0.2
  quantization: none
  lora: {r: 8, alpha: 16}
output: ./output/soup
"""
TORCHTUNE = """
output_dir: /tmp/torchtune/llama3_2_1B/lora
model:
  _component_: torchtune.models.llama3_2.lora_llama3_2_1b
  lora_attn_modules: [q_proj, v_proj, output_proj]
  apply_lora_to_mlp: true
  lora_rank: 64
  lora_alpha: 128
  lora_dropout: 0.0
tokenizer:
  _component_: torchtune.models.llama3.llama3_tokenizer
  path: ${output_dir}/tokenizer.model
  max_seq_len: 512
checkpointer:
  _component_: torchtune.training.FullModelHFCheckpointer
  checkpoint_dir: nano
  checkpoint_files: [model.safetensors]
  model_type: LLAMA3_2
dataset:
  _component_: torchtune.datasets.instruct_dataset
  source: json
  data_files: data/named.jsonl
  column_map: {input: q, output: a}
  packed: false
seed: 3
batch_size: 4
optimizer: {_component_: torch.optim.AdamW, fused: true, weight_decay: 0.01, lr: 3e-4}
lr_scheduler: {_component_: torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup, num_warmup_steps: 100}
loss: {_component_: torchtune.modules.loss.LinearCrossEntropyLoss}
epochs: 1
max_steps_per_epoch: null
gradient_accumulation_steps: 8
compile: false
device: cuda
dtype: bf16
"""


def write(folder: Path) -> None:
    """All rows, and the list of data sets beside them."""
    (folder / "data").mkdir()
    for name, make in ROWS.items():
        lines = (json.dumps(make(number)) + "\n" for number in range(MANY))
        (folder / "data" / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "data" / "dataset_info.json").write_text(json.dumps(INFO), encoding="utf-8")
