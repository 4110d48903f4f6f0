"""Tunes the bundled base on real public data and writes docs/results.md from the figures.

    python benchmarks/results.py                 everything (about an hour on two cores)
    python benchmarks/results.py --only intents  one group: desk, intents, worth, generation, chat

The data is found by TUNEWRIGHT_DATA (default: ../shared/data beside the repository); docs/results.md names each source.
Every job is an ordinary `tunewright run` in a process of its own; finished jobs are kept, so the script can be resumed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from results_tables import interval, sections

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("TUNEWRIGHT_DATA", ROOT / "../shared/data")).resolve()
WORK = ROOT / "runs" / "results"
OUT = ROOT / "benchmarks" / "results"
LORA = {"kind": "lora", "rank": 16}
COSTS = ("steps", "best_step", "validation_loss", "training_seconds", "trainable_parameters", "peak_memory_bytes")


def bank(name: str, **keys: Any) -> dict[str, Any]:
    """A recipe for bank intents with all rows and the official test set."""
    folder = DATA / "intent-banking77"
    recipe = {
        "name": name,
        "data": three(folder, folder / "test.jsonl"),
        "model": "nano",
        "evaluate": {"graders": ["exact", "label_f1"], "against": []},
    }
    return _merged(recipe, keys)


def jobs(group: str) -> list[dict[str, Any]]:
    """The recipes of one group."""
    if group == "intents":
        untuned = {"evaluate": {"against": ["base", {"kind": "few_shot", "k": 4}]}}
        return [
            bank("intents-full", method="full", train={"epochs": 4}, **untuned),
            bank("intents-lora", method=LORA, train={"epochs": 4}),
            bank("intents-last-layers", method={"kind": "last_layers", "layers": 2}, train={"epochs": 4}),
        ]
    if group == "worth":
        few = {"sources": [str(_per_class(DATA / "intent-banking77" / "train.jsonl", 10))]}
        found = []
        starts = (("nano", "nano"), ("random", str(_random_start())))
        for name, method in (("full", "full"), ("lora", LORA)):
            for rows, data, epochs in (("10", few, 10), ("all", {}, 1)):
                for kind, base in starts:
                    options = {"model": base, "method": method, "data": data, "train": {"epochs": epochs}}
                    found.append(bank(f"worth-{kind}-{name}-{rows}", **options))
        return found
    if group == "generation":
        folder = DATA / "generation-e2e-nlg"
        columns = {"format": "completion", "fields": {"prompt": "mr", "completion": "text"}}
        return [
            {
                "name": "generation-e2e",
                "data": three(folder, first_rows(folder / "test.jsonl", 500)) | columns,
                "model": "nano",
                "method": "full",
                "train": {"epochs": 3},
                "evaluate": {
                    "graders": ["bleu", "rouge"],
                    "against": ["base", {"kind": "few_shot", "k": 4}],
                    "goal": {"grader": "rouge", "beat": ["base", "few_shot"]},
                },
            }
        ]
    folder = DATA / "toolcalls-glaive-demo"
    return [
        {
            "name": "chat-toolcalls",
            "data": three(folder, folder / "test.jsonl") | {"format": "sharegpt"},
            "model": "nano",
            "method": LORA,
            "train": {"epochs": 3},
            "evaluate": {"graders": ["rouge"], "against": ["base"], "goal": {"grader": "rouge", "beat": ["base"]}},
        }
    ]


GROUPS = ("desk", "intents", "worth", "generation", "chat")
DESK = ROOT / "examples" / "support-desk" / "recipe.yaml"


def main() -> None:
    """Run the groups asked for, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=GROUPS)
    asked = parser.parse_args().only
    if not DATA.exists():
        sys.exit(f"Skipped: there is no data in {DATA}. Set TUNEWRIGHT_DATA; docs/results.md names each source.")
    OUT.mkdir(parents=True, exist_ok=True)
    for group in [asked] if asked else GROUPS:
        for path, runs in [(DESK, ROOT / "runs")] if group == "desk" else [(written(r), WORK) for r in jobs(group)]:
            figures = carry(path, runs)
            (OUT / f"{figures['name']}.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    (ROOT / "docs" / "results.md").write_text(page(), encoding="utf-8")


def written(recipe: dict[str, Any]) -> Path:
    """The recipe as a file."""
    WORK.mkdir(parents=True, exist_ok=True)
    path = WORK / f"{recipe['name']}.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    return path


def carry(path: Path, runs: Path) -> dict[str, Any]:
    """Run one recipe to its verdict in a process of its own; return the figures worth keeping."""
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    print(f"== {recipe['name']}", flush=True)
    command = [sys.executable, "-m", "tunewright.cli", "run", str(path), "--runs", str(runs), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    if done.returncode not in (0, 3, 4):
        sys.exit(f"{recipe['name']} failed with exit code {done.returncode}.")
    report = json.loads(done.stdout)
    trained, prepared = report["numbers"]["train"], report["numbers"]["prepare"]
    figures = {
        "name": recipe["name"],
        **measured_on(),
        "rows": prepared["rows"],
        "verdict": report["verdict"],
        "contestants": report["contestants"],
        **{key: trained[key] for key in COSTS},
        "broken_proofs": [proof["name"] for proof in report["proofs"] if not proof["holds"]],
    }
    tuned = figures["contestants"].get("tuned", {})
    scores = {k: v["value"] for k, v in tuned.items() if isinstance(v, dict) and "value" in v}
    print(scores, figures["training_seconds"], "s", flush=True)
    return figures


def measured_on() -> dict[str, str]:
    """The date and the machine, as pages tell them."""
    machine = f"{os.cpu_count()} cores, {platform.machine()}, {_processor()}"
    return {"date": date.today().isoformat(), "machine": machine}


def page() -> str:
    """docs/results.md, from the figures on disk."""
    kept = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(OUT.glob("*.json"))}
    by_group: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for name, figures in kept.items():
        if "contestants" in figures:
            by_group[name.split("-")[0]].append(figures)
    text = (Path(__file__).parent / "results.template.md").read_text(encoding="utf-8")
    some = next(iter(by_group.values()), [{}])[0]
    pending = {group: f"Not measured yet: `python benchmarks/results.py --only {group}`." for group in GROUPS}
    support, intents, worth = by_group["support"], by_group["intents"], by_group["worth"]
    generation, chat = by_group["generation"], by_group["chat"]
    return text.format(
        date=some.get("date", ""),
        machine=some.get("machine", ""),
        desk=_contestants(support, ("intent", "response", "asks_once")) if support else pending["desk"],
        slices=_slices(support),
        intents=_table(intents, "exact") if intents else pending["intents"],
        worth=_worth(worth) if worth else pending["worth"],
        following=_following(kept.get("following", {}).get("following", {})),
        generation=_contestants(generation, ("bleu", "rouge")) if generation else pending["generation"],
        chat=_contestants(chat, ("rouge",)) if chat else pending["chat"],
        **sections(OUT),
    )


def _table(found: list[dict[str, Any]], grader: str) -> str:
    heads = ("contestant", "accuracy (95 % interval)", "macro F1", "trained parameters", "training", "peak memory")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for figures in found:
        for name, graded in figures["contestants"].items():
            if grader not in graded:
                continue
            who = figures["name"].removeprefix("intents-") if name == "tuned" else f"{name} (untuned)"
            spent = f"{figures['training_seconds']:.0f} s, {figures['steps']} steps"
            memory = f"{figures['peak_memory_bytes'] / 2**30:.2f} GiB"
            cost = (f"{figures['trainable_parameters']:,}", spent, memory) if name == "tuned" else ("", "", "")
            f1 = graded.get("label_f1", {}).get("value")
            lines.append(f"| {who} | {interval(graded[grader])} | {f1:.3f} | {' | '.join(cost)} |")
    return "\n".join(lines)


def _worth(found: list[dict[str, Any]]) -> str:
    lines = ["| rows | method | nano | random start |", "|---|---|---|---|"]
    scores = {figures["name"]: figures["contestants"]["tuned"]["exact"] for figures in found}
    for rows, shown in (("all", "all rows, 1 epoch"), ("10", "10 a class, 10 epochs")):
        for method in ("lora", "full"):
            pair = [scores.get(f"worth-{kind}-{method}-{rows}") for kind in ("nano", "random")]
            if all(pair):
                lines.append(f"| {shown} | {method} | {' | '.join(interval(figure) for figure in pair if figure)} |")
    return "\n".join(lines)


def _following(found: dict[str, dict[str, Any]]) -> str:
    """What scripts/nano/follow.py measured."""
    lines = ["| asked for | rows | right | always the commonest answer |", "|---|---|---|---|"]
    for name, one in found.items():
        lines.append(f"| {name} | {one['rows']} | {one['right']:.2f} | {one['commonest']:.2f} |")
    return "\n".join(lines)


def _contestants(found: list[dict[str, Any]], graders: tuple[str, ...]) -> str:
    lines = [f"| job | contestant | {' | '.join(graders)} | training |", f"|---|---|{'---|' * len(graders)}---|"]
    for figures in found:
        for name, graded in figures["contestants"].items():
            cells = [interval(graded[grader]) if grader in graded else "" for grader in graders]
            cost = f"{figures['training_seconds']:.0f} s" if name == "tuned" else ""
            lines.append(f"| {figures['name']} | {name} | {' | '.join(cells)} | {cost} |")
    return "\n".join(lines)


def _slices(found: list[dict[str, Any]]) -> str:
    """The tuned model's figures for each slice, in one sentence."""
    parts = []
    for figures in found:
        for name, graded in figures["contestants"]["tuned"].get("slices", {}).items():
            parts.append(f"{interval(graded['intent'])} on the {graded['intent']['n']} rows of source `{name}`")
    return " and ".join(parts)


def portable(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe with places that hold on any machine: $TUNEWRIGHT_DATA, and paths from the repository's root."""
    text = json.dumps(recipe).replace(str(DATA), "$TUNEWRIGHT_DATA").replace(f"{ROOT}/", "")
    found: dict[str, Any] = json.loads(text)
    return found


def three(folder: Path, test: Path) -> dict[str, Any]:
    """The three files of a set."""
    return {"sources": [str(folder / "train.jsonl")], "validation": str(folder / "validation.jsonl"), "test": str(test)}


def _merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in more.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merged(base[key], value) if both else value
    return merged


def first_rows(source: Path, count: int) -> Path:
    """Every k-th row of a file, `count` in all."""
    lines = source.read_text(encoding="utf-8").splitlines()
    chosen = [lines[i * len(lines) // count] for i in range(count)]
    return _kept(f"{source.parent.name}-{source.stem}-{count}.jsonl", chosen)


def _per_class(source: Path, count: int) -> Path:
    """The first `count` rows of each label."""
    seen: dict[str, int] = defaultdict(int)
    chosen = []
    for line in source.read_text(encoding="utf-8").splitlines():
        label = json.loads(line)["label"]
        seen[label] += 1
        if seen[label] <= count:
            chosen.append(line)
    return _kept(f"{source.parent.name}-{count}-a-class.jsonl", chosen)


def _kept(name: str, lines: list[str]) -> Path:
    WORK.mkdir(parents=True, exist_ok=True)
    path = WORK / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _random_start() -> Path:
    """A model of nano's shape with random weights, and nano's tokenizer."""
    folder = WORK / "random-start"
    if not (folder / "model.safetensors").exists():
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

        from tunewright.models.bases import base_folder

        torch.manual_seed(0)
        nano = base_folder("nano")
        AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(nano)).float().save_pretrained(folder)
        AutoTokenizer.from_pretrained(nano).save_pretrained(folder)
    return folder


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


if __name__ == "__main__":
    main()
