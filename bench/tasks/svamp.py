"""One-step word problems that small changes of wording make hard (2103.07191)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from .base import Item, Source

SOURCE = Source(
    (
        "https://raw.githubusercontent.com/arkilpatel/SVAMP/689d7ccac74b9983a2ac7cc3b264f441b99e7c53/SVAMP.json",
    ),
    "MIT",
    sha256=("5be77703a6d891ae476d7c082787ad361392aa02453b132516cdd5f4e7934e3e",),
)


def items(files: Sequence[Path]) -> Iterator[Item]:
    for row in json.loads(files[0].read_text(encoding="utf-8")):
        body = row["Body"].strip()
        question = f"{body}{'' if body.endswith('.') else ','} {row['Question'].strip()}"
        yield Item(f"svamp-{row['ID']}", question, f"{row['Answer']:g}", "number")
