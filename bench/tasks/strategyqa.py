"""Yes or no, by steps that the question does not name (2101.02235)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from .base import Item, Source

_AT = "https://raw.githubusercontent.com/eladsegal/strategyqa/1ba1e97452e189569357876f2854b01357ffbe37/data/strategyqa"
SOURCE = Source(
    (f"{_AT}/dev.json", f"{_AT}/train.json"),
    "MIT",
    sha256=(
        "0d94842ffb022db8fd5ecd2168b785d5cf67f6faf64f665476bad544a3eb9dde",
        "0f72560b8a6fad3db847d2f1a7524fb087297843bb45a8d3245ffd68cbe0de12",
    ),
)


def items(files: Sequence[Path]) -> Iterator[Item]:
    for path in files:
        for row in json.loads(path.read_text(encoding="utf-8")):
            answer = "yes" if row["answer"] else "no"
            yield Item(f"strategyqa-{row['qid']}", row["question"], answer, "yes_no")
