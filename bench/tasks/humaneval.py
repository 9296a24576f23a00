"""Python functions from their description, run against tests (2107.03374)."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from .base import Item, Source

SOURCE = Source(
    (
        "https://raw.githubusercontent.com/openai/human-eval/6d43fb980f9fee3c892a914eda09951f772ad10d/data/HumanEval.jsonl.gz",
    ),
    "MIT",
    sha256=("b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef",),
)


def items(files: Sequence[Path]) -> Iterator[Item]:
    for line in gzip.decompress(files[0].read_bytes()).decode().splitlines():
        row = json.loads(line)
        yield Item(
            f"humaneval-{row['task_id'].rpartition('/')[2]}",
            row["prompt"].strip(),
            row["canonical_solution"],
            "code",
            extra={"entry_point": row["entry_point"], "test": row["test"]},
        )
