"""Rows that are kept as JSON lines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from edgereason.bench.harness.record import Record
from edgereason.errors import UsageError


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    text: str = ""

    @property
    def key(self) -> str:
        return self.name


def opened(path: Path | None) -> Record[Row]:
    return Record(path, lambda line: Row(**line))


def test_rows_are_there_again(tmp_path: Path) -> None:
    rows = opened(tmp_path / "rows.jsonl")
    rows.add(Row("a", "one\u2028line"))  # what splitlines takes for two
    rows.add(Row("b"))
    again = opened(tmp_path / "rows.jsonl")
    assert list(again) == list(rows)
    assert "a" in again
    assert again["a"].text == "one\u2028line"


def test_a_line_that_was_cut_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    opened(path).add(Row("a"))
    with path.open("a") as file:
        file.write('{"name": "b"')
    rows = opened(path)
    rows.add(Row("c"))
    assert [row.name for row in opened(path)] == ["a", "c"]


def test_a_line_of_another_bench_is_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"name": "a"}\n{"other": 1}\n')
    with pytest.raises(UsageError, match="line 2: not a line of this bench"):
        opened(path)


def test_without_a_file_rows_are_remembered() -> None:
    rows = opened(None)
    rows.add(Row("a"))
    assert "a" in rows
