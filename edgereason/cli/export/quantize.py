"""`edgereason export quantize BUNDLE --to FORMAT`: a bundle becomes a smaller one."""

from __future__ import annotations

from typing import Annotated

import typer

from edgereason.cli._exporting import DryRun, Force, Imatrix, Out, export
from edgereason.cli._options import Debug, Json, flag


def command(
    *,
    bundle: Annotated[
        str, typer.Argument(help="A bundle or a .gguf, best in f16 or bf16; or a pulled model.")
    ],
    to: Annotated[str, flag("--to", "Format: q4_k_m, q4_0, q8_0, iq4_xs, ...")],
    out: Out = None,
    imatrix: Imatrix = None,
    dry_run: DryRun = False,
    force: Force = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Store the weights of a GGUF bundle in fewer bits."""
    given = {"quant": to.lower(), "imatrix": imatrix}
    export(bundle, "gguf", out, given, [], dry_run=dry_run, force=force, as_json=as_json)
