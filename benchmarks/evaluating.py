"""How long it takes to evaluate the bundled base, in turns with the transformers library, on real bank messages.

    python benchmarks/evaluating.py --rows 64 --rounds 3
    python benchmarks/evaluating.py --rows 1000 --rounds 1 --cases labels

Cases: `labels` (the likeliest of 77 intents; the other side scores every message with every label in padded batches, as
lm-eval does), `shared` (the same behind an instruction and four fixed examples), `answers` (free answers of 32 tokens,
batches of 32). Both sides work in turns, so that a slow minute hits both; a ratio is of one round, and the answers are
compared. The messages are read from $TUNEWRIGHT_DATA/intent-banking77.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

NEW_TOKENS = 32
PADDED = 64  # sequences in a padded batch of the other side
SHOWN = 4
Messages = list[dict[str, Any]]


def messages(num_rows: int, *, shared: bool) -> tuple[list[Messages], list[str]]:
    """The conversations, and the labels."""
    home = Path(os.environ.get("TUNEWRIGHT_DATA", "data")) / "intent-banking77"
    if not home.exists():
        raise SystemExit(f"{home} is not there. Set TUNEWRIGHT_DATA to the folder that holds intent-banking77.")
    train = [json.loads(line) for line in (home / "train.jsonl").open()]
    test = [json.loads(line) for line in (home / "test.jsonl").open()][:num_rows]
    labels = sorted({row["label"] for row in train})
    lead: Messages = []
    if shared:
        lead.append({"role": "system", "content": "Decide which of the bank's intents the message has."})
        for row in train[:SHOWN]:
            lead += [{"role": "user", "content": row["text"]}, {"role": "assistant", "content": row["label"]}]
    return [[*lead, {"role": "user", "content": row["text"]}] for row in test], labels


class Ours:
    """The engine, as `evaluate` uses it: 64 conversations at once."""

    def __init__(self) -> None:
        from tunewright.core.recipe import ModelOptions
        from tunewright.models.engine import Engine
        from tunewright.models.opening import open_model

        self.engine = Engine(open_model(ModelOptions(base="nano")))

    def answers(self, asked: list[Messages], labels: list[str]) -> list[str]:
        """Labels where there are any, else free answers."""
        from tunewright.models.decode import Decode, answer

        decode = Decode(kind="choices", labels=labels) if labels else Decode(max_new_tokens=NEW_TOKENS, stop_ids=[-1])
        made = [answer(self.engine, decode, asked[at : at + 64]) for at in range(0, len(asked), 64)]
        return [one.text for batch in made for one in batch]


class Plain:
    """The same weights in transformers, prompts padded to the longest of a batch."""

    def __init__(self, ours: Ours) -> None:
        from transformers import AutoModelForCausalLM

        from tunewright.models.bases import base_folder

        self.chat = ours.engine.model.chat
        self.net: Any = AutoModelForCausalLM.from_pretrained(base_folder("nano"), dtype="float32").eval()
        self.net.generation_config.eos_token_id = None  # every answer has its full length

    def answers(self, asked: list[Messages], labels: list[str]) -> list[str]:
        """Labels where there are any, else free answers."""
        prompts = [self.chat.prompt_ids(said) for said in asked]
        return self._labels(prompts, labels) if labels else self._free(prompts)

    def _labels(self, prompts: list[list[int]], labels: list[str]) -> list[str]:
        import torch

        endings = [self.chat.answer_ids(label) for label in labels]
        rows = [(p, e) for p in range(len(prompts)) for e in range(len(endings))]
        rows.sort(key=lambda row: len(prompts[row[0]]) + len(endings[row[1]]))  # lm-eval sorts by length, too
        scores = torch.zeros(len(prompts), len(endings))
        with torch.inference_mode():
            for at in range(0, len(rows), PADDED):
                batch = rows[at : at + PADDED]
                ids = [prompts[p] + endings[e] for p, e in batch]
                longest = max(map(len, ids))
                padded = torch.tensor([one + [0] * (longest - len(one)) for one in ids])
                mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in ids])
                logp = torch.log_softmax(self.net(input_ids=padded, attention_mask=mask).logits, -1)
                for row, (p, e) in enumerate(batch):
                    begin = len(prompts[p])
                    places = torch.arange(begin - 1, begin - 1 + len(endings[e]))
                    scores[p, e] = logp[row, places, torch.tensor(endings[e])].sum()
        return [labels[number] for number in scores.argmax(1).tolist()]

    def _free(self, prompts: list[list[int]]) -> list[str]:
        import torch

        found: dict[int, str] = {}
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        with torch.inference_mode():
            for at in range(0, len(order), 32):
                batch = order[at : at + 32]
                longest = max(len(prompts[i]) for i in batch)
                padded = torch.tensor([[0] * (longest - len(prompts[i])) + prompts[i] for i in batch])
                mask = torch.tensor([[0] * (longest - len(prompts[i])) + [1] * len(prompts[i]) for i in batch])
                made = self.net.generate(
                    input_ids=padded, attention_mask=mask, max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0
                )
                for i, ids in zip(batch, made[:, longest:].tolist(), strict=True):
                    found[i] = self.chat.answer_text(ids)
        return [found[i] for i in range(len(prompts))]


def timed(work: Callable[[], list[str]]) -> tuple[float, list[str]]:
    """Seconds, and what came."""
    began = time.perf_counter()
    came = work()
    return time.perf_counter() - began, came


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", nargs="+", default=["labels", "shared", "answers"])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    ours = Ours()
    plain = Plain(ours)
    results = []
    for case in options.cases:
        asked, labels = messages(options.rows, shared=case == "shared")
        labels = [] if case == "answers" else labels
        for side in (ours, plain):
            side.answers(asked[:4], labels)  # warms up
        seconds: dict[str, list[float]] = {"ours": [], "plain": []}
        same = 1.0
        for number in range(options.rounds):
            came: dict[str, list[str]] = {}
            turns = [("ours", ours), ("plain", plain)]
            for name, side in turns if number % 2 == 0 else reversed(turns):
                took, came[name] = timed(partial(side.answers, asked, labels))
                seconds[name].append(took)
            same = min(same, sum(a == b for a, b in zip(came["ours"], came["plain"], strict=True)) / len(asked))
        ratios = [other / own for own, other in zip(seconds["ours"], seconds["plain"], strict=True)]
        results.append(
            {
                "case": case,
                "rows": len(asked),
                "ours_seconds": round(statistics.median(seconds["ours"]), 2),
                "plain_seconds": round(statistics.median(seconds["plain"]), 2),
                "times_faster": round(statistics.median(ratios), 2),
                "same_answers": round(same, 4),
            }
        )
        if not options.json:
            print(results[-1], flush=True)
    if options.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
