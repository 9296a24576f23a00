"""What was learned from answered questions, found again by the words of a new one.

    with Bank("lessons.sqlite") as bank:
        bank.add("A train needs 3 hours for 240 km. How fast is it?", "Divide way by time.")
        bank.find("How fast is a car that needs 2 hours for 90 km?")   # -> (Lesson(...),)

A file of SQLite, whose index ranks by BM25. Who adds must know that a lesson is right: a checker, a
person, a test. Knows no model.
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from edgereason.errors import BundleError, UsageError

_TABLE: Final = (
    "CREATE VIRTUAL TABLE IF NOT EXISTS lessons USING fts5("
    "question, lesson UNINDEXED, won UNINDEXED, lost UNINDEXED, tokenize='porter unicode61')"
)
_WORD: Final = re.compile(r"\w+")
_MOST_WORDS: Final = 64  # of a question that are looked for
_MOST_LOST: Final = 3  # a lesson that lost so often, and more often than it won, is dropped


@dataclass(frozen=True, slots=True)
class Lesson:
    """`id` is for `Bank.tell`."""

    id: int
    question: str
    lesson: str


class Bank:
    """`most`: lessons that are kept; the oldest give way. Raises `BundleError` on another file."""

    def __init__(self, path: Path | str, most: int = 1000) -> None:
        if most < 1:
            raise UsageError(f"a bank must hold 1 lesson or more, got {most}")
        self._most = most
        try:
            self._database = sqlite3.connect(str(path))
            self._database.execute(_TABLE)
        except sqlite3.Error as error:
            raise BundleError(f"{path} is no bank of lessons: {error}") from None

    def __len__(self) -> int:
        (num,) = self._database.execute("SELECT count(*) FROM lessons").fetchone()
        return int(num)

    def add(self, question: str, lesson: str) -> int:
        """Returns its id. A question that is there already gets the new lesson."""
        if not _WORD.search(question) or not lesson.strip():
            raise UsageError("a lesson needs a question of some words, and a text")
        with self._database as database:
            database.execute("DELETE FROM lessons WHERE question = ?", (question,))
            added = database.execute(
                "INSERT INTO lessons VALUES (?, ?, 0, 0)", (question, lesson.strip())
            )
            database.execute(
                "DELETE FROM lessons WHERE rowid NOT IN "
                "(SELECT rowid FROM lessons ORDER BY rowid DESC LIMIT ?)",
                (self._most,),
            )
        return int(added.lastrowid or 0)

    def find(self, question: str, num: int = 1) -> tuple[Lesson, ...]:
        """The lessons of the questions that are likest by words, the likest first."""
        words = list(dict.fromkeys(word.casefold() for word in _WORD.findall(question)))
        if not words:
            return ()
        wanted = " OR ".join(f'"{word}"' for word in words[:_MOST_WORDS])
        found = self._database.execute(
            "SELECT rowid, question, lesson FROM lessons WHERE lessons MATCH ? "
            "ORDER BY bm25(lessons), rowid LIMIT ?",
            (wanted, num),
        )
        return tuple(Lesson(*row) for row in found)

    def tell(self, id_: int, *, right: bool) -> None:
        """An answer that was given with this lesson was right, or was not."""
        column = "won" if right else "lost"
        with self._database as database:
            database.execute(f"UPDATE lessons SET {column} = {column} + 1 WHERE rowid = ?", (id_,))
            database.execute(
                "DELETE FROM lessons WHERE rowid = ? AND lost >= ? AND lost > won",
                (id_, _MOST_LOST),
            )

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Bank:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


__all__ = ["Bank", "Lesson"]
