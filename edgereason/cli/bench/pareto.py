"""`edgereason bench pareto`: which model, format and way is best for this device."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgereason.cli._options import DEFAULT_MODEL, Debug, Json, flag
from edgereason.cli._screen import json_object, say
from edgereason.errors import UsageError

if TYPE_CHECKING:
    from edgereason.bench.pareto import Done

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def command(
    *,
    out: Annotated[
        Path, flag("--out", "Folder for trials and report; what it has is gone on with.")
    ],
    models: Annotated[
        str,
        typer.Option(  # EDGEREASON_MODELS names folders
            "--models", help="With commas: names, paths, hf:owner/repo; {quant} is filled in."
        ),
    ] = DEFAULT_MODEL,
    quants: Annotated[str, flag("--quants", "Formats of those models, with commas.")] = "",
    ways: Annotated[
        str, flag("--ways", "With commas, such as think,think:128,auto,vote:8.")
    ] = "no-think,think:64,think:256",
    tasks: Annotated[
        str, flag("--tasks", "With commas: files of bench/tasks, mine.jsonl, reasoning-gym:NAME.")
    ] = "chain",
    questions: Annotated[int, flag("--questions", "Of each task; 0 is all.")] = 50,
    deadlines: Annotated[
        str, flag("--deadlines", "With commas, such as 500ms,2s: what is later is wrong.")
    ] = "",
    time_limit: Annotated[
        str, flag("--time-limit", "No question is asked later, such as 90s, 30m or 2h.")
    ] = "1h",
    drop: Annotated[
        str,
        flag("--drop", "Ask beaten settings no further: none, frontier or hypervolume."),
    ] = "none",
    check: Annotated[
        int, flag("--check", "Questions of each task on which what is read off is run, too.")
    ] = 2,
    think_budget: Annotated[
        int, flag("--think-budget", "Thinking tokens of ways that name no budget; -1 no limit.")
    ] = -1,
    answer_budget: Annotated[int, flag("--answer-budget", "Answer tokens at most.")] = 128,
    temperature: Annotated[float, flag("--temperature", "0 takes the likeliest token.")] = 0.0,
    threads: Annotated[
        int, flag("--threads", "Compute threads; 0 follows the load of the machine.")
    ] = 0,
    context: Annotated[int, flag("--context", "Tokens of KV cache.")] = 4096,
    seed: Annotated[int, flag("--seed", "Of questions and samples.")] = 0,
    device: Annotated[str, flag("--device", "What this machine is called in reports.")] = "",
    hosts: Annotated[
        str,
        flag("--hosts", "Devices of a Ray cluster, with commas: each gets all trials."),
    ] = "",
    data: Annotated[
        Path | None, flag("--data", "Folder whose NAME.jsonl stand for data of tasks.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure accuracy against time and energy, for each model and each way of asking.

    Every setting gets the same questions, in turns. A run that ends, by --time-limit or kill -9,
    goes on when the same command is given again.
    """
    from edgereason.bench import pareto
    from edgereason.planning import energy

    asked = pareto.Job(
        out=out,
        models=_listed(models),
        quants=_listed(quants),
        ways=_listed(ways),
        tasks=_listed(tasks),
        num_questions=questions,
        deadlines_ms=tuple(1000 * seconds(each, "--deadlines") for each in _listed(deadlines)),
        time_limit_s=seconds(time_limit, "--time-limit"),
        drop=drop,
        check=check,
        think_tokens=think_budget,
        answer_tokens=answer_budget,
        temperature=temperature,
        threads=threads,
        context=context,
        seed=seed,
        device=device,
        data=data,
        hosts=_listed(hosts),
    )
    done = pareto.run(
        asked, lambda text: None if as_json else say(text, error=True), energy.meter()
    )
    tell(done, as_json)


def tell(done: Done, as_json: bool) -> None:
    if as_json:
        json_object.say(done.to_dict())
        return
    for line in done.lines():
        say(line)


def seconds(text: str, what: str) -> float:
    """`90s`, `1.5h`, `500ms`; a number alone is seconds."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|m|h)?\s*", text)
    if found is None:
        raise UsageError(f"{what} must be a time, got {text!r}", "such as 500ms, 90s, 30m or 2h")
    return float(found[1]) * _UNITS[found[2] or "s"]


def _listed(text: str) -> tuple[str, ...]:
    """Parts between commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
