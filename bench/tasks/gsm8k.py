"""Grade-school word problems of two to eight steps (2110.14168); its test rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from .base import Item, Source

SOURCE = Source(
    (
        "https://raw.githubusercontent.com/openai/grade-school-math/3101c7d5072418e28b9008a6636bde82a006892c"
        "/grade_school_math/data/test.jsonl",
    ),
    "MIT",
    sha256=("3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",),
)


def items(files: Sequence[Path]) -> Iterator[Item]:
    for number, line in enumerate(files[0].read_text(encoding="utf-8").splitlines()):
        row = json.loads(line)
        answer = row["answer"].rpartition("####")[2].strip()
        yield Item(f"gsm8k-{number}", row["question"], answer, "number")
