"""`edgereason import`: a model of another program's becomes a bundle, with what was set for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edgereason.cli._options import Debug, Json, flag
from edgereason.cli._screen import json_object, mib, say


def command(
    *,
    name: Annotated[str, typer.Argument(help="A model of Ollama's, such as ollama:qwen3:0.6b.")],
    out: Annotated[
        Path | None, flag("--out", "Folder of the bundle [in the cache, under the same name]")
    ] = None,
    kind: Annotated[Literal["bundle"], flag("--as", "What it becomes.")] = "bundle",
    template: Annotated[
        Literal["file", "ollama"],
        flag("--template", "The chat template of the weights' file, or Ollama's, translated."),
    ] = "file",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a bundle of a model in Ollama's store: weights, template, parameters, licence.

    The store is only read. Opened under its name afterwards it is the bundle that answers.
    """
    from edgereason.models.hub import adopt

    bundle, left = adopt(name, out, template=template)
    size = sum(file.size_bytes for file in bundle.files)
    if as_json:
        told = {"name": bundle.name, "path": str(bundle.path), "size_bytes": size}
        json_object.say(told | {"licence": bundle.licence, "left_aside": list(left)})
        return
    for what in left:
        say(f"note: {what} has no place in a bundle", error=True)
    say(f"{bundle.name}: {mib(size)}, {bundle.licence or 'licence unknown'}, in {bundle.path}")
