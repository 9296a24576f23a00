"""`edgereason export diff`: how far two models lie apart on a text."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgereason.cli._options import Debug, Json, flag
from edgereason.cli._screen import console, json_object
from edgereason.cli._stages import stages

if TYPE_CHECKING:
    from edgereason.export.compare.logits import Difference


def command(
    first: Annotated[str, typer.Argument(help="A bundle, a GGUF, or the name of a model.")],
    second: Annotated[str, typer.Argument(help="Another with the same tokens, on any engine.")],
    *,
    text: Annotated[Path | None, flag("--text", "What both read [a text of ours]")] = None,
    tokens: Annotated[int, flag("--tokens", "How many of the text at most.")] = 20000,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare the logits of two models on a text: the second as seen from the first."""
    from edgereason.errors import UsageError
    from edgereason.export.compare.logits import compare, open_engines
    from edgereason.export.compare.sample_text import TEXT
    from edgereason.export.windows import read_text, windows_of
    from edgereason.models.bundle import open_bundle
    from edgereason.models.hub import resolve

    if tokens < 2:
        raise UsageError(f"tokens must be 2 or more, got {tokens}")
    words = read_text(text) if text else TEXT
    opened = open_engines([open_bundle(resolve(name)) for name in (first, second)])
    with stages() as progress:
        mine, theirs = compare(opened, windows_of(opened[0], words, tokens), progress)
    if as_json:
        json_object.say(asdict(theirs) | {"first_perplexity": mine.perplexity})
    else:
        _show(mine, theirs)


def _show(mine: Difference, theirs: Difference) -> None:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name, value in (
        ("tokens", f"{theirs.num_tokens:,}"),
        ("largest logit difference", f"{theirs.largest:.4g}"),
        (
            "KL divergence, nats",
            f"mean {theirs.kl_mean:.3g}, 99 % below {theirs.kl_p99:.3g}, max {theirs.kl_max:.3g}",
        ),
        ("same greedy token", f"{theirs.same_top:.2%}"),
        ("perplexity", f"{mine.perplexity:.4g} and {theirs.perplexity:.4g}"),
    ):
        table.add_row(name, value)
    console(sys.stdout).print(table)
