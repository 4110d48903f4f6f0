"""Tables of docs/results.md from figures on disk: what the runners beside results.py wrote. Knows no runner."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from verdict_tables import JOBS, verdict

from tunewright.core.statistics import wilson

Figures = dict[str, Any]
LAST = 5  # rounds of sampling that the first and the last figure of a reward are means of
MULTITASK = {"bank": "exact", "polarity": "exact", "assistant": "exact", "names": "exact", "facts": "rouge"}
API_MODELS = {
    "base": "`nano`",
    "base, held to the labels": "`nano`, held to the 15 labels",
    "start": "the checkpoint: supervised, one epoch",
    "supervised": "supervised, three epochs",
    "dpo": "dpo from the checkpoint",
    "reinforcement": "reinforcement from the checkpoint",
}
HEADS = {"polarity": "exact", "names": "entity_f1"}


def sections(folder: Path) -> dict[str, str]:
    """Each table by its place in the template; one that is not measured says how."""
    return {place: _section(folder, file, runner, table) for place, (file, runner, table) in TABLES.items()}


def interval(figure: Figures) -> str:
    """A figure with its interval."""
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


def methods(kept: Figures) -> str:
    """A row for each method, best first."""
    head = ("method", "accuracy (95 % interval)", "trained parameters", "kept on disk", "learning rate")
    lines = [_head(*head)]
    found = [(name, one) for name, one in kept.items() if "contestants" in one]
    base = next((one["contestants"]["base"]["exact"] for _, one in found if "base" in one["contestants"]), None)
    for _, one in sorted(found, key=lambda pair: -pair[1]["contestants"]["tuned"]["exact"]["value"]):
        form = "adapter" if "adapter" in one["bytes"] else "merged"
        size = f"{one['bytes'][form] / 2**20:.2f} MiB{'' if form == 'adapter' else ', the whole model'}"
        score = interval(one["contestants"]["tuned"]["exact"])
        name = f"`{json.dumps(one['recipe']['method']).replace(chr(34), '')}`"
        lines.append(f"| {name} | {score} | {one['trainable_parameters']:,} | {size} | {one['lr']:g} |")
    if base:
        lines.append(f"| the base, untuned | {interval(base)} | | | |")
    return "\n".join(lines)


def quantised(kept: Figures) -> str:
    """The loss of each text under each form of the base."""
    lines = [_head("text", "pieces", "plain base", "NF4: worse by", "NF4, double: worse by")]
    for name, one in kept["quantised"]["losses"].items():
        worse = [f"{interval(one[kind]['worse'])}" for kind in ("nf4", "nf4_double")]
        lines.append(f"| {name} | {one['plain']['n']} | {one['plain']['value']:.3f} | {' | '.join(worse)} |")
    return "\n".join(lines)


def heads(kept: Figures) -> str:
    """A row for each job with a head."""
    lines = [_head("job", "figure", "rows learned", "test rows", "trained parameters")]
    for name, one in kept.items():
        if (grader := HEADS.get(name.split("-")[0])) is not None:
            figure = one["contestants"]["tuned"][grader]
            cells = f"{grader} {interval(figure)} | {one['rows']['train']:,} | {one['rows']['test']:,}"
            lines.append(f"| {name} | {cells} | {one['trainable_parameters']:,} |")
    return "\n".join(lines)


def onpolicy(kept: Figures) -> str:
    """How the reward rose, and what graders say of the test rows."""
    lines = [_head("objective", f"reward, first {LAST} rounds", f"last {LAST} rounds", "form right", "number right")]
    before: list[str] = []
    for name, one in kept["rewards"]["objectives"].items():
        rewards = [row["reward"] for row in one["steps"]]
        said = {found["grader"]: found for found in one["test"]["comparisons"]}
        count = one["test"]["rows"]
        before = [interval(_share(found["other"], count)) for found in said.values()]
        after = [interval(_share(found["tuned"], count)) for found in said.values()]
        means = [f"{sum(part) / len(part):.2f}" for part in (rewards[:LAST], rewards[-LAST:])]
        lines.append(f"| {name} | {' | '.join([*means, *after])} |")
    lines.insert(1, f"| before (the `sft`) | | | {' | '.join(before)} |")
    return "\n".join(lines)


def continual(kept: Figures) -> str:
    """Means over the orders of the sets, by way of keeping."""
    lines = [_head("keeping by", "orders", "mean accuracy at the end", "backward transfer", "forward transfer")]
    ways: dict[str, list[Figures]] = defaultdict(list)
    for name, one in kept.items():
        ways[name.split("-")[0]].append(one)
    for way, found in ways.items():
        means = [sum(one[key] for one in found) / len(found) for key in ("average", "backward", "forward")]
        lines.append(f"| {way} | {len(found)} | {'{:.3f} | {:+.3f} | {:+.3f}'.format(*means)} |")
    return "\n".join(lines)


def monitoring(kept: Figures) -> str:
    """How many requests show each planted change, and by which figures."""
    lines = [_head("planted", "in", "requests", "seen by")]
    for one in kept["plants"]:
        size = f"{one['requests']:,}" if one["requests"] else f"more than {max(map(int, one['seen'])):,}"
        lines.append(f"| {one['what']} | {one['share']:.0%} | {size} | {', '.join(one['by'])} |")
    null = kept["null"]
    rate = interval(_share(null["alarms"] / null["windows"], null["windows"]))
    lines.append(
        f"\nWith nothing planted, {null['windows']} windows of {null['requests']} requests, each at a level of "
        f"{null['level']:g}: a share of {rate} raised an alarm."
    )
    return "\n".join(lines)


def fine_tuning_api(kept: Figures) -> str:
    """The jobs with what was done to them, and what their models answer."""
    lines = [_head("job", "from", "what was done in its middle", "seconds", "steps", "events", "taken up again")]
    for name, one in kept["jobs"].items():
        start = "`nano`" if one["from"] == "nano" else "the checkpoint"
        cells = (one["disturbed_by"], round(one["seconds"]), one["steps"], one["events"], one["resumed"])
        lines.append(f"| {name} | {start} | {' | '.join(map(str, cells))} |")
    twin = kept["undisturbed"]
    same = "is the same, byte by byte" if twin["same_results"] else "IS ANOTHER"
    lines.append(
        f"\nThe supervised job undisturbed: {twin['seconds']:.0f} seconds; its result file {same}. "
        f"Steps that were told twice: {sum(one['told_twice'] for one in kept['jobs'].values())}.\n"
    )
    lines.append(_head("model", "right", "prefers the right intent of the pair", "mean reward"))
    for name, right in kept["right"].items():
        pair = interval(kept["pairs"][name]) if name in kept["pairs"] else ""
        reward = f"{kept['rewards'][name]:.3f}" if name in kept["rewards"] else ""
        lines.append(f"| {API_MODELS[name]} | {interval(right)} | {pair} | {reward} |")
    lines.append(f"\nopenai {kept['client']}, {kept['date']}, {kept['machine']}; {kept['seconds']} seconds in all.")
    return "\n".join(lines)


def preferences(kept: Figures) -> str:
    """The share of held-out pairs put in the right order, and dpo's margin."""
    lines = [_head("objective", "pairs learned", "test pairs", "in the right order", "mean margin")]
    for name, one in kept.items():
        if "pair_accuracy" in one["contestants"].get("tuned", {}):
            order, margin = one["contestants"]["tuned"]["pair_accuracy"], ""
            pairs = order["n"]
        elif one["metrics"]:
            pairs, found = one["test_pairs"], one["metrics"]["test"]
            order, margin = _share(found["accuracy"], pairs), f"{found['margin']:+.3f}"
        else:
            continue
        lines.append(f"| `{name[3:]}` | {one['rows']['train']:,} | {pairs} | {interval(order)} | {margin} |")
    return "\n".join(lines)


def multitask(kept: Figures) -> str:
    """A row for each set: the model for all beside its own."""
    lines = [_head("set", "measured by", "test rows", "one model for all five", "a model of its own")]
    slices = kept["mixed"]["contestants"]["tuned"]["slices"]
    for name, grader in MULTITASK.items():
        if name in kept:
            alone, among = kept[name]["contestants"]["tuned"][grader], slices[name][grader]
            lines.append(f"| {name} | {grader} | {alone['n']} | {interval(among)} | {interval(alone)} |")
    return "\n".join(lines)


def embed(kept: Figures) -> str:
    """Means over the draws of a few rows a class, with the least and the greatest, for tuned and untouched vectors."""
    lines = [_head("rows a class", "vectors", "draws", "accuracy, mean", "lowest to highest")]
    draws: dict[tuple[int, str], list[float]] = defaultdict(list)
    for name, one in kept.items():
        _, what, shots, _ = name.split("-")
        draws[int(shots), what].append(one["contestants"]["tuned"]["exact"]["value"])
    for (shots, what), found in sorted(draws.items()):
        told = {"embed": "tuned by `embed`", "frozen": "of the untouched encoder"}[what]
        mean = f"{sum(found) / len(found):.3f}"
        lines.append(f"| {shots} | {told} | {len(found)} | {mean} | {min(found):.3f} to {max(found):.3f} |")
    return "\n".join(lines)


def pii(kept: Figures) -> str:
    """The recognizers beside each other, then the rules by type, on the test rows."""
    lines = [
        _head("recognizer", "of the right type", "structured types", "whatever the type", "by characters", "rows/s")
    ]
    for name, one in sorted(kept.items(), key=lambda pair: pair[0] != "rules"):
        test, speed = one["test"], one["false_alarms"]["bank intents"]["rows_per_second"]
        overlap, letters = test["overlap"], test["characters"]["all, whatever the type"]
        cells = (overlap["all"], overlap["structured"], overlap["all, whatever the type"], letters)
        label = f"{name} ({one['model']})" if one["model"] else name
        lines.append(f"| {label} | {' | '.join(_found(cell) for cell in cells)} | {speed:,} |")
    lines += [
        "",
        _head("type", "in the test rows", "test", "in train and validation rows", "train and validation rows"),
    ]
    rules = kept["rules"]
    for type, own in sorted(rules["test"]["overlap"].items(), key=lambda pair: -pair[1]["there"]):
        seen = [rules[split]["overlap"].get(type) for split in ("train", "validation")]
        there = sum(figures["there"] for figures in seen if figures)
        shown = _found(_pooled([figures for figures in seen if figures]))
        if "all" not in type and (own["there"] or there):
            lines.append(f"| {type} | {own['there']} | {_found(own) if own['there'] else ''} | {there:,} | {shown} |")
    others = sorted(
        {type for split in ("train", "validation") for type in rules[split]["overlap"]}
        - rules["test"]["overlap"].keys()
    )
    for type in others:
        seen = [rules[split]["overlap"][type] for split in ("train", "validation") if type in rules[split]["overlap"]]
        lines.append(f"| {type} | 0 | | {sum(one['there'] for one in seen):,} | {_found(_pooled(seen))} |")
    lines += ["", _head("texts without personal data", "rows", "recognizer", "rows with something", "what")]
    for name, one in kept.items():
        for plain, alarms in one["false_alarms"].items():
            what = ", ".join(f"{count:,} {type}" for type, count in list(alarms["types"].items())[:5])
            lines.append(f"| {plain} | {alarms['rows']:,} | {name} | {alarms['rows_with_some']:,} | {what} |")
    return "\n".join(lines)


def prepared(kept: Figures) -> str:
    """A million rows through prepare."""
    rows = kept["rows"]
    found = ", ".join(f"{count:,} {name}" for name, count in kept["findings"].items())
    return (
        f"{rows['read']:,} rows were read, {rows['kept']:,} kept; {kept['seconds']:.0f} s ({kept['cpu_seconds']:.0f} s "
        f"of one core), {kept['peak_mib']:.0f} MiB at the peak. Findings: {found}."
    )


def _pooled(figures: list[Figures]) -> Figures:
    """Precision, recall and F2 over several splits."""
    there, told = sum(one["there"] for one in figures), sum(one["told"] for one in figures)
    recall = sum(one["recall"] * one["there"] for one in figures) / there if there else 1.0
    precision = sum(one["precision"] * one["told"] for one in figures) / told if told else 1.0
    both = 4 * precision + recall
    return {"precision": precision, "recall": recall, "f2": 5 * precision * recall / both if both else 0.0}


def _found(figure: Figures) -> str:
    return f"P {figure['precision']:.3f}, R {figure['recall']:.3f}, F2 {figure['f2']:.3f}"


TABLES: dict[str, tuple[str, str, Callable[[Figures], str]]] = {
    **{f"verdict_{job}": (f"verdicts/{job}.json", f"results_verdicts.py --only {job}", verdict) for job in JOBS},
    "methods": ("methods", "results_methods.py", methods),
    "quantised": ("methods", "results_methods.py --only quantised", quantised),
    "heads": ("heads", "results_heads.py", heads),
    "embed": ("embed", "results_embed.py", embed),
    "onpolicy": ("onpolicy", "results_onpolicy.py", onpolicy),
    "continual": ("continual.json", "results_continual.py", continual),
    "monitoring": ("monitoring.json", "results_monitoring.py", monitoring),
    "fine_tuning_api": ("fine-tuning-api.json", "results_fine_tuning_api.py", fine_tuning_api),
    "preferences": ("preferences.json", "results_dpo.py", preferences),
    "multitask": ("multitask.json", "results_multitask.py", multitask),
    "pii": ("pii.json", "pii.py", pii),
    "prepared": ("prepare.json", "prepare_rows.py", prepared),
}


def _section(folder: Path, file: str, runner: str, table: Callable[[Figures], str]) -> str:
    found = folder / file
    if found.is_dir():
        kept = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(found.glob("*.json"))}
    else:
        kept = json.loads(found.read_text(encoding="utf-8")) if found.exists() else {}
    return table(kept) if kept else f"Not measured yet: `python benchmarks/{runner}`."


def _share(value: float, count: int) -> Figures:
    found = wilson(value * count, count)
    return {"value": found.value, "low": found.low, "high": found.high}


def _head(*names: str) -> str:
    return f"| {' | '.join(names)} |\n{'|---' * len(names)}|"
