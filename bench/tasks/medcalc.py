"""Medical calculators from a patient's note, one worked patient each (2406.12036)."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from .base import Item, Source

SOURCE = Source(
    (
        "https://raw.githubusercontent.com/nikhilk7153/MedCalc-Bench-Verified/0eb59609f413e08a0980aec0103b7e63c275bca8"
        "/datasets/one_shot_data.csv",
    ),
    "CC BY-SA 4.0",
    caution="55 rows, one for each calculator; the test set is another",
    sha256=("0728278c75b93a96a358c928d60912e7a1ea247c4f37be276ffe9f13efae292f",),
)


def items(files: Sequence[Path]) -> Iterator[Item]:
    """Right is a number within the limits of the data; dates are compared as text."""
    with files[0].open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            kind, answer = row["Output Type"], row["Ground Truth Answer"]
            note = row["Patient Note"].strip()
            question = f"Patient note:\n{note}\n\n{row['Question'].strip()}"
            extra: dict[str, object] = {"calculator": row["Calculator Name"], "output": kind}
            if kind != "date":
                limits = float(row["Lower Limit"]), float(row["Upper Limit"])
                extra |= {"lower": min(limits), "upper": max(limits)}
            checker = "short" if kind == "date" else "number"
            yield Item(f"medcalc-{row['Calculator ID']}", question, answer, checker, (), extra)
