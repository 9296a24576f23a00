"""How a model shows that it thinks, and how thinking is switched: found by rendering its chat
template in several ways and reading what it writes.

A family is recognised by its marks and by what the prompt ends with when thinking is asked for and
when it is not, never by the model's name. What templates do not tell is in `families.toml`. Knows
nothing of files or engines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from edgereason.errors import UsageError
from edgereason.prompt.standing import Standing, standing

FINAL_CUE: Final = "Final answer:"
"""Ends the thinking of a `cue` model, and asks a probe for its answer."""

UNCLEAR: Final = "unclear: "
"""How `Reasoning.found` begins where it is a guess."""


class Kind(Enum):
    MARKER = "marker"  # thinks between an opening and a closing text
    CUE = "cue"  # thinks aloud when told to, until it writes the cue


class Switch(Enum):
    """What turns thinking on and off; for people, `Mode` is what is done."""

    KWARG = "template variable"
    FLAG = "flag in the system message"
    PREFILL = "prefilled block"
    CUE = "instruction in the question"


@dataclass(frozen=True, slots=True)
class Mode:
    """What a prompt needs so that the model thinks, or so that it does not. What is added behind
    the prompt depends on where that ends: see `Reasoning`.
    """

    variables: Mapping[str, Any] = field(default_factory=dict)  # passed to the template
    system: str = ""  # added to the system message
    suffix: str = ""  # added to the last user message


@dataclass(frozen=True, slots=True)
class Reasoning:
    """How to make a model think, notice that it does, and end it.

    Attributes:
        opens: texts that open a block, also in the middle of an answer.
        shuts: texts that end a block.
        close: forced to end thinking from outside (budget, deadline, stop).
        answer: forced before the answer however thinking ended; "" where the model goes on by
            itself.
        answer_end: ends the answer where it stands between marks of its own.
        probe: forced inside an open block to hear the answer at this point.
        on, off: how the prompt is rendered with and without thinking.
        enter: opens a block where the rendered prompt has not, and thinking is wanted.
        leave: ends the block that the rendered prompt has opened, where it is not wanted.
        skip: starts an answer where the prompt has written nothing yet and the model would think;
            "" where a model that was switched off does not.
        dials: template variable -> how much thinking it asks for: "tokens", or a value for each
            level of `families.toml`.
        found: how this is known; starts with `UNCLEAR` where it is a guess.
    """

    kind: Kind
    switch: Switch
    opens: tuple[str, ...]
    shuts: tuple[str, ...]
    close: str
    probe: str
    on: Mode
    off: Mode
    answer: str = ""
    answer_end: str = ""
    enter: str = ""
    leave: str = ""
    skip: str = ""
    dials: Mapping[str, Any] = field(default_factory=dict)
    found: str = ""

    def __post_init__(self) -> None:
        if "" in (*self.opens, *self.shuts):  # it would be found everywhere
            raise UsageError('opens and shuts are texts of one character or more, got ""')

    def standing(self, text: str) -> Standing:
        """Where a rendered prompt leaves the model. `text` must hold no marks of a user's."""
        return standing(text, self.opens, self.shuts, self.answer)


_ON_SUFFIX: Final = (
    f'\n\nReason step by step. When you are done, write "{FINAL_CUE}" and then only the answer.'
)

PLAIN: Final = Reasoning(
    kind=Kind.CUE,
    switch=Switch.CUE,
    opens=(),
    shuts=(FINAL_CUE, "Final Answer:", "final answer:"),
    close=f"\n\n{FINAL_CUE}",
    probe=f"\n\n{FINAL_CUE}",
    on=Mode(suffix=_ON_SUFFIX),
    off=Mode(),
)
"""An instruct model without markers."""
