"""Answers through the official client: whole and streamed ones agree, and equal evaluation's."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import pytest
from openai import OpenAI
from pydantic import BaseModel
from server_process import Server

from .conftest import LABELS, METHODS, Place

HELLO: list[Any] = [{"role": "user", "content": "hello there"}]


def said(client: OpenAI, model: str, messages: list[Any] = HELLO, **options: Any) -> str:
    answer = client.chat.completions.create(model=model, messages=messages, **options)
    return answer.choices[0].message.content or ""


def evaluated(place: Place, run: str, messages: list[Any]) -> Any:
    """The answer as evaluation makes it."""
    from tunewright.models.decode import answer
    from tunewright.models.engine import Engine
    from tunewright.models.release import open_release

    opened = open_release(place.runs / run / "releases" / "001")
    return answer(Engine(opened.model), opened.decode, [messages], adapter=opened.adapter, with_scores=True)[0]


def test_served_is_evaluated(client: OpenAI, place: Place) -> None:
    for run in ("red", "blue", "desk", "prefix"):
        expected = evaluated(place, run, HELLO)
        got = client.chat.completions.create(model=run, messages=HELLO)
        assert got.choices[0].message.content == expected.text
        assert got.choices[0].finish_reason == expected.finish
        assert got.usage and got.usage.prompt_tokens == expected.prompt_tokens
        assert got.usage.completion_tokens == expected.completion_tokens


def test_adapters_of_every_kind_are_served_as_evaluated(client: OpenAI, place: Place) -> None:
    """Also when all of them answer at once, on one base."""
    expected = {run: evaluated(place, run, HELLO).text for run in METHODS}
    with ThreadPoolExecutor(len(METHODS)) as pool:
        got = dict(zip(METHODS, pool.map(lambda run: said(client, run), METHODS), strict=True))
    assert got == expected and len(set(got.values())) == len(METHODS)


def test_models_are_listed(client: OpenAI) -> None:
    names = {model.id for model in client.models.list()}
    assert {"red", "red:001", "blue", "desk", "whole", "whole:001", "tiny"} <= names
    assert client.models.retrieve("red:001").owned_by == "tunewright"


def test_every_name_answers_differently(client: OpenAI) -> None:
    answers = {name: said(client, name, temperature=0) for name in ("red", "blue", "whole", "tiny", "prefix")}
    assert len(set(answers.values())) == 5
    assert said(client, "red:001") == answers["red"]


@pytest.mark.parametrize("model", ["red", "desk", "whole", "tiny"])
def test_a_stream_tells_the_same(client: OpenAI, model: str) -> None:
    options: dict[str, Any] = {} if model == "desk" else {"temperature": 0, "max_tokens": 40}
    whole = client.chat.completions.create(model=model, messages=HELLO, **options)
    usage: Any = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(model=model, messages=HELLO, stream=True, stream_options=usage, **options)
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert text == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    # how much was kept of the prompt depends on who asked before
    counted = {
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
    }
    assert chunks[-1].usage.model_dump(include=counted) == whole.usage.model_dump(include=counted)
    assert not chunks[-1].choices
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_label_is_chosen_and_its_scores_are_shown(client: OpenAI, place: Place) -> None:
    answer = client.chat.completions.create(model="desk", messages=HELLO, logprobs=True, n=2)
    assert len(answer.choices) == 2
    scores = answer.choices[0].model_extra["tunewright"]["scores"]
    assert set(scores) == set(LABELS)
    assert answer.choices[0].message.content == max(scores, key=scores.get)
    assert scores == pytest.approx(evaluated(place, "desk", HELLO).scores, abs=1e-4)


def test_system_message_of_training_is_put_before(client: OpenAI) -> None:
    system = {"role": "system", "content": "Be brief."}
    assert said(client, "blue") == said(client, "blue", [system, *HELLO])
    assert said(client, "blue") != said(client, "blue", [{**system, "content": "Be long."}, *HELLO])


def test_text_parts_are_joined(client: OpenAI) -> None:
    parts = [{"type": "text", "text": "hello "}, {"type": "text", "text": "there"}]
    assert said(client, "red", [{"role": "user", "content": parts}]) == said(client, "red")


def test_tools_reach_the_template(client: OpenAI) -> None:
    tools: list[Any] = [{"type": "function", "function": {"name": "now", "parameters": {}}}]
    plain = client.chat.completions.create(model="red", messages=HELLO)
    offered = client.chat.completions.create(model="red", messages=HELLO, tools=tools)
    refused = client.chat.completions.create(model="red", messages=HELLO, tools=tools, tool_choice="none")
    assert plain.usage and offered.usage and refused.usage
    assert offered.usage.prompt_tokens > plain.usage.prompt_tokens + len("now")
    assert refused.usage.prompt_tokens == plain.usage.prompt_tokens


def test_stop_strings_end_the_answer_unseen(client: OpenAI) -> None:
    free = said(client, "red", max_tokens=40, temperature=0)
    stop = free[5:8]
    cut = client.chat.completions.create(model="red", messages=HELLO, max_tokens=40, stop=["never there", stop])
    assert cut.choices[0].message.content == free[: free.index(stop)].rstrip()
    assert cut.choices[0].finish_reason == "stop"
    chunks = client.chat.completions.create(model="red", messages=HELLO, max_tokens=40, stop=stop, stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == cut.choices[0].message.content


def test_the_same_seed_draws_the_same(client: OpenAI) -> None:
    drawn = [
        client.chat.completions.create(model="red", messages=HELLO, temperature=1.5, seed=seed, n=3, max_tokens=20)
        for seed in (7, 7, 8)
    ]
    texts = [[choice.message.content for choice in answer.choices] for answer in drawn]
    assert texts[0] == texts[1] != texts[2]
    assert len(set(texts[0])) == 3
    assert [choice.index for choice in drawn[0].choices] == [0, 1, 2]
    assert drawn[0].system_fingerprint == drawn[1].system_fingerprint


def test_a_release_keeps_its_own_temperature(client: OpenAI) -> None:
    drawn = {said(client, "whole") for _ in range(4)}
    assert len(drawn) > 1
    assert len({said(client, "whole", temperature=0) for _ in range(3)}) == 1


def test_a_nearly_zero_temperature_is_greedy(client: OpenAI) -> None:
    assert said(client, "red", temperature=1e-300) == said(client, "red", temperature=0)


def test_logprobs_of_a_chat(client: OpenAI) -> None:
    options: dict[str, Any] = {"logprobs": True, "top_logprobs": 3, "max_tokens": 10}
    whole = client.chat.completions.create(model="red", messages=HELLO, **options)
    entries = whole.choices[0].logprobs.content
    assert whole.usage and len(entries) == whole.usage.completion_tokens
    for entry in entries:
        assert len(entry.top_logprobs) == 3
        assert entry.logprob == pytest.approx(entry.top_logprobs[0].logprob, abs=1e-5)  # greedy
    chunks = client.chat.completions.create(model="red", messages=HELLO, stream=True, **options)
    streamed = [entry for c in chunks if c.choices[0].logprobs for entry in c.choices[0].logprobs.content or []]
    assert [entry.token for entry in streamed] == [entry.token for entry in entries]


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"place": {"enum": ["north", "south"]}, "count": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["place", "count"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("temperature", [0, 1.5])
def test_an_answer_is_json_of_the_schema(client: OpenAI, temperature: float) -> None:
    held: Any = {"type": "json_schema", "json_schema": {"name": "visit", "strict": True, "schema": SCHEMA}}
    options: dict[str, Any] = {"temperature": temperature, "seed": 1, "max_tokens": 400, "response_format": held}
    whole = client.chat.completions.create(model="red", messages=HELLO, n=3, **options)
    for choice in whole.choices:
        assert choice.finish_reason == "stop"
        found = json.loads(choice.message.content or "")
        assert set(found) == {"place", "count"} and found["place"] in ("north", "south") and 0 <= found["count"] <= 99
    chunks = client.chat.completions.create(model="red", messages=HELLO, stream=True, **options)
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == whole.choices[0].message.content


def test_the_client_s_own_models_of_answers_work(client: OpenAI) -> None:
    class Visit(BaseModel):
        place: Literal["north", "south"]
        paid: bool

    answer = client.chat.completions.parse(model="red", messages=HELLO, response_format=Visit, max_tokens=400)
    assert isinstance(answer.choices[0].message.parsed, Visit)


def test_an_answer_is_a_json_object(client: OpenAI) -> None:
    held: Any = {"type": "json_object"}
    answers = client.chat.completions.create(
        model="red", messages=HELLO, response_format=held, temperature=1, seed=3, n=4, max_tokens=600
    )
    whole = [choice.message.content or "" for choice in answers.choices if choice.finish_reason == "stop"]
    assert all(isinstance(json.loads(text), dict) for text in whole)
    assert all((choice.message.content or "").startswith("{") for choice in answers.choices)


def test_an_answer_is_one_of_the_choices(client: OpenAI) -> None:
    texts = ["yes", "yes, and more", 'a "quoted" one', "h\u00e9las"]
    found = set()
    for temperature in (0, 2):
        answer = client.chat.completions.create(
            model="red",
            messages=HELLO,
            temperature=temperature,
            seed=5,
            n=8,
            extra_body={"structured_outputs": {"choice": texts}},
            max_tokens=50,
        )
        found |= {choice.message.content for choice in answer.choices}
    assert found <= set(texts) and len(found) > 1
    text = client.completions.create(
        model="red", prompt="Once", extra_body={"structured_outputs": {"choice": texts}}, max_tokens=50
    )
    assert text.choices[0].text in texts


def test_neighbours_of_a_held_answer_are_free(client: OpenAI) -> None:
    held: Any = {"type": "json_object"}
    free = said(client, "red", temperature=0, max_tokens=30)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lambda: said(client, "red", temperature=0, max_tokens=30, response_format=held))
        second = pool.submit(lambda: said(client, "red", temperature=0, max_tokens=30))
        assert second.result() == free != first.result()


def test_one_token_to_draw_from_is_greedy(client: OpenAI) -> None:
    greedy = said(client, "red", temperature=0, max_tokens=20)
    assert said(client, "red", temperature=2, seed=1, max_tokens=20, extra_body={"top_k": 1}) == greedy
    assert said(client, "red", temperature=2, seed=1, max_tokens=20, extra_body={"top_k": 100}) != greedy


def test_completions(client: OpenAI) -> None:
    answer = client.completions.create(model="tiny", prompt="Once", max_tokens=8, logprobs=2)
    choice = answer.choices[0]
    assert choice.finish_reason in ("length", "stop")
    assert choice.logprobs and choice.logprobs.tokens and choice.logprobs.top_logprobs
    assert len(choice.logprobs.top_logprobs[0]) == 2
    chunks = client.completions.create(model="tiny", prompt="Once", max_tokens=8, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == choice.text


def test_completions_of_several_prompts_and_of_token_ids(client: OpenAI) -> None:
    several = client.completions.create(model="red", prompt=["Once", "Twice"], n=2, max_tokens=6, temperature=0)
    alone = client.completions.create(model="red", prompt="Twice", max_tokens=6, temperature=0)
    assert [choice.index for choice in several.choices] == [0, 1, 2, 3]
    assert several.choices[2].text == several.choices[3].text == alone.choices[0].text
    ids = [0, *(choice for choice in range(40, 45))]
    assert client.completions.create(model="red", prompt=[ids], max_tokens=4).usage.prompt_tokens == len(ids)


def test_mixed_requests_at_once_get_what_each_gets_alone(client: OpenAI, server: Server) -> None:
    asked = [
        (model, [{"role": "user", "content": f"question {'very ' * number}long"}], {"max_tokens": 10 + number})
        for number, model in enumerate(["red", "blue", "prefix", "tiny", "blue", "red", "whole", "prefix"])
    ]
    alone = [said(client, model, messages, temperature=0, **options) for model, messages, options in asked]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            found = pool.map(lambda one: said(client, one[0], one[1], temperature=0, **one[2]), asked)
            assert list(found) == alone
    assert server.health()["live"] == 0


def test_words_of_a_control_token_stay_text(client: OpenAI) -> None:
    plain = client.chat.completions.create(model="red", messages=[{"role": "user", "content": "x" * 10}])
    marked = client.chat.completions.create(model="red", messages=[{"role": "user", "content": "<|im_end|>"}])
    assert plain.usage and marked.usage
    assert marked.usage.prompt_tokens == plain.usage.prompt_tokens  # ten letters, ten bytes: not one control token


def test_words_of_a_control_token_in_a_tool_stay_text(client: OpenAI) -> None:
    def size(name: str) -> int:
        tools: list[Any] = [{"type": "function", "function": {"name": "f", "description": name, "parameters": {}}}]
        answer = client.chat.completions.create(model="red", messages=HELLO, tools=tools, max_tokens=1)
        return answer.usage.prompt_tokens if answer.usage else 0

    assert size("<|im_end|>") == size("x" * 10)
