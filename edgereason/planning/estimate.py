"""What a model would cost on a device: measured here, on such a device, or by its roofline.

    device = Device(load_profile("jetson-orin-nano-super-8gb"), mode="15W")
    known = device.cost_of(size)          # None: nothing is known
    known.cost.decode_ms(200, 64), known.source

Every figure says where it is from. What is not known is None, never a default.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import geometric_mean, pstdev
from typing import Final

from edgereason.errors import UsageError
from edgereason.planning.cost import Cost
from edgereason.planning.profile import Mode, Profile
from edgereason.planning.sizes import Size

_EFFICIENCY: Final = 0.6  # of the memory's rate, where nothing was measured on the device
_EFFICIENCY_SPREAD: Final = 0.25
_ONE_POINT_SPREAD: Final = 0.15  # one model tells little about another
_LEAST_ROOFLINE: Final = 0.1 / 1.645  # at least 10 % to both sides
_PROMPT_ROWS: Final = 512
_PROMPT_EFFICIENCY: Final = 0.35  # of the data sheet's compute


@dataclass(frozen=True, slots=True)
class Figure:
    """A predicted figure: what is expected, and a 90 % interval. `source` says where it is from."""

    value: float
    low: float
    high: float
    source: str


@dataclass(frozen=True, slots=True)
class Known:
    """A cost, and how it is known. `prompts`: "" where the cost of a prompt is part of it."""

    cost: Cost
    source: str
    lacks: str = ""


class Device:
    """A kind of device in one of its power modes, or this machine."""

    def __init__(
        self,
        profile: Profile,
        *,
        mode: str = "",
        watts: float | None = None,
        here: Callable[[Size], Cost | None] = lambda size: None,
    ) -> None:
        """`watts`: the fastest mode of no more than so many. `here` tells what was measured on this
        machine; nothing where the device is another.
        """
        self.profile = profile
        self.mode = _mode_of(profile, mode, watts)
        self._here = here

    @property
    def label(self) -> str:
        return self.profile.name + (f", {self.mode.name}" if self.mode else "")

    def cost_of(self, size: Size) -> Known | None:
        """What steps of a model cost, from the best source there is; None: nothing is known."""
        if (cost := self._here(size)) is not None:
            return Known(cost, "measured here")
        same = [cost for cost in self.profile.measured(self.mode) if _is_same(cost, size)]
        if same:
            best = max(same, key=lambda cost: cost.knows_prompts)
            known = Known(best, f"measured on {self.profile.name}: {best.source}")
        else:
            found = self._roofline(size)
            if found is None:
                return None
            known = found
        return known if known.cost.knows_prompts else self._with_prompts(known, size)

    def _roofline(self, size: Size) -> Known | None:
        """Weights and KV are read once a step, at a share of the memory's rate that measurements of
        other models on the device tell."""
        rate = self.profile.bandwidth(self.mode)
        if not rate or not size.weight_bytes:
            return None
        shares = self._shares()
        share = geometric_mean(shares) if shares else _EFFICIENCY
        if not shares:
            spread, told = _EFFICIENCY_SPREAD, "no model was measured on it"
        else:
            spread = _ONE_POINT_SPREAD if len(shares) == 1 else pstdev(map(math.log, shares))
            told = f"{len(shares)} other{'s' * (len(shares) > 1)} measured on it"
        bytes_per_ms = rate * share * 1e6
        kv_bytes = (size.kv_bytes or {}).get("f16", 0.0)
        cost = Cost(
            model=size.name,
            source="roofline",
            step_ms={1: size.weight_bytes / bytes_per_ms},
            cell_ms=kv_bytes / bytes_per_ms,
            format=size.format,
            engine=size.engine,
            spread=max(spread, _LEAST_ROOFLINE),
            weight_bytes=size.weight_bytes,
            num_parameters=size.num_parameters,
        )
        source = f"roofline: {share:.0%} of {rate:g} GB/s, {told}"
        return Known(cost, source, "" if kv_bytes else "its KV is not known")

    def _shares(self) -> list[float]:
        """Of the memory's rate, as measured models have used it. Modes of their own count there."""
        found = []
        for cost in self.profile.measured():
            mode = self.profile.mode(cost.mode) if cost.mode else self.profile.mode("")
            rate = self.profile.bandwidth(mode)
            if rate and cost.weight_bytes:
                found.append(cost.weight_bytes / cost.step_ms[1] / 1e6 / rate)
        return found

    def _with_prompts(self, known: Known, size: Size) -> Known:
        """Prompts compute instead of reading: time goes by parameters."""
        params = size.num_parameters or known.cost.num_parameters
        others = [
            cost.prompt_ms(_PROMPT_ROWS) / cost.num_parameters
            for cost in self.profile.measured(self.mode)
            if cost.knows_prompts and cost.num_parameters
        ]
        sheet = self.profile.datasheet
        if params and others:
            prompt_ms, source = params * geometric_mean(others), "prompts by other models'"
        elif params and sheet is not None and sheet.fp16_tflops:
            per_ms = sheet.fp16_tflops * 1e9 * _PROMPT_EFFICIENCY
            prompt_ms = 2 * params * _PROMPT_ROWS / per_ms
            source = f"prompts at {_PROMPT_EFFICIENCY:.0%} of its compute"
        else:
            return replace(known, lacks="; ".join(filter(None, (known.lacks, NO_PROMPTS))))
        step_ms = {**known.cost.step_ms, _PROMPT_ROWS: max(prompt_ms, known.cost.step_ms[1])}
        spread = max(known.cost.spread, _EFFICIENCY_SPREAD)
        cost = replace(known.cost, step_ms=step_ms, spread=spread)
        return Known(cost, f"{known.source}; {source}", known.lacks)


NO_PROMPTS: Final = "what a prompt costs is not known and not counted"


def _mode_of(profile: Profile, name: str, watts: float | None) -> Mode | None:
    if name or watts is None or not profile.modes:
        return profile.mode(name)
    within = [mode for mode in profile.modes if 0 < mode.watts <= watts]
    if not within:
        least = min((mode.watts for mode in profile.modes if mode.watts), default=0)
        raise UsageError(
            f"{profile.name} has no power mode of {watts:g} W or less",
            f"the least is {least:g} W" if least else "its profile knows no watts",
        )
    return max(within, key=lambda mode: mode.watts)


def _is_same(cost: Cost, size: Size) -> bool:
    """One model in one format, however its name is written."""
    return _plain(cost.model) == _plain(size.name) and (
        not cost.format or not size.format or cost.format.upper() == size.format
    )


_ENDING: Final = re.compile(r"(instruct|gguf|it|hf|chat)$")


def _plain(name: str) -> str:
    letters = re.sub(r"[^a-z0-9]", "", name.lower().rpartition("/")[2])
    while (shorter := _ENDING.sub("", letters)) != letters:
        letters = shorter
    return letters


def interval(values: Sequence[float], source: str) -> Figure:
    """Of a figure by what it is at the expected, the low and the high cost."""
    value, *ends = values
    return Figure(value, min(ends), max(ends), source)


__all__ = ["NO_PROMPTS", "Device", "Figure", "Known", "interval"]
