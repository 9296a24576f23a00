"""Grade-school science that looking up does not answer (1803.05457)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from .base import Item, Source

SOURCE = Source(
    (
        "https://raw.githubusercontent.com/LzyFischer/icml_kd/30f6ce59d478ce4ad1c53dd1f4195d97cb29c530"
        "/data/arc_challenge/test.jsonl",
    ),
    "CC BY-SA 4.0, seen second hand",
    caution="a copy; the texts of models in it are not read",
    sha256=("0eb0a68eee6716a3fdfa8925311c8098f5cd419f47d10e39644a40b7e2b7233f",),
)


def items(files: Sequence[Path]) -> Iterator[Item]:
    for line in files[0].read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        choices = dict(zip(row["choices"]["label"], row["choices"]["text"], strict=True))
        answer = choices[row["answerKey"]]
        texts = tuple(choices.values())
        yield Item(f"arc_challenge-{row['id']}", row["question"], answer, "choice", texts)
