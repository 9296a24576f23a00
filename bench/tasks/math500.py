"""Competition mathematics, 500 problems of MATH (2103.03874, 2305.20050)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgereason.values import Kind, normalize

from .base import Item, Source

SOURCE = Source(
    (
        "https://raw.githubusercontent.com/hao-ai-lab/Dynasor/0d2f1b93a60e"
        "/benchmark/TokenDeprivation/data/math500/test.jsonl",
    ),
    "MIT at both of its sources",
    caution="the problems were first set by contest bodies, and the licence has been disputed",
)


def items(files: Sequence[Path]) -> Iterator[Item]:
    for line in files[0].read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        name = row["unique_id"].removesuffix(".json").replace("/", "-")
        number = normalize(row["answer"]).kind is Kind.NUMBER and "\\" not in row["answer"]
        extra = {"subject": row["subject"], "level": row["level"]}
        checker = "number" if number else "latex"
        yield Item(f"math500-{name}", row["problem"], row["answer"], checker, extra=extra)
