"""One of several choices, told by its letter or by its text; the question lists them."""

from __future__ import annotations

import re
import string

from edgereason.values import Kind, extract_answer, normalize

from ..tasks.base import Item

LETTERS = string.ascii_uppercase


def ask(item: Item) -> str:
    listed = "\n".join(f"{LETTERS[i]}) {text}" for i, text in enumerate(item.choices))
    return f"{item.question}\n\n{listed}\n\nAnswer with the letter."


def check(item: Item, text: str) -> bool:
    """An answer that names two choices names none."""
    told = chosen(item.choices, text)
    return told is not None and item.choices[told] == item.answer


def chosen(choices: tuple[str, ...], text: str) -> int | None:
    """Which choice a text names: by its words, by its letter, or by a letter anywhere in it."""
    final = extract_answer(text)
    same = [i for i, each in enumerate(choices) if _plain(each) == _plain(final)]
    if same:
        return same[0]
    if len(_marked(final, len(choices))) > 1:
        return None
    if (by_letter := _letter(final, len(choices))) is not None:
        return by_letter
    equal = [i for i, each in enumerate(choices) if normalize(each) == normalize(final)]
    if len(equal) == 1:
        return equal[0]
    marked = _marked(text, len(choices))
    return marked.pop() if len(marked) == 1 else _only_text(choices, final)


def _marked(text: str, num: int) -> set[int]:
    """Letters written as those of a list: (A), A) or A."""
    found = re.finditer(r"(?<![\w'])(?:\(([A-Z])\)|([A-Z])[):.](?=\s|$))", text)
    letters = {LETTERS.index(match[1] or match[2]) for match in found}
    return {i for i in letters if i < num}


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .")


def _letter(final: str, num: int) -> int | None:
    value = normalize(final)
    letter = value.key if value.kind is Kind.CHOICE else final.strip(" .()*:").upper()
    if isinstance(letter, str) and len(letter) == 1 and letter in LETTERS[:num]:
        return LETTERS.index(letter)
    return None


def _only_text(choices: tuple[str, ...], final: str) -> int | None:
    """The choice whose words stand in the text, where no other's do that is not part of it."""
    said = _plain(final)
    there = [
        i
        for i, each in enumerate(choices)
        if re.search(rf"(?<!\w){re.escape(_plain(each))}(?!\w)", said)
    ]
    longest = max(there, key=lambda i: len(choices[i]), default=None)
    if longest is None:
        return None
    whole = _plain(choices[longest])
    return longest if all(_plain(choices[i]) in whole for i in there) else None
