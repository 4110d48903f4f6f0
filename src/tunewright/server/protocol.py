"""The OpenAI API's requests: what is read from them, what is refused, and the token ids they become.

A parameter that this server would have to ignore, although it changes the answer, is refused with 400 and its name.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tunewright.core.errors import DataError, NotThere
from tunewright.core.example import ROLES

if TYPE_CHECKING:
    from tunewright.models.chat import Chat
    from tunewright.models.decode import Decode

MAX_CHOICES = 16  # answers to one prompt
MAX_MESSAGES = 10_000
MAX_VALUES = 500_000  # in one body: texts, numbers, lists, objects; commas in texts count too
_BEFORE_VALUES = (b",", b"[", b"{")
MAX_TEXTS = 10_000  # texts of which the answer is one
COMPLETION_TOKENS = 16  # what the API's reference says /v1/completions writes when max_tokens is left out

# Parameters of the API that this server does not carry out, and the values that ask for nothing.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "functions": ([],),
    "function_call": ("auto", "none"),
    "modalities": (["text"],),
    "service_tier": ("auto", "default"),
    "audio": (),
    "prediction": (),
    "reasoning_effort": ("none",),
    "verbosity": (),
    "web_search_options": (),
    "chat_template": (),
    "chat_template_kwargs": (),
}
OURS = {"role", "content", "name", "tool_calls", "tool_call_id"}
AnyRequest = TypeVar("AnyRequest", bound=BaseModel)


class ApiError(Exception):
    """An answer other than 200, in the API's shape."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        type: str = "invalid_request_error",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        # seconds after which the same may be asked again; None where that is of no use
        self.again = float(self.headers["retry-after"]) if "retry-after" in self.headers else None
        self.body = {"error": {"message": message, "type": type, "param": param, "code": code}}


class Body(BaseModel):
    """A request's body, or a part of one: nothing unknown, nothing made to fit."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class StreamOptions(Body):
    """How a stream ends."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class JsonSchema(Body):
    """The schema that an answer is held to, as the API wraps it. strict changes nothing: it is always kept."""

    name: str = Field(min_length=1, max_length=64)
    content: dict[str, Any] | None = Field(None, alias="schema")
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(Body):
    """Free text, any JSON object, or JSON of a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StructuredOutputs(Body):
    """What the API has no word for: the answer is one of some texts."""

    choice: list[str] = Field(min_length=1, max_length=MAX_TEXTS)

    @field_validator("choice")
    @classmethod
    def _say_something(cls, value: list[str]) -> list[str]:
        if not all(value):
            raise ValueError("a choice must have at least one character")
        return value


class Asked(Body):
    """What both kinds of request share. None: the release's own value."""

    model: str = Field(min_length=1, max_length=512)
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0, lt=2**31)  # not in the API; 0 for all
    structured_outputs: StructuredOutputs | None = None  # not in the API
    n: int | None = Field(None, ge=1, le=MAX_CHOICES)
    stop: list[str] | None = Field(None, max_length=4)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    # Without effect on the answer. The first four say what is logged of it (server/traffic.py).
    user: str | None = Field(None, max_length=512)
    metadata: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]] | None = Field(
        None, max_length=16
    )
    store: bool | None = None
    safety_identifier: str | None = Field(None, max_length=512)
    prompt_cache_key: Any = None
    prompt_cache_retention: Any = None

    @field_validator("stop", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("stop")
    @classmethod
    def _say_something(cls, value: list[str] | None) -> list[str] | None:
        if any(not 1 <= len(text) <= 500 for text in value or []):
            raise ValueError("each stop string must have 1 to 500 characters")
        return value

    @property
    def stops(self) -> list[str]:
        """Strings at which the answer ends, without them."""
        return self.stop or []

    @property
    def who(self) -> str | None:
        """The end user, as the request names them: whose requests an alias sends to the same release."""
        return next((one for one in (self.safety_identifier, self.user) if isinstance(one, str) and one), None)

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with a chunk that counts tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def longest(self) -> int | None:
        """Most tokens asked for."""
        return self.max_tokens

    @property
    def wants_logprobs(self) -> bool:
        """Whether each token's log-prob is told."""
        return False


class ChatRequest(Asked):
    """POST /v1/chat/completions."""

    messages: list[dict[str, Any]] = Field(min_length=1, max_length=MAX_MESSAGES)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    tools: list[dict[str, Any]] | None = Field(None, max_length=128)
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None

    @property
    def longest(self) -> int | None:
        """Most tokens asked for, under either name."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens

    @property
    def wants_logprobs(self) -> bool:
        """Whether each token's log-prob is told."""
        return bool(self.logprobs)

    @property
    def offered(self) -> list[dict[str, Any]] | None:
        """The tools that the template is told of."""
        return None if self.tool_choice == "none" else self.tools or None


class CompletionRequest(Asked):
    """POST /v1/completions: a prompt without a chat format, as text or as token ids, or several."""

    prompt: Any
    max_tokens: int | None = Field(None, ge=0)
    logprobs: int | None = Field(None, ge=0, le=5)
    echo: bool | None = None

    @property
    def wants_logprobs(self) -> bool:
        """Whether each token's log-prob is told; 0 tells them without other likely ones."""
        return self.logprobs is not None


def parse(kind: type[AnyRequest], body: bytes) -> AnyRequest:
    """A checked request. Raises ApiError 400 with the name of the parameter, or 413."""
    if sum(map(body.count, _BEFORE_VALUES)) > MAX_VALUES:  # more than a server can look at beside others
        raise ApiError(413, f"The body holds more than {MAX_VALUES:,} values. Send fewer.", code="request_too_large")
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        raise ApiError(400, "The body is not JSON. Send a JSON object with content-type application/json.") from None
    if not isinstance(values, dict):
        raise ApiError(400, f"The body is a JSON {type(values).__name__}; send an object.")
    try:
        body.decode("utf-8")
        json.dumps(values, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, RecursionError):
        message = "The body holds half a character (a lone surrogate), NaN, an endless number, or is nested too deeply."
        raise ApiError(400, message) from None
    for name, harmless in NEUTRAL.items():
        if name in kind.model_fields:
            continue
        value = values.pop(name, None)
        if value is not None and value not in harmless:
            raise _unsupported(name, f"this server does not carry out '{name}'. Leave it out")
    try:
        asked = kind.model_validate(values)
    except ValidationError as error:
        raise _invalid(kind, error) from None
    if isinstance(asked, Asked):
        _refuse_contradictions(asked)
    return asked


def _refuse_contradictions(asked: Asked) -> None:
    if asked.stream_options and not asked.stream:
        raise ApiError(400, "'stream_options' is only for streams. Set 'stream' to true.", param="stream_options")
    if not isinstance(asked, ChatRequest):
        return
    if asked.max_tokens and asked.max_completion_tokens and asked.max_tokens != asked.max_completion_tokens:
        raise ApiError(400, "'max_tokens' and 'max_completion_tokens' differ. Send one of them.", param="max_tokens")
    if asked.top_logprobs and not asked.logprobs:
        raise ApiError(400, "'top_logprobs' needs 'logprobs' to be true.", param="top_logprobs")
    held = asked.response_format
    if held and (held.type == "json_schema") != (held.json_schema is not None):
        raise ApiError(400, "'json_schema' goes with the type 'json_schema' and no other.", param="response_format")
    if held and held.type != "text" and asked.structured_outputs:
        raise ApiError(400, "Send 'response_format' or 'structured_outputs', not both.", param="structured_outputs")


def _unsupported(param: str, why: str) -> ApiError:
    return ApiError(400, f"Unsupported parameter: {why}.", param=param, code="unsupported_parameter")


def _invalid(kind: type[BaseModel], error: ValidationError) -> ApiError:
    """The first of pydantic's findings in the API's words."""
    first = error.errors(include_url=False)[0]
    param = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(param, kind.model_fields, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        message = (
            f"Unknown parameter: '{param[:80]}'.{hint} Leave it out: nothing that may change the answer is ignored."
        )
        return ApiError(400, message, param=param[:80], code="unknown_parameter")
    if first["type"] == "missing":
        return ApiError(400, f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
    return ApiError(400, f"Invalid '{param}': {first['msg']}.", param=param, code="invalid_value")


# --- what a request becomes ---


def conversation(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages as the chat template takes them. Raises ApiError for what a text model cannot read."""
    return [_message(message, number) for number, message in enumerate(messages)]


def prompt_ids(
    chat: Chat, decode: Decode, messages: Sequence[dict[str, Any]], tools: list[dict[str, Any]] | None
) -> list[int]:
    """Token ids of a chat request: exactly what the model is sent. Raises ApiError, or DataError from the template."""
    from tunewright.models import decode as decoding

    return decoding.prompt_ids(chat, decode, conversation(messages), tools or None)


def form(asked: Asked) -> dict[str, Any] | None:
    """What the answer is held to: {"json": schema} or {"choice": texts}."""
    if asked.structured_outputs:
        return {"choice": asked.structured_outputs.choice}
    held = asked.response_format if isinstance(asked, ChatRequest) else None
    if held and held.type != "text":
        schema = held.json_schema.content if held.json_schema else None
        return {"json": {"type": "object"} if schema is None else schema}
    return None


def grammar(asked: Asked) -> str:
    """The same as the engine reads it; "" for nothing. Raises ApiError."""
    from tunewright.models import constraints

    held = form(asked)
    try:
        if held:
            return constraints.json_of(held["json"]) if "json" in held else constraints.one_of(held["choice"])
    except (DataError, NotThere) as error:
        param = "structured_outputs" if asked.structured_outputs else "response_format"
        raise ApiError(400, str(error), param=param, code="invalid_value") from None
    return ""


def _message(message: dict[str, Any], number: int) -> dict[str, Any]:
    role = message.get("role")
    if role not in ROLES:
        raise _wrong(number, "role", f"must be one of {', '.join(ROLES)}")
    kept: dict[str, Any] = {"role": role, "content": _content(message.get("content"), number)}
    for key, value in message.items():
        if key not in OURS and value not in (None, [], ""):
            raise _wrong(number, key[:80], "is not read by this server; leave it out")
    calls = message.get("tool_calls")
    if calls:
        if role != "assistant" or not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
            raise _wrong(number, "tool_calls", "must be a list of objects in an assistant message")
        kept["tool_calls"] = calls
    for key in ("name", "tool_call_id"):
        if message.get(key) is not None:
            if not isinstance(message[key], str):
                raise _wrong(number, key, "must be a text")
            kept[key] = message[key]
    return kept


def _content(content: Any, number: int) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise _wrong(number, "content", "must be a text or a list of text parts")
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise _wrong(number, "content", "has a part that is not text; this model reads only text")
    return "".join(part["text"] for part in content)


def _wrong(number: int, key: str, why: str) -> ApiError:
    param = f"messages.{number}.{key}"
    return ApiError(400, f"Invalid '{param}': it {why}.", param=param, code="invalid_value")


def room_for(prompt: Sequence[int], *, asked: int | None, default: int, context: int, param: str) -> int:
    """How many tokens an answer may have. Raises ApiError when prompt and answer exceed the model's context."""
    size = len(prompt)
    if size >= context or (asked is not None and size + asked > context):
        wanted = f" and the answer {asked}" if asked is not None else ""
        remedy = "Shorten it or ask for less" if asked is not None else "Shorten it"
        message = f"The model's context is {context} tokens; the prompt has {size}{wanted}. {remedy}."
        raise ApiError(400, message, param=param, code="context_length_exceeded")
    return asked if asked is not None else min(default, context - size)
