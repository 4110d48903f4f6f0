"""Chat templates that only print what messages say: such a template is rendered once for each pattern of roles.

Where a template neither looks into a content nor changes it, the text around the contents depends on the roles, on
which contents are empty and on the generation prompt. It is rendered with signs in place of the contents, which are
then filled in. Whether a template is of this kind is read off its syntax tree; what is not known to be harmless is not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from jinja2 import Environment, nodes
from jinja2.exceptions import TemplateSyntaxError

from tunewright.core.errors import DataError

Dicts = list[dict[str, Any]]
# Texts; a message's number where its content stands as it is, and (number,) where it stands trimmed.
Skeleton = list[str | int | tuple[int]]
# A sign stands between wide spaces, so that it tells whether the template trimmed it.
_SPACE, _FIRST, _MOST_MESSAGES = "\u2003", 0xF0000, 0xF000
_SIGN = re.compile(f"({_SPACE}?)([{chr(_FIRST)}-{chr(_FIRST + _MOST_MESSAGES - 1)}])({_SPACE}?)")
_ODD = re.compile(rf"[{_SPACE}{chr(_FIRST)}-{chr(_FIRST + _MOST_MESSAGES - 1)}]|\\[uUxN0-7]")  # also as escapes
_MOST_SKELETONS = 4096
_FILTERS = {"capitalize", "default", "length", "lower", "string", "title", "tojson", "trim", "upper"}
_TESTS = {"defined", "mapping", "none", "string", "undefined"}  # which are alike for all texts
_LOOP = {"first", "index", "index0", "last", "length", "revindex", "revindex0"}


class Skeletons:
    """The texts of one template around the contents of messages. render: messages, generation prompt -> text."""

    def __init__(self, template: str, render: Callable[[Dicts, bool], str], *, words: Sequence[str] = ()) -> None:
        """words: what else the template may print, such as special tokens."""
        self._render = render
        self._known: dict[tuple[Any, ...], Skeleton] = {}
        told = "".join([template, *words])
        self.usable = not _ODD.search(told) and only_prints(template)

    def text(self, messages: Dicts, generation_prompt: bool) -> str | None:
        """What the template makes of messages; None where it has to be asked itself. Equal to `render` otherwise."""
        if not self.usable or len(messages) > _MOST_MESSAGES:
            return None
        for message in messages:
            if len(message) != 2 or type(message.get("content")) is not str or "role" not in message:
                return None
        key = (generation_prompt, *[(message["role"], message["content"] == "") for message in messages])
        skeleton = self._known.get(key)
        if skeleton is None:
            if len(self._known) >= _MOST_SKELETONS:
                self._known.clear()
            skeleton = self._known[key] = self._skeleton(messages, generation_prompt)
        if not skeleton:
            return None
        contents: list[str] = [message["content"] for message in messages]
        return "".join([
            one if isinstance(one, str) else contents[one] if isinstance(one, int) else contents[one[0]].strip()
            for one in skeleton
        ])  # fmt: skip

    def _skeleton(self, messages: Dicts, generation_prompt: bool) -> Skeleton:
        """Texts, and what stands between them; empty where the template refuses the messages."""
        signed = [
            {**message, "content": f"{_SPACE}{chr(_FIRST + number)}{_SPACE}" if message["content"] else ""}
            for number, message in enumerate(messages)
        ]
        try:
            text = self._render(signed, generation_prompt)
        except DataError:
            return []
        skeleton: Skeleton = []
        at = 0
        for found in _SIGN.finditer(text):
            if bool(found[1]) != bool(found[3]):  # two contents that touch
                return []
            number = ord(found[2]) - _FIRST
            skeleton += [text[at : found.start()], number if found[1] else (number,)]
            at = found.end()
        return [*skeleton, text[at:]]


def only_prints(template: str) -> bool:
    """Whether a template prints contents as they are (or trimmed), and asks at most whether they are empty."""
    parser = Environment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    try:
        tree = parser.parse(template)
    except TemplateSyntaxError:
        return False
    return _Reader().harmless(tree.body, frozenset())


class _Reader:
    """Walks a template's tree. `ours`: the names that stand for a message."""

    def harmless(self, body: Sequence[nodes.Node], ours: frozenset[str]) -> bool:
        """Whether statements print contents at most."""
        return all(self._statement(node, ours) for node in body)

    def _statement(self, node: nodes.Node, ours: frozenset[str]) -> bool:
        if isinstance(node, nodes.Output):
            return all(self._printed(child, ours) for child in node.nodes)
        if isinstance(node, nodes.If):
            branches = [*node.body, *node.elif_, *node.else_]
            return self._asked(node.test, ours) and self.harmless(branches, ours)
        if isinstance(node, nodes.For):
            name, plain = _name(node.target), node.test is None and not node.recursive and not node.else_
            if not plain or name is None or name in {"messages", "loop", *ours}:
                return False
            if _name(node.iter) == "messages":
                return self.harmless(node.body, ours | {name})
            return self._fixed(node.iter, ours) and self.harmless(node.body, ours)
        if isinstance(node, nodes.Assign):
            return _name(node.target) not in {None, "messages", "loop", *ours} and self._fixed(node.node, ours)
        return isinstance(node, nodes.Continue | nodes.Break)

    def _printed(self, node: nodes.Node, ours: frozenset[str]) -> bool:
        """Whether a value is contents and fixed texts, one behind the other."""
        if isinstance(node, nodes.TemplateData) or self._fixed(node, ours) or self._is_content(node, ours):
            return True
        if isinstance(node, nodes.Add):
            return self._printed(node.left, ours) and self._printed(node.right, ours)
        if isinstance(node, nodes.Concat):
            return all(self._printed(child, ours) for child in node.nodes)
        if isinstance(node, nodes.Or):
            nothing = isinstance(node.right, nodes.Const) and node.right.value == ""
            return nothing and self._is_content(node.left, ours)
        if isinstance(node, nodes.Filter):
            return node.name == "trim" and _given(node) == [] and self._is_content(node.node, ours)
        if isinstance(node, nodes.CondExpr):
            sides = [node.expr1, *([node.expr2] if node.expr2 is not None else [])]
            return self._asked(node.test, ours) and all(self._printed(side, ours) for side in sides)
        return False

    def _asked(self, node: nodes.Node, ours: frozenset[str]) -> bool:
        """Whether a value is true depends on the roles and on which contents are empty."""
        if self._is_content(node, ours) or self._fixed(node, ours):
            return True
        if isinstance(node, nodes.And | nodes.Or):
            return self._asked(node.left, ours) and self._asked(node.right, ours)
        return isinstance(node, nodes.Not) and self._asked(node.node, ours)

    def _fixed(self, node: nodes.Node | None, ours: frozenset[str]) -> bool:
        """Whether a value has nothing to do with contents."""
        if isinstance(node, nodes.Const):
            return True
        if isinstance(node, nodes.Name):
            return node.name not in {"messages", "loop", *ours}
        if isinstance(node, nodes.Getattr | nodes.Getitem):
            key = _key(node)
            if _name(node.node) == "loop":
                return key in _LOOP
            if key is None:
                return False
            of_message = key != "content" and not hasattr(dict, key) and self._is_message(node.node, ours)
            return of_message or self._fixed(node.node, ours)
        if isinstance(node, nodes.Compare):
            return self._fixed(node.expr, ours) and all(self._fixed(operand.expr, ours) for operand in node.ops)
        if isinstance(node, nodes.Not | nodes.Neg):
            return self._fixed(node.node, ours)
        if isinstance(node, nodes.And | nodes.Or | nodes.Add | nodes.Sub | nodes.Mod):
            return self._fixed(node.left, ours) and self._fixed(node.right, ours)
        if isinstance(node, nodes.Concat):
            return all(self._fixed(child, ours) for child in node.nodes)
        if isinstance(node, nodes.List | nodes.Tuple):
            return all(self._fixed(child, ours) for child in node.items)
        if isinstance(node, nodes.Call):  # raises, and so says nothing
            given = _given(node)
            called = _name(node.node) == "raise_exception" and given is not None
            return called and all(self._fixed(one, ours) for one in given or ())
        if isinstance(node, nodes.Test):
            known = node.name in _TESTS and _given(node) == []
            return known and (self._is_content(node.node, ours) or self._fixed(node.node, ours))
        if isinstance(node, nodes.Filter):
            given = _given(node)
            if node.name not in _FILTERS or given is None or not all(self._fixed(one, ours) for one in given):
                return False
            counted = node.name == "length" and _name(node.node) == "messages"
            return counted or self._fixed(node.node, ours)
        return False

    def _is_message(self, node: nodes.Node, ours: frozenset[str]) -> bool:
        """A loop's variable, or a message by its number."""
        if not isinstance(node, nodes.Getitem):
            return _name(node) in ours
        by_number = _name(node.node) == "messages" and not isinstance(node.arg, nodes.Slice)
        return by_number and self._fixed(node.arg, ours)

    def _is_content(self, node: nodes.Node | None, ours: frozenset[str]) -> bool:
        if not isinstance(node, nodes.Getattr | nodes.Getitem):
            return False
        return _key(node) == "content" and self._is_message(node.node, ours)


def _name(node: nodes.Node | None) -> str | None:
    """The name, where the node is one."""
    return node.name if isinstance(node, nodes.Name) else None


def _key(node: nodes.Getattr | nodes.Getitem) -> str | None:
    """What is asked for by a fixed text: message.role, message['role']."""
    if isinstance(node, nodes.Getattr):
        return node.attr
    return node.arg.value if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str) else None


def _given(node: nodes.Filter | nodes.Test | nodes.Call) -> list[nodes.Expr] | None:
    """The arguments of a filter, test or call; None where they are not written out."""
    if node.dyn_args or node.dyn_kwargs:
        return None
    return [*node.args, *(pair.value for pair in node.kwargs)]
