"""Rows of a bench as JSON lines, each kept at once: a run that was cut goes on where it stopped.

    rows = Record(options.record, lambda line: Row(**line))
    if row.key not in rows: rows.add(row)

Without a file they are only remembered. One process writes a file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterator
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from edgereason.errors import UsageError


class Keyed(Protocol):
    """A dataclass whose rows with the same key are the same measurement."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def key(self) -> Hashable: ...


Row = TypeVar("Row", bound=Keyed)


class Record(Generic[Row]):
    """`row_of` makes a row of an object of the file; what it raises is told with the line."""

    def __init__(self, path: Path | None, row_of: Callable[[dict[str, Any]], Row]) -> None:
        self._path = path
        self._lock = Lock()
        self._rows = {row.key: row for row in _read(path, row_of)} if path else {}

    def __contains__(self, key: Hashable) -> bool:
        return key in self._rows

    def __getitem__(self, key: Hashable) -> Row:
        return self._rows[key]

    def __iter__(self) -> Iterator[Row]:
        return iter(list(self._rows.values()))

    def add(self, row: Row) -> None:
        """From any thread."""
        with self._lock:
            self._rows[row.key] = row
            if self._path is not None:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(row)) + "\n")


def _read(path: Path, row_of: Callable[[dict[str, Any]], Row]) -> Iterator[Row]:
    if not path.exists():
        return
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:  # the run was cut while it was written
        path.write_text(whole, encoding="utf-8")
    for number, line in enumerate(whole.split("\n")[:-1], 1):
        try:
            yield row_of(json.loads(line))
        except (ValueError, TypeError, KeyError):
            raise UsageError(f"{path}, line {number}: not a line of this bench") from None
