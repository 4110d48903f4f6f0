"""How a base writes calls of tools, found out from its own chat template: so that what it says can be read as calls.

The template is given a call with known words, and what it prints shows the form: what stands before, between and after,
and where in the JSON name and arguments are. A template that prints no JSON has no form, and answers stay text.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tunewright.core.errors import DataError
from tunewright.core.example import Example, Message

if TYPE_CHECKING:
    from tunewright.models.chat import Chat

_NAME, _KEY, _VALUE = "probed_tool", "probed_key", "probed value"
_MOST_CALLS = 32
Path = tuple[str, ...]


@dataclass(frozen=True)
class Call:
    """One call: the tool's name, and its arguments as JSON text."""

    name: str
    arguments: str


@dataclass(frozen=True)
class Said:
    """An answer with calls: what stands before them, and the calls."""

    content: str
    calls: list[Call]


@dataclass(frozen=True)
class ToolForm:
    """before, between, after: text around the calls. listed: they are one JSON list; else a JSON object each. name,
    arguments: the keys that lead to these. shape: a call as the template prints it.
    """

    before: str
    between: str
    after: str
    listed: bool
    name: Path
    arguments: Path
    shape: dict[str, Any]

    @classmethod
    def of(cls, chat: Chat) -> ToolForm | None:
        """The form of a chat's template; None where it prints no calls that could be read."""
        for as_text in (False, True):
            try:
                one, two = _printed(chat, 1, as_text=as_text), _printed(chat, 2, as_text=as_text)
            except DataError:
                continue
            form = _form(one, two)
            if form is not None and form.read(two, {_NAME}) is not None:
                return form
        return None

    def read(self, text: str, names: Collection[str]) -> Said | None:
        """The calls in an answer; None where it holds none, or one of no known name."""
        start = self.start(text)
        if start is None:
            return None
        calls: list[Call] = []
        rest = text[start:].removeprefix(self.before)
        decoder = json.JSONDecoder()
        while rest and len(calls) < _MOST_CALLS:
            try:
                value, end = decoder.raw_decode(rest.lstrip())
            except (ValueError, RecursionError):
                return None
            found = [self._call(one, names) for one in (value if isinstance(value, list) else [value])]
            if not found or None in found:
                return None
            calls += [call for call in found if call is not None]
            rest = rest.lstrip()[end:].strip().removeprefix(self.after.strip()).strip()
            rest = rest.removeprefix(self.between.strip()).removeprefix(self.before.strip())
            if self.listed and rest:
                return None
        return Said(text[:start].strip(), calls) if calls else None

    def start(self, text: str) -> int | None:
        """Where calls begin in an answer, or may begin while it still grows; None where none do."""
        sign = self.before.strip()
        if sign:
            place = text.find(sign)
            if place >= 0:
                return place
            held = next((size for size in range(len(sign) - 1, 0, -1) if text.endswith(sign[:size])), 0)
            return len(text) - held if held else None
        opening = "[" if self.listed else "{"
        return len(text) - len(text.lstrip()) if not text.strip() or text.lstrip().startswith(opening) else None

    def grammar(self, tools: Sequence[dict[str, Any]]) -> str:
        """A grammar (models/constraints.py) of answers that are one call of one of some tools."""
        schemas = [self._schema(tool["function"]) for tool in tools]
        call: dict[str, Any] = {"anyOf": schemas} if len(schemas) > 1 else schemas[0]
        if self.listed:
            call = {"type": "array", "items": call, "minItems": 1, "maxItems": 1}
        call = call | {"x-guidance": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}}
        around = [json.dumps(text) for text in (self.before, self.after)]
        before, after = (text if text != '""' else "" for text in around)
        return f"start: {before} call {after}\ncall: %json {json.dumps(call)}"

    def _call(self, value: Any, names: Collection[str]) -> Call | None:
        name, arguments = _at(value, self.name), _at(value, self.arguments)
        if name not in names or not isinstance(arguments, dict | str):
            return None
        return Call(name, arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False))

    def _schema(self, function: dict[str, Any]) -> dict[str, Any]:
        given = function.get("parameters") or {"type": "object", "properties": {}}

        def held(value: Any, path: Path) -> dict[str, Any]:
            if path == self.name:
                return {"const": function["name"]}
            if path == self.arguments:
                return {"type": "string"} if isinstance(value, str) else given
            if not isinstance(value, dict):
                return {"type": "string", "maxLength": 40} if path[-1] == "id" else {"const": value}
            properties = {key: held(inner, (*path, key)) for key, inner in value.items()}
            whole = {"type": "object", "properties": properties, "required": list(properties)}
            return whole | {"additionalProperties": False}

        return held(self.shape, ())


def form_of(chat: Chat) -> ToolForm | None:
    """`ToolForm.of`, remembered for each template."""
    return _form_of(chat, chat.template)


@lru_cache(maxsize=64)
def _form_of(chat: Chat, template: str) -> ToolForm | None:
    return ToolForm.of(chat)


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _printed(chat: Chat, count: int, *, as_text: bool) -> str:
    """What an answer of some calls is, as a model would say it. as_text: arguments as OpenAI has them, in a text."""
    arguments: Any = {_KEY: _VALUE}
    function = {"name": _NAME, "arguments": json.dumps(arguments) if as_text else arguments}
    calls = [{"id": "call00001", "type": "function", "function": function}] * count
    asked, said = Message(role="user", content="a"), Message(role="assistant", content="", tool_calls=calls)
    return chat.answer_text(chat.turns(Example(id="tools", messages=[asked, said]))[-1].answer)


def _form(one: str, two: str) -> ToolForm | None:
    """The form in which two answers, of one call and of two, were printed."""
    for place, character in enumerate(one):
        if character not in "{[":
            continue
        try:
            value, end = json.JSONDecoder().raw_decode(one[place:])
        except ValueError:
            continue
        listed = isinstance(value, list)
        item = value[0] if listed and value else value
        name, arguments = _path(item, _is_name), _path(item, _is_arguments)
        if name is None or arguments is None:
            continue
        before, after = one[:place], one[place + end :]
        second = two[len(one) - len(after) :].split(one[place : place + end])[0]
        between = "" if listed else second.removeprefix(after).removesuffix(before)
        return ToolForm(before, between, after, listed, name, arguments, item)
    return None


def _is_name(value: Any) -> bool:
    return bool(value == _NAME)


def _is_arguments(value: Any) -> bool:
    return (isinstance(value, dict) and value == {_KEY: _VALUE}) or (isinstance(value, str) and _KEY in value)


def _path(value: Any, wanted: Any, path: Path = ()) -> Path | None:
    if wanted(value):
        return path
    if isinstance(value, dict):
        for key, inner in value.items():
            if (found := _path(inner, wanted, (*path, key))) is not None:
                return found
    return None
