"""Yes or no, by steps that the question does not name (2101.02235)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from .base import Item, Source

_AT = "https://raw.githubusercontent.com/eladsegal/strategyqa/1ba1e97452e1/data/strategyqa"
SOURCE = Source((f"{_AT}/dev.json", f"{_AT}/train.json"), "MIT")


def items(files: Sequence[Path]) -> Iterator[Item]:
    for path in files:
        for row in json.loads(path.read_text(encoding="utf-8")):
            answer = "yes" if row["answer"] else "no"
            yield Item(f"strategyqa-{row['qid']}", row["question"], answer, "yes_no")
