"""Chat templates, rendered as Hugging Face `transformers` renders them.

A template is a program that came with a model, so it is not trusted: it runs in a child process
with limits of time and memory (`sandbox.py`), which is kept for the next. What was rendered from
the same is not rendered again. Messages are plain dicts here; nothing is known of reasoning.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Final

from edgereason.errors import BundleError, UsageError
from edgereason.prompt.child import ChildError, Children, TooSlowError

__all__ = ["Content", "content_of", "literals_of", "render_text", "variables_of"]

MAX_SECONDS: Final = 5.0
"""What a template may compute. What others of a busy machine take does not count."""
_VARYING: Final = ("strftime_now", "random")  # what gives another text each time

_children = Children()


def render_text(template: str, variables: Mapping[str, Any]) -> str:
    """Renders a template.

    Raises `UsageError` where the template refuses the messages, `BundleError` where it is wrong.
    """
    try:
        data = json.dumps(variables, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"a chat template takes JSON data: {error}") from None
    varies = any(name in template for name in _VARYING)
    return _render(template, data) if varies else _rendered(template, data)


def variables_of(template: str) -> frozenset[str]:
    """Names the template reads but does not set; empty for one that does not parse."""
    return _seen(template).variables


def literals_of(template: str) -> str:
    """All text the template can write by itself, parted by NUL; "" for one that does not parse."""
    return _seen(template).literals


class Content(Enum):
    """How a template takes what a message says."""

    TEXT = "a text"
    PARTS = "a list of parts"  # that alone, as templates of some vision models
    NONE = "not at all"


@lru_cache(maxsize=16)
def content_of(template: str, bos_token: str = "", eos_token: str = "") -> Content:
    """What makes a difference to the prompt of a plain question. `TEXT` for a template that refuses
    one: it wants more, such as tools or documents.
    """
    names = {"bos_token": bos_token, "eos_token": eos_token}
    common = {
        "tools": None,
        "documents": None,
        "add_generation_prompt": True,
        **{name: token for name, token in names.items() if token},
    }
    shapes: dict[Content, Callable[[str], Any]] = {
        Content.TEXT: lambda text: text,
        Content.PARTS: lambda text: [{"type": "text", "text": text}],
    }
    for kind, shape in shapes.items():
        try:
            one, other = (
                render_text(
                    template, {"messages": [{"role": "user", "content": shape(text)}]} | common
                )
                for text in ("Is it one?", "Is it two?")
            )
        except (UsageError, BundleError):
            return Content.TEXT
        if one != other:
            return kind
    return Content.NONE


@dataclass(frozen=True, slots=True)
class _Seen:
    variables: frozenset[str] = frozenset()
    literals: str = ""


def _render(template: str, data: str) -> str:
    return str(_ask(what="render", template=template, variables=json.loads(data)))


_rendered = lru_cache(maxsize=16)(_render)


@lru_cache(maxsize=16)
def _seen(template: str) -> _Seen:
    try:
        found = _ask(what="look", template=template)
    except BundleError:
        return _Seen()
    return _Seen(frozenset(found["variables"]), found["literals"])


def _ask(**request: Any) -> Any:
    try:
        reply = _children.ask(request, MAX_SECONDS)
    except TooSlowError:
        raise _bad_template(f"does too much: it runs longer than {MAX_SECONDS:g} s") from None
    except ChildError as error:
        raise _bad_template(f"does too much: {error}") from None
    if "ok" in reply:
        return reply["ok"]
    if reply["error"] == "refused":
        raise UsageError(f"the chat template refuses these messages: {reply['text']}")
    raise _bad_template(reply["text"])


def _bad_template(what: str) -> BundleError:
    return BundleError(
        f"the model's chat template {what}", "see it with: edgereason show MODEL --json"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise UsageError(f"a chat template takes JSON data, got {type(value).__name__}")
