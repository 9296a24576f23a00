"""From phases as strategies write them (text) to phases as the core runs them (tokens).

The only place where prompt text becomes tokens. Knows no model: it is handed a `Tokenizer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edgereason.records import Channel, Loop, Phase, Sampling, Segment


class Tokenizer(Protocol):
    """What an open engine offers. Thread-safe."""

    def tokenize(self, text: str, *, parse_control: bool = False) -> list[int]:
        """Token ids; names of control tokens become those tokens only with `parse_control`."""
        ...

    @property
    def bos(self) -> int | None: ...

    @property
    def add_bos(self) -> bool:
        """Every prompt starts with `bos`, also where the template does not write it."""
        ...


@dataclass(frozen=True, slots=True)
class CoreProbe:
    every: int
    cue: tuple[int, ...]
    tokens: int
    agree: int


@dataclass(frozen=True, slots=True)
class CorePhase:
    """Field for field the `Phase` of `phase.h`: token ids and bytes."""

    channel: int
    fresh: tuple[int, ...] | None
    latent: int
    retract: bool
    force: tuple[int, ...]
    budget: int
    soft: float
    open: tuple[bytes, ...]
    shut: tuple[bytes, ...]
    close: tuple[int, ...]
    stop: tuple[bytes, ...]
    owed: int
    sampling: Sampling
    probe: CoreProbe | None
    loop: Loop | None


def prompt_tokens(segments: Sequence[Segment], tokenizer: Tokenizer) -> tuple[int, ...]:
    """The tokens of a rendered prompt; only control segments may give control tokens."""
    tokens: list[int] = []
    for segment in segments:
        tokens += tokenizer.tokenize(segment.text, parse_control=segment.control)
    if tokenizer.add_bos and tokenizer.bos is not None and tokens[:1] != [tokenizer.bos]:
        tokens.insert(0, tokenizer.bos)
    return tuple(tokens)


def chain_of(phase: Phase) -> list[Phase]:
    """The phase and those that follow it by themselves."""
    chain = [phase]
    while chain[-1].then is not None:
        chain.append(chain[-1].then)
    return chain


def lower(phase: Phase, tokenizer: Tokenizer, slots: tuple[int, ...] = ()) -> list[CorePhase]:
    """The whole chain of `phase`, for `Scheduler.run`; each prompt begins with `slots`."""
    return [_lower_one(each, tokenizer, slots) for each in chain_of(phase)]


def _lower_one(phase: Phase, tokenizer: Tokenizer, slots: tuple[int, ...]) -> CorePhase:
    def ids(text: str) -> tuple[int, ...]:
        return tuple(tokenizer.tokenize(text, parse_control=True)) if text else ()

    def raw(texts: Sequence[str]) -> tuple[bytes, ...]:
        return tuple(text.encode() for text in texts)

    probe = phase.probe
    return CorePhase(
        channel=list(Channel).index(phase.channel),
        fresh=None if phase.fresh is None else slots + prompt_tokens(phase.fresh, tokenizer),
        latent=phase.latent,
        retract=phase.retract,
        force=ids(phase.force),
        budget=phase.budget,
        soft=phase.soft,
        open=raw(phase.open),
        shut=raw(phase.shut),
        close=ids(phase.close),
        stop=raw(phase.stop),
        owed=phase.owed,
        sampling=phase.sampling,
        probe=CoreProbe(probe.every, ids(probe.cue), probe.tokens, probe.agree) if probe else None,
        loop=phase.loop,
    )
