"""Progress of long work in stages, on stderr where it is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edgereason.cli._screen import console


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each stage; called with its name, what is done and what there is to do."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

    terminal = console(sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, console=terminal, transient=True, disable=not terminal.is_terminal
    ) as progress:
        bars: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage)
            progress.update(bars[stage], completed=done, total=total)

        yield show
