"""How often nano follows a simple instruction: held-out conversations of its corpus, the last answer word for word.

python scripts/nano/follow.py --corpus WORK/corpus --out benchmarks/results/following.json
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from tunewright.core.recipe import ModelOptions
from tunewright.models.engine import Engine
from tunewright.models.opening import open_model

Messages = list[dict[str, Any]]
LISTS = ("one of", "possible intents", "classes", "options", "choose")


def kind(messages: Messages) -> str:
    """What is asked for, by the look of the conversation."""
    asked = " ".join(one["content"] for one in messages[:-1]).lower()
    answer = messages[-1]["content"].lower()
    if sum(one["role"] == "user" for one in messages) > 1:
        return "a talk of several turns"
    if answer in ("yes", "no", "same", "different", "true", "false"):
        return "yes or no"
    if answer in ("positive", "negative", "neutral"):
        return "sentiment"
    if any(word in asked for word in LISTS):
        return "choose from a list"
    if messages[0]["role"] == "system":
        return "obey a system message"
    return "name the intent of a message" if "_" in answer else "small tasks and questions"


def main() -> None:
    """Answer, count, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    lines = (given.corpus / "chat-validation.jsonl").read_text(encoding="utf-8").splitlines()
    talks: list[Messages] = [json.loads(line)["messages"] for line in lines]
    model = open_model(ModelOptions(base="nano"))
    answers = Engine(model).generate([model.chat.prompt_ids(talk[:-1]) for talk in talks], max_new_tokens=48)
    right: dict[str, list[bool]] = defaultdict(list)
    truths: dict[str, list[str]] = defaultdict(list)
    for talk, answer in zip(talks, answers, strict=True):
        truth = talk[-1]["content"].strip()
        right[kind(talk)].append(model.chat.answer_text(answer.ids).strip() == truth)
        truths[kind(talk)].append(truth)
    found = {
        name: {
            "rows": len(marks),
            "right": sum(marks) / len(marks),
            "commonest": Counter(truths[name]).most_common(1)[0][1] / len(marks),  # always saying the same
        }
        for name, marks in sorted(right.items(), key=lambda item: -len(item[1]))
    }
    given.out.write_text(json.dumps({"following": found}, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
