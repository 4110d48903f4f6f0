"""Engines in other processes: what clients get is what the engine here would have said."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi import Request as Http
from fastapi.responses import JSONResponse, Response, StreamingResponse

from tests.models.test_gguf_files import make_folder
from tunewright.models.engine import Request
from tunewright.server.protocol import ApiError
from tunewright.server.upstream import Face, Step, Upstream
from tunewright.server.worker import Choosing, End, Failed, Piece, Writing

PROMPTS = ["hello", "where is my card", "a\u00e9b", "the exchange rate"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tiny base, opened."""
    from tunewright.core.recipe import ModelOptions
    from tunewright.models.opening import open_model

    folder = tmp_path_factory.mktemp("upstream") / "tiny"
    make_folder(folder, "llama", tied=True)
    return open_model(ModelOptions(base=str(folder)))


def asked(tiny: Any, text: str, **options: Any) -> Request:
    """A request for a greedy answer to a message."""
    prompt = tiny.chat.prompt_ids([{"role": "user", "content": text}], None)
    return Request(prompt, options.pop("max_new_tokens", 12), stop_ids=tuple(tiny.chat.stop_ids), **options)


def expected(tiny: Any, request: Request) -> tuple[str, str, list[float]]:
    """What the engine here says."""
    from tunewright.models.engine import Engine

    (made,) = Engine(tiny, plain=True).generate(
        [request.prompt], max_new_tokens=request.max_new_tokens, stop_ids=request.stop_ids, logprobs=True
    )
    return tiny.chat.decode(made.ids), made.finish, made.logprobs


async def told(upstream: Upstream, work: Writing | Choosing) -> list[Piece | End | Failed]:
    """All events of some work."""
    job = upstream.submit(work)
    events: list[Piece | End | Failed] = []
    answers = work.copies if isinstance(work, Choosing) else job.size
    while sum(isinstance(event, End) for event in events) < answers:
        events.append(await asyncio.wait_for(job.events.get(), 60))
        if isinstance(events[-1], Failed):
            break
    return events


def text_of(events: list[Any], index: int = 0) -> str:
    """The text of one answer."""
    return "".join(event.text for event in events if isinstance(event, Piece) and event.index == index)


# --- llama.cpp ---


@pytest.fixture(scope="module")
def llama(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """llama.cpp over the same base."""
    pytest.importorskip("xllamacpp")
    from tunewright.models import gguf_files
    from tunewright.server.llama_cpp import LlamaCpp

    file = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    gguf_files.write(Path(tiny.base), file, kind="f32", name="tiny")
    writer = LlamaCpp(file, parallel=4, context=512)
    yield writer
    writer.stop()


def test_llama_cpp_answers_as_the_engine(tiny: Any, llama: Any) -> None:
    async def ask() -> list[list[Any]]:
        upstream = Upstream(llama, Face(tiny.chat, 512))
        works = [
            Writing([asked(tiny, text, logprobs=True, likeliest=2)], strip=False, logprobs=True) for text in PROMPTS
        ]
        return await asyncio.gather(*(told(upstream, work) for work in works))

    for text, events in zip(PROMPTS, asyncio.run(ask()), strict=True):
        said, finish, logprobs = expected(tiny, asked(tiny, text))
        assert text_of(events) == said.rstrip("\ufffd")  # half a character at the end is not told
        assert events[-1].finish == finish and events[-1].num_tokens == len(logprobs)
        tokens = [token for event in events if isinstance(event, Piece) for token in event.tokens]
        assert tokens
        for token in tokens:  # not all: llama.cpp tells none of tokens that are parts of characters
            assert any(token.logprob == pytest.approx(logprob, abs=0.05) for logprob in logprobs)
            assert len(token.likeliest) == 2


def test_llama_cpp_holds_answers_to_a_form(tiny: Any, llama: Any) -> None:
    schema = {"type": "object", "properties": {"paid": {"type": "boolean"}}, "required": ["paid"]}
    request = asked(tiny, "hello", max_new_tokens=60)

    async def ask(form: dict[str, Any]) -> str:
        return text_of(await told(Upstream(llama, Face(tiny.chat, 512)), Writing([request], form=form)))

    assert set(json.loads(asyncio.run(ask({"json": schema | {"additionalProperties": False}})))) == {"paid"}
    assert asyncio.run(ask({"choice": ["yes, it is", "no"]})) in ("yes, it is", "no")


def test_llama_cpp_is_begun_again_after_a_crash_and_ends_with_us(tiny: Any, llama: Any) -> None:
    request = asked(tiny, "hello")

    async def ask() -> str:
        return text_of(await told(Upstream(llama, Face(tiny.chat, 512)), Writing([request], strip=False)))

    before = asyncio.run(ask())
    llama.process.process.kill()
    llama.process.process.wait()
    assert asyncio.run(ask()) == before


# --- a stand-in for vLLM: its wire, with the engine here behind it ---


@pytest.fixture(scope="module")
def vllm(tiny: Any) -> Iterator[Any]:
    """A server that speaks vLLM's wire."""
    import uvicorn

    from tunewright.models import scoring
    from tunewright.models.engine import Engine
    from tunewright.server.vllm import Vllm

    app = FastAPI()
    seen: list[dict[str, Any]] = []
    guard = threading.Lock()

    def stream(body: dict[str, Any]) -> Iterator[str]:
        with guard:
            (made,) = Engine(tiny, plain=True).generate(
                [body["prompt"]], max_new_tokens=body["max_tokens"], stop_ids=body["stop_token_ids"], logprobs=True
            )
        known = ""
        for number in range(len(made.ids)):
            text = tiny.chat.decode(made.ids[: number + 1])
            text = known if text.endswith("\ufffd") else text
            choice: dict[str, Any] = {"index": 0, "text": text[len(known) :], "token_ids": [made.ids[number]]}
            known = text
            choice["finish_reason"] = None
            if "logprobs" in body:
                choice["logprobs"] = {
                    "tokens": ["x"],
                    "token_logprobs": [made.logprobs[number]],
                    "top_logprobs": [{"x": -1.0}],
                }
            yield f"data: {json.dumps({'choices': [choice]})}\n\n"
        ids = [body["stop_token_ids"][0]] if made.finish == "stop" else []
        rest = tiny.chat.decode(made.ids)[len(known) :]
        last = {"index": 0, "text": rest, "token_ids": ids, "finish_reason": made.finish, "logprobs": None}
        yield f"data: {json.dumps({'choices': [last]})}\n\n"
        yield "data: [DONE]\n\n"

    @app.post("/v1/completions")
    async def complete(request: Http) -> Response:
        body = await request.json()
        seen.append(body)
        if body["model"] == "gone":
            return JSONResponse({"error": "no such model"}, status_code=404)
        if body.get("stream"):
            return StreamingResponse(stream(body), media_type="text/event-stream")
        choices = []
        for index, ids in enumerate(body["prompt"]):
            places: list[Any] = [None]
            for place in range(1, len(ids)):
                (score,) = scoring.scores(tiny, [ids[:place]], [[ids[place]]])[0]
                places.append({str(ids[place]): {"logprob": score}})
            choices.append({"index": index, "text": "", "prompt_logprobs": places})
        return JSONResponse({"choices": list(reversed(choices))})

    @app.post("/v1/load_lora_adapter")
    async def load(request: Http) -> Response:
        body = await request.json()
        seen.append(body)
        return Response("no room", status_code=400) if body["lora_name"] == "big" else Response("ok")

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        threading.Event().wait(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    writer = Vllm(f"http://127.0.0.1:{port}", {"authorization": "Bearer k"})
    writer.seen = seen  # type: ignore[attr-defined]
    yield writer
    server.should_exit = True
    thread.join()


def test_vllm_is_sent_token_ids_and_answers_as_the_engine(tiny: Any, vllm: Any) -> None:
    async def ask(text: str) -> list[Any]:
        work = Writing([asked(tiny, text, logprobs=True, likeliest=1, adapter="red")], strip=False, logprobs=True)
        return await told(Upstream(vllm, Face(tiny.chat, 512)), work)

    for text in PROMPTS:
        events = asyncio.run(ask(text))
        said, finish, logprobs = expected(tiny, asked(tiny, text))
        assert text_of(events) == said
        assert (events[-1].finish, events[-1].num_tokens) == (finish, len(logprobs))
        assert vllm.seen[-1]["model"] == "red" and vllm.seen[-1]["prompt"] == asked(tiny, text).prompt
        assert vllm.seen[-1]["ignore_eos"] and vllm.seen[-1]["stop_token_ids"] == list(tiny.chat.stop_ids)


def test_vllm_weighs_labels_as_the_engine(tiny: Any, vllm: Any) -> None:
    from tunewright.models.decode import Decode, answer
    from tunewright.models.engine import Engine

    decode = Decode(kind="choices", labels=["lost card", "card arrival"])
    said = [{"role": "user", "content": "hi"}]
    (here,) = answer(Engine(tiny), decode, [said], with_scores=True)

    async def ask() -> list[Any]:
        return await told(Upstream(vllm, Face(tiny.chat, 512)), Choosing(decode, said, None, "", 2, True))

    events = asyncio.run(ask())
    assert [event.text for event in events if isinstance(event, Piece)] == [here.text] * 2
    assert events[-1].scores == pytest.approx(here.scores, abs=1e-4)


def test_what_vllm_refuses_is_told(tiny: Any, vllm: Any, tmp_path: Path) -> None:
    from tunewright.core.errors import EndpointError, NotThere
    from tunewright.server.vllm import VllmProcess

    async def ask() -> list[Any]:
        return await told(Upstream(vllm, Face(tiny.chat, 512)), Writing([asked(tiny, "a", adapter="gone")]))

    (failed,) = asyncio.run(ask())
    assert isinstance(failed, Failed) and isinstance(failed.error, ApiError) and failed.error.status == 503
    vllm.load("small", tmp_path)
    assert vllm.seen[-1] == {"lora_name": "small", "lora_path": str(tmp_path)}
    with pytest.raises(EndpointError, match="no room"):
        vllm.load("big", tmp_path)
    with pytest.raises(NotThere, match="no command 'not-there'"):
        VllmProcess("nano", command="not-there", arguments=[], context=512, log=tmp_path / "log")
    with pytest.raises(EndpointError, match="did not come up"):
        VllmProcess("nano", command="false", arguments=[], context=512, log=tmp_path / "log")


# --- the queue before it ---


class Slow:
    """A writer that says one word when it is let."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.writing = 0
        self.most = 0

    async def write(self, request: Request, form: dict[str, Any] | None) -> AsyncIterator[Step]:
        """One step."""
        self.writing += 1
        self.most = max(self.most, self.writing)
        try:
            await self.let.wait()
            yield Step("word STOP more", 3)
            yield Step(" and more", 2, finish="length")
        finally:
            self.writing -= 1

    def stop(self) -> None:
        """Nothing runs."""


def test_so_many_at_once_and_a_full_queue_says_so(tiny: Any) -> None:
    async def go() -> None:
        slow = Slow()
        upstream = Upstream(slow, Face(tiny.chat, 512), max_live=2, max_waiting=2)  # type: ignore[arg-type]
        request = asked(tiny, "a")
        jobs = [upstream.submit(Writing([request], stops=["STOP"])) for _ in range(4)]
        with pytest.raises(ApiError) as refused:
            upstream.submit(Writing([request]))
        other = upstream.submit(Writing([request]), party="another key")  # whose part of the queue is its own
        upstream.cancel(other)
        assert refused.value.status == 429
        await asyncio.sleep(0)
        upstream.cancel(jobs[3])
        slow.let.set()
        for job in jobs[:3]:
            piece, end = await job.events.get(), await job.events.get()
            assert isinstance(piece, Piece) and piece.text == "word"
            assert isinstance(end, End) and end.finish == "stop"
        while upstream.load:
            await asyncio.sleep(0)
        assert not upstream._tasks and not upstream.admission.loads
        assert slow.most == 2 and upstream.num_live == 0 and jobs[3].events.empty()

    asyncio.run(go())


def test_an_answer_that_is_given_up_before_it_begins_leaves_its_place(tiny: Any) -> None:
    async def go() -> None:
        slow = Slow()
        upstream = Upstream(slow, Face(tiny.chat, 512), max_live=1)  # type: ignore[arg-type]
        upstream.cancel(upstream.submit(Writing([asked(tiny, "a")])))
        slow.let.set()
        assert isinstance((await told(upstream, Writing([asked(tiny, "b")])))[-1], End)
        await asyncio.sleep(0)
        assert not upstream.load and not upstream.num_live and not upstream._tasks

    asyncio.run(go())


def test_an_engine_that_is_gone_is_503(tiny: Any) -> None:
    class Gone(Slow):
        async def write(self, request: Request, form: dict[str, Any] | None) -> AsyncIterator[Step]:
            raise httpx.ConnectError("refused")
            yield Step()

    async def go() -> list[Any]:
        return await told(Upstream(Gone(), Face(tiny.chat, 512)), Writing([asked(tiny, "a")]))  # type: ignore[arg-type]

    (failed,) = asyncio.run(go())
    assert failed.error.status == 503 and failed.error.headers == {"retry-after": "2"}
