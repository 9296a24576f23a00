"""One-step word problems that small changes of wording make hard (2103.07191)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from .base import Item, Source

SOURCE = Source(
    ("https://raw.githubusercontent.com/arkilpatel/SVAMP/689d7ccac74b/SVAMP.json",), "MIT"
)


def items(files: Sequence[Path]) -> Iterator[Item]:
    for row in json.loads(files[0].read_text(encoding="utf-8")):
        body = row["Body"].strip()
        question = f"{body}{'' if body.endswith('.') else '.'} {row['Question'].strip()}"
        yield Item(f"svamp-{row['ID']}", question, f"{row['Answer']:g}", "number")
