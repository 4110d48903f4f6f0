"""Puts the figures of a benchmark into docs/performance.md, between its two markers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

BEGIN, END = "<!-- figures: written by benchmarks/train.py --docs -->", "<!-- end of figures -->"
NAMES = {
    "tunewright": "tunewright",
    "flattening": "transformers Trainer, PEFT, flattening collator",
    "trl-packing": "TRL SFTTrainer, float32, packing",
    "trl": "TRL SFTTrainer, as it comes",
    "padded": "transformers, 77 padded rows",
}


def fill(page: Path, results: dict[str, Any]) -> None:
    """Replace what stands between the markers."""
    text = page.read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} lacks the line '{BEGIN}' or '{END}'. Put them back where the figures belong.")
    page.write_text(f"{head}{BEGIN}\n{figures(results)}\n{END}{tail}", encoding="utf-8")


def figures(results: dict[str, Any]) -> str:
    """All cases as Markdown tables, with the machine they were taken on."""
    about, settings = results["machine"], results["settings"]
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    lines = [
        "",
        f"Taken on {about['date'][:10]}: {about['processor']}, {about['threads']} threads, float32 unless the row says "
        f"otherwise; medians of {settings['rounds']} interleaved rounds of {settings['steps']} steps. {versions}.",
    ]
    for found in results["cases"].values():
        lines += ["", f"### {found['title']}", ""]
        lines += table(found)
    return "\n".join([*lines, ""])


def table(found: dict[str, Any]) -> list[str]:
    """One case."""
    first = next(iter(found["contenders"].values()))
    training = "tokens_per_second" in first
    unit = "tokens/s" if training else "messages/s"
    lines = [f"| what | {unit} | of ceiling | peak memory | first step | tunewright is |", "|---|---|---|---|---|---|"]
    for name, row in found["contenders"].items():
        speed = row["tokens_per_second" if training else "messages_per_second"]
        share = f"{row['share_of_ceiling']:.0%}" if training else "-"
        times = "-" if name == "tunewright" else f"{row['ours_is_times_faster']:.2f} times as fast"
        lines.append(
            f"| {NAMES[name]} | {speed:,.0f} | {share} | {row['peak_memory_bytes'] / 2**30:.2f} GiB "
            f"| {row['first_step_seconds']:.1f} s | {times} |"
        )
    return [*lines, "", f"Ceiling: {found['ceiling_flops'] / 1e9:.0f} GFLOP/s."]
