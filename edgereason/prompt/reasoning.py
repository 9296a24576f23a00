"""How a model shows that it thinks, and how thinking is switched: found by looking at what its chat
template writes.

A family is recognised by its markers and by the template's behaviour (what the prompt ends with
when thinking is asked for, and when it is not), never by the model's name. Knows nothing of files
or engines.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final

from edgereason.errors import BundleError, UsageError
from edgereason.prompt.template import literals_of, render_text, variables_of

FINAL_CUE: Final = "Final answer:"
"""Ends the thinking of a `cue` model, and asks a probe for its answer."""


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
    """What a prompt needs so that the model thinks, or so that it does not."""

    variables: Mapping[str, Any] = field(default_factory=dict)  # passed to the template
    system: str = ""  # added to the system message
    suffix: str = ""  # added to the last user message
    tail: str = ""  # trusted text after the generation prompt; control tokens in it count


@dataclass(frozen=True, slots=True)
class Reasoning:
    """How to make a model think, notice that it does, and end it.

    Attributes:
        opens: texts that open a block, also in the middle of an answer.
        shuts: texts that end a block.
        close: forced to end thinking from outside (budget, deadline, stop).
        answer: forced before the answer however thinking ended; "" where the model goes on by
            itself.
        probe: forced inside an open block to hear the answer at this point.
        on, off: how the prompt is written with and without thinking. With `on` it ends inside an
            open block.
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


@dataclass(frozen=True, slots=True)
class _Family:
    """One way of marking thoughts. Texts are the tokens as the model writes them."""

    open: str
    shut: str
    close: str
    tell: str  # a template that mentions it is of this family
    after_open: str = ""  # what the model writes right after `open`
    empty: str = ""  # a block without thoughts
    answer: str = ""

    def skip(self, inside: bool) -> str:
        """Makes a model that cannot be switched believe it has thought: AutoThink, 2505.10832."""
        opened = "" if inside else self.open + self.after_open
        return self.empty or f"{opened}Okay, I think I have finished thinking.{self.close}"


def _tags(name: str) -> _Family:
    shut = f"</{name}>"
    return _Family(f"<{name}>", shut, f"\n{shut}\n\n", tell=shut, after_open="\n")


def _bare(open_: str, shut: str) -> _Family:
    return _Family(open_, shut, close=shut, tell=shut)


_HARMONY_FINAL: Final = "<|channel|>final<|message|>"

# The first family whose markers the template mentions is taken.
_FAMILIES: Final = (
    _Family(  # gpt-oss: channels; the answer comes in a message of its own
        open="<|channel|>analysis<|message|>",
        shut="<|end|>",
        close="<|end|>",
        tell="<|channel|>analysis",
        empty=_HARMONY_FINAL,
        answer="<|start|>assistant" + _HARMONY_FINAL,
    ),
    _tags("think"),  # DeepSeek-R1, Qwen3, QwQ, SmolLM3 and most others
    _tags("seed:think"),  # Seed-OSS
    _bare("[THINK]", "[/THINK]"),  # Magistral, Ministral
    _bare("<|START_THINKING|>", "<|END_THINKING|>"),  # Command
    _Family(  # Gemma 4
        open="<|channel>thought",
        shut="<channel|>",
        close="\n<channel|>",
        tell="<|channel>thought",
        after_open="\n",
    ),
    _bare("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
)

_VARIABLES: Final = ("enable_thinking", "thinking")
_FLAG: Final = "/no_think"

_ON_SUFFIX: Final = (
    f'\n\nReason step by step. When you are done, write "{FINAL_CUE}" and then only the answer.'
)
_QUESTION: Final = "Which number comes after one?"

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


def detect_reasoning(
    template: str,
    tokens: Collection[str] | None = None,
    *,
    bos_token: str = "",
    eos_token: str = "",
) -> Reasoning:
    """Finds the family of a template. `tokens`: the vocabulary's special texts; None when unknown.

    A marker counts when the template mentions it, and the vocabulary has it as a token or the
    template itself writes it: a vocabulary alone proves nothing (Qwen3's instruct models have
    `<think>` and never use it).
    """
    literals = literals_of(template)
    texts = (("bos_token", bos_token), ("eos_token", eos_token))
    names = {name: text for name, text in texts if text}
    for family in _FAMILIES:
        if family.tell in literals:
            probes = _Probes(template, names, family)
            if tokens is None or _begins(family.open, tokens) or probes.writes_marker():
                return _reasoning(family, *probes.modes())
    return PLAIN


def _begins(marker: str, tokens: Collection[str]) -> bool:
    """A marker may be several tokens; its first one tells. One of two characters tells nothing."""
    return any(marker.startswith(token) for token in tokens if len(token) > 2)


def _reasoning(family: _Family, switch: Switch, on: Mode, off: Mode) -> Reasoning:
    return Reasoning(
        kind=Kind.MARKER,
        switch=switch,
        opens=(family.open,),
        shuts=(family.shut,),
        close=family.close,
        answer=family.answer,
        probe=f"{family.close}{family.answer}{FINAL_CUE}",
        on=on,
        off=off,
    )


class _Probes:
    """Renders one question in several ways and looks at what comes after it."""

    def __init__(self, template: str, names: Mapping[str, str], family: _Family) -> None:
        self.template, self.names, self.family = template, names, family

    def render(self, mode: Mode) -> str | None:
        """The prompt, or None when the template refuses."""
        messages = [{"role": "user", "content": _QUESTION}]
        if mode.system:
            messages.insert(0, {"role": "system", "content": mode.system})
        variables = {**self.names, **mode.variables}
        try:
            return render_text(
                self.template, {"messages": messages, "add_generation_prompt": True, **variables}
            )
        except (UsageError, BundleError):
            return None

    def is_inside(self, prompt: str) -> bool:
        """Does the prompt end inside an open block?"""
        tail = _tail(prompt)
        return tail.rfind(self.family.open) > tail.rfind(self.family.shut)

    def writes_marker(self) -> bool:
        prompts = (self.render(Mode()), self.render(Mode({name: True for name in _VARIABLES})))
        return any(prompt is not None and self.family.open in prompt for prompt in prompts)

    def modes(self) -> tuple[Switch, Mode, Mode]:
        """The first switch that changes the prompt; a prefilled block where none does."""
        for switch, on, off in self._switches():
            thinking, silent = self.render(on), self.render(off)
            if thinking is None or silent is None or thinking == silent:
                continue
            # A flag in the system message changes the prompt at any rate: what counts is its end.
            if switch is Switch.KWARG or _tail(thinking) != _tail(silent):
                return switch, self._opened(on, thinking), self._skipped(off, silent)
        prompt = self.render(Mode())
        if prompt is None:
            raise BundleError("the model's chat template refuses a plain question")
        skip = self.family.skip(self.is_inside(prompt))
        return Switch.PREFILL, self._opened(Mode(), prompt), Mode(tail=skip)

    def _switches(self) -> Iterator[tuple[Switch, Mode, Mode]]:
        read = variables_of(self.template)
        for name in _VARIABLES:
            if name in read:
                yield Switch.KWARG, Mode({name: True}), Mode({name: False})
        if _FLAG in self.template:
            yield Switch.FLAG, Mode(), Mode(system=_FLAG)

    def _opened(self, mode: Mode, prompt: str) -> Mode:
        tail = self.family.open + self.family.after_open
        return mode if self.is_inside(prompt) else replace(mode, tail=tail)

    def _skipped(self, mode: Mode, prompt: str) -> Mode:
        skip = self.family.skip(inside=True)
        return replace(mode, tail=skip) if self.is_inside(prompt) else mode


def _tail(prompt: str) -> str:
    """What the template writes after the question: the generation prompt."""
    return prompt.rpartition(_QUESTION)[2]
