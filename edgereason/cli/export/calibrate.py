"""`edgereason export calibrate`: an importance matrix from a model's own thinking."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgereason.cli._options import Debug, Json, flag
from edgereason.cli._screen import json_object, say
from edgereason.cli._stages import stages


def command(
    model: Annotated[str, typer.Argument(help="A GGUF, best in f16, or the name of a model.")],
    *,
    out: Annotated[Path, flag("--out", "File to write, e.g. imatrix.gguf.")],
    questions: Annotated[
        Path | None,
        flag("--questions", 'One a line, or .jsonl with {"question": ...}: the model thinks.'),
    ] = None,
    text: Annotated[Path | None, flag("--text", "A plain text to read, too, or instead.")] = None,
    tokens: Annotated[int, flag("--tokens", "How many to think, and to read of the text.")] = 20000,
    think_budget: Annotated[int, flag("--think-budget", "Thinking tokens of one trace.")] = 512,
    seed: Annotated[int, flag("--seed", "Of the random numbers.")] = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure what goes into each weight while the model thinks, for --imatrix.

    The file is what llama.cpp's tools call an imatrix. A run that is interrupted goes on where it
    was.
    """
    from edgereason.export.weights.calibrate import Text, calibrate
    from edgereason.export.weights.traces import Wanted

    what = Text(questions, text, Wanted(tokens, think_tokens=think_budget, seed=seed))
    with stages() as progress:
        made = calibrate(model, what, out, progress)
    num_tokens = max(int(counts.max()) for counts in made.counts.values())
    if as_json:
        found = {"path": str(out), "weights": len(made.sums), "tokens": num_tokens}
        json_object.say(found | {"datasets": list(made.datasets)})
    else:
        say(f"{out}: {len(made.sums)} weights, {num_tokens:,} tokens")
