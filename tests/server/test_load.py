"""Under load: keys take turns, a full queue loses nobody it let in, what was read before is not read again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from server_process import Server, start

from tunewright.core.recipe import ModelOptions
from tunewright.models.opening import open_model
from tunewright.models.sequences import Request
from tunewright.server.protocol import ApiError
from tunewright.server.worker import End, Failed, Worker, Writing

from .conftest import Place

LONG = "Tell me all that you know of the card which was stolen in the market this morning. " * 3
PROMPT = [0, *range(70, 110)]


@pytest.fixture
def worker(place: Place) -> Iterator[Worker]:
    """An engine with room for two answers, and six that wait."""
    worker = Worker(open_model(ModelOptions(base=str(place.base))), max_live=2, max_waiting=6)
    yield worker
    worker.stop()


async def ended(job: Any) -> End | Failed:
    while not isinstance(event := await asyncio.wait_for(job.events.get(), 60), End | Failed):
        pass
    return event


def test_one_request_of_a_key_passes_the_many_of_another(worker: Worker) -> None:
    order: list[str] = []

    async def follow(job: Any, name: str) -> None:
        assert isinstance(await ended(job), End)
        order.append(name)

    async def story() -> None:
        crowd = [worker.submit(Writing([Request(PROMPT, 30, party="crowd")]), party="crowd") for _ in range(8)]
        with pytest.raises(ApiError) as refused:
            worker.submit(Writing([Request(PROMPT, 30, party="crowd")]), party="crowd")
        assert refused.value.status == 429 and 1 <= int(refused.value.headers["retry-after"]) <= 60
        single = worker.submit(Writing([Request(PROMPT, 30, party="single")]), party="single")
        await asyncio.gather(*(follow(job, "crowd") for job in crowd), follow(single, "single"))

    asyncio.run(story())
    assert order.index("single") <= 4  # it has a place at once, beside the two that are being written
    assert not worker.admission.loads


def test_a_flood_is_turned_away_and_nobody_who_was_let_in_is_lost(place: Place, tmp_path: Any) -> None:
    server = start(place.runs, ["red"], tmp_path / "log", max_live=2, max_waiting=4)
    client = server.client()

    def ask(number: int) -> str:
        try:
            made = client.chat.completions.create(
                model="red", messages=[{"role": "user", "content": "hello there"}], max_tokens=12
            )
        except openai.RateLimitError as refused:
            assert int(refused.response.headers["retry-after"]) >= 1
            return "429"
        return made.choices[0].message.content or ""

    try:
        with ThreadPoolExecutor(60) as pool:
            answers = list(pool.map(ask, range(60)))
        assert answers.count("429") > 0
        assert len({answer for answer in answers if answer != "429"}) == 1  # all the same, and none empty
        assert len([answer for answer in answers if answer != "429"]) >= 6
        assert server.health() == {"status": "ok", "live": 0, "waiting": 0}
    finally:
        server.stop()


def test_what_was_read_before_is_told_as_cached_tokens(server: Server) -> None:
    client = server.client()
    talk: list[Any] = [{"role": "system", "content": LONG}, {"role": "user", "content": "hello"}]

    def asked(**options: Any) -> Any:
        return client.chat.completions.create(model="blue", messages=talk, max_tokens=8, **options)

    first = asked()
    assert first.usage.prompt_tokens_details.cached_tokens == 0
    again = asked(n=2)
    assert again.choices[0].message.content == first.choices[0].message.content
    cached = again.usage.prompt_tokens_details.cached_tokens
    assert first.usage.prompt_tokens - 16 <= cached < first.usage.prompt_tokens
    talk += [{"role": "assistant", "content": first.choices[0].message.content}, {"role": "user", "content": "and?"}]
    *_, last = asked(stream=True, stream_options={"include_usage": True})
    assert last.usage.prompt_tokens_details.cached_tokens >= cached
    other = client.chat.completions.create(model="red", messages=talk[:2], max_tokens=2)
    assert other.usage.prompt_tokens_details.cached_tokens == 0
