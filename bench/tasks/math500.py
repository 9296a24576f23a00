"""Competition mathematics, 500 problems of MATH (2103.03874, 2305.20050)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from .base import Item, Source

SOURCE = Source(
    (
        "https://raw.githubusercontent.com/hao-ai-lab/Dynasor/0d2f1b93a60e031cfc7fb43843d2b736b225960c"
        "/benchmark/TokenDeprivation/data/math500/test.jsonl",
    ),
    "MIT at both of its sources",
    caution="the problems were first set by contest bodies, and the licence has been disputed",
    sha256=("35dc41080a3680858b27fa7e0533d2d547825316fc5dafe5d316f4ccc5a06132",),
)


def items(files: Sequence[Path]) -> Iterator[Item]:
    for line in files[0].read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        name = row["unique_id"].removesuffix(".json").replace("/", "-")
        number = re.fullmatch(r"-?[\d,]*\.?\d+", row["answer"])
        extra = {"subject": row["subject"], "level": row["level"]}
        checker = "number" if number else "latex"
        yield Item(f"math500-{name}", row["problem"], row["answer"], checker, extra=extra)
