"""The figures of the benchmark as tables, and into docs/performance.md between its two markers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import picture
from cases import CASES, OPTIONAL, OURS

DOCS = Path(__file__).parent.parent / "docs"
BEGIN, END = "<!-- figures: written by benchmarks/bench.py --docs -->", "<!-- end of figures -->"
NAMES = {
    "tunewright": "tunewright",
    "labels/tunewright": "tunewright, the scores of all labels, one message a call",
    "labels/tunewright-best": "tunewright, the best label, 8 messages a call",
    "padded": "transformers Trainer, PEFT, padded batches",
    "labels/padded": "transformers, 77 padded rows",
    "labels/cached": "transformers, message read once, its cache repeated for 77 padded endings",
    "few-shot-labels/cached": "transformers, each prompt read once, its cache repeated for 77 padded endings",
    "few-shot-answers/padded": "transformers `generate`, one padded batch",
    "adapters/tunewright": "tunewright, four adapters mixed",
    "adapters/one-adapter": "tunewright, all requests to one adapter",
    "adapters/peft": "PEFT `generate` with `adapter_names`",
    "help/python": "`python -c pass`",
    "help/trl": "`trl --help`",
    "encoding/trl": "TRL, prompt-completion rows, two processes",
    "trl-padded": "TRL DPOTrainer, float32, 16 pairs in a padded batch",
    "trl-accumulating": "TRL DPOTrainer, float32, 4 padded batches of 4 pairs",
    "fused": "torch `linear_cross_entropy`, chunked",
    "whole": "whole logits, `linear` and `cross_entropy`",
    "flattening": "transformers Trainer, PEFT, flattening collator",
    "trl-packing": "TRL SFTTrainer, float32, packing",
    "trl": "TRL SFTTrainer, as it comes",
    "dynamic": "transformers `generate`",
    "static": "transformers `generate`, static cache",
}
GPU_NAMES = {
    OURS: "tunewright",
    "trl": "TRL SFTTrainer, packing",
    "trl-liger": "TRL SFTTrainer, packing, Liger kernels",
    "unsloth": "Unsloth, packing",
}
UNITS = {"tokens": "tokens/s", "messages": "messages/s", "megabytes": "MB/s", "seconds": "seconds"}
LIMITS = {"products": "of ceiling", "memory": "of memory limit"}


def lines(found: dict[str, Any]) -> list[str]:
    """One case as a Markdown table."""
    heads = ["what", UNITS[found["figure"]]]
    heads += [LIMITS[found["limit"]]] if found["limit"] else []
    heads += ["peak memory", "tunewright is"]
    rows = [heads, ["---"] * len(heads)]
    for name, row in found["contenders"].items():
        cells = [named(found, name), amount(row["speed"])]
        cells += [f"{row['share_of_limit']:.0%}"] if found["limit"] else []
        # a command's memory is its child's, which is not measured
        cells += ["-" if found["work"] == "help" else f"{row['peak_memory_bytes'] / 2**30:.2f} GiB"]
        cells += ["-" if name == OURS else f"{row['ours_is_times_faster']:.2f} times as fast"]
        rows.append(cells)
    table = ["|" + "---|" * len(heads) if row[0] == "---" else f"| {' | '.join(row)} |" for row in rows]
    if found["limit"] == "products":
        table += ["", f"Ceiling: {median(found['limits']) / 1e9:.0f} GFLOP/s."]
    elif found["limit"] == "memory":
        table += ["", f"Memory limit: {median(found['limits']) / 1e9:.1f} GB/s."]
    if found["work"] == "large":
        table += ["", parts(found["contenders"][OURS]["rounds"])]
    return table


def parts(rounds: list[dict[str, float]]) -> str:
    """What preparing and encoding took, and the memory they held over that of a file of 1 MB."""
    one = sorted(rounds, key=lambda turn: turn["seconds"])[len(rounds) // 2]
    return (
        f"Preparing: {one['megabytes'] / one['prepare_seconds']:.1f} MB/s, "
        f"{one['prepare_memory_bytes'] / 2**20:,.0f} MiB more than a file of 1 MB. Encoding: "
        f"{one['tokens'] / one['encode_seconds']:,.0f} tokens/s, with it {one['memory_bytes'] / 2**20:,.0f} MiB more."
    )


def named(found: dict[str, Any], name: str) -> str:
    """What a contender is, in words."""
    return NAMES.get(f"{found['work']}/{name}") or NAMES[name]


def amount(value: float) -> str:
    """A figure with three digits at least."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def median(values: list[float]) -> float:
    """The middle one."""
    return sorted(values)[len(values) // 2]


def fill(folder: Path, docs: Path = DOCS) -> None:
    """Write all figures of a folder between the page's markers, and the pictures beside it."""
    found = {name: _read(folder / f"{name}.json") for name in CASES if (folder / f"{name}.json").exists()}
    text = (docs / "performance.md").read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{docs / 'performance.md'} lacks the line '{BEGIN}' or '{END}'. Put them back.")
    written = "\n".join(figures(found))
    growth = folder / "growth.json"
    if growth.exists():
        grown = _read(growth)
        written += "\n\n" + "\n".join(growth_lines(grown))
        (docs / "growth.svg").write_text(picture.curves(grown["sweeps"]), encoding="utf-8")
    if (folder / "where.json").exists():
        written += "\n\n" + "\n".join(where_lines(_read(folder / "where.json")))
    more = {
        "gpu-instructions": gpu_lines, "gpu-shared-prompt": gpu_lines, "serving": serving_lines, "soak": soak_lines
    }  # fmt: skip
    for name, lines_of in more.items():
        if (folder / f"{name}.json").exists():
            written += "\n\n" + "\n".join(lines_of(_read(folder / f"{name}.json")))
    (docs / "performance.md").write_text(f"{head}{BEGIN}\n\n{written}\n\n{END}{tail}", encoding="utf-8")
    trained = {name: case for name, case in found.items() if case["limit"] == "products" and name not in OPTIONAL}
    if trained:
        (docs / "performance.svg").write_text(picture.bars(trained, NAMES), encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def figures(found: dict[str, dict[str, Any]]) -> list[str]:
    """The picture and every case, with the machine it was taken on."""
    if not found:
        return []
    most = taken_on(next(iter(found.values()))["machine"])
    out = [f"Where nothing else is said: {most}"]
    if any(case["limit"] == "products" for case in found.values()):
        out += ["", "![Tokens a second against the ceiling of matrix products](performance.svg)"]
    for name, case in found.items():
        here = taken_on(case["machine"])
        told = [f"{case['machine']['date'][:10]}, `--cases {name}`{'' if here == most else f': {here}'}"]
        out += ["", f"### {case['title']}", "", *lines(case), "", *told]
    return out


def taken_on(about: dict[str, Any]) -> str:
    """Where, and with which versions."""
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    return f"{about['processor']}, {about['threads']} threads,\n{versions}."


def growth_lines(grown: dict[str, Any]) -> list[str]:
    """How the product's own time and memory grow."""
    out = ["### How time and memory grow", "", "![Growth of time](growth.svg)"]
    for sweep in grown["sweeps"]:
        out += ["", f"{sweep['title']}:", ""]
        out += ["| " + " | ".join([sweep["what"], *(f"{point['at']:g}" for point in sweep["points"])]) + " |"]
        out += ["|" + "---|" * (1 + len(sweep["points"]))]
        for key, unit in sweep["units"].items():
            out += ["| " + " | ".join([unit, *(amount(point[key]) for point in sweep["points"])]) + " |"]
    return [*out, "", f"{grown['machine']['date'][:10]}, `python benchmarks/growth.py`: {taken_on(grown['machine'])}"]


def where_lines(where: dict[str, Any]) -> list[str]:
    """What the time of a step is spent on."""
    settings = " ".join(f"--{key} {where[key]}" for key in ("case", "shape", "method"))
    rows = [f"| {row['what']} | {row['share']:.0%} |" for row in where["rows"]]
    told = f"{where['machine']['date'][:10]}, `python benchmarks/where.py {settings}`: {taken_on(where['machine'])}"
    return ["### Where the time of a step goes", "", "| operations | share |", "|---|---|", *rows, "", told]


def per_second(facts: dict[str, Any], what: str) -> float:
    """Of a contender's steps the middle one: what a compiler does at some of them is left out so."""
    return median([turn[what] / turn["seconds"] for turn in facts["turns"]])


def gpu_lines(found: dict[str, Any]) -> list[str]:
    """Contenders on a GPU."""
    settings, about = found["settings"], found["machine"]
    out = [f"### On a GPU: {settings['shape']}, {settings['dtype']}, rows: {settings['rows']}", ""]
    out += ["| method | what | tokens/s | slowest and fastest step | of ceiling | peak memory |", "|" + "---|" * 6]
    for method, contenders in found["methods"].items():
        for name, facts in contenders.items():
            if "failed" in facts:
                out += [f"| {method} | {GPU_NAMES[name]} | failed: {facts['failed']} | | | |"]
                continue
            speeds = [turn["tokens"] / turn["seconds"] for turn in facts["turns"]]
            cells = [method, GPU_NAMES[name], amount(per_second(facts, "tokens"))]
            cells += [f"{amount(min(speeds))} to {amount(max(speeds))}"]
            cells += [f"{per_second(facts, 'flops') / found['ceiling_flops']:.0%}"]
            cells += [f"{facts['peak_memory_bytes'] / 2**30:.1f} GiB"]
            out += [f"| {' | '.join(cells)} |"]
    command = f"python benchmarks/gpu.py --rows {settings['rows']} --methods {' '.join(found['methods'])}"
    told = f"{about['date'][:10]}, `{command} --steps {settings['steps']}`: {about['device']}, {taken_on(about)}"
    return [*out, "", f"Ceiling: {found['ceiling_flops'] / 1e12:.0f} TFLOP/s.", "", told]


def serving_lines(found: dict[str, Any]) -> list[str]:
    """What the server does with many clients, with kept beginnings and with several adapters."""
    out = ["### The server: nano with an adapter, through HTTP"]
    if "chats" in found:
        chats = found["chats"]
        out += ["", "| chats | tokens/s | first token p50 | p99 | longest pause p99 |", "|---|---|---|---|---|"]
        out += [f"| one at a time | {amount(chats['tokens_per_second_one'])} | | | |"]
        many = [chats["first_token_p50"], chats["first_token_p99"], chats["longest_gap_p99"]]
        out += [
            f"| 16 at once | {amount(chats['tokens_per_second_many'])} | "
            + " | ".join(f"{s:.3f} s" for s in many)
            + " |"
        ]
        out += ["", f"16 at once are {chats['times_as_fast']:.1f} times as fast."]
    if "prefix" in found:
        heads = ["600 words of a system prompt", "the first to use it", "others' first turn", "later turns"]
        out += ["", f"| {' | '.join(heads)} |", "|---|---|---|---|"]
        for name, what in (("prefix", "beginnings kept"), ("no-prefix", "nothing kept")):
            turns = found[name]
            seconds = [turns[f"{name_}_seconds"] for name_ in ("cold", "shared_system", "next_turn")]
            out += [f"| {what} | {' | '.join(f'{second:.3f} s' for second in seconds)} |"]
        out += ["", "Each is the time to the first token."]
    if "adapters" in found:
        mixed = found["adapters"]
        out += [
            "",
            f"16 chats over four adapters: {amount(mixed['tokens_per_second_mixed'])} tokens/s; over one: "
            f"{amount(mixed['tokens_per_second_one_adapter'])}. Of {mixed['answers']} answers {mixed['wrong_answers']} "
            "differed from the adapter's own alone.",
        ]
    return [*out, "", f"{found['machine']['date'][:10]}, `python benchmarks/serving.py`: {taken_on(found['machine'])}"]


def soak_lines(found: dict[str, Any]) -> list[str]:
    """What came of a long time under load."""
    return [
        f"### {found['minutes']:g} minutes at 80 % of the server's capacity, with reloads of an adapter",
        "",
        f"{found['answered']:,} answers ({found['requests_per_second']:.1f} a second), {found['lost']} lost, "
        f"{found['mixed']} not exactly one version's; {found['versions_seen']} versions of the reloaded adapter "
        f"answered. First token: {found['first_token_p50']:.3f} s (p99 {found['first_token_p99']:.3f} s). Memory: "
        f"{found['memory_mib']:,.0f} MiB at the end, {found['memory_mib_an_hour']:+,.0f} MiB an hour in the second "
        "half of the time.",
        "",
        f"{found['machine']['date'][:10]}, `python benchmarks/serving.py --soak`: {taken_on(found['machine'])}",
    ]
