"""The adapter of the LM Evaluation Harness: what its own Hugging Face model says on the same weights; local tasks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunewright.core import storage
from tunewright.core.errors import RecipeError
from tunewright.guards import _harness

pytest.importorskip("lm_eval")
PAIRS = [("Where is the card", " in the market"), ("", "Thank you for telling us"), ("The fees ", "are new. ")]


def request(*args: Any) -> Any:
    return SimpleNamespace(args=args)


@pytest.fixture(scope="module")
def theirs(tiny: Callable[[str], Path]) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(
        pretrained=str(tiny("llama")), device="cpu", dtype="float32", batch_size=1, prefix_token_id=2, max_length=511
    )


def test_it_says_what_the_harness_itself_says_of_the_same_weights(theirs: Any, open_tiny: Callable[..., Any]) -> None:
    from lm_eval.api.instance import Instance

    model = open_tiny("llama")
    ours = _harness.adapter(model)
    assert _harness._beginning(model) == 2  # what an answer ends with: the tiny tokenizer has no token that begins one

    def asked(kind: str, *args: Any) -> list[Any]:
        return [Instance(request_type=kind, doc={}, arguments=one, idx=0) for one in args]

    scored = asked("loglikelihood", *PAIRS)
    for mine, its in zip(ours.loglikelihood(scored), theirs.loglikelihood(scored), strict=True):
        assert mine[0] == pytest.approx(its[0], abs=2e-3) and mine[1] == its[1]
    whole = asked("loglikelihood_rolling", ("Thank you for telling us. " * 40,))
    assert ours.loglikelihood_rolling(whole)[0] == pytest.approx(theirs.loglikelihood_rolling(whole)[0], abs=0.05)
    options = {"until": ["\n", "e"], "max_gen_toks": 12, "do_sample": False}
    answered = asked("generate_until", ("Where is the parcel", options), ("What is", options))
    assert ours.generate_until(answered) == theirs.generate_until(answered)


def test_a_task_of_a_local_folder_tells_what_was_lost(
    tmp_path: Path, open_tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # no git repository, of which the harness would complain

    storage.write_jsonl(
        tmp_path / "rows.jsonl",
        [{"q": f"question {n}", "choices": ["yes", "no", "maybe"], "a": n % 3} for n in range(12)],
    )
    storage.write_text(
        tmp_path / "local.yaml",
        f"""task: local_choices
dataset_path: json
dataset_kwargs: {{data_files: {{test: {tmp_path / "rows.jsonl"}}}, cache_dir: {tmp_path / "cache"}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{q}}}}:"
doc_to_choice: choices
doc_to_target: a
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
""",
    )
    models = {"base": open_tiny("llama"), "tuned": open_tiny("qwen2")}
    capfd.readouterr()
    told: list[str] = []
    scene: Any = SimpleNamespace(open=models.__getitem__, poll=lambda what, *_: told.append(what), seed=0)
    [found] = _harness.measures(scene, ["local_choices"], folder=str(tmp_path), most=10, bound=0.5)
    assert (found.name, found.n, found.bound) == ("local_choices, acc lost", 10, 0.5)
    assert found.base is not None and found.tuned is not None and found.low is not None and found.high is not None
    assert found.value == pytest.approx(found.base - found.tuned)
    assert found.low <= found.value <= found.high and set(told) == {"base, harness", "tuned, harness"}
    assert capfd.readouterr() == ("", "")


def test_an_unknown_task_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lm_eval.tasks.TaskManager", lambda **_: SimpleNamespace(all_tasks=["hellaswag"]))
    with pytest.raises(RecipeError, match="knows no task 'nowhere'"):
        _harness.measures(SimpleNamespace(), ["hellaswag", "nowhere"], folder=None, most=10, bound=None)  # type: ignore[arg-type]
