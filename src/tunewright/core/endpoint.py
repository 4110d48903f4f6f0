"""The one client of servers that speak OpenAI's chat completions: asks with retries, and counts what was used.

A key is named, never written down: `env:NAME` or `file:PATH`. It is sent, and shown nowhere. An address may be named
as `env:NAME`, where it is known only to who asks.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from tunewright.core.errors import EndpointError, Stopped

if TYPE_CHECKING:
    import httpx

Messages = list[dict[str, Any]]
AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})  # statuses after which asking again may help
FIRST_PAUSE = 0.5  # seconds before the second try; doubled for each further one
LONGEST_PAUSE = 60.0  # a server that wants us to wait longer is given up
OF_QUESTION = frozenset({400, 413, 422})  # statuses that another question may not meet
REFUSED = "refused"  # how the reply to a question ended that the server would not answer
_REFUSALS = 3  # so many questions refused before any is answered: it is not the questions
CHARACTERS_A_TOKEN = 4  # where a server does not say what it counted


class Prices(BaseModel):
    """What a million tokens cost, in any one currency."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: float = Field(ge=0, description="a million tokens that are sent")
    output: float = Field(ge=0, description="a million tokens that come back")


def _is_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must begin with http:// or https://")
    if parts.username is not None:
        raise ValueError("must hold no user and no password; name the key as env:NAME")
    return url


def _is_named(given: str) -> str:
    if not given.startswith(("env:", "file:")):
        raise ValueError("must be env:NAME or file:PATH, never the key itself")
    return given


def _is_address(given: str) -> str:
    return given if given.startswith("env:") else _is_url(given)


Url = Annotated[str, AfterValidator(_is_url)]  # http(s), without what only its owner may know
Named = Annotated[str, AfterValidator(_is_named)]  # where a key or secret is, which `secret` reads


class Endpoint(BaseModel):
    """A server with OpenAI's chat completions, and the model to ask there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, AfterValidator(_is_address)] = Field(
        description="where it is, up to and with /v1: http://localhost:8000/v1; or env:NAME, which holds it"
    )
    model: str = Field(description="the model's name there")
    key: Named | None = Field(None, description="where the key is, never the key itself: env:NAME or file:PATH")
    at_once: int = Field(4, ge=1, le=256, description="requests under way together: more is faster until it refuses")
    timeout: float = Field(120.0, gt=0, description="seconds to wait for an answer before asking again")
    tries: int = Field(6, ge=1, description="how often a question is asked before it is given up")
    prices: Prices | None = Field(None, description="what a million tokens cost; needed for a budget in money")
    extra: dict[str, Any] = Field({}, description="more fields of each request; null takes one out")

    @field_validator("url")
    @classmethod
    def _without_its_end(cls, url: str) -> str:
        return url.rstrip("/").removesuffix("/chat/completions")

    def address(self) -> str:
        """Where it is. Raises EndpointError where no variable says so."""
        return secret(self.url, of="address of a server") if self.url.startswith("env:") else self.url

    def secret(self) -> str | None:
        """The key. Raises EndpointError where it is not there."""
        return None if self.key is None else secret(self.key, of=f"key for {self.url}")

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """What so many tokens cost; None without prices."""
        if self.prices is None:
            return None
        return (prompt_tokens * self.prices.input + completion_tokens * self.prices.output) / 1e6


def secret(named: str, *, of: str) -> str:
    """What stands behind env:NAME or file:PATH. of: what it is, for the sentence of EndpointError where none is."""
    how, _, where = named.partition(":")
    if how == "env":
        found = os.environ.get(where, "")
    else:
        try:
            found = Path(where).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            found = ""
    if not found.strip():
        there = f"the environment has no variable {where}" if how == "env" else f"{where} cannot be read or is empty"
        raise EndpointError(f"The {of} is missing: {there}. Put it there.")
    return found.strip()


@dataclass(frozen=True)
class Question:
    """What is asked, and how."""

    messages: Messages
    max_tokens: int = 512
    temperature: float = 0.7
    seed: int | None = None


@dataclass(frozen=True)
class Reply:
    """An answer, why it ended, and what it used. counted: by the server; else from the number of characters. seconds:
    from the question that was answered to its answer.
    """

    text: str
    finish: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    counted: bool = True
    seconds: float = field(default=0.0, compare=False)


class Client:
    """Asks an endpoint. Safe for several threads; close it, or use it in a `with` block.

    stop: when set, waiting ends with Stopped.
    """

    def __init__(self, endpoint: Endpoint, *, stop: threading.Event | None = None) -> None:
        import httpx

        self.endpoint = endpoint
        self.stop = stop or threading.Event()
        self.num_retries = 0
        self._address, self._secret = endpoint.address(), endpoint.secret()
        headers = {"authorization": f"Bearer {self._secret}"} if self._secret else {}
        limits = httpx.Limits(max_connections=endpoint.at_once)
        self._http = httpx.Client(timeout=endpoint.timeout, headers=headers, limits=limits)
        self._guard = threading.Lock()
        self._not_before = 0.0  # when the server may be asked again, for all threads

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ask(self, question: Question) -> Reply:
        """The answer to one question. Raises EndpointError when it is given up, Stopped."""
        pause = FIRST_PAUSE
        for attempt in range(1, self.endpoint.tries + 1):
            self._wait()
            began = time.monotonic()
            answer, problem = self._send(question)
            if answer is not None and answer.status_code == 200:
                return replace(self._read(answer, question), seconds=round(time.monotonic() - began, 5))
            if answer is not None and answer.status_code not in AGAIN:
                raise EndpointError(
                    f"{self._name} refused ({self._reason(answer)}). {_remedy(answer.status_code)}",
                    of_question=answer.status_code in OF_QUESTION,
                )
            problem = problem or self._reason(answer)
            asked = _wanted_pause(answer)
            if attempt == self.endpoint.tries or (asked or 0) > LONGEST_PAUSE:
                raise EndpointError(
                    f"{self._name} did not answer in {attempt} {'try' if attempt == 1 else 'tries'} ({problem}). "
                    "See whether it runs, or ask less at once (at_once)."
                )
            # jitter keeps threads that failed together from coming back together
            self._hold(asked if asked is not None else pause * random.uniform(0.75, 1.25))
            pause = min(2 * pause, LONGEST_PAUSE)
        raise AssertionError("the last try returns or raises")

    def ask_all(self, questions: Iterable[Question]) -> Iterator[tuple[int, Reply | EndpointError]]:
        """The answers as they come, each with its question's number; `at_once` are under way together, and no more are
        taken from `questions` than that. A question that the server refuses gets the error for an answer, unless all
        are refused. Raises as `ask`, once every answer under way has been yielded: what was paid for is not lost.
        """
        waiting: dict[Future[Reply], int] = {}
        numbered = enumerate(questions)
        answered = refused = 0
        failed: BaseException | None = None
        with ThreadPoolExecutor(self.endpoint.at_once, thread_name_prefix="asking") as pool:
            while True:
                while failed is None and len(waiting) < self.endpoint.at_once:
                    following = next(numbered, None)
                    if following is None:
                        break
                    waiting[pool.submit(self.ask, following[1])] = following[0]
                if not waiting:
                    break
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    number, error = waiting.pop(future), future.exception()
                    if error is None:
                        answered += 1
                        yield number, future.result()
                    elif isinstance(error, EndpointError) and error.of_question and (answered or refused < _REFUSALS):
                        refused += 1
                        yield number, error
                    else:
                        failed = failed or error
        if failed is not None:
            raise failed

    # --- one request ---

    @property
    def _name(self) -> str:
        return f"{self._address} (model '{self.endpoint.model}')"

    def _send(self, question: Question) -> tuple[httpx.Response | None, str]:
        import httpx

        body: dict[str, Any] = {
            "model": self.endpoint.model,
            "messages": question.messages,
            "max_tokens": question.max_tokens,
            "temperature": question.temperature,
            "seed": question.seed,
            **self.endpoint.extra,
        }
        try:
            sent = {name: value for name, value in body.items() if value is not None}
            return self._http.post(f"{self._address}/chat/completions", json=sent), ""
        except httpx.TimeoutException:
            return None, f"no answer within {self.endpoint.timeout:g} seconds"
        except httpx.HTTPError as error:
            return None, self._shown(str(error) or type(error).__name__)

    def _read(self, answer: httpx.Response, question: Question) -> Reply:
        try:
            found = answer.json()
            choice = found["choices"][0]
            content = choice["message"].get("content") or ""
            if isinstance(content, list):
                content = "".join(part.get("text", "") for part in content)
            usage = found.get("usage") or {}
            counts = [int(usage.get(name, -1)) for name in ("prompt_tokens", "completion_tokens")]
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            raise EndpointError(
                f"{self._name} answered with something that is no chat completion: '{self._shown(answer.text)}'. "
                "Give the address of its OpenAI API, which often ends in /v1."
            ) from None
        counted = min(counts) >= 0
        if not counted:
            sent = len(json.dumps(question.messages, ensure_ascii=False))
            counts = [-(-sent // CHARACTERS_A_TOKEN), -(-len(content) // CHARACTERS_A_TOKEN)]
        return Reply(str(content), str(choice.get("finish_reason") or "stop"), counts[0], counts[1], counted)

    def _reason(self, answer: httpx.Response | None) -> str:
        """What a refusal says: its status and the server's own words."""
        assert answer is not None, "without an answer there is a problem"
        try:
            told = answer.json()["error"]
            words = str(told["message"] if isinstance(told, dict) else told)
        except (ValueError, KeyError, TypeError):
            words = answer.text
        return f"{answer.status_code}: {self._shown(words)}" if words.strip() else f"{answer.status_code}"

    def _shown(self, text: str) -> str:
        """Foreign words as they may be shown: short, on one line, without the key."""
        if self._secret:
            text = text.replace(self._secret, "[key]")
        text = " ".join(text.split())
        return text.rstrip(".") if len(text) <= 200 else f"{text[:200]}..."

    # --- waiting ---

    def _hold(self, seconds: float) -> None:
        with self._guard:
            self.num_retries += 1
            self._not_before = max(self._not_before, time.monotonic() + seconds)

    def _wait(self) -> None:
        while True:
            if self.stop.is_set():
                raise Stopped("Stopped on request. What was answered is kept; the same command goes on from here.")
            left = self._not_before - time.monotonic()
            if left <= 0:
                return
            self.stop.wait(min(left, 0.2))


def ask_once(endpoint: Endpoint, questions: Sequence[Question], *, stop: threading.Event | None = None) -> list[Reply]:
    """One reply a question, nothing kept; `refused` where the server refuses a question. Raises EndpointError, and
    Stopped once `stop` is set.
    """
    replies = [Reply("", REFUSED)] * len(questions)
    with Client(endpoint, stop=stop) as client:
        for number, reply in client.ask_all(questions):
            replies[number] = Reply("", REFUSED) if isinstance(reply, EndpointError) else reply
    return replies


def _wanted_pause(answer: httpx.Response | None) -> float | None:
    """How long a server asks us to wait: Retry-After in seconds or as a date (RFC 9110, section 10.2.3)."""
    if answer is None:
        return None
    given = answer.headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(given))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(given)
    except (TypeError, ValueError):
        return None
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _remedy(status: int) -> str:
    if status in (401, 403):
        return "Give its key as env:NAME or file:PATH."
    if status == 404:
        return "Correct the address or the model's name."
    return "Correct what is sent: the model's name, its context, or fields of `extra`."
