"""Contenders that read a file of instructions and turn its rows into token ids."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import time
from itertools import accumulate
from pathlib import Path
from typing import Any

from turns import Turns, peak_memory

TEXT = """
the a of and to in is that it for on with as was at by be this are from have or an not which you we can will one all
please card account money transfer order question answer letter house water number people between however because
government yesterday morning different important whether written example company customer delivery refund payment
street understand possible information
"""
WORDS = TEXT.split()
MEGABYTES = 8
TEXT_WORDS = 2**18  # of which the messages of a large file are cut


def write_rows(path: Path, megabytes: float) -> None:
    """Write prompts of 10 to 80 words and answers of 5 to 60, all different."""
    draw = random.Random(16)
    left = megabytes * 1e6
    with path.open("w", encoding="utf-8") as file:
        while left > 0:
            prompt, answer = (" ".join(draw.choices(WORDS, k=draw.randint(*k))) for k in ((10, 80), (5, 60)))
            left -= file.write(json.dumps({"prompt": prompt, "completion": answer}) + "\n")


def write_chats(path: Path, megabytes: float) -> None:
    """Write conversations of about 500 bytes: 10 to 80 words are asked, 5 to 60 answered."""
    draw = random.Random(17)
    words = draw.choices(WORDS, k=TEXT_WORDS)
    text = " ".join(words)
    begins = list(accumulate((len(word) + 1 for word in words), initial=0))

    def said(role: str, least: int, most: int) -> dict[str, str]:
        first, num = draw.randrange(TEXT_WORDS - most), draw.randint(least, most)
        return {"role": role, "content": text[begins[first] : begins[first + num] - 1]}

    left = megabytes * 1e6
    with path.open("w", encoding="utf-8") as file:
        while left > 0:
            left -= file.write(json.dumps({"messages": [said("user", 10, 80), said("assistant", 5, 60)]}) + "\n")


def prepare(options: argparse.Namespace, turns: Turns) -> None:
    """The product's prepare stage: read, clean, check and split."""
    for number in range(options.units):
        source = source_of(options)
        with turns.unit() as done:
            prepared(options, f"prepare-{number}", source)
            done["megabytes"] = source.stat().st_size / 1e6


def source_of(options: argparse.Namespace) -> Path:
    """The file of rows; written once."""
    path = Path(options.folder) / f"rows-{options.megabytes:g}.jsonl"
    if not path.exists():
        write_rows(path, options.megabytes)
    return path


def prepared(options: argparse.Namespace, name: str, source: Path) -> Any:
    """A run whose data is prepared, nearly all of it for training."""
    from tunewright.core.recipe import Recipe
    from tunewright.core.run import Run
    from tunewright.stages.prepare import prepare

    split = {"train": 0.98, "validation": 0.01, "test": 0.01}
    folder = Path(options.folder)
    recipe = Recipe.parse({"name": name, "data": {"sources": [str(source)], "split": split}}, folder=folder)
    run = Run.begin(recipe, runs=folder / "runs", fresh=True)
    prepare(recipe, run)
    return run


def encode(options: argparse.Namespace, turns: Turns) -> None:
    """The rows as training takes them: the template of nano, learned spans, a forest's rows."""
    from tunewright.core import catalog
    from tunewright.core.recipe import ModelOptions
    from tunewright.models.opening import open_chat
    from tunewright.training import encoding

    run = prepared(options, "encode", source_of(options))
    chat, objective = open_chat(ModelOptions()), catalog.build("objectives", "sft")
    for _ in range(options.units):
        with turns.unit() as done:
            found = encoding.encode(run.split("train"), objective, chat, max_tokens=2048)
            done["tokens"] = sum(len(row.items) for unit in found.units for row in unit)


def large(options: argparse.Namespace, turns: Turns) -> None:
    """A large file through the prepare stage and on to stored rows; the first unit warms up with a small one."""
    from tunewright.core import catalog
    from tunewright.core.recipe import ModelOptions
    from tunewright.models.opening import open_chat
    from tunewright.training.stored_rows import stored

    chat, objective = open_chat(ModelOptions()), catalog.build("objectives", "sft")
    for number in range(options.units):
        source = Path(options.folder) / f"chats-{number}.jsonl"
        write_chats(source, options.megabytes if number else 1)
        before = peak_memory()
        with turns.unit() as done:
            started = time.perf_counter()
            run = prepared(options, "large", source)
            done["prepare_seconds"] = time.perf_counter() - started
            done["prepare_memory_bytes"] = peak_memory() - before
            data, folder = run.path("data", "train.jsonl"), run.path("encoded", "train")
            rows = stored(folder, data, run.split("train"), objective, chat, max_tokens=2048)
            done["encode_seconds"] = time.perf_counter() - started - done["prepare_seconds"]
            done["memory_bytes"] = peak_memory() - before
            done["megabytes"], done["tokens"] = source.stat().st_size / 1e6, len(rows.rows.tokens)
        source.unlink()
        for left in Path(options.folder, "runs").glob("large*"):
            shutil.rmtree(left)


def encode_trl(options: argparse.Namespace, turns: Turns) -> None:
    """TRL's preparation of a conversational dataset in two processes, its own cache off."""
    from datasets import Dataset, disable_caching
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    from tunewright.models.bases import base_folder

    disable_caching()
    run = prepared(options, "encode-trl", source_of(options))
    tokenizer = AutoTokenizer.from_pretrained(base_folder("nano"))
    rows = [
        {"prompt": [m.model_dump(include={"role", "content"}) for m in e.messages[:-1]],
         "completion": [m.model_dump(include={"role", "content"}) for m in e.messages[-1:]]}
        for e in run.split("train")
    ]  # fmt: skip
    arguments = SFTConfig(
        output_dir=options.folder, use_cpu=True, bf16=False, report_to="none", max_length=2048, dataset_num_proc=2
    )
    trainer = None
    for _ in range(options.units):
        with turns.unit() as done:
            trainer = SFTTrainer(
                model=base_folder("nano"), args=arguments, train_dataset=Dataset.from_list(rows),
                processing_class=tokenizer,
            )  # fmt: skip
            done["tokens"] = sum(map(len, trainer.train_dataset["input_ids"]))
    shutil.rmtree(run.folder)
