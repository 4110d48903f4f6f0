"""Every method on the same rows of bank intents at one budget: figures and a picture.

    python benchmarks/results_methods.py                    everything, about half an hour on one free core
    python benchmarks/results_methods.py --only lora ia3    these methods
    python benchmarks/results_methods.py --only quantised   the 4-bit base's loss beside the plain base's

2,000 training rows, 200 that watch training, 1,000 of the official test rows, each spread evenly over its file; two
epochs; batch and learning rate as `choose` has them for the method. Every job is an ordinary `tunewright run` in a
process of its own; finished ones are kept in runs/results, so the script can be resumed. Writes
benchmarks/results/methods/*.json and docs/methods.svg. `qlora` and the quantised base need bitsandbytes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import lzma
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import picture
from results import DATA, OUT, ROOT, WORK, bank, carry, first_rows, portable, written

from tunewright.core.run import Run

EPOCHS, ROWS, WATCHING, TEST = 2, 2000, 200, 1000
METHODS: dict[str, Any] = {
    "full": "full",
    "gradual": "gradual",  # a layer an epoch: two of six turns come in two epochs
    "gradual fast": {"kind": "gradual", "every": 0.125},  # all turns come
    "last_layers": {"kind": "last_layers", "layers": 2},
    "lora": {"kind": "lora", "rank": 16},
    "dora": {"kind": "lora", "rank": 16, "dora": True},
    "pissa": {"kind": "lora", "rank": 16, "start": "pissa"},
    "qlora": {"kind": "qlora", "rank": 16},
    "bottleneck": "bottleneck",
    "bitfit": {"kind": "bitfit", "norms": True},
    "ia3": "ia3",
    "prefix": "prefix",
    "prompt": "prompt",
    "peft LOKR": {"kind": "peft", "tuner": "LOKR", "options": {"r": 8, "target_modules": "all-linear"}},
}
TEXTS = {"novels": "lm-english-novels/test.jsonl.xz", "speeches": "lm-us-speeches/test.jsonl.gz"}
PIECE, PIECES = 512, 64  # tokens of a piece, and pieces of each text
CHATS = 300


def main() -> None:
    """Run what is asked for, then draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[*METHODS, "quantised"])
    asked = parser.parse_args().only or [*METHODS, "quantised"]
    if not DATA.exists():
        sys.exit(f"Skipped: there is no data in {DATA}. Set TUNEWRIGHT_DATA; docs/results.md names each source.")
    out = OUT / "methods"
    out.mkdir(parents=True, exist_ok=True)
    for label, method in METHODS.items():
        if label in asked:
            _write(out / f"{_slug(label)}.json", figures(label, method))
    if "quantised" in asked:
        _write(out / "quantised.json", quantised())
    kept = {label: _read(path) for label in METHODS if (path := out / f"{_slug(label)}.json").exists()}
    if kept:
        (ROOT / "docs" / "methods.svg").write_text(drawn(kept), encoding="utf-8")


def figures(label: str, method: Any) -> dict[str, Any]:
    """One method's recipe carried to its end, and what it takes on disk."""
    folder = DATA / "intent-banking77"
    recipe = bank(
        f"methods-{_slug(label)}",
        data={
            "sources": [str(first_rows(folder / "train.jsonl", ROWS))],
            "validation": str(first_rows(folder / "validation.jsonl", WATCHING)),
            "test": str(first_rows(folder / "test.jsonl", TEST)),
        },
        method=method,
        train={"epochs": EPOCHS},
        evaluate={"against": ["base"] if label == "full" else []},
    )
    path = written(recipe)
    found = carry(path, WORK)
    run = Run(WORK / recipe["name"])
    released = run.report("deploy")
    train = _chosen(run)
    return {
        **found,
        "command": f"tunewright run {path.relative_to(ROOT)} --runs {WORK.relative_to(ROOT)}",
        "recipe": portable(recipe),
        "lr": train["lr"],
        "batch": train["batch"],
        "bytes": released.numbers["formats"] if released else {},
    }


def quantised() -> dict[str, Any]:
    """The mean loss of held-out text under the base as it is, and with its linear layers in NF4."""
    import torch

    from tunewright.models.quantised import bits_a_weight, quantise

    torch.set_grad_enabled(False)
    found: dict[str, Any] = {"pieces": PIECES, "tokens_of_a_piece": PIECE, "losses": {}, "bits_a_weight": {}}
    pieces = {name: _pieces(DATA / file) for name, file in TEXTS.items()} | {"chats": _chats()}
    plain = {name: _losses(_open(), text) for name, text in pieces.items()}
    for name, losses in plain.items():
        found["losses"][name] = {"plain": _mean(losses)}
    for kind, double in (("nf4", False), ("nf4_double", True)):
        net = _open()
        quantise(net, double=double)
        found["bits_a_weight"][kind] = bits_a_weight(double=double)
        for name, text in pieces.items():
            losses = _losses(net, text)
            worse = [one - other for one, other in zip(losses, plain[name], strict=True)]
            found["losses"][name][kind] = _mean(losses) | {"worse": _mean(worse)}
    return {"base": "nano", **found}


def drawn(kept: dict[str, dict[str, Any]]) -> str:
    """Accuracy over the number of trained parameters."""
    points = [
        {
            "name": label,
            "at": one["trainable_parameters"],
            **{key: one["contestants"]["tuned"]["exact"][key] for key in ("value", "low", "high")},
        }
        for label, one in kept.items()
    ]
    title = f"Bank intents: accuracy over trained parameters, {ROWS:,} rows, {EPOCHS} epochs"
    return picture.scattered(points, title, "trained parameters")


def _open() -> Any:
    from transformers import AutoModelForCausalLM

    from tunewright.models.bases import base_folder

    return AutoModelForCausalLM.from_pretrained(base_folder("nano")).float().eval()


def _pieces(path: Path) -> list[tuple[Any, int]]:
    """Pieces spread evenly over the texts: ids, begun as the base begins texts; all are predicted."""
    import torch
    from transformers import AutoTokenizer

    from tunewright.models.bases import base_folder

    tokenizer = AutoTokenizer.from_pretrained(base_folder("nano"))
    ids = tokenizer("\n".join(_texts(path)), add_special_tokens=False)["input_ids"]
    starts = [number * (len(ids) - PIECE) // PIECES for number in range(PIECES)]
    return [(torch.tensor([tokenizer.bos_token_id, *ids[start : start + PIECE]]), 0) for start in starts]


def _chats() -> list[tuple[Any, int]]:
    """Messages of CLINC150's test set, spread evenly, as the base was tuned to talk: ids, where the intent begins."""
    import torch
    from transformers import AutoTokenizer

    from tunewright.models.bases import base_folder

    tokenizer = AutoTokenizer.from_pretrained(base_folder("nano"))
    path = first_rows(DATA / "intent-clinc150" / "test.jsonl", CHATS)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found = []
    for row in rows:
        asked = [{"role": "user", "content": row["text"]}]
        start = len(tokenizer.apply_chat_template(asked, add_generation_prompt=True)["input_ids"])
        talk = [*asked, {"role": "assistant", "content": row["label"]}]
        found.append((torch.tensor(tokenizer.apply_chat_template(talk)["input_ids"]), start))
    return found


def _texts(path: Path) -> Iterator[str]:
    opened = lzma.open if path.suffix == ".xz" else gzip.open
    with opened(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)["text"][:200_000]


def _losses(net: Any, pieces: list[tuple[Any, int]]) -> list[float]:
    """Mean nats a token of each piece, from a place on."""
    found = []
    for piece, start in pieces:
        labels = piece.clone()
        labels[:start] = -100
        found.append(float(net(input_ids=piece[None], labels=labels[None]).loss))
    return found


def _mean(values: list[float]) -> dict[str, Any]:
    """The mean over pieces with a normal 95 % interval."""
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))
    return {"value": mean, "low": mean - 1.96 * spread, "high": mean + 1.96 * spread, "n": len(values)}


def _chosen(run: Run) -> dict[str, Any]:
    """What `choose` filled in for training."""
    import yaml

    filled: dict[str, Any] = yaml.safe_load(run.path("recipe.yaml").read_text(encoding="utf-8"))["train"]
    return filled


def _slug(label: str) -> str:
    return label.replace(" ", "-").lower()


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _write(path: Path, figures: dict[str, Any]) -> None:
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
