"""A million short rows through the whole of prepare: time and peak memory into benchmarks/results/prepare.json.

    python benchmarks/prepare_rows.py [--rows 1000000]

The rows are random messages of 5 to 18 made-up words with 77 labels; a hundredth are copies, a hundredth near twins of
others, a thousandth have a second label. Every check runs; the recipe names no model.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

OUT = Path(__file__).parent / "results" / "prepare.json"
CODE = """
import json, sys, time
from tunewright.stages import flow
begun, used = time.perf_counter(), time.process_time()
report = flow.prepare(sys.argv[1], runs=sys.argv[2])
peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1]
print(json.dumps({'seconds': time.perf_counter() - begun, 'cpu_seconds': time.process_time() - used,
    'peak_mib': int(peak) / 1024, 'rows': report.numbers['rows'],
    'findings': {finding.name: finding.count for finding in report.findings}}))
"""


def rows(count: int) -> Iterator[dict[str, str]]:
    """The rows."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(20_000)]
    labels = [f"intent_{number}" for number in range(77)]
    old: list[dict[str, str]] = []
    for _ in range(count):
        kind = draw.random()
        if kind < 0.021 and old:
            known = draw.choice(old)
            if kind < 0.01:
                yield known
            elif kind < 0.02:
                yield {**known, "text": f"{known['text']} {draw.choice(words)}"}
            else:
                yield {**known, "label": draw.choice(labels)}
            continue
        row = {"text": " ".join(draw.choices(words, k=draw.randint(5, 18))), "label": draw.choice(labels)}
        if len(old) < 50_000:
            old.append(row)
        yield row


def main() -> None:
    """Measure in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    count = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows(count))
        (folder / "recipe.yaml").write_text("name: many\ndata: {sources: [rows.jsonl]}\n", encoding="utf-8")
        command = [sys.executable, "-c", CODE, str(folder / "recipe.yaml"), str(folder / "runs")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    found |= {"asked": count, "date": str(date.today()), "machine": platform.processor() or platform.machine()}
    print(json.dumps(found, indent=2))
    OUT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
