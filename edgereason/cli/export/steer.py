"""`edgereason export steer`: a control vector from two sets of replies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgereason.cli._options import Debug, Json, flag
from edgereason.cli._screen import json_object, say
from edgereason.cli._stages import stages
from edgereason.errors import UsageError


def command(
    model: Annotated[str, typer.Argument(help="A folder of Hugging Face's, a GGUF, or a name.")],
    *,
    toward: Annotated[
        Path, flag("--toward", 'Wanted replies, JSON lines: {"prompt": ..., "reply": ...}.')
    ],
    away: Annotated[Path, flag("--away", "Replies that are not wanted, in the same form.")],
    out: Annotated[Path, flag("--out", "File to write, e.g. short.gguf.")],
    layers: Annotated[
        str | None, flag("--layers", "First and last to steer, such as 8-16 [the middle third].")
    ] = None,
    tokens: Annotated[
        int, flag("--tokens", "First tokens of each reply that are compared; 0 is all.")
    ] = 0,
    thinking: Annotated[
        bool | None,
        flag(
            "--thinking/--no-thinking",
            "How prompts end [thinking where some reply opens a thought].",
        ),
    ] = None,
    force: Annotated[bool, flag("--force", "Replace the file that --out names.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a control vector for --adapter: where wanted replies go, and others do not."""
    from edgereason.export.offline import needs_extra, whole

    if out.exists() and not force:
        raise UsageError(f"{out} is there already", "give --force to replace it")
    with needs_extra("steering", "export,recipes"):
        from edgereason.export.prefixes.steer import Options, steer
        from edgereason.export.sources.open import open_source
        from edgereason.models.steering_file import write_steering

        with open_source(model) as source, stages() as progress:
            options = Options(_layers(layers), thinking, tokens)
            made = steer(source, toward, away, options, progress)
        with whole(out) as part:
            write_steering(part, made)
    steered = [int(layer) for layer in made.rows.any(axis=1).nonzero()[0]]
    if as_json:
        json_object.say({"path": str(out), "layers": steered, "num_embd": made.rows.shape[1]})
    else:
        say(f"{out}: layers {steered[0]} to {steered[-1]}, {made.rows.shape[1]} numbers each")


def _layers(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, _, last = text.partition("-")
    try:
        return int(first), int(last or first)
    except ValueError:
        raise UsageError(f"layers must be such as 8-16, got {text!r}") from None
