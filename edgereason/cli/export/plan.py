"""`edgereason export plan MODEL --way think`: what the C library needs to answer in this way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from edgereason.cli._options import Debug, Json, flag
from edgereason.cli._screen import json_object, say
from edgereason.config import assignments
from edgereason.records import Budget


def command(
    model: Annotated[str, typer.Argument(help="A GGUF, a bundle, or a pulled model.")],
    *,
    way: Annotated[str, flag("--way", "Strategy to compile: one that is a chain of phases.")],
    out: Annotated[Path, flag("--out", "File to write, e.g. think.json.")],
    options: Annotated[
        list[str] | None,
        flag("--set", "Option of the strategy as name=value; may be repeated.", metavar="TEXT"),
    ] = None,
    think_budget: Annotated[
        int, flag("--think-budget", "Thinking tokens where a request names none.")
    ] = -1,
    answer_budget: Annotated[
        int, flag("--answer-budget", "Answer tokens where a request names none.")
    ] = 256,
    temperature: Annotated[
        float | None, flag("--temperature", "0 takes the likeliest token.")
    ] = None,
    stop: Annotated[
        list[str] | None,
        flag("--stop", "Text that ends the answer; may be repeated.", metavar="TEXT"),
    ] = None,
    probe_every: Annotated[
        int, flag("--probe-every", "Look ahead every so many thinking tokens; 0 is off.")
    ] = 0,
    force: Annotated[bool, flag("--force", "Replace the file that --out names.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compile a way of answering for programs without Python: see docs/c.md."""
    from edgereason.export.plans.chain import Way
    from edgereason.export.plans.plan import write_plan
    from edgereason.models.bundle import open_bundle
    from edgereason.models.hub import resolve

    sampling = None
    if temperature is not None:
        sampling = replace(open_bundle(resolve(model)).sampling, temperature=temperature)
    asked = Way(
        way,
        assignments(options or []),
        Budget(think_budget, answer_budget),
        sampling,
        tuple(stop or ()),
        probe_every,
    )
    made = write_plan(asked, model, out, force=force)
    if as_json:
        json_object.say(
            {
                "path": str(made.path),
                "model": made.model,
                "way": made.way,
                "phases": list(made.phases),
                "system": made.has_system,
                "history": made.has_history,
                "refuses": list(made.acted_on),
            }
        )
        return
    say(f"{made.path}: {made.way} with {made.model}, {' -> '.join(made.phases)}")
    if made.acted_on:
        say(f"  texts that it does not take: {', '.join(map(repr, made.acted_on))}")
