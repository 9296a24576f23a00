"""Reads formulas without running them as programs: what the checkers of numbers share."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

_MOST_TEXT: Final = 2000
_MOST_POWER: Final = 1000
_OPERATORS: Final[Mapping[type, Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_FUNCTIONS: Final[Mapping[str, Callable[[float], float]]] = {
    "sin": math.sin, "cos": math.cos, "tan": math.tan, "exp": math.exp, "ln": math.log,
    "log": math.log, "sqrt": math.sqrt, "abs": abs,
}  # fmt: skip
CONSTANTS: Final = {"pi": math.pi, "e": math.e}


@dataclass(frozen=True, slots=True)
class Formula:
    """An expression of + - * / ^, brackets, numbers, names and a few functions."""

    tree: ast.expr

    @classmethod
    def read(cls, text: str) -> Formula:
        """Raises `ValueError` where the text is anything else."""
        if len(text) > _MOST_TEXT:
            raise ValueError("too long")
        try:
            return cls(ast.parse(text.strip().replace("^", "**"), mode="eval").body)
        except (SyntaxError, RecursionError, MemoryError, ValueError):
            raise ValueError(f"not a formula: {text[:80]!r}") from None

    def at(self, values: Mapping[str, float]) -> float:
        """Its value; raises `ValueError` where it has none, such as at a pole."""
        try:
            found = self._value(self.tree, {**CONSTANTS, **values})
            return float(found)
        except (ArithmeticError, TypeError, RecursionError):
            raise ValueError("no value there") from None

    def exact(self) -> tuple[Fraction, Sequence[int]]:
        """Its value without rounding, and the whole numbers in it from left to right; + - * / only.

        Raises `ValueError` on anything else.
        """
        used: list[int] = []
        try:
            return self._exact(self.tree, used), used
        except (ZeroDivisionError, RecursionError):
            raise ValueError("no value") from None

    def _value(self, node: ast.expr, names: Mapping[str, float]) -> Any:
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return float(value)
            case ast.Name(id=name) if name in names:
                return names[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._value(operand, names)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self._value(operand, names)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                a, b = self._value(left, names), self._value(right, names)
                if isinstance(op, ast.Pow) and abs(b) > _MOST_POWER:
                    raise ValueError("power too high")
                return _OPERATORS[type(op)](a, b)
            case ast.Call(func=ast.Name(id=name), args=[one], keywords=[]) if name in _FUNCTIONS:
                return _FUNCTIONS[name](self._value(one, names))
        raise ValueError(f"{type(node).__name__} is not part of a formula")

    def _exact(self, node: ast.expr, used: list[int]) -> Fraction:
        match node:
            case ast.Constant(value=int() as value) if not isinstance(value, bool):
                used.append(value)
                return Fraction(value)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                if isinstance(op, ast.Pow):
                    raise ValueError("powers are not among + - * /")
                a, b = self._exact(left, used), self._exact(right, used)
                found: Fraction = _OPERATORS[type(op)](a, b)
                return found
        raise ValueError(f"{type(node).__name__} is not among + - * /")


def candidates(text: str, final: str) -> list[str]:
    """Lines of an answer that may be a formula, the likeliest first: one side of an equation."""
    lines = [line for line in text.splitlines() if line.strip()]
    found = []
    for line in (final, *reversed(lines)):
        bare = line.strip().strip("`$*").removesuffix(".").strip()
        found += [bare, *(side.strip() for side in bare.split("=") if "=" in bare)]
    return list(dict.fromkeys(filter(None, found)))[:12]
