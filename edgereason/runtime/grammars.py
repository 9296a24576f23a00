"""The grammars of an open model: compiled when one is first asked for, the last ones are kept.

By llguidance, an extra. Its library is called from the native core, never from Python.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgereason.errors import UnsupportedError, UsageError
from edgereason.grammars import Form, Grammar

if TYPE_CHECKING:
    from edgereason import _core

_MOST_KEPT: Final = 64
_NO_LIMIT: Final = 2**31 - 1
_INSTALL: Final = "pip install 'edgereason[grammar]'"


class Compiled(NamedTuple):
    """A grammar for one model. `shortest`: a text that it allows, as short as one was found."""

    core: _core.Grammar
    shortest: str


class Grammars:
    """Safe to use from several threads."""

    def __init__(self, engine: _core.Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()  # one reads the vocabulary, which takes half a second
        self._core: _core.Grammars | None = None
        self._kept: OrderedDict[Grammar, Compiled] = OrderedDict()

    def get(self, grammar: Grammar) -> Compiled:
        """Compiles a grammar. Raises `UsageError` with what is wrong with it, `UnsupportedError`
        where llguidance is missing or the vocabulary cannot write it.
        """
        with self._lock:
            if grammar in self._kept:
                self._kept.move_to_end(grammar)
                return self._kept[grammar]
            if self._core is None:
                from edgereason import _core

                self._core = _core.Grammars(self._engine, _library())
        made = self._compile(self._core, grammar)
        with self._lock:
            self._kept[grammar] = made
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return made

    def _compile(self, core: _core.Grammars, grammar: Grammar) -> Compiled:
        from edgereason import _core

        kind, text = _written(grammar)
        try:
            compiled = core.compile(kind, text)
        except UnsupportedError:
            raise
        except UsageError as error:
            raise UsageError(
                f"the {grammar.form.value} is not taken: {_first(error.message)}"
            ) from None
        ending = _core.Guide(compiled, _NO_LIMIT).ending
        return Compiled(compiled, self._engine.detokenize(ending).decode("utf-8", "replace"))


def _library() -> str:
    """Where the native library of llguidance lies."""
    try:
        version = metadata.version("llguidance")
        path = import_module("llguidance._lib").__file__
    except ImportError:
        raise UnsupportedError(
            "answers with a grammar need the package llguidance", _INSTALL
        ) from None
    major, minor = (int(part) for part in version.split(".")[:2])
    if major != 1 or minor < 9:
        raise UnsupportedError(f"llguidance must be 1.9 or a later 1.x, found {version}", _INSTALL)
    return str(path)


def _written(grammar: Grammar) -> tuple[str, str]:
    """The library's name of the language, and the text in it."""
    if grammar.form is not Form.GBNF:
        names = {Form.JSON: "json_schema", Form.REGEX: "regex", Form.LARK: "lark"}
        return names[grammar.form], grammar.text
    convert: Any = import_module("llguidance.gbnf_to_lark")
    try:
        return "lark", convert.gbnf_to_lark(grammar.text)
    except Exception as error:  # whatever its parser raises is about the text
        raise UsageError(f"the {grammar.form.value} is not taken: {error}") from None


def _first(message: str) -> str:
    """The first lines of what the library says: it goes on with its own state."""
    return " ".join(message.strip().splitlines()[:3])[:400]
