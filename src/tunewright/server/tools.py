"""Tools of a chat request: which may be called, which must be, and the calls in what the model said."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import Any

from tunewright.core.errors import DataError, NotThere
from tunewright.models import constraints, tool_calls
from tunewright.models.tool_calls import Said, ToolForm
from tunewright.server.protocol import ApiError, ChatRequest, form
from tunewright.server.upstream import Upstream
from tunewright.server.worker import Worker


@dataclass(frozen=True)
class Tools:
    """What a request offers. form: how its model writes calls; several: whether it may make more than one. grammar: of
    answers that must be a call.
    """

    form: ToolForm
    names: frozenset[str]
    several: bool = True
    grammar: str = ""

    def calls(self, text: str) -> Said | None:
        """The calls in a whole answer; None where it is text."""
        said = self.form.read(text, self.names)
        return said if said is None or self.several else Said(said.content, said.calls[:1])


async def of(asked: ChatRequest, worker: Worker | Upstream) -> Tools | None:
    """The tools of a request; None where it offers none, or its model writes no calls that could be read. Raises
    ApiError.
    """
    functions = {_name(tool, number): tool for number, tool in enumerate(asked.tools or [])}
    forced = _forced(asked, functions)
    if not asked.offered:
        return None
    found = await worker.read(tool_calls.form_of)
    if forced and (found is None or not worker.reads_grammars):
        raise _refused("this model cannot be made to call a tool. Use 'auto' or 'none'")
    if found is None:
        return None
    several = asked.parallel_tool_calls is not False
    if not forced:
        return Tools(found, frozenset(functions), several)
    if form(asked):
        raise _refused("an answer is a call or of a form, not both. Leave out 'response_format' or 'tool_choice'")
    try:
        grammar = await asyncio.to_thread(constraints.checked, found.grammar(forced), "schema of the tools")
    except (DataError, NotThere) as error:
        raise ApiError(400, str(error), param="tools", code="invalid_value") from None
    return Tools(found, frozenset(functions), several, grammar)


def _name(tool: dict[str, Any], number: int) -> str:
    function = tool.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    given = function.get("parameters") if isinstance(function, dict) else None
    if tool.get("type") != "function" or not isinstance(name, str) or not name or not isinstance(given, dict | None):
        message = f"Invalid 'tools.{number}': it must be of type 'function', with a function that has a name."
        raise ApiError(400, message, param=f"tools.{number}", code="invalid_value")
    return name


def _forced(asked: ChatRequest, functions: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The tools one of which must be called. Raises ApiError."""
    choice = asked.tool_choice
    if choice in (None, "auto", "none"):
        return []
    if choice == "required":
        if not functions:
            raise _refused("there are no tools to call. Send 'tools', too")
        return list(functions.values())
    named = choice.get("function") if isinstance(choice, dict) and choice.get("type") == "function" else None
    name = named.get("name") if isinstance(named, dict) else None
    if name not in functions:
        raise _refused("it must be 'auto', 'none', 'required', or name one of the tools")
    return [functions[name]]


def _refused(why: str) -> ApiError:
    return ApiError(400, f"Invalid 'tool_choice': {why}.", param="tool_choice", code="invalid_value")


def told(said: Said) -> list[dict[str, Any]]:
    """Calls as the API tells them."""
    return [
        {
            "id": f"call_{secrets.token_hex(12)}",
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in said.calls
    ]


@dataclass
class Growing:
    """An answer that is streamed: what may be shown of it, and at its end what it was."""

    tools: Tools
    text: str = ""
    shown: int = field(default=0, init=False)

    def more(self, text: str) -> str:
        """What can be shown now: nothing of what may be a call."""
        self.text += text
        held = self.tools.form.start(self.text)
        upto = len(self.text) if held is None else max(held, self.shown)
        fresh, self.shown = self.text[self.shown : upto], upto
        return fresh

    def end(self) -> tuple[str, Said | None]:
        """What is left to show, and the calls."""
        said = self.tools.calls(self.text)
        return ("", said) if said else (self.text[self.shown :], None)
