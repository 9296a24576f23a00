"""What needs no run of its own: shorter budgets and smaller votes, read off one seeded run.

A thought that was written under a budget of 512 tokens begins with the 128 that a budget of 128
would have allowed. So the budget of 128 costs an answer after those, and no thinking. The first
samples of a vote of 8 are the samples of a vote of 2. Where that is not certain, token by token,
nothing is read off and the setting is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edgereason.config import build
from edgereason.prompt.standing import overlap
from edgereason.records import Answer, Channel, PhaseResult, Role, StopReason
from edgereason.runtime.report import line_answer
from edgereason.strategies import vote

from ..harness.ways import Way

Chain = Sequence[PhaseResult]


class Tokenizer(Protocol):
    def tokenize(self, text: str, *, parse_control: bool = False) -> list[int]: ...
    def piece(self, token: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Same:
    """The run would have been the trace itself, to the token."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The run would have thought this text; its answer is still to be asked for.

    `num_tokens` of thinking, which took `think_ms` in the trace; `step_ms`: one token of it.
    """

    thought: str
    num_tokens: int
    think_ms: float
    step_ms: float


def at_budget(chain: Chain, budget: int, close: str, tokenizer: Tokenizer) -> Same | Cut | None:
    """What thinking within `budget` tokens would have been; `chain` thought longer, or as long.

    `close` is what ends a thought by force. None: it cannot be told. The end mark lies across the
    cut, or the text of the tokens does not give the same tokens again.
    """
    thoughts = [result for result in chain if result.role is Role.THINK]
    if not thoughts and len(chain) == 1:  # the conversation switched thinking off
        return Same()
    if len(thoughts) != 1 or thoughts[0].reason in (StopReason.CANCELLED, StopReason.DEADLINE):
        return None
    thought = thoughts[0]
    if thought.num_tokens < budget:
        return Same()
    tokens = list(thought.tokens[:budget])
    text = _text(tokens, tokenizer)
    if (
        budget > thought.num_reasoning
        or text is None
        or not _closes(tokens, text, close, tokenizer)
    ):
        return None
    step_ms = thought.decode_ms / thought.num_tokens
    return Cut(text, budget, step_ms * budget, step_ms)


def _text(tokens: Sequence[int], tokenizer: Tokenizer) -> str | None:
    """None where the tokens are cut inside a character, or their text gives other tokens."""
    try:
        text = b"".join(map(tokenizer.piece, tokens)).decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if tokenizer.tokenize(text, parse_control=False) == list(tokens) else None


def _closes(tokens: Sequence[int], text: str, close: str, tokenizer: Tokenizer) -> bool:
    """What the thought has of `close` already is not written again: by tokens where it is forced,
    by text where it is part of a prompt. True where both come to the same."""
    said = overlap(text, close)
    whole = tokenizer.tokenize(close, parse_control=True)
    num = next((n for n in range(len(whole), 0, -1) if list(tokens[-n:]) == whole[:n]), 0)
    return tokenizer.tokenize(close[said:], parse_control=True) == whole[num:]


@dataclass(frozen=True, slots=True)
class Ballot:
    """A vote of fewer samples: its answer, and the tokens of the samples that it has."""

    answer: Answer
    reasoning_tokens: int
    answer_tokens: int


def at_samples(chains: Sequence[Chain], way: Way) -> Ballot | None:
    """What the vote `way` would have elected; `chains` are the lines of a larger one, its own
    first. None where a sample did not come to its end."""
    config = build(vote.Config, way.options)
    samples = chains[1 : config.samples + 1]
    if len(samples) < config.samples or not all(_whole(chain) for chain in samples):
        return None
    answers = [
        line_answer(Answer(chain[-1].text, confidence=chain[-1].confidence), chain)
        for chain in samples
    ]
    results = [result for chain in samples for result in chain]
    return Ballot(
        vote.elected(answers, weigh=config.weigh),
        sum(result.num_reasoning for result in results),
        sum(r.num_tokens - r.num_reasoning for r in results if r.channel is Channel.ANSWER),
    )


def _whole(chain: Chain) -> bool:
    cut = (StopReason.CANCELLED, StopReason.DEADLINE, StopReason.REFUSED)
    return bool(chain) and chain[-1].role is Role.ANSWER and chain[-1].reason not in cut
