"""`edgereason export SOURCE --to TARGET`: a model becomes a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgereason.cli._exporting import DryRun, Force, Imatrix, Out, export, export_via
from edgereason.cli._options import Debug, Json, flag


def command(
    *,
    source: Annotated[
        str,
        typer.Argument(
            help="A Hugging Face folder, hf:owner/repo, a .gguf, a bundle, or a pulled model."
        ),
    ],
    to: Annotated[str, flag("--to", "gguf, onnx or tensorrt.")] = "gguf",
    quant: Annotated[
        str | None, flag("--quant", "How weights are stored [what the target does by itself]")
    ] = None,
    base: Annotated[
        Path | None,
        flag("--base", "Hugging Face folder that SOURCE, a Coconut checkpoint, was trained from."),
    ] = None,
    via: Annotated[
        str | None,
        flag("--via", "optimum: let that write the ONNX folder, for architectures unknown here."),
    ] = None,
    out: Out = None,
    imatrix: Imatrix = None,
    options: Annotated[
        list[str] | None,
        flag("--set", "Option of the target as name=value; may be repeated.", metavar="TEXT"),
    ] = None,
    dry_run: DryRun = False,
    force: Force = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Export a model: SOURCE becomes a bundle for an engine.

    `edgereason export calibrate`, `diff`, `inspect` and `quantize` are commands of their own.
    """
    given: dict[str, Any] = {"quant": quant, "imatrix": imatrix}
    if via is not None:
        others = {"base": base, "set": options, "dry-run": dry_run, "force": force}
        export_via(via, source, to, out, given | others, as_json=as_json)
        return
    export(
        source,
        to,
        out,
        given,
        options or [],
        base=base,
        dry_run=dry_run,
        force=force,
        as_json=as_json,
    )
