"""`edgereason profile measure`: a profile of this machine, out of what models take on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from edgereason.cli._options import DEFAULT_MODEL, Debug, Json, flag
from edgereason.cli._planning import save_text
from edgereason.cli._screen import json_object, say
from edgereason.errors import UsageError

if TYPE_CHECKING:
    from edgereason.planning.cost import Cost
    from edgereason.planning.profile import Profile


_MOST_BUSY: Final = 0.3  # share of the cores


def command(
    *,
    models: Annotated[
        list[str] | None, typer.Argument(help=f"Models to measure [{DEFAULT_MODEL}]")
    ] = None,
    seconds: Annotated[
        float, flag("--seconds", "Of turns of steps for each model; more tells more.")
    ] = 20.0,
    out: Annotated[
        Path | None, flag("--out", "File of the profile [kept for `plan --device here`]")
    ] = None,
    force: Annotated[bool, flag("--force", "Also on a machine that is busy.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure this machine: memory, power where it has a meter, what steps of models cost.

    The scheduler then starts from these costs instead of a warm-up, and `plan` takes them first.
    Do it while the machine is idle: each model takes --seconds and some more.
    """
    from edgereason.planning.profile import here_file

    if not 0 < seconds <= 3600:
        raise UsageError(f"--seconds must be above 0 and at most 3600, got {seconds:g}")
    import psutil

    busy = psutil.cpu_percent(interval=0.5) / 100
    if busy > _MOST_BUSY and not force:
        raise UsageError(
            f"{busy:.0%} of the cores are busy: what is measured now is not what steps cost",
            "wait until the machine is idle, or add --force",
        )
    profile = _measured(models or [DEFAULT_MODEL], seconds, busy, quiet=as_json)
    path = out or here_file()
    save_text(path, to_toml(profile))
    if as_json:
        costs = {cost.model: dict(cost.step_ms) for cost in profile.costs}
        json_object.say(
            {"path": str(path), "bandwidth_gb_per_s": profile.bandwidth_gb_per_s, "step_ms": costs}
        )
        return
    say(f"memory: {profile.bandwidth_gb_per_s:.1f} GB/s read by all cores")
    for cost in profile.costs:
        say(_told(cost))
    say(f"kept in {path}")


def _measured(models: list[str], seconds: float, busy: float, *, quiet: bool) -> Profile:
    import time

    from edgereason.planning import energy
    from edgereason.planning.device import this_machine
    from edgereason.planning.profile import HERE, Profile, power_mode
    from edgereason.runtime.measure import bandwidth_gb_per_s, measure_cost

    machine = this_machine()
    sampler = energy.shared()
    if sampler is not None:
        sampler.watch()
        time.sleep(2)  # at rest
    rate = bandwidth_gb_per_s(machine.num_cores)

    def tell(text: str) -> None:
        if not quiet:
            say(text, error=True)

    costs = tuple(measure_cost(model, seconds=seconds, say=tell) for model in models)
    idle_watts = sampler.idle_watts if sampler is not None else None
    return Profile(
        name=HERE,
        source=f"edgereason profile measure; {busy:.0%} of the cores were busy before",
        about=f"{machine.cpu}, {machine.num_cores} cores",
        machine=machine.machine,
        board=machine.board,
        num_cores=machine.num_cores,
        memory_gib=round(machine.memory_gib, 2),
        bandwidth_gb_per_s=round(rate, 2),
        idle_watts=idle_watts or 0.0,
        costs=costs,
        facts={
            "power_mode": power_mode(),
            "meter": sampler.label if sampler is not None else "none",
        },
    )


def _told(cost: Cost) -> str:
    rows = ", ".join(f"{rows}: {ms:.1f}" for rows, ms in sorted(cost.step_ms.items()))
    watts = f", {cost.power.watts:.1f} W" if cost.power else ""
    return (
        f"{cost.model} {cost.format}: ms of a step by rows {rows}; "
        f"{1000 * cost.cell_ms:.2f} us a KV cell, +- {cost.spread:.0%}{watts}"
    )


def to_toml(profile: Profile) -> str:
    """A profile as a file of `profiles/`; what is empty is left out."""
    from dataclasses import asdict

    data = asdict(profile)
    del data["name"]
    costs = data.pop("costs")
    lines = list(_lines({key: value for key, value in data.items() if value}))
    for cost in costs:
        tables = {key: cost.pop(key) for key in ("prefill", "power")}
        lines += ["", "[[costs]]", *_lines({key: value for key, value in cost.items() if value})]
        for name, table in tables.items():
            if table:
                lines += ["", f"[costs.{name}]", *_lines(table)]
    return "\n".join([*lines, ""])


def _lines(table: dict[str, object]) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in table.items()]


def _value(value: object) -> str:
    import json

    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(each)}" for key, each in value.items()) + " }"
    return json.dumps(round(value, 6) if isinstance(value, float) else value)
