"""What a target and the frame that runs it agree on.

A target has `Config`, `check(source, config) -> Plan` and
`write(source, out, config, progress) -> Bundle`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgereason.errors import UsageError


@dataclass(frozen=True, slots=True)
class Plan:
    """What an export will cost, told before any work.

    Attributes:
        files: name in the bundle -> bytes, about.
        memory_bytes: most that is held at once.
        seconds: on this machine, about.
        scratch_bytes: disk needed beside the files while it runs.
        notes: sentences for people: what is lost, what will not be there.
    """

    files: Mapping[str, int]
    memory_bytes: int
    seconds: float
    scratch_bytes: int = 0
    notes: tuple[str, ...] = ()


class Progress(Protocol):
    def __call__(self, stage: str, done: int, total: int) -> None:
        """`stage` is for people ("writing", "quantizing"); its `done` of `total` grows."""


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
    yield unfinished
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(unfinished, path)
