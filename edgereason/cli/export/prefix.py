"""`edgereason export prefix`: a prefix-tuning adapter of PEFT becomes a prefix file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgereason.cli._options import Debug, Json, flag
from edgereason.cli._screen import json_object, say


def command(
    adapter: Annotated[Path, typer.Argument(help="A folder that PEFT saved.")],
    *,
    base: Annotated[str, flag("--base", "The model that it was trained for.")],
    out: Annotated[Path, flag("--out", "File to write, e.g. skill.safetensors.")],
    force: Annotated[bool, flag("--force", "Replace the file that --out names.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Read a PEFT adapter of kind PREFIX_TUNING into a prefix for --prefix."""
    from edgereason.export.offline import needs_extra
    from edgereason.export.prefixes.peft import convert
    from edgereason.export.sources.open import open_source

    with needs_extra(), open_source(base) as source:
        made = convert(adapter, source, out, force=force)
    if as_json:
        told = {"path": str(out), "name": made.name, "base": made.base, "slots": made.num_positions}
        json_object.say(told)
    else:
        say(f"{out}: {made.num_positions} slots for weights {made.base[:12]}")
