"""How well mentions of groups are found: BBQ and CrowS-Pairs, where they are, and texts of other kinds, where few are.

python benchmarks/bias_terms.py --data shared/data
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunewright.data.groups import Words, mentions, neutral_key

BBQ = {"Age": "age", "Nationality": "nationality", "Sexual_orientation": "orientation"}
CROWS = {  # Asian and Chinese, Mexican and Hispanic stand under both
    "race-color": ("ethnicity", "nationality"), "nationality": ("nationality", "ethnicity"), "gender": ("gender",),
    "religion": ("religion",), "age": ("age",), "sexual-orientation": ("orientation",), "disability": ("disability",),
}  # fmt: skip
OTHERS = {
    "intent-banking77/train.jsonl": ("text",), "generation-e2e-nlg/train.jsonl": ("text",),
    "instruction-gsm8k/train.jsonl": ("question", "answer"),
}  # fmt: skip


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSONL file."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def bbq_figures(folder: Path) -> dict[str, dict[str, float]]:
    """By category: rows whose context names the group at all, and whose two answers are told to be of it."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    age = {"old": "old", "nonOld": "young"}
    for row in rows(folder / "bias-bbq" / "test.jsonl"):
        group = BBQ.get(row["category"])
        if group is None:
            continue
        tally = found[row["category"]]
        tally["rows"] += 1
        tally["named"] += any(one.group == group for one in mentions(row["context"]))
        people = [
            (text, kind) for text, kind in zip(row["answers"], row["answer_groups"], strict=True) if kind != "unknown"
        ]
        told = [{one.category for one in mentions(text) if one.group == group} for text, _ in people]
        tally["both"] += all(told)
        if group == "age":
            tally["answers"] += len(people)
            tally["right"] += sum(age[kind] in kinds for kinds, (_, kind) in zip(told, people, strict=True))
    return {name: dict(tally) for name, tally in found.items()}


def crows_figures(folder: Path) -> dict[str, dict[str, float]]:
    """By category: sentences in which the group is found, and pairs that are told to be twins."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows(folder / "bias-crows-pairs" / "test.jsonl"):
        if row["bias_type"] not in CROWS:
            continue
        groups, tally = CROWS[row["bias_type"]], found[row["bias_type"]]
        texts = [row["sent_more"], row["sent_less"]]
        spoken = [mentions(text) for text in texts]
        tally["pairs"] += 1
        tally["sentences"] += 2
        named = [any(one.group in groups for one in of) for of in spoken]
        tally["named"] += sum(named)
        tally["either"] += any(named)
        keys = [neutral_key(Words(text), of) for text, of in zip(texts, spoken, strict=True)]
        tally["twins"] += keys[0] == keys[1]
    return {name: dict(tally) for name, tally in found.items()}


def other_figures(folder: Path) -> dict[str, dict[str, Any]]:
    """Of texts on other subjects: rows with a mention by group, and the commonest words that were taken for one."""
    found = {}
    for name, keys in OTHERS.items():
        tally: Counter[str] = Counter()
        taken: dict[str, Counter[str]] = defaultdict(Counter)
        num, began = 0, time.perf_counter()
        for row in rows(folder / name):
            text = " ".join(str(row[key]) for key in keys)
            num += 1
            spoken = mentions(text)
            tally.update({one.group for one in spoken})
            for one in spoken:
                around = text[max(0, one.start - 15) : one.end + 15]
                taken[one.group][
                    re.sub(r"\s+", " ", around if one.group != "gender" else text[one.start : one.end])
                ] += 1
        seconds = time.perf_counter() - began
        words = {group: counts.most_common(12) for group, counts in taken.items() if group != "gender"}
        found[name] = {"rows": num, "by_group": dict(tally), "us_a_row": round(1e6 * seconds / num), "words": words}
    return found


def main() -> None:
    """Print all figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("shared/data"))
    parser.add_argument("--words", action="store_true", help="show what was taken for a mention in other texts")
    given = parser.parse_args()
    others = other_figures(given.data)
    if not given.words:
        for one in others.values():
            one.pop("words")
    print(json.dumps({"bbq": bbq_figures(given.data), "crows": crows_figures(given.data), "others": others}, indent=1))


if __name__ == "__main__":
    main()
