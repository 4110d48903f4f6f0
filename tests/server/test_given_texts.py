"""Given texts told back (`echo`) with what their tokens are worth: exactly what the library's own forward pass says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from openai import OpenAI
from openai.types import Completion
from transformers import AutoModelForCausalLM, AutoTokenizer

from tunewright.server.upstream import Upstream
from tunewright.server.worker import Worker

from .conftest import Place
from .locked import opened
from .strict_types import fits

TEXT = 'The caf\u00e9 says "\u20ac5" <|im_start|>'  # tokens of bytes, and words that look like a control token


@pytest.fixture(scope="module")
def expected(place: Place) -> Any:
    """Ids to the log-probs of all tokens at each place, by the merged release's own files."""
    net = AutoModelForCausalLM.from_pretrained(place.runs / "whole/releases/001/merged", dtype=torch.float32).eval()

    def forward(ids: list[int]) -> torch.Tensor:
        with torch.no_grad():
            return torch.log_softmax(net(torch.tensor([ids])).logits[0], -1)

    return forward


@pytest.fixture(scope="module")
def tokenizer(place: Place) -> Any:
    return AutoTokenizer.from_pretrained(place.base)


def complete(client: OpenAI, prompt: Any, **options: Any) -> Completion:
    raw = client.completions.with_raw_response.create(model="whole", prompt=prompt, **options)
    fits_but_for_first(raw.text)
    return raw.parse()


def fits_but_for_first(text: str) -> None:
    """The client's types have no null in token_logprobs, which the API's own answers begin with."""
    body = json.loads(text)
    for choice in body["choices"]:
        if choice["logprobs"] and choice["logprobs"]["token_logprobs"][:1] == [None]:
            choice["logprobs"]["token_logprobs"][0] = 0.0
            choice["logprobs"]["top_logprobs"][0] = {}
    fits(Completion, json.dumps(body))


def worth(forward: Any, ids: list[int]) -> list[float]:
    logp = forward(ids)
    return [float(logp[n - 1, ids[n]]) for n in range(1, len(ids))]


def test_a_given_text_is_scored_as_the_library_does(client: OpenAI, expected: Any, tokenizer: Any) -> None:
    ids = [0, *tokenizer.encode(TEXT, add_special_tokens=False, split_special_tokens=True)]
    told = complete(client, TEXT, echo=True, max_tokens=0, logprobs=3)
    (choice,) = told.choices
    found = choice.logprobs
    assert (choice.text, choice.finish_reason) == (TEXT, "length") and found is not None
    assert told.usage is not None
    assert (told.usage.prompt_tokens, told.usage.completion_tokens) == (len(ids), 0)
    first, *others = found.token_logprobs
    assert first is None and found.top_logprobs[0] is None
    assert others == pytest.approx(worth(expected, ids), abs=2e-5)
    best = expected(ids)[:-1].topk(3).values.tolist()
    for place, tops in zip(best, found.top_logprobs[1:], strict=True):
        assert max(tops.values()) == pytest.approx(place[0], abs=2e-5) and len(tops) <= 3
    assert found.tokens[0] == "<|endoftext|>", "what begins a document is the model's alone"
    for at, token in list(zip(found.text_offset, found.tokens, strict=True))[1:]:
        assert TEXT[at] == token or token == "\ufffd"
    assert TEXT[found.text_offset[-1] :] == ">" and found.text_offset == sorted(found.text_offset)


def test_ids_are_told_back_as_their_text_and_the_answer_goes_on(client: OpenAI, expected: Any, tokenizer: Any) -> None:
    """As scripts of lm-eval-harness ask: ids, one more token, greedy."""
    ids = [1, *tokenizer.encode("user caf\u00e9", add_special_tokens=False), 2]
    (choice,) = complete(client, ids, echo=True, max_tokens=3, logprobs=1, temperature=0).choices
    plain = complete(client, ids, max_tokens=3, logprobs=1, temperature=0).choices[0]
    found, after = choice.logprobs, plain.logprobs
    assert found is not None and after is not None
    assert choice.text == "<|im_start|>user caf\u00e9<|im_end|>" + plain.text
    assert found.token_logprobs[1 : len(ids)] == pytest.approx(worth(expected, ids), abs=2e-5)
    assert found.tokens[len(ids) :] == after.tokens
    assert found.token_logprobs[len(ids) :] == pytest.approx(after.token_logprobs, abs=2e-5)
    start = len(choice.text) - len(plain.text)
    assert found.text_offset[len(ids) :] == [start + at for at in after.text_offset]
    assert found.text_offset[:2] == [0, len("<|im_start|>")]


def test_each_prompt_and_each_of_its_answers_has_its_own(client: OpenAI, expected: Any, tokenizer: Any) -> None:
    texts = ["a longer text than that", "short"] * 2
    choices = complete(client, texts, echo=True, max_tokens=2, logprobs=0, n=2, temperature=0).choices
    assert [choice.index for choice in choices] == list(range(8))
    for number, choice in enumerate(choices):
        ids = [0, *tokenizer.encode(texts[number // 2], add_special_tokens=False)]
        assert choice.text.startswith(texts[number // 2]) and choice.logprobs is not None
        assert choice.logprobs.token_logprobs[1 : len(ids)] == pytest.approx(worth(expected, ids), abs=2e-5)


def test_a_long_text_is_scored_in_pieces_and_what_was_kept_of_it_is_read_anew(
    client: OpenAI, expected: Any, tokenizer: Any
) -> None:
    text = "abcdefghij " * 300
    ids = [0, *tokenizer.encode(text, add_special_tokens=False)]
    for _ in range(2):
        told = complete(client, text, echo=True, max_tokens=0, logprobs=0)
        assert told.choices[0].logprobs is not None
        assert told.choices[0].logprobs.token_logprobs[1:] == pytest.approx(worth(expected, ids), abs=1e-4)
    assert complete(client, text, max_tokens=1).choices[0].text is not None


def test_an_echo_streams_before_its_answer(client: OpenAI) -> None:
    for options in ({}, {"logprobs": 1}):
        whole = complete(client, ["one", "two"], echo=True, max_tokens=4, temperature=0, **options).choices
        texts, told = ["", ""], [[], []]  # type: tuple[list[str], list[list[Any]]]
        asked = {"model": "whole", "prompt": ["one", "two"], "echo": True, "max_tokens": 4, "temperature": 0}
        for chunk in client.completions.create(stream=True, **asked, **options):  # type: ignore[call-overload]
            (choice,) = chunk.choices
            texts[choice.index] += choice.text
            told[choice.index] += choice.logprobs.token_logprobs if choice.logprobs else []
        assert texts == [choice.text for choice in whole] and texts[0].startswith("one")
        assert told == [choice.logprobs.token_logprobs if choice.logprobs else [] for choice in whole]


def test_no_token_may_be_asked_for_without_an_echo_too(client: OpenAI) -> None:
    (choice,) = complete(client, "abc", max_tokens=0).choices
    assert (choice.text, choice.finish_reason, choice.logprobs) == ("", "length", None)
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="whole", messages=[{"role": "user", "content": "x"}], max_tokens=0)


def test_an_adapter_scores_with_its_own_weights(client: OpenAI) -> None:
    asked = {"prompt": "abc", "echo": True, "max_tokens": 0, "logprobs": 0}
    found = [client.completions.create(model=name, **asked).choices[0].logprobs for name in ("red", "blue", "prompt")]
    assert len({tuple(one.token_logprobs) for one in found if one}) == 3


def test_an_engine_that_cannot_score_says_so(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told back without log-probs needs no engine for it."""
    monkeypatch.setattr(Worker, "scores_prompts", Upstream.scores_prompts)
    with opened(tmp_path, place.base) as locked:
        asked = {"model": "tiny", "prompt": "abc", "echo": True, "max_tokens": 2}
        for more, param in (({"logprobs": 0}, "echo"), ({"max_tokens": 0}, "max_tokens")):
            refused = locked.ask("POST", "/v1/completions", json=asked | more)
            assert refused.status_code == 400 and refused.json()["error"]["param"] == param
        told = locked.ask("POST", "/v1/completions", json=asked).json()
    assert told["choices"][0]["text"].startswith("abc") and told["choices"][0]["logprobs"] is None
