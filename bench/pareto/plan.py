"""What is measured: settings, and which of them need no run of their own.

A setting is one model asked in one way. Of ways that share their tokens only the longest is run:
`think:64` and `think:128` lie inside `think:512`, a vote of 2 inside one of 8. Knows no engine.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Final, Literal

from edgereason.errors import UsageError
from edgereason.records import UNLIMITED

from ..harness.ways import Way, parse

Kind = Literal["budget", "vote"]

_THINK: Final = "think"
_VOTE: Final = "vote"
_SAMPLES: Final = "samples"
_EARLY: Final = "early_stop"
_FALSE: Final = ("false", "0", "no", "off", False)


@dataclass(frozen=True, slots=True)
class Setting:
    """All that settles how a question is asked. Equal settings give equal `config`s."""

    model: str  # what `edgereason run --model` takes
    way: str  # as `bench.harness.ways` reads it
    answer_tokens: int = 128
    temperature: float = 0.0
    threads: int = 0
    context: int = 4096
    think_tokens: int = UNLIMITED  # of ways that name no budget
    weights: str = ""  # what distinguishes two files of one name: their size in bytes

    @property
    def config(self) -> str:
        """12 hexadecimal digits; names this setting in trials."""
        told = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:12]

    @property
    def parsed(self) -> Way:
        return parse(self.way)

    @property
    def budget(self) -> int:
        """Thinking tokens of each line of thought at most; -1 no limit."""
        own = self.parsed.budget
        return self.think_tokens if own == UNLIMITED else own

    @property
    def command(self) -> str:
        """What asks one question in this way."""
        way = self.parsed
        parts = ["edgereason", "run", "-m", self.model, "--strategy", way.strategy]
        for name, value in way.options.items():
            parts += ["--set", f"{name}={value}"]
        if self.budget != UNLIMITED:
            parts += ["--think-budget", str(self.budget)]
        if way.prefix:
            parts += ["--prefix", way.prefix]
        parts += ["--soft", "1", "--answer-budget", str(self.answer_tokens)]
        parts += ["--temperature", f"{self.temperature:g}", "--threads", str(self.threads)]
        return shlex.join([*parts, "--context", str(self.context), "QUESTION"])


@dataclass(frozen=True, slots=True)
class Family:
    """One setting that is run, and those that are read off its tokens, the longest first."""

    run: Setting
    read_off: tuple[Setting, ...] = ()
    kind: Kind | None = None

    @property
    def settings(self) -> tuple[Setting, ...]:
        return (self.run, *self.read_off)


@dataclass(frozen=True, slots=True)
class Plan:
    """Families by model, in the order in which they were asked for."""

    families: tuple[Family, ...]

    @property
    def settings(self) -> tuple[Setting, ...]:
        return tuple(each for family in self.families for each in family.settings)

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(family.run.model for family in self.families))

    def of_model(self, model: str) -> tuple[Family, ...]:
        return tuple(family for family in self.families if family.run.model == model)

    def without(self, dropped: frozenset[str]) -> Plan:
        """Without settings whose `config` is dropped. What others are read off stays."""
        kept = []
        for family in self.families:
            read_off = tuple(each for each in family.read_off if each.config not in dropped)
            if read_off or family.run.config not in dropped:
                kept.append(replace(family, read_off=read_off))
        return Plan(tuple(kept))


def plan(models: Sequence[Setting], ways: Sequence[str], *, share: bool = True) -> Plan:
    """Every way for every model. `models`: a setting of each, whose `way` is put in here.

    `share`: run only the longest of ways that share their tokens. Raises `UsageError` on a way that
    there is not, or one that is given twice.
    """
    named = [str(parse(way)) for way in ways]
    if not named:
        raise UsageError("no way was given", "such as --ways think:128,no-think,auto")
    twice = [way for i, way in enumerate(named) if way in named[:i]]
    if twice:
        raise UsageError(f"the way {twice[0]!r} is given twice")
    families: list[Family] = []
    for model in models:
        settings = [replace(model, way=way) for way in named]
        families += _families(settings) if share else [Family(each) for each in settings]
    return Plan(tuple(families))


def _families(settings: Sequence[Setting]) -> Iterator[Family]:
    """In the order of each family's first member."""
    groups: dict[tuple[Kind | None, str], list[Setting]] = {}
    for setting in settings:
        kind = _kind(setting)
        key = "" if kind == "budget" else _other_options(setting) if kind else setting.way
        groups.setdefault((kind, key), []).append(setting)
    for (kind, _), group in groups.items():
        first, *rest = sorted(group, key=_length, reverse=True)
        yield Family(first, tuple(rest), kind if rest else None)


def _kind(setting: Setting) -> Kind | None:
    """How a setting shares its tokens with longer ones, if it does.

    A budget does only where tokens are not drawn: what is drawn after a cut depends on how many
    draws were before. A vote does where all its samples are written to their ends.
    """
    way = setting.parsed
    if way.prefix or way.model:
        return None
    if (
        way.strategy == _THINK
        and not way.options
        and setting.budget != 0
        and not setting.temperature
    ):
        return "budget"
    if way.strategy == _VOTE and way.options.get(_EARLY) in _FALSE and _SAMPLES in way.options:
        return "vote" if way.options[_SAMPLES] else None
    return None


def _other_options(setting: Setting) -> str:
    way = setting.parsed
    others = {name: value for name, value in way.options.items() if name != _SAMPLES}
    return json.dumps([others, setting.budget], sort_keys=True, default=str)


def _length(setting: Setting) -> float:
    way = setting.parsed
    if way.strategy == _VOTE:
        return float(way.options[_SAMPLES])
    return float("inf") if setting.budget == UNLIMITED else setting.budget


def expand(models: Sequence[str], quants: Sequence[str]) -> list[str]:
    """Models in each format: `{quant}` in a name is filled in, `hf:owner/repo` gets `:QUANT`.

    A model that says neither is taken as it is. Raises `UsageError` where no model has room for a
    format that was asked for.
    """
    if not quants:
        if unfilled := [model for model in models if "{quant}" in model]:
            raise UsageError(f"{unfilled[0]!r} needs formats", "add --quants q4_k_m,q8_0")
        return list(dict.fromkeys(models))
    found = []
    for model, quant in product(models, quants):
        if "{quant}" in model:
            found.append(model.replace("{quant}", quant))
        elif model.startswith("hf:") and model.count(":") == 1:
            found.append(f"{model}:{quant}")
        else:
            found.append(model)
    if found == [model for model in models for _ in quants]:
        raise UsageError(
            f"--quants {','.join(quants)}: no model has a place for a format",
            "write hf:owner/repo, or a path with {quant} in it",
        )
    return list(dict.fromkeys(found))
