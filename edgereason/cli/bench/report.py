"""`edgereason bench report DIR`: the report of trials that are there, of one device or of many."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgereason.cli._options import Debug, Json, flag
from edgereason.cli.bench.pareto import seconds, tell


def command(
    folder: Annotated[Path, typer.Argument(help="Folder with trials*.jsonl.")],
    *,
    deadlines: Annotated[
        str | None,
        flag("--deadlines", "With commas, such as 500ms,2s: what is later is wrong."),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write the report of a folder of trials anew: put files of several devices into it first."""
    from edgereason.bench import pareto

    limits = None
    if deadlines is not None:
        limits = tuple(1000 * seconds(each, "--deadlines") for each in deadlines.split(",") if each)
    tell(pareto.report_of(folder, limits), as_json)
