"""`edgereason export inspect PATH`: which tensors a model has, of which type and size."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from edgereason.cli._options import Debug, Json
from edgereason.cli._screen import console, json_object, mib, say


def command(
    *,
    path: Annotated[
        Path,
        typer.Argument(help="A .gguf, .safetensors or .onnx, a bundle, or a folder."),
    ],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the tensors of a model without reading them."""
    from edgereason.export.inspection import inspect

    found = inspect(path)
    if as_json:
        tensors = [
            {"name": t.name, "type": t.type, "shape": list(t.shape), "bytes": t.num_bytes}
            for t in found
        ]
        json_object.say({"path": str(path), "tensors": tensors})
        return
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for tensor in found:
        shape = " x ".join(map(str, tensor.shape))
        table.add_row(tensor.name, tensor.type, shape, mib(tensor.num_bytes))
    console(sys.stdout).print(table)
    total = sum(tensor.num_bytes for tensor in found)
    kinds: dict[str, int] = {}
    for tensor in found:
        kinds[tensor.type] = kinds.get(tensor.type, 0) + tensor.num_bytes
    parts = ", ".join(f"{kind} {mib(size)}" for kind, size in sorted(kinds.items()))
    say(f"{len(found)} tensors, {mib(total)}: {parts}")
