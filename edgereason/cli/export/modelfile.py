"""`edgereason export modelfile MODEL`: a Modelfile, by which Ollama opens the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgereason import files
from edgereason.cli._options import Debug, Json, flag
from edgereason.cli._screen import json_object, say
from edgereason.errors import DiskError


def command(
    *,
    model: Annotated[str, typer.Argument(help="A name of `edgereason list`, or a path.")],
    out: Annotated[Path, flag("--out", "File to write.")] = Path("Modelfile"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a Modelfile with template, parameters and licence; the weights stay where they are."""
    from edgereason.models.bundle import open_bundle
    from edgereason.models.hub import resolve
    from edgereason.models.modelfile import modelfile

    text, notes = modelfile(open_bundle(resolve(model)))
    try:
        with files.replacing(out) as file:
            file.write(text.encode())
    except OSError as error:
        raise DiskError(f"cannot write {out}: {error.strerror}") from None
    if as_json:
        json_object.say({"path": str(out), "notes": list(notes)})
        return
    for note in notes:
        say(f"note: {note}", error=True)
    say(f"{out}: ollama create NAME -f {out}")
