"""Renders one question and one answered question in several ways, and looks at what stands around
them: which marks, which switch, which dials.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Final

from edgereason.errors import BundleError, UsageError
from edgereason.prompt.families import Family, families, thinks_by_name, variables
from edgereason.prompt.marks import ABOUT_THOUGHTS, ANSWERS, END_TAG, TAG, Marks, end_of
from edgereason.prompt.reasoning import (
    FINAL_CUE,
    PLAIN,
    UNCLEAR,
    Kind,
    Mode,
    Reasoning,
    Switch,
)
from edgereason.prompt.standing import Standing, standing
from edgereason.prompt.template import literals_of, render_text, variables_of

_QUESTION: Final = "Which number comes after one?"
_THOUGHT: Final = "It follows at once"
_ANSWER: Final = "Two does"


def detect_reasoning(
    template: str,
    tokens: Collection[str] | None = None,
    *,
    bos_token: str = "",
    eos_token: str = "",
    name: str = "",
) -> Reasoning:
    """Finds the family of a template. `tokens`: the vocabulary's special texts; None when unknown.
    `name`: the model's own, for families whose template is that of many others.

    A vocabulary alone proves nothing: Qwen3's instruct models have `<think>` and never use it.
    """
    look = _Detection(template, tokens, bos_token, eos_token, name)
    return look.reasoning() or look.plain()


def marked_by(
    template: str, marks: Marks, *, bos_token: str = "", eos_token: str = ""
) -> Reasoning:
    """A model that was seen to write these marks, whatever its template says."""
    family = _tagged(marks.open, marks.shut, marks.lead)
    if marks.answer:
        family = replace(family, answer=marks.answer, answer_end=marks.answer_end)
    return _Detection(template, None, bos_token, eos_token, "").of(family, "")


class _Detection:
    """One look at one template."""

    def __init__(
        self,
        template: str,
        tokens: Collection[str] | None,
        bos_token: str,
        eos_token: str,
        name: str,
    ) -> None:
        self.template, self.tokens, self.name = template, tokens, name
        texts = (("bos_token", bos_token), ("eos_token", eos_token))
        self.names = {name: text for name, text in texts if text}
        self.literals = literals_of(template)

    def reasoning(self) -> Reasoning | None:
        """None: a model that does not mark its thoughts, as far as can be seen."""
        for family in families():
            if family.is_told(self.literals, self.name):
                found = self._evidence(family)
                if found and not (found.startswith(UNCLEAR) and self._answer_section()):
                    return self.of(family, found)
        if not self.literals:
            return None
        if (tags := self._tags()) and (found := self._seen(tags.open)):
            return self.of(tags, found)
        if tags := self._asked_for():
            return self.of(tags, f"the template's own system message asks for {tags.open}")
        return None

    def plain(self) -> Reasoning:
        """An instruct model, and what is odd about it."""
        tags = re.findall(f"{TAG}|{END_TAG}", self.literals)
        marks = [tag for tag in tags if ABOUT_THOUGHTS.search(tag) and self._may_write(tag)]
        end = self._answer_section()
        if not marks:
            return replace(PLAIN, answer_end=end) if end else PLAIN
        odd = f"the template has {marks[0]}, not in plain conversations"
        if end:
            return replace(
                PLAIN, answer_end=end, found=f"its prompts open the answer, though {odd}"
            )
        is_told = thinks_by_name(self.name) is False
        return replace(PLAIN, found=f"its name, though {odd}" if is_told else UNCLEAR + odd)

    def _evidence(self, family: Family) -> str:
        """Why this family is believed in; "" where it is not."""
        if family.known:
            return f"families.toml: {family.name} ({family.source})"
        return self._seen(family.open, f": {family.name}")

    def _seen(self, mark: str, of: str = "") -> str:
        """What speaks for a mark; "" where nothing does, or the model's name against a guess."""
        # Some templates write a mark for thinking that is refused, and for no other.
        modes = (Mode(), *self._on_modes(), *self._off_modes())
        if any(prompt is not None and mark in prompt for prompt in map(self.render, modes)):
            return f"what the template writes{of}"
        if mark in (self.answered or ""):
            guess = "the template writes such marks into earlier answers alone"
        elif self._may_write(mark):
            guess = "the template only takes such marks out of earlier answers"
        else:
            return ""
        thinks = thinks_by_name(self.name)
        if thinks is None:
            return UNCLEAR + guess
        return f"its name, and that {guess}" if thinks else ""

    def _may_write(self, mark: str) -> bool:
        """As far as the vocabulary tells. A mark may be several tokens; its first one tells, and
        one of two characters tells nothing.
        """
        if self.tokens is None:
            return True
        return any(mark.startswith(token) for token in self.tokens if len(token) > 2)

    # -- rendering ---------------------------------------------------------------------------------

    def render(self, mode: Mode) -> str | None:
        """The prompt of a plain question, or None when the template refuses."""
        messages = [{"role": "user", "content": _QUESTION}]
        if mode.system:
            messages.insert(0, {"role": "system", "content": mode.system})
        return self._render(messages, mode.variables, prompt=True)

    @cached_property
    def answered(self) -> str | None:
        """A question, and an answer that came from a thought."""
        said = {"role": "assistant", "content": _ANSWER}
        thought = dict.fromkeys(("reasoning_content", "reasoning", "thinking"), _THOUGHT)
        return self._render([{"role": "user", "content": _QUESTION}, said | thought], {}, False)

    def _render(
        self, messages: Sequence[Mapping[str, str]], given: Mapping[str, Any], prompt: bool
    ) -> str | None:
        data = {"messages": messages, "add_generation_prompt": prompt, **self.names, **given}
        try:
            return render_text(self.template, data)
        except (UsageError, BundleError):
            return None

    # -- marks -------------------------------------------------------------------------------------

    def _tags(self) -> Family | None:
        """A pair of tags around the thought of an answer, or one at the end of a prompt."""
        text = self.answered or ""
        before, thought, after = text.partition(_THOUGHT)
        opened = re.search(rf"({TAG})(\s*)$", before)
        shut = re.match(rf"\s*({END_TAG})", after)
        if thought and opened and shut and ABOUT_THOUGHTS.search(opened[1]):
            return _tagged(opened[1], shut[1], opened[2])
        for mode in (Mode(), *self._on_modes()):
            ended = re.search(rf"({TAG})(\s*)$", self.render(mode) or "")
            if ended and ended[1][1] != "|" and ABOUT_THOUGHTS.search(ended[1]):
                return _tagged(ended[1], end_of(ended[1]), ended[2])
        return None

    def _asked_for(self) -> Family | None:
        """A pair of tags that the template's own system message names: `<Thought>`, `<Output>`."""
        told = (self.render(Mode()) or "").partition(_QUESTION)[0]
        names = dict.fromkeys(re.findall(r"<(\w{3,20})>", told))
        thought = next((name for name in names if ABOUT_THOUGHTS.search(name)), "")
        answer = next((name for name in names if name.lower() in ANSWERS), "")
        if not thought or not (answer or f"</{thought}>" in told):
            return None
        family = _tagged(f"<{thought}>", f"</{thought}>", "\n")
        if not answer:
            return family
        return replace(
            family,
            close=f"\n</{thought}>",
            answer=f"\n<{answer}>\n",
            answer_end=f"</{answer}>",
        )

    def _answer_section(self) -> str:
        """What ends an answer whose beginning stands at the end of every prompt."""
        prompt = (self.render(Mode()) or "").rpartition(_QUESTION)[2]
        before, found, after = (self.answered or "").rpartition(_ANSWER)
        opened = re.search(f"{TAG}$", prompt)
        shut = re.match(END_TAG, after)
        if not (opened and shut and found and before.endswith(opened[0])):
            return ""
        is_answer = any(name in opened[0].lower() for name in ANSWERS)
        return shut[0] if is_answer and shut[0] not in self.names.values() else ""

    def _wrapper(self, family: Family) -> tuple[str, str]:
        """What stands around the answer itself: `<answer>` ... `</answer>`."""
        if family.answer or family.answer_end:
            return family.answer, family.answer_end
        before, found, after = (self.answered or "").partition(_ANSWER)
        opened = re.search(r"\s*<(answer|response)>\s*$", before.rpartition(family.shut)[2])
        if found and opened and (ended := re.match(rf"\s*</{opened[1]}>", after)):
            return opened[0], ended[0].strip()
        return "", ""

    def of(self, family: Family, found: str) -> Reasoning:
        switch, on, off = self._switch(family)
        answer, answer_end = self._wrapper(family)
        thinking, silent = self.render(on) or "", self.render(off) or ""
        if _stands(thinking, family) is Standing.BEHIND:
            found = f"{UNCLEAR}nothing that was tried lets it think: its prompts open the answer"
        enter = _lead(thinking, family) or family.enter
        return Reasoning(
            kind=Kind.MARKER,
            switch=switch,
            opens=(family.open,),
            shuts=(family.shut,),
            close=family.forced,
            answer=answer,
            answer_end=answer_end,
            probe=f"{family.forced}{answer}{FINAL_CUE}",
            on=on,
            off=off,
            enter=enter,
            leave=family.leave,
            skip="" if _stays_silent(switch, silent, family) else _skip(silent, enter, family),
            dials=dict(self._dials(family, on)),
            found=found,
        )

    # -- switches and dials ------------------------------------------------------------------------

    def _on_modes(self) -> Iterator[Mode]:
        read = variables_of(self.template)
        for name, on, _ in variables().switches:
            if name in read and on != "":
                yield Mode({name: on})

    def _off_modes(self) -> Iterator[Mode]:
        read = variables_of(self.template)
        for name, _, off in variables().switches:
            if name in read:
                yield Mode({name: off})

    def _switch(self, family: Family) -> tuple[Switch, Mode, Mode]:
        """The first switch that changes where the prompt ends, or the prompt; a prefilled block
        where none does.
        """
        if family.told_on:
            return Switch.FLAG, Mode(system=family.told_on), Mode(system=family.told_off)
        read = variables_of(self.template)
        for name, on, off in variables().switches:
            if name in read:
                modes = Mode({} if on == "" else {name: on}), Mode({name: off})
                if self._switches(family, *modes, any_change=off is False):
                    return Switch.KWARG, *modes
        if family.flag and family.flag in self.template:
            modes = Mode(), Mode(system=family.flag)
            if self._switches(family, *modes, any_change=False):
                return Switch.FLAG, *modes
        if self.render(Mode()) is None:
            raise BundleError("the model's chat template refuses a plain question")
        return Switch.PREFILL, Mode(), Mode()

    def _switches(self, family: Family, on: Mode, off: Mode, *, any_change: bool) -> bool:
        """Some variables change a system message only: that counts where they are for nothing
        else.
        """
        thinking, silent = self.render(on), self.render(off)
        if thinking is None or silent is None or thinking == silent:
            return False
        moves = _stands(thinking, family) is not _stands(silent, family)
        return any_change or (moves and _stands(silent, family) is Standing.BEHIND)

    def _dials(self, family: Family, on: Mode) -> Iterator[tuple[str, Any]]:
        """Those whose values the template takes, and writes differently."""
        read = variables_of(self.template)
        for name, values in variables().dials.items():
            if name not in read:
                continue
            if isinstance(values, str):
                texts = [self.render(Mode({**on.variables, name: num})) for num in (512, 4096)]
                if None not in texts and texts[0] != texts[1]:
                    yield name, values
                continue
            words = set(variables().words.get(name, ())).intersection(self.literals.split("\0"))
            every = {**values, **{word: word for word in words}}
            texts_of = {
                level: self.render(Mode({**on.variables, name: value}))
                for level, value in every.items()
            }
            taken = {
                level: every[level]
                for level, text in texts_of.items()
                if text is not None and _stands(text, family) is not Standing.BEHIND
            }
            if len({texts_of[level] for level in taken}) > 1:
                yield name, taken


def _tagged(opened: str, shut: str, lead: str) -> Family:
    close = f"\n{shut}\n\n" if lead.startswith("\n") else shut
    return Family(name="tags", open=opened, shut=shut, lead=lead, close=close)


def _stands(prompt: str, family: Family) -> Standing:
    return standing(prompt, (family.open,), (family.shut,), family.answer)


def _stays_silent(switch: Switch, silent: str, family: Family) -> bool:
    """Switched off, it answers by itself: the template writes nothing before the answer."""
    return switch is not Switch.PREFILL and _stands(silent, family) is Standing.BEFORE


def _skip(silent: str, enter: str, family: Family) -> str:
    """As the template itself closes thinking, or else a block that says that it is over."""
    if family.skip or _stands(silent, family) is not Standing.BEHIND:
        return family.skip or enter + family.leave
    end = silent.rpartition(_QUESTION)[2]
    marks = (family.open, family.shut, family.answer)
    starts = [at for mark in marks if mark and (at := end.find(mark)) >= 0]
    return end[min(starts) :] if starts else enter + family.leave


def _lead(prompt: str, family: Family) -> str:
    """How the template itself opens a block."""
    if _stands(prompt, family) is not Standing.INSIDE:
        return ""
    return prompt[prompt.rindex(family.open) :]
