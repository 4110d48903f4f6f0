"""Log-probs that guards ask for are kept: a stop loses none, another model's are read again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunewright.core import storage
from tunewright.core.errors import Stopped
from tunewright.core.example import Example, Message
from tunewright.stages import kept_logprobs, perplexity


def rows() -> list[Example]:
    asked = [
        Example(
            id=str(number),
            messages=[Message(role="user", content=f"q {number}"), Message(role="assistant", content="yes")],
        )
        for number in range(10)
    ]
    return [*asked, asked[0], Example(id="text", text="Where is the parcel?"), Example(id="none", text="")]


def test_a_stop_loses_none_and_nothing_is_read_twice(
    tmp_path: Path, open_tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_logprobs, "AT_ONCE", 4)
    model, path, polls = open_tiny("llama"), tmp_path / "guards" / "logprobs.jsonl", list[int]()

    def poll(done: int) -> None:
        polls.append(done)
        if done >= 9:
            raise Stopped("asked")

    with pytest.raises(Stopped):
        kept_logprobs.logprobs(path, "one", lambda: model, rows(), poll=poll)
    kept = list(storage.read_jsonl(path))
    assert len(kept) == 8
    sums, counts = kept_logprobs.logprobs(path, "one", lambda: model, rows(), poll=lambda done: None)
    assert list(storage.read_jsonl(path))[:8] == kept and len(list(storage.read_jsonl(path))) == 12
    true_sums, true_counts = perplexity.logprobs(model, rows())
    np.testing.assert_allclose(sums, true_sums, rtol=1e-5)
    assert counts.tolist() == true_counts.tolist() and counts[-1] == 0 and np.isnan(sums[-1])

    def never() -> Any:
        raise AssertionError("all is kept: no model should be opened")

    again, _ = kept_logprobs.logprobs(path, "one", never, rows(), poll=lambda done: None)
    np.testing.assert_array_equal(again, sums)
    kept_logprobs.logprobs(path, "two", lambda: model, rows()[:2], poll=lambda done: None)
    assert {row["model"] for row in storage.read_jsonl(path)} == {"two"}
