"""Equal as mathematics, by the package math-verify: 1/2 is \\frac{1}{2} is .5."""

from __future__ import annotations

from typing import Any

from edgereason.errors import UnsupportedError
from edgereason.values import extract_answer, normalize

from ..tasks.base import Item


def ready() -> None:
    _package()


def check(item: Item, text: str) -> bool:
    final = extract_answer(text)
    if normalize(final) == normalize(item.answer) and final:
        return True
    package = _package()
    gold = package.parse(f"${item.answer}$", raise_on_error=False)
    for read in (f"${final}$", text):
        found = package.parse(read, raise_on_error=False)
        if found:
            right: bool = package.verify(gold, found, raise_on_error=False)
            return right
    return False


def _package() -> Any:
    try:
        import math_verify
    except ImportError:
        raise UnsupportedError(
            "answers in LaTeX are compared with math-verify, which is not installed",
            "pip install 'edgereason[bench]'",
        ) from None
    return math_verify
