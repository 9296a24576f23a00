"""Think in rounds: each ends in a summary, from which the next one starts in a fresh context.

InftyThink: https://arxiv.org/abs/2503.06692
prompt -> [think -> summary] * rounds -> think -> answer

A model trained for it writes the summary by itself, after its end of thinking, or else the answer.
From any other, and where a round is cut by its length, the summary is forced. Where the context is
short the answer gets what a whole round leaves of it.

Cost: several rounds, in bounded memory
Measured: nano-infty, ways of 20 contexts: 94 % of 50 right.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from edgereason.errors import ContextFullError, UnsupportedError, UsageError
from edgereason.models.variants.infty_think import Variant
from edgereason.prompt.reasoning import FINAL_CUE, Kind
from edgereason.records import (
    Answer,
    Message,
    Phase,
    PhaseResult,
    Role,
    Segment,
    StopReason,
)
from edgereason.strategies.base import Steps, Turn

needs = Variant.needs
bound_by_context = False

_UNTUNED: Final = Variant(
    round_tokens=4096,
    summary_tokens=512,
    history="\n\nYou have worked on this before. Your earlier thoughts are gone, only your own "
    "summary of them is left; go on from it:\n<history>\n{summary}\n</history>",
    open="<summary>\nWhat I know so far:",
)
_LEAST_ROUND: Final = 64  # of an untuned model, whatever the context
_LEAST_SUMMARY: Final = 16
_GOES_ON: Final = (StopReason.STOP, StopReason.BUDGET, StopReason.LOOP)


@dataclass(frozen=True, slots=True)
class Config:
    round_tokens: int | None = field(
        default=None, metadata={"help": "thinking tokens of a round; default: the model's, or fits"}
    )
    summary_tokens: int | None = field(
        default=None, metadata={"help": "longest summary; default: the model's, or what fits"}
    )
    rounds: int = field(default=50, metadata={"help": "rounds at most; then it must answer"})

    def __post_init__(self) -> None:
        for name in ("round_tokens", "summary_tokens", "rounds"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be 1 or more, got {value}")


def run(turn: Turn, config: Config) -> Steps:
    if not turn.can_think:
        done = yield turn.direct()
        return Answer(done.text, confidence=done.confidence)
    rounds = _Rounds.planned(turn, config)
    if rounds.trained and turn.grammar is not None:
        raise UnsupportedError(
            "this model begins a summary or its answer where a round is over, and a grammar would "
            "forbid the summary",
            "take strategy think",
        )
    left = turn.budget.think_tokens  # negative: no limit
    summary = ""
    for index in range(config.rounds):
        budget = rounds.next_budget(left)
        last = index == config.rounds - 1 or budget == left
        thought = yield rounds.think(summary, budget, last)
        left -= thought.num_reasoning if left > 0 else 0
        opened = False
        if thought.reason is StopReason.STOP and rounds.trained:
            done = yield rounds.choice()
            opened = done.mark == rounds.tag
            if not opened:
                return Answer(done.text, confidence=done.confidence)
        elif thought.reason is not StopReason.BUDGET or last:
            done = yield rounds.answer(thought, last)
            return Answer(done.text, confidence=done.confidence)
        told = yield rounds.summarize(opened)
        left -= told.num_reasoning if left > 0 else 0
        summary = rounds.read(told) or summary
        if told.reason not in _GOES_ON:
            break
    done = yield rounds.late_answer()
    return Answer(done.text, confidence=done.confidence)


@dataclass(frozen=True, slots=True)
class _Rounds:
    """Builds the phases of all rounds. `trained`: the model ends a round by itself."""

    turn: Turn
    style: Variant
    trained: bool

    @classmethod
    def planned(cls, turn: Turn, config: Config) -> _Rounds:
        """Sizes the rounds so that prompt, history, thinking, summary and answer fit together."""
        variant = turn.bundle.variant
        tuned = isinstance(variant, Variant)
        style = variant if isinstance(variant, Variant) else _UNTUNED
        rounds = cls(turn, style, tuned and turn.bundle.reasoning.kind is Kind.MARKER)
        room = turn.context - rounds._fixed_tokens()
        summary, thinking = style.summary_tokens, style.round_tokens
        if not tuned:  # no length was trained: what fits
            free = room - turn.budget.answer_tokens
            summary = min(summary, max(_LEAST_SUMMARY, free // 6))
            thinking = min(thinking, max(_LEAST_ROUND, free - 2 * summary))
        style = replace(
            style,
            round_tokens=config.round_tokens or thinking,
            summary_tokens=config.summary_tokens or summary,
        )
        least = turn.count((Segment(f"\n\n{rounds.tag}"),)) if rounds.trained else 1
        answer = min(turn.budget.answer_tokens, _room_for_answer(style, room, least, turn))
        if answer < least:  # an opening that is cut would be taken for an answer
            raise UsageError(
                f"the answer budget is {answer}, but this model takes {least} tokens to open a "
                "summary where an answer begins",
                f"give it {least} or more",
            )
        turn = replace(turn, budget=replace(turn.budget, answer_tokens=answer))
        return cls(turn, style, rounds.trained)

    def _fixed_tokens(self) -> int:
        """The prompt and all marks."""
        reasoning, style = self.turn.bundle.reasoning, self.style
        marks = f"{reasoning.close}{reasoning.answer}{style.open}{style.shut}\n\n{FINAL_CUE}"
        return self.turn.count((*self._turn(" ").prompt(thinking=True), Segment(marks)))

    @property
    def tag(self) -> str:
        """What opens a summary, without blanks: the model may write those as other tokens."""
        return self.style.open.strip()

    def next_budget(self, left: int) -> int:
        """A whole round, or all that is left where no summary could follow it."""
        most = self.style.round_tokens
        return left if 0 <= left <= most + self.style.summary_tokens else most

    def think(self, summary: str, budget: int, last: bool) -> Phase:
        phase = self._turn(summary).think()
        # Without marks of its own a model ends by the cue of its answer: not when a summary comes.
        close = phase.close if last or self._marks else ""
        return replace(phase, budget=budget, close=close)

    def choice(self) -> Phase:
        """The answer, unless the model opens a summary."""
        answer = self.turn.answer()
        return replace(answer, stop=(*answer.stop, self.tag))

    def summarize(self, opened: bool) -> Phase:
        lead = self.turn.bundle.reasoning.answer or ("" if self._marks else "\n\n")
        return Phase(
            "summary",
            Role.CARRY,
            force="" if opened else lead + self.style.open,
            budget=self.style.summary_tokens,
            soft=self.turn.budget.soft,
            shut=(self.style.shut.strip(),),
            close=self.style.shut,
            sampling=self.turn.sampling,
            loop=self.turn.loop,
            owed=self.turn.budget.answer_tokens,
        )

    def read(self, told: PhaseResult) -> str:
        """The summary itself: where it was forced, its opening is part of the text."""
        return told.text.rpartition(self.style.open)[2].strip()

    def answer(self, thought: PhaseResult, last: bool) -> Phase:
        """The answer right after a thought."""
        phase = self.turn.answer()
        if self.trained:
            # It may as well write a summary here: the cue tells it which.
            return replace(phase, force=self.turn.bundle.reasoning.answer + FINAL_CUE)
        if self._marks or thought.mark or last:
            return phase
        return replace(phase, force=self.turn.bundle.reasoning.close)

    def late_answer(self) -> Phase:
        """The answer right after a summary for which there is no further round."""
        return replace(self.turn.answer(), force=f"\n\n{FINAL_CUE}")

    @property
    def _marks(self) -> bool:
        return self.turn.bundle.reasoning.kind is Kind.MARKER

    def _turn(self, summary: str) -> Turn:
        """The question with the summary so far, as the user would have sent it."""
        if not summary:
            return self.turn
        messages = list(self.turn.messages)
        users = [index for index, message in enumerate(messages) if message.role == "user"]
        if not users:
            raise UsageError("the conversation has no message of the user's to answer")
        asked = messages[users[-1]]
        history = self.style.history.replace("{summary}", summary)
        messages[users[-1]] = Message("user", asked.content + history)
        return replace(self.turn, messages=tuple(messages))


def _room_for_answer(style: Variant, room: int, least: int, turn: Turn) -> int:
    """What thinking and summaries leave of `room`: a short context may not hold the whole budget.

    A summary counts twice: as the history of its round, and as what the round writes.
    """
    left = room - style.round_tokens - 2 * style.summary_tokens
    missing = max(min(turn.budget.answer_tokens, style.summary_tokens), least) - left
    if missing <= 0:
        return left
    fits = {
        "round_tokens": style.round_tokens - missing,
        "summary_tokens": style.summary_tokens - (missing + 1) // 2,
    }
    ways = [f"{name} of at most {most}" for name, most in fits.items() if most > 0]
    raise ContextFullError(
        f"a round of {style.round_tokens} tokens with summaries of {style.summary_tokens} needs "
        f"{turn.context + missing} tokens with prompt and answer, but the context holds "
        f"{turn.context}",
        f"what would fit: {', or '.join([*ways, f'a context of {turn.context + missing}'])}",
    )
