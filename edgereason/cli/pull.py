"""`edgereason pull`: fetches a model, whole or not at all."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from edgereason.cli._options import Debug, Json
from edgereason.cli._screen import console, json_object, mib, say


def command(
    name: Annotated[
        str, typer.Argument(help="A name of `edgereason list`, or hf:owner/repo:QUANT.")
    ],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Fetch a model, check it and keep it."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from edgereason.models.bundle import open_bundle
    from edgereason.models.hub import pull

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
        path = pull(name, lambda done, total: progress.update(task, completed=done, total=total))
    bundle = open_bundle(path)
    size = sum(file.size_bytes for file in bundle.files)
    if as_json:
        json_object.say(
            {
                "name": bundle.name,
                "path": str(path),
                "size_bytes": size,
                "licence": bundle.licence,
            }
        )
    else:
        say(f"{bundle.name}: {mib(size)}, {bundle.licence or 'licence unknown'}, in {path}")
