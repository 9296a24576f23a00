"""`edgereason pull`: fetches a model, whole or not at all, and says which of its files and why."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgereason.cli._options import Debug, Json, flag, pullable_like
from edgereason.cli._screen import console, json_object, mib, say
from edgereason.errors import UsageError

if TYPE_CHECKING:
    from edgereason.models.hub import Wanted


def command(
    name: Annotated[
        str,
        typer.Argument(
            help="A name of `edgereason list`, NAME:FORMAT, or hf:owner/repo:FORMAT.",
            autocompletion=pullable_like,
        ),
    ],
    memory_gib: Annotated[
        float | None,
        flag("--memory-gib", "Choose for a device that has this much free [what is free here]"),
    ] = None,
    dry_run: Annotated[bool, flag("--dry-run", "Say what would be fetched, and why.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Fetch a model, check it and keep it. Run again after a break, it goes on."""
    from edgereason.models.bundle import open_bundle
    from edgereason.models.hub import look, pull

    if memory_gib is not None and memory_gib <= 0:
        raise UsageError(f"memory must be above 0 GiB, got {memory_gib:g}")
    if dry_run:
        _tell(look(name, memory_gib), as_json)
        return
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        if not as_json:
            say(line, error=True)

    path = _with_progress(name, lambda count: pull(name, count, memory_gib=memory_gib, tell=tell))
    bundle = open_bundle(path)
    size = sum(file.size_bytes for file in bundle.files)
    if as_json:
        json_object.say(
            {
                "name": bundle.name,
                "path": str(path),
                "size_bytes": size,
                "licence": bundle.licence,
                "source": bundle.source,
                "told": told,
            }
        )
    else:
        say(f"{bundle.name}: {mib(size)}, {bundle.licence or 'licence unknown'}, in {path}")


def _with_progress(name: str, run: Any) -> Path:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    terminal = console(sys.stderr)
    with Progress(
        *columns, console=terminal, transient=True, disable=not terminal.is_terminal
    ) as progress:
        task = progress.add_task(name, total=None)
        path: Path = run(lambda done, total: progress.update(task, completed=done, total=total))
    return path


def _tell(wanted: Wanted, as_json: bool) -> None:
    if as_json:
        files = [
            {"name": file.name, "size_bytes": file.size_bytes, "sha256": file.sha256}
            for file in wanted.files
        ]
        json_object.say(
            {
                "name": wanted.name,
                "source": wanted.source,
                "files": files,
                "size_bytes": wanted.size_bytes,
                "why": wanted.why,
            }
        )
        return
    say(wanted.why)
    say(f"{wanted.name} would be {mib(wanted.size_bytes)} from {wanted.source}")
