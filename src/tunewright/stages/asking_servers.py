"""Puts the test set to a server. Replies are kept as they come, so that nothing is asked, or paid for, twice."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunewright.core import storage
from tunewright.core.endpoint import Client, Endpoint
from tunewright.core.endpoint import Question as Asked
from tunewright.core.errors import DataError, EndpointError
from tunewright.core.run import Run
from tunewright.stages.asking import Answered, Question, read_kept, sample_field, seed_of, together

_BETWEEN = re.compile(r"[\s_-]+")
_AT_ENDS = re.compile(r"^\W+|\W+$")


def ask_server(
    run: Run,
    name: str,
    questions: Sequence[Question],
    endpoint: Endpoint,
    *,
    max_tokens: int,
    temperature: float = 0.0,
    labels: Sequence[str] = (),
    folder: Path | None = None,
    what: str | None = None,
    samples: int = 1,
) -> Answered:
    """Every question answered, going on from answers.<name>.jsonl in the folder (the run's `evaluate/`).

    labels: what answers are chosen from; the server is told them, and what it says becomes a label where it is one. A
    question that it refuses (too long, say) gets an empty answer. samples: answers to each question, with seeds of
    their own. Raises DataError, EndpointError, Stopped.
    """
    path = (folder or run.path("evaluate")) / f"answers.{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    if unfit := [one.id for one in questions if one.tools]:
        raise DataError(
            f"Contestant '{name}' is a server, and test row {unfit[0]} offers tools, which are sent to none. Leave the "
            "contestant out."
        )
    asked = {one.id: _asked(one, labels, max_tokens, temperature) for one in questions}
    server = [endpoint.url, endpoint.model, endpoint.extra]
    keys = {id: storage.digest([server, vars(one)]) for id, one in asked.items()}
    storage.keep_rows(path, lambda row: keys.get(row["id"]) == row["key"])
    kept = read_kept(path)
    places = [(id, sample) for id in asked for sample in range(samples)]
    waiting = [place for place in places if place not in kept]
    done = len(places) - len(waiting)

    def seeded(id: str, sample: int) -> Asked:
        return replace(asked[id], seed=seed_of(id, keys[id], sample)) if temperature else asked[id]

    if waiting:
        with Client(endpoint, stop=run.stop) as client:
            before = time.monotonic()
            for number, reply in client.ask_all(seeded(*place) for place in waiting):
                (id, sample), now = waiting[number], time.monotonic()
                row: dict[str, Any] = {"id": id, "key": keys[id], **sample_field(sample)}
                row["seconds"] = round(now - before, 5)
                if isinstance(reply, EndpointError):
                    row |= {"text": "", "finish": "refused", "prompt_tokens": 0, "completion_tokens": 0}
                else:
                    row |= {"text": reply.text, "finish": reply.finish, "latency": reply.seconds}
                    row |= {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.completion_tokens}
                before = now
                storage.append_jsonl(path, row, point="answers")
                kept[id, sample] = row
                done += 1
                run.progress("evaluate", done=done, total=len(places), what=what or f"{name} answers")
    found = together(kept, questions, samples)
    texts = [label_of(text, labels) for text in found.texts] if labels else found.texts
    return replace(found, texts=texts, money=endpoint.cost(found.prompt_tokens, found.completion_tokens))


def label_of(text: str, labels: Sequence[str]) -> str:
    """The label that an answer is: the same but for case, spacing (`_` and `-` too) and punctuation at its ends; else
    the answer as it stands, which is none.
    """
    said = text.strip()
    if said in labels:
        return said
    same = [label for label in labels if _folded(label) == _folded(said)]
    return same[0] if len(same) == 1 else said


def _folded(text: str) -> str:
    return _BETWEEN.sub(" ", _AT_ENDS.sub("", text.casefold())).strip()


def _asked(question: Question, labels: Sequence[str], max_tokens: int, temperature: float) -> Asked:
    """What is sent: with the labels in the system message, unless the conversation names them all."""
    messages = [dict(message) for message in question.messages]
    said = "\n".join(str(message.get("content", "")) for message in messages)
    if labels and not all(label in said for label in labels):
        told = f"Answer with exactly one of these labels and nothing else: {', '.join(labels)}."
        if messages[0]["role"] in ("system", "developer"):
            messages[0]["content"] = f"{messages[0]['content']}\n\n{told}"
        else:
            messages.insert(0, {"role": "system", "content": told})
    return Asked(messages, max_tokens=max_tokens, temperature=temperature)
