"""Formulas of a recipe over named numbers, computed by an evaluator of its own: nothing of Python can be reached."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tunewright.core.errors import RecipeError, unknown

_LONGEST = 2000  # characters
_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: math.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[float], float]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
FUNCTIONS: dict[str, Callable[..., float]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "exp": math.exp,
    "sqrt": math.sqrt,
    "log": math.log,
}
_SEVERAL = ("min", "max")


@dataclass(frozen=True)
class Formula:
    """A formula that was read: its text, its tree, and the names that it uses."""

    text: str
    tree: ast.expr
    names: frozenset[str]

    def value(self, numbers: Mapping[str, float]) -> float:
        """The formula for these numbers. Raises ValueError where it has no value: a division by 0, a root of -1."""
        try:
            found = _value(self.tree, numbers)
        except (ArithmeticError, ValueError) as error:
            raise ValueError(f"'{self.text}' has no value here: {error}") from None
        if not math.isfinite(found):
            raise ValueError(f"'{self.text}' has no value here: {found}")
        return found


def read(text: str) -> Formula:
    """A formula of numbers, names, + - * / ^ and the functions above. Raises RecipeError."""
    try:
        if len(text) > _LONGEST:
            raise RecipeError(f"A formula may have {_LONGEST} characters, found {len(text)}. Shorten it.")
        tree = ast.parse(text.strip().replace("^", "**"), mode="eval").body
        names: set[str] = set()
        _look(tree, names)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, RecipeError):
            raise
        raise RecipeError(
            f"The formula '{text[:80]}' cannot be read. Write it as 0.8 * first + 0.2 * second."
        ) from None
    return Formula(text, tree, frozenset(names))


def _look(node: ast.expr, names: set[str]) -> None:
    """Refuse what is no arithmetic; gather the names."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return
    if isinstance(node, ast.Name):
        names.add(node.id)
    elif isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        _look(node.left, names)
        _look(node.right, names)
    elif isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        _look(node.operand, names)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        if node.func.id not in FUNCTIONS:
            raise RecipeError(f"In a formula: {unknown('function', node.func.id, FUNCTIONS)}")
        if not node.args or (len(node.args) > 1 and node.func.id not in _SEVERAL):
            raise RecipeError(f"In a formula, '{node.func.id}' takes one value, found {len(node.args)}.")
        for argument in node.args:
            _look(argument, names)
    else:
        raise RecipeError(
            f"A formula has numbers, names, + - * / ^ and {', '.join(FUNCTIONS)}; found '{ast.unparse(node)[:60]}'."
        )


def _value(node: ast.expr, numbers: Mapping[str, float]) -> float:
    if isinstance(node, ast.Constant):
        assert isinstance(node.value, int | float)
        return float(node.value)
    if isinstance(node, ast.Name):
        return float(numbers[node.id])
    if isinstance(node, ast.BinOp):
        return _BINARY[type(node.op)](_value(node.left, numbers), _value(node.right, numbers))
    if isinstance(node, ast.UnaryOp):
        return _UNARY[type(node.op)](_value(node.operand, numbers))
    assert isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    values = [_value(argument, numbers) for argument in node.args]
    return float(FUNCTIONS[node.func.id](values) if node.func.id in _SEVERAL else FUNCTIONS[node.func.id](*values))
