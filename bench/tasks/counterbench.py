"""Counterfactuals over made-up words: yes or no."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from .base import Item, Source

SOURCE = Source(
    (
        "https://raw.githubusercontent.com/panavinsingh/Causal-Reasoning-Benchmark/332f42ad8457f029f2bf773ac448f7fbb698780c"
        "/train/counterbench/counterbench.jsonl",
    ),
    "MIT, as this copy states",
    caution="a copy: its source was not seen",
    sha256=("d7e86c38ffeb235f154dfa00e792613ad250ea3b9dc0604d6a34df118ddc0103",),
)


def items(files: Sequence[Path]) -> Iterator[Item]:
    for line in files[0].read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        question = f"{row['given_info'].strip()} {row['question'].strip()}"
        name = f"counterbench-{row['question_id']}"
        yield Item(name, question, row["answer"], "yes_no", (), {"type": row["type"]})
