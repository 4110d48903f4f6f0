"""A row with another label: where the answer says the label, the answer says the other."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tunewright.core.example import Example


def relabelled(example: Example, names: Mapping[str, str]) -> Example:
    """The row with its label (of several: each of them; without one: the types of its entities) renamed; itself where
    `names` has none of them.
    """
    old = example.label
    if old is None:
        spans = [span.model_copy(update={"label": names.get(span.label, span.label)}) for span in example.spans or ()]
        return example if spans == (example.spans or []) else example.model_copy(update={"spans": spans})
    new = names.get(old)
    if new is None and old.startswith("["):
        several = json.loads(old)
        renamed = list(dict.fromkeys(names.get(one, one) for one in several))
        new = json.dumps(renamed, ensure_ascii=False) if renamed != several else None
    if new is None:
        return example
    messages = [
        message.model_copy(update={"content": new})
        if message.role == "assistant" and message.content == old
        else message
        for message in example.messages
    ]
    expected = new if example.expected == old else example.expected
    return example.model_copy(update={"label": new, "messages": messages, "expected": expected})
