"""Trains a random model of a real size on a GPU, beside TRL with Liger's kernels and Unsloth where they are installed.

    python benchmarks/gpu.py                                    1B: LoRA, QLoRA and full tuning in bfloat16
    python benchmarks/gpu.py --rows shared-prompt --methods lora
    python benchmarks/gpu.py --shape 8b --methods lora qlora
    python benchmarks/gpu.py --shape tiny --device cpu          tries the benchmark itself, in float32

Every contender has a process of its own and gets the same weights, rows and tokens at once.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import limits
import training
from bench import RESULTS, machine
from cases import OURS
from page import GPU_NAMES, amount, per_second
from turns import Turns
from workload import BATCH, RANK, SHAPES, Work, instruction_rows, make_base, shared_prompt_rows

PACK = 2048  # tokens in a packed sequence of the peers
ROWS = {"instructions": instruction_rows, "shared-prompt": shared_prompt_rows}
CONTENDERS = {OURS: (), "trl": ("trl", "peft"), "trl-liger": ("trl", "peft", "liger_kernel"), "unsloth": ("unsloth",)}


def main() -> None:
    """Measure and print; or, inside, be one contender."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=["0.5b", "1b", "8b", "tiny"], default="1b")
    parser.add_argument("--methods", nargs="+", choices=["lora", "qlora", "full"], default=["lora", "qlora", "full"])
    parser.add_argument("--rows", choices=[*ROWS], default="instructions")
    parser.add_argument("--contenders", nargs="+", choices=[*CONTENDERS], default=[*CONTENDERS])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--steps", type=int, default=6, help="optimizer steps, of which the first warms up")
    parser.add_argument("--batch", type=int, default=6 * BATCH, help="rows in a step")
    parser.add_argument("--micro-tokens", type=int, default=16384, help="tokens at once, for every contender")
    parser.add_argument("--one", choices=[*CONTENDERS], help=argparse.SUPPRESS)
    parser.add_argument("--base", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="the file of the figures")
    options = parser.parse_args()
    options.out = options.out or RESULTS / f"gpu-{options.rows}.json"
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        print(
            "This machine has no CUDA device, so there is nothing to measure; --device cpu tries the benchmark itself."
        )
        return
    options.dtype = "bfloat16" if options.device == "cuda" else "float32"
    if options.one:
        be(options)
    else:
        compare(options)


def compare(options: argparse.Namespace) -> None:
    """All contenders of all methods, one after the other."""
    import torch

    shape = SHAPES[options.shape]
    about = machine(torch.get_num_threads())
    about["device"] = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    top = limits.products(shape, tokens=8192, device=options.device, dtype=options.dtype)
    print(f"{about['device']}, {options.dtype}, {options.shape}: {top / 1e12:,.3g} TFLOP/s in matrix products")
    found: dict[str, dict[str, Any]] = {}
    settings = {key: getattr(options, key) for key in ("shape", "rows", "dtype", "steps", "batch", "micro_tokens")}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tunewright-gpu-") as folder:
        base = Path(folder) / options.shape
        make_base(base, shape, device=options.device, dtype=options.dtype)
        for method in options.methods:
            for name in options.contenders:
                if missing := left_out(name, method):
                    print(f"{method:6} {GPU_NAMES[name]:42} left out: {missing}")
                    continue
                facts = started(name, method, base, options)
                found.setdefault(method, {})[name] = facts
                print(f"{method:6} {GPU_NAMES[name]:42} {told(facts, top)}", flush=True)
                written = {"machine": about, "settings": settings, "ceiling_flops": top, "methods": found}
                options.out.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


def left_out(name: str, method: str) -> str:
    """Why a contender cannot take part, if so."""
    from tunewright.core import catalog

    needs = [*CONTENDERS[name], *(["bitsandbytes"] if method == "qlora" else [])]
    if missing := [package for package in needs if find_spec(package) is None]:
        return f"not installed: {', '.join(missing)}"
    if name == OURS and method not in catalog.kinds("methods"):
        return f"there is no method '{method}' yet"
    return ""


def started(name: str, method: str, base: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One contender's facts; one that fails (mostly for want of memory) says so and the others go on."""
    out = base.parent / "facts.json"
    out.unlink(missing_ok=True)
    command = [
        sys.executable, __file__, "--one", name, "--methods", method, "--base", str(base), "--out", str(out),
        "--shape", options.shape, "--rows", options.rows, "--device", options.device, "--steps", str(options.steps),
        "--batch", str(options.batch), "--micro-tokens", str(options.micro_tokens),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["no message"])[-1][:300]}
    return dict(json.loads(out.read_text(encoding="utf-8")))


def told(facts: dict[str, Any], top: float) -> str:
    """One line of the table."""
    if "failed" in facts:
        return f"failed: {facts['failed']}"
    speed, share = per_second(facts, "tokens"), per_second(facts, "flops") / top
    memory = facts["peak_memory_bytes"] / 2**30
    return f"{amount(speed)} tokens/s, {share:.0%} of the ceiling, {memory:.2f} GiB at the peak"


def be(options: argparse.Namespace) -> None:
    """Train as one contender and write its facts."""
    import torch

    method = options.methods[0]
    turns = GpuTurns(born=time.time(), size=1, cuda=options.device == "cuda")
    counted_as = "full" if method == "full" else "lora"
    work = argparse.Namespace(
        shape=options.shape, method=counted_as, units=options.steps, folder=str(options.out.parent)
    )
    rows = ROWS[options.rows](options.batch * options.steps * 2, SHAPES[options.shape].vocabulary)
    if options.one == OURS:
        ours(options, method, work, rows, turns)
    else:
        peer(options, method, work, rows, turns)
    facts = turns.facts()
    if options.device == "cuda":
        facts["peak_memory_bytes"] = torch.cuda.max_memory_allocated()
    options.out.write_text(json.dumps(facts), encoding="utf-8")


class GpuTurns(Turns):
    """A unit has ended when the device has."""

    def __init__(self, *, born: float, size: int, cuda: bool) -> None:
        super().__init__(born=born, size=size)
        self.cuda = cuda

    def end(self, amounts: dict[str, float]) -> None:
        """After a unit."""
        import torch

        if self.cuda:
            torch.cuda.synchronize()
        super().end(amounts)


def ours(options: argparse.Namespace, method: str, work: argparse.Namespace, rows: list[Work], turns: Turns) -> None:
    """The product's own optimizer step."""
    from tunewright.core import catalog
    from tunewright.core.recipe import ModelOptions, TrainOptions
    from tunewright.models.forest import Row
    from tunewright.models.opening import open_model
    from tunewright.training.step import Stepper

    model = open_model(ModelOptions(base=options.base), dtype=options.dtype, device=options.device)
    tuned = catalog.build("methods", method if method == "full" else {"kind": method, "rank": RANK})
    if tuned.quantised:
        tuned.quantise(model.net)
    tuned.attach(model.net)
    train = TrainOptions(lr=training.LR, micro_tokens=options.micro_tokens)
    stepper = Stepper(model, tuned, catalog.build("objectives", "sft"), train)
    units = [[Row(r.items, [0.0] * r.prompt + [1.0] * r.learned, str(n))] for n, r in enumerate(rows)]
    for step in range(options.steps):
        with turns.unit() as done:
            result = stepper.take(units[step * options.batch : (step + 1) * options.batch], factor=1.0, seed=step)
            done.update(training.amounts(work, result.tokens, int(result.learned_tokens), result.forest_tokens))


def peer(options: argparse.Namespace, method: str, work: argparse.Namespace, rows: list[Work], turns: Turns) -> None:
    """TRL's trainer with packing, over a net of transformers or of Unsloth."""
    net = (unsloth_net if options.one == "unsloth" else plain_net)(options, method)
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    data = [{"input_ids": r.items, "completion_mask": [0] * r.prompt + [1] * r.learned} for r in rows]
    at_once = max(1, options.micro_tokens // PACK)
    a_step = sum(len(r.items) for r in rows[: options.batch])
    arguments = SFTConfig(
        output_dir=work.folder, use_cpu=options.device == "cpu", bf16=options.device == "cuda", max_steps=options.steps,
        learning_rate=training.LR, lr_scheduler_type="constant", report_to="none", save_strategy="no",
        train_sampling_strategy="sequential", disable_tqdm=True, completion_only_loss=True, packing=True,
        max_length=PACK, per_device_train_batch_size=at_once, gradient_checkpointing=False,
        gradient_accumulation_steps=max(1, round(a_step / at_once / PACK)), use_liger_kernel=options.one == "trl-liger",
    )  # fmt: skip
    trainer = SFTTrainer(
        model=net, args=arguments, train_dataset=Dataset.from_list(data),
        processing_class=AutoTokenizer.from_pretrained(options.base),
    )  # fmt: skip
    counts: list[tuple[int, int]] = []
    trainer.data_collator = training.counted(trainer.data_collator, counts)
    training.train(trainer, counts, work, turns, micro_batches=arguments.gradient_accumulation_steps)


def plain_net(options: argparse.Namespace, method: str) -> Any:
    """The base in transformers, with PEFT's LoRA unless all of it is tuned."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    fast = options.device == "cuda" and find_spec("flash_attn") is not None
    settings: dict[str, Any] = {"attn_implementation": "flash_attention_2" if fast else "sdpa"}
    if method == "qlora":
        settings["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=getattr(torch, options.dtype)
        )
    net = AutoModelForCausalLM.from_pretrained(options.base, dtype=options.dtype, device_map=options.device, **settings)
    if method == "full":
        return net
    lora = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(net, lora)


def unsloth_net(options: argparse.Namespace, method: str) -> Any:
    """The base as Unsloth opens and adapts it."""
    from unsloth import FastLanguageModel

    net, _ = FastLanguageModel.from_pretrained(
        options.base, max_seq_length=PACK, load_in_4bit=method == "qlora", full_finetuning=method == "full"
    )
    if method == "full":
        return net
    layers = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    return FastLanguageModel.get_peft_model(
        net, r=RANK, lora_alpha=2 * RANK, lora_dropout=0, target_modules=layers, use_gradient_checkpointing=False
    )


if __name__ == "__main__":
    main()
