"""Slow twin of `edgereason/budget.h`."""

from __future__ import annotations

import re

SENTENCE_END = re.compile(r"""[.!?\n。！？…][ \t\r"')\]}*_`$”’»）」』】]*\Z""")  # noqa: RUF001  CJK ends sentences too


def soft_share(soft: float, used: int, limit: int, at_sentence_end: bool) -> float:
    if limit == -1 or soft >= 1:
        return 0.0
    if used >= limit:
        return 1.0
    share = max(0.0, (used / limit - soft) / (1 - soft))
    return share if at_sentence_end else share**2


def ends_sentence(text: str) -> bool:
    return SENTENCE_END.search(text) is not None
