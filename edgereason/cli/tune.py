"""`edgereason tune`: the fastest way to open a model here, for a loss that is allowed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgereason.cli._options import DEFAULT_MODEL, Debug, Json, flag
from edgereason.cli._screen import console, json_object, say
from edgereason.cli._stages import stages
from edgereason.cli.bench.pareto import seconds
from edgereason.errors import UsageError

if TYPE_CHECKING:
    from edgereason.cli._tuning import Outcome
    from edgereason.models.bundle import Bundle
    from edgereason.planning.here import Choice

_FORMATS = "q4_0,q4_0_mixed,q4_k_m,q8_0,onnx-int4,onnx-int8"
_KL_TOKENS = 2000


def command(
    *,
    model: Annotated[str, typer.Argument(help="A model that is here.")] = DEFAULT_MODEL,
    time_limit: Annotated[str, flag("--time-limit", "Of all races, such as 90s or 10m.")] = "10m",
    formats: Annotated[
        str, flag("--formats", "Formats to make of the model and try, with commas.")
    ] = _FORMATS,
    most_kl: Annotated[
        float, flag("--most-kl", "Loss that is allowed: mean KL from the model, in nats.")
    ] = 0.05,
    busy: Annotated[
        str, flag("--busy", "Tune beside so many busy cores, with commas; each has its own race.")
    ] = "0",
    more: Annotated[
        bool, flag("--more", "Also try types of the KV cache and widths of a batch.")
    ] = False,
    reset: Annotated[bool, flag("--reset", "Forget what was tuned, and its files.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure formats, engines, threads and spinning on this machine, and keep the fastest.

    `run`, `chat` and `serve` open the model so from then on, and say so; options that are typed
    win. Files are made of the model as it is here: what that has lost does not come back, and the
    loss that is told is against it.
    """
    from edgereason.models.bundle import open_bundle
    from edgereason.models.hub import resolve
    from edgereason.planning import here

    bundle = open_bundle(resolve(model))
    if reset:
        _forget(bundle, as_json=as_json)
        return
    loads = _loads(busy)
    limit_s = seconds(time_limit, "--time-limit")
    if not most_kl >= 0:
        raise UsageError(f"--most-kl must be 0 or more, got {most_kl}")

    def tell(text: str) -> None:
        if not as_json:
            say(text, error=True)

    files, losses = _files(bundle, formats, most_kl, tell)
    outcomes = _races(files, loads, limit_s, tell, more=more)
    choices = tuple(_choice(bundle, outcome, most_kl) for outcome in outcomes)
    here.save_tuned(bundle, choices)
    if as_json:
        told = [asdict(choice) for choice in choices]
        json_object.say({"model": bundle.name, "choices": told, "kl": losses})
        return
    _show(outcomes, losses, choices)


def _loads(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() and int(part) <= 1024 for part in parts):
        raise UsageError(
            f"--busy must be numbers of cores with commas, got {text!r}", "such as 0,1"
        )
    return sorted({int(part) for part in parts})


def _files(
    bundle: Bundle, formats: str, most_kl: float, tell: Any
) -> tuple[list[tuple[str, Path, str, float]], dict[str, float]]:
    """The model itself, and what was made of it and is near enough to it."""
    from edgereason.export.tuning import check_format, losses_of, make

    wanted = [check_format(name) for name in formats.split(",") if name.strip()]
    wanted = [name for name in wanted if name.upper() != bundle.quantization.upper()]
    with stages() as progress:
        made, why_not = make(bundle, wanted, _folder(bundle), progress)
        losses = losses_of(bundle, made, _KL_TOKENS, progress)
    for name, why in why_not.items():
        tell(f"{name} cannot be made: {why}")
    itself = (bundle.quantization.lower() or "itself", bundle.path, bundle.engine, 0.0)
    near = [
        (name, each.path, each.engine, losses[name])
        for name, each in made.items()
        if losses[name] <= most_kl
    ]
    for name in sorted(set(made) - {name for name, *_ in near}):
        tell(f"{name} is out: its KL from the model is {losses[name]:.3g}, {most_kl:g} is allowed")
    return [itself, *near], losses


def _races(
    files: Sequence[tuple[str, Path, str, float]],
    loads: Sequence[int],
    limit_s: float,
    tell: Any,
    *,
    more: bool,
) -> list[Outcome]:
    from edgereason.cli._tuning import race, setups_of
    from edgereason.planning.device import num_cores
    from edgereason.runtime.measure import decode_rate

    setups = setups_of(files, num_cores(), more=more)
    each = limit_s / len(loads)
    return [
        race(setups, load, each, tell, lambda setup: decode_rate(setup.path, setup.options))
        for load in loads
    ]


def _choice(bundle: Bundle, outcome: Outcome, most_kl: float) -> Choice:
    from edgereason.planning.here import Choice

    winner, speed = outcome.winner, outcome.speed
    return Choice(
        busy_cores=outcome.busy,
        model=str(winner.path),
        format=winner.format,
        options=winner.options,
        speed=speed.value,
        speed_low=speed.low,
        speed_high=speed.high,
        kl=winner.kl,
        most_kl=most_kl,
    )


def _folder(bundle: Bundle) -> Path:
    from edgereason.config import cache_dir
    from edgereason.planning.measured import file_of

    return cache_dir() / "tuned" / file_of(bundle).stem


def _forget(bundle: Bundle, *, as_json: bool) -> None:
    import shutil

    from edgereason.planning import here

    had = len(here.load_tuned(bundle))
    here.save_tuned(bundle, ())
    shutil.rmtree(_folder(bundle), ignore_errors=True)
    if as_json:
        json_object.say({"model": bundle.name, "forgotten": had})
    else:
        say(f"{bundle.name}: {had} choices forgotten, it is opened as it is")


def _show(outcomes: Sequence[Outcome], losses: dict[str, float], choices: Sequence[Choice]) -> None:
    from rich.table import Table

    screen = console(sys.stdout)
    for outcome in outcomes:
        table = Table("setup", "speed", "90 %", "turns", box=None, pad_edge=False)
        ranked = sorted(outcome.speeds.items(), key=lambda item: -item[1].value)
        for name, speed in ranked:
            table.add_row(
                name,
                f"{speed.value:.2f}",
                f"{speed.low:.2f}-{speed.high:.2f}",
                str(speed.num_turns),
            )
        screen.print(f"beside {outcome.busy} busy cores, times the default's speed")
        screen.print(table)
    for name, kl in losses.items():
        say(f"KL of {name} from the model: {kl:.3g}")
    for choice in choices:
        say(f"kept for {choice.busy_cores} busy: {told(choice)}")


def told(choice: Choice) -> str:
    """One line of how a model is opened."""
    options = "".join(f", {key} {value}" for key, value in choice.options.items())
    if choice.speed == 1.0 and not choice.options and not choice.kl:
        return f"the model as it is ({choice.format})"
    return (
        f"{choice.format}{options}: {choice.speed:.2f} ({choice.speed_low:.2f}-"
        f"{choice.speed_high:.2f}) times as fast as the default, KL {choice.kl:.3g}"
    )
