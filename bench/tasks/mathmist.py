"""School mathematics in English, several choices; only rows whose answers match as numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from .base import Item, Source

SOURCE = Source(
    (
        "https://raw.githubusercontent.com/mahbubhimel/MathMist/fba35cc6434047360bd5572febff694d7e913a1b"
        "/Data/MCQ/MCQ_Numerical_Symbolic_English.jsonl",
    ),
    "Apache-2.0",
    caution="read by OCR from textbooks; its choices were generated",
    sha256=("493a53d8ee2d73c839de78c8eb63aff6bdcd46b4a74d3cf27d05eb6792fda76a",),
)


def items(files: Sequence[Path]) -> Iterator[Item]:
    """Rows whose marked choice is, as text, the exact answer; `$` goes, since often only the right
    choice has it."""
    for number, line in enumerate(files[0].read_text(encoding="utf-8").splitlines()):
        row = json.loads(line)
        choices = {each[:1]: _bare(each[2:]) for each in row["Multiple Choices"]}
        answer = choices.get(row["Correct Answer"], "")
        exact = row["Exact Answer"]
        if (
            row["Evaluation Method"] != "Numerical Match"
            or _letters(answer) != _letters(exact)
            or not answer
        ):
            continue
        if len(set(choices.values())) == len(choices):
            texts = tuple(choices.values())
            yield Item(f"mathmist-{number}", row["Question"], answer, "choice", texts)


def _bare(text: str) -> str:
    return text.replace("$", "").strip()


def _letters(text: str) -> str:
    return "".join(_bare(text).split())
