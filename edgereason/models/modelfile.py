"""A model as a Modelfile of Ollama: where its weights are, its template, its sampling, its licence.

    text, notes = modelfile(open_bundle(path))

A template in Go is put together from what stands around the texts of a conversation in the model's
own, and written only where it renders other conversations to the same. Tools are left out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edgereason.errors import EdgereasonError, UnsupportedError
from edgereason.models import gguf
from edgereason.models.bundle import Bundle, model_file
from edgereason.models.go_template import to_jinja
from edgereason.prompt.reasoning import Mode
from edgereason.prompt.template import render_text
from edgereason.records import Sampling

PARAMETERS: Final[Mapping[str, str]] = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repeat_penalty": "repetition_penalty",
    "presence_penalty": "presence_penalty",
    "repeat_last_n": "penalty_window",
    "seed": "seed",
}
"""Ollama's names of sampling -> ours."""

_S, _U, _A, _V = "\ue000s", "\ue001u", "\ue002a", "\ue003v"  # texts that no template writes
_QUOTES: Final = '"""'


def modelfile(bundle: Bundle) -> tuple[str, tuple[str, ...]]:
    """The text, and what it leaves out. Raises `UnsupportedError` for what Ollama cannot open."""
    if bundle.engine != "llamacpp":
        raise UnsupportedError(
            f"{bundle.name} is for the engine {bundle.engine}, Ollama opens GGUF",
            "edgereason export MODEL --to gguf --out FOLDER",
        )
    if len(bundle.files) > 1:
        raise UnsupportedError(
            f"{bundle.name} is split over {len(bundle.files)} files, a Modelfile names one",
            "join them with llama-gguf-split --merge",
        )
    lines, notes = [f"FROM {os.path.abspath(model_file(bundle))}"], []
    try:
        template = go_template(bundle)
        lines.append(f"TEMPLATE {_quoted(template.text)}")
        lines += [f"PARAMETER stop {_escaped(text)}" for text in template.stops]
        if template.system:
            lines.append(f"SYSTEM {_quoted(template.system)}")
    except EdgereasonError as error:
        notes.append(f"no TEMPLATE, so Ollama goes by the file's own: {error.message}")
    ours = {value: key for key, value in PARAMETERS.items()}
    plain = Sampling()
    for name, key in ours.items():
        value = getattr(bundle.sampling, name)
        # Ollama's own defaults are others: what decides between greedy and not is always said.
        if value != getattr(plain, name) or name == "temperature":
            lines.append(f"PARAMETER {key} {value:g}")
    if bundle.licence:
        lines.append(f"LICENSE {_quoted(bundle.licence)}")
    if bundle.variant is not None:
        notes.append(f"Ollama does not think as {bundle.variant.kind} does")
    return "\n".join(lines) + "\n", tuple(notes)


def _quoted(text: str) -> str:
    if _QUOTES in text:
        raise UnsupportedError("it has three quotes in a row, which a Modelfile cannot quote")
    return f"{_QUOTES}{text}{_QUOTES}"


def _escaped(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


# --- the template ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GoTemplate:
    """`system`: what the model's template says where nobody else does; `stops`: begin a turn."""

    text: str
    system: str = ""
    stops: tuple[str, ...] = ()


def go_template(bundle: Bundle) -> GoTemplate:
    """Raises `UnsupportedError` where no such template writes the same."""
    if not bundle.chat_template:
        raise UnsupportedError("the model has no chat template")
    pieces = _Pieces(bundle)
    text = pieces.template()
    try:
        same = all(pieces.agrees(to_jinja(text), conversation) for conversation in _TRIED)
    except EdgereasonError:
        same = False
    if not same:
        raise UnsupportedError("what its template does, one of Go's put together does not")
    user = pieces.user[0].strip()
    known = sorted((c for c in bundle.control_tokens if user.startswith(c)), key=len)
    return GoTemplate(text, pieces.default_system, tuple(known[-1:]))


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


_TRIED: Final = (
    [_message("user", "What is 2 + 2?")],
    [_message("system", "Be short."), _message("user", "Hi")],
    [_message("user", "a"), _message("assistant", "b"), _message("user", "c\n\nd")],
    [
        _message("system", "s"),
        *(_message(role, text) for role, text in (("user", "a"), ("assistant", "b"))),
        *(_message(role, text) for role, text in (("user", "e"), ("assistant", "f"))),
        _message("user", "g"),
    ],
)


class _Pieces:
    """What stands before and behind the text of each role, and where the model goes on."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        # Written first, unless the file has it added to the tokens, as Ollama then does, too.
        self._added = gguf.read(model_file(bundle)).adds_bos
        self.first = bundle.bos_token if self._starts_with_bos() and not self._added else ""
        asked = self._text([_message("user", _U)])
        before, behind = _around(asked, _U)
        told = self._text([_message("system", _S), _message("user", _U)])
        to_system, rest = _around(told, _S)
        between, _ = _around(rest, _U)
        talk = self._text([_message("user", _U), _message("assistant", _A), _message("user", _V)])
        _, rest = _around(talk, _U)
        to_assistant, rest = _around(rest, _A)
        to_user, _ = _around(rest, _V)
        start = _common_end(_common_end(before, to_user), between)
        self.user = (start, _common_start(behind, to_assistant))
        self.system = (to_system, between[: len(between) - len(start)])
        self.assistant = (
            to_assistant[len(self.user[1]) :],
            to_user[: len(to_user) - len(start)],
        )
        self.default_system = self._default(before[: len(before) - len(start)])
        self.goes_on = behind[len(self.user[1]) :]
        silent = self._text([_message("user", _U)], bundle.reasoning.off)
        self.silent = _around(silent, _U)[1][len(self.user[1]) :]

    def _default(self, before: str) -> str:
        """The system message that the template writes by itself."""
        opens, shuts = self.system
        if before == "":
            return ""
        if opens and before.startswith(opens) and before.endswith(shuts):
            return before[len(opens) : len(before) - len(shuts)]
        raise UnsupportedError("its template writes something before the first message")

    def _text(self, messages: Sequence[Mapping[str, str]], mode: Mode | None = None) -> str:
        return self._render(self._bundle.chat_template, messages, mode)

    def _starts_with_bos(self) -> bool:
        bos = self._bundle.bos_token
        return bool(bos) and self._text([_message("user", _U)]) != self._render(
            self._bundle.chat_template, [_message("user", _U)], keep_bos=True
        )

    def _render(
        self,
        template: str,
        messages: Sequence[Mapping[str, str]],
        mode: Mode | None = None,
        *,
        keep_bos: bool = False,
    ) -> str:
        bundle = self._bundle
        variables: dict[str, Any] = {"messages": messages, "add_generation_prompt": True}
        variables |= {"bos_token": bundle.bos_token, "eos_token": bundle.eos_token}
        variables |= dict(mode.variables) if mode is not None else {}
        text = render_text(template, variables)
        return text if keep_bos else text.removeprefix(bundle.bos_token)

    def template(self) -> str:
        roles = (("system", self.system), ("user", self.user), ("assistant", self.assistant))
        cases = "{{ else if ".join(
            f'eq .Role "{role}" }}}}{_literal(before)}{{{{ .Content }}}}{_literal(behind)}'
            for role, (before, behind) in roles
        )
        goes_on = _literal(self.goes_on)
        if self.silent != self.goes_on:
            off = _literal(self.silent)
            test = "if and .IsThinkSet (not .Think)"
            goes_on = f"{{{{ {test} }}}}{off}{{{{ else }}}}{goes_on}{{{{ end }}}}"
        turns = f"{{{{ range .Messages }}}}{{{{ if {cases}{{{{ end }}}}{{{{ end }}}}"
        return _literal(self.first) + turns + goes_on

    def agrees(self, jinja: str, messages: Sequence[Mapping[str, str]]) -> bool:
        """Whether both write the same, with thinking and without."""
        given = messages
        if self.default_system and messages[0]["role"] != "system":
            given = [_message("system", self.default_system), *messages]
        own, silent = self._bundle.reasoning.off, Mode(variables={"enable_thinking": False})
        return all(
            self._render(self._bundle.chat_template, messages, asked, keep_bos=not self._added)
            == self._render(jinja, given, as_ollama_asks, keep_bos=True)
            for asked, as_ollama_asks in ((None, None), (own, silent))
        )


def _literal(text: str) -> str:
    return text.replace("{{", '{{ "{{" }}')


def _around(text: str, mark: str) -> tuple[str, str]:
    before, found, behind = text.partition(mark)
    if not found or mark in behind:
        raise UnsupportedError("its template changes the texts of messages")
    return before, behind


def _common_start(one: str, other: str) -> str:
    return os.path.commonprefix([one, other])  # noqa: RUF071  # of texts, not of paths


def _common_end(one: str, other: str) -> str:
    return _common_start(one[::-1], other[::-1])[::-1]
