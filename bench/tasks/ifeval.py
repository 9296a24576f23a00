"""Instructions that a program can verify: lengths, letters, forms (2311.07911)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from .base import Item, Source

SOURCE = Source(
    (
        "https://raw.githubusercontent.com/josejg/instruction_following_eval/0c495b2f95155e8b10acb919ae283bfb4d5be6e2"
        "/instruction_following_eval/data/input_data.jsonl",
    ),
    "CC BY 4.0",
    sha256=("67ffeee0fcb87c317c5b08a2de85557b4a7e96ada6178aa645b4954fe4b53d49",),
)


def items(files: Sequence[Path]) -> Iterator[Item]:
    for line in files[0].read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        pairs = [
            [name, {key: value for key, value in given.items() if value is not None}]
            for name, given in zip(row["instruction_id_list"], row["kwargs"], strict=True)
        ]
        yield Item(f"ifeval-{row['key']}", row["prompt"], json.dumps(pairs), "instructions")
