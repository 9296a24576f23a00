"""What all offline work shares: it tells its progress, writes files whole, and names the package
that is missing. Knows no model.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from edgereason import files
from edgereason.errors import UsageError


class Progress(Protocol):
    def __call__(self, stage: str, done: int, total: int) -> None:
        """`stage` is for people ("writing", "quantizing"); its `done` of `total` grows."""


def quiet(stage: str, done: int, total: int) -> None:
    """Progress that nobody looks at."""


@contextmanager
def needs_extra(doing: str = "exporting", extras: str = "export") -> Iterator[None]:
    """A package of these extras that is not there is said to be missing, not a bug."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("edgereason"):
            raise
        raise UsageError(
            f"{doing} needs the package {error.name}, which is not installed",
            f"pip install 'edgereason[{extras}]'",
        ) from None


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write what becomes `path` once it is whole: a stage that is found done is done."""
    unfinished = path.with_name(f".{path.name}.part")
    files.remove(unfinished)  # a link there would lead whoever writes elsewhere
    yield unfinished
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(unfinished, path)
