"""`edgereason plan`: which model, format, way and budget fits a device and a limit."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from edgereason.cli._options import Debug, Json, flag
from edgereason.cli._planning import open_device, size_of, write_options
from edgereason.cli._screen import console, json_object, say
from edgereason.errors import UsageError

if TYPE_CHECKING:
    from edgereason.planning.estimate import Figure
    from edgereason.planning.planner import Row, Task

_CHARACTERS: Final = 4  # of a token, about
_TEMPLATE: Final = 24  # tokens around a question, about

Models = Annotated[
    list[str], typer.Argument(help="Names, paths, or a config.json; they need not be here.")
]


def command(
    *,
    models: Models,
    deadline_ms: Annotated[
        float | None, flag("--deadline-ms", "Milliseconds until the answer must be there.")
    ] = None,
    memory_gib: Annotated[
        float | None, flag("--memory-gib", "Memory that may be taken; default: the device's.")
    ] = None,
    watts: Annotated[
        float | None,
        flag("--watts", "Power: the fastest power mode of no more than this, where it has modes."),
    ] = None,
    joules: Annotated[float | None, flag("--joules", "Energy that an answer may cost.")] = None,
    task: Annotated[
        Path | None, flag("--task", 'Questions, {"question": ...} a line [a prompt of 64 tokens]')
    ] = None,
    trials: Annotated[
        list[Path] | None,
        flag("--trials", "What `bench` has written, a file or a folder; may be repeated."),
    ] = None,
    device: Annotated[
        str, flag("--device", "A device's profile: a name, a .toml, or here.")
    ] = "here",
    mode: Annotated[str, flag("--mode", "Power mode of the device [its default]")] = "",
    ways: Annotated[
        str, flag("--ways", "Ways of thinking, with commas.")
    ] = "no-think,think:64,think:128,think:256,think:512,think",
    formats: Annotated[
        str, flag("--formats", "Formats to think of, with commas [those of the files]")
    ] = "",
    answer_tokens: Annotated[
        int, flag("--answer-tokens", "Tokens of an answer, where no trial says.")
    ] = 32,
    out: Annotated[
        Path | None, flag("--export", "Write the first choice as options for run and serve.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Rank models, formats, ways and budgets for a device, a deadline, a memory, an energy.

    Works for a device that is not here, from its profile, and for a model that is not here, from
    the catalog or its config.json. Each figure says where it is from. Nothing is run.
    """
    from edgereason.planning.planner import Limits, rank
    from edgereason.planning.trials import Way

    found = open_device(device, mode, watts)
    sizes = [size_of(model) for model in models]
    if formats:
        sizes = [size.in_format(name.strip()) for size in sizes for name in formats.split(",")]
    if memory_gib is None:
        memory_gib = found.profile.memory_gib or None
    limits = Limits(deadline_ms, memory_gib, joules, watts)
    parsed = [Way.parse(way) for way in ways.split(",")]
    rows = rank(sizes, parsed, found, _task(task, trials or [], answer_tokens), limits)
    if out is not None:
        write_options(out, rows, deadline_ms)
    if as_json:
        plans = [asdict(row) for row in rows]
        json_object.say({"device": found.label, "plans": plans, "options": out and str(out)})
        return
    _show(rows, found.label)
    if out is not None:
        say(f"{out}: options, for edgereason --options {out} run (or serve)", error=True)


def _task(path: Path | None, folders: Sequence[Path], answer_tokens: int) -> Task:
    """Prompts as the trials have counted them, else about as many tokens as the characters say."""
    from edgereason.planning import trials as trials_file
    from edgereason.planning.planner import Task

    known = trials_file.read(folders)
    name = path.stem if path else ""
    if path is not None and any(trial.task for trial in known):
        of_task = [trial for trial in known if trial.task in ("", name)]
        if not of_task:
            there = ", ".join(sorted({trial.task for trial in known}))
            raise UsageError(f"no trial is of the task {name}", f"the trials are of: {there}")
        known = of_task
    counted = [trial.prompt_tokens for trial in known if trial.prompt_tokens > 0]
    if not counted and path is not None:
        asked = trials_file.read_questions(path)
        counted = [len(text) // _CHARACTERS + _TEMPLATE for text in asked]
    return Task(counted or [64], known, answer_tokens, name)


def _show(rows: Sequence[Row], label: str) -> None:
    from rich.table import Table

    table = Table(
        *("model", "format", "way", "p50 ms", "p95 ms", "late", "J", "GiB", "right", "so far"),
        title=f"on {label}",
        box=None,
        pad_edge=False,
        title_justify="left",
    )
    for row in rows:
        verdict = "; ".join(row.reasons) or ("tied with the best" if row.tied else "fits")
        table.add_row(
            Path(row.model).name,
            row.format,
            row.way,
            _ms(row.p50_ms),
            _ms(row.p95_ms),
            _share(row.p_late),
            _told(row.joules),
            _told(row.memory_gib),
            _share(row.accuracy),
            verdict,
        )
    console(sys.stdout).print(table)
    for line in _sources(rows):
        say(line, error=True)


def _sources(rows: Sequence[Row]) -> list[str]:
    """Where the figures are from, each source once."""
    told: dict[str, None] = {}
    for row in rows:
        who = f"{Path(row.model).name} {row.format}".rstrip()
        if row.p50_ms:
            told[f"time, {who}: {row.p50_ms.source}"] = None
        for note in row.notes:
            told[f"time, {who}: {note}"] = None
        told[f"thoughts, {who}, {row.way}: {row.thinking}"] = None
        if row.joules:
            told[f"energy, {who}: {row.joules.source}"] = None
    if any(row.accuracy is None for row in rows):
        told["right: unknown where no trial of that model, format and way is given (--trials)"] = (
            None
        )
    return list(told)


def _ms(figure: Figure | None) -> str:
    if figure is None:
        return "unknown"
    return f"{figure.value:,.0f} ({figure.low:,.0f}-{figure.high:,.0f})"


def _share(figure: Figure | None) -> str:
    if figure is None:
        return "unknown"
    return f"{figure.value:.0%} ({figure.low:.0%}-{figure.high:.0%})"


def _told(figure: Figure | None) -> str:
    return (
        "unknown" if figure is None else f"{figure.value:.2g} ({figure.low:.2g}-{figure.high:.2g})"
    )
