"""Counterfactuals over made-up words: yes or no."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from .base import Item, Source

SOURCE = Source(
    (
        "https://raw.githubusercontent.com/panavinsingh/Causal-Reasoning-Benchmark/332f42ad8457"
        "/train/counterbench/counterbench.jsonl",
    ),
    "MIT, as this copy states",
    caution="a copy: its source was not seen",
)


def items(files: Sequence[Path]) -> Iterator[Item]:
    for line in files[0].read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        question = f"{row['given_info'].strip()} {row['question'].strip()}"
        name = f"counterbench-{row['question_id']}"
        yield Item(name, question, row["answer"], "yes_no", (), {"type": row["type"]})
