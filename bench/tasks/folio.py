"""Does a conclusion follow from premises? First-order logic in words (2209.00840)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from .base import Item, Source

_CHOICES = ("True", "False", "Uncertain")
SOURCE = Source(
    (
        "https://raw.githubusercontent.com/Yale-LILY/FOLIO/266c382ca2173f56338f407fff2fd58b9fc1d0ef"
        "/data/v0.0/folio-validation.jsonl",
    ),
    "CC BY-SA 4.0",
    caution="version 0.0: its authors have since corrected some labels",
    sha256=("6922c988ef10987bd6545568ee8e63e897af80994591fa20539767da58f8e3d1",),
)


def items(files: Sequence[Path]) -> Iterator[Item]:
    for number, line in enumerate(files[0].read_text(encoding="utf-8").splitlines()):
        row = json.loads(line)
        premises = "\n".join(premise.strip() for premise in row["premises"])
        question = (
            f"Premises:\n{premises}\n\nConclusion: {row['conclusion'].strip()}\n\n"
            "Is the conclusion true, false or uncertain given the premises?"
        )
        yield Item(f"folio-{number}", question, row["label"], "choice", _CHOICES)
