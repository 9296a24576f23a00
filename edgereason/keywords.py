"""How a request is written in a call: `ask("...", strategy="think", think_budget=128)`.

`Keywords` is the one list of names and types; defaults are those of `Request` and `Budget`. Editors
read the list through `Unpack`, `help` and notebooks through `spelled_out`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypedDict, TypeVar, get_type_hints

from edgereason.config import fields_of, unknown
from edgereason.errors import UsageError
from edgereason.grammars import Grammar
from edgereason.records import Budget, Message, Request, Sampling, Tools, messages_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

Prompt = str | Sequence[Message] | Request
"""What can be asked: a text, a conversation, or a request that says all of it."""


class Keywords(TypedDict, total=False):
    """What each means is said at `Request` and `Budget`."""

    strategy: str
    options: Mapping[str, Any]
    think_budget: int
    answer_budget: int
    total_budget: int
    deadline_ms: float | None
    soft: float
    sampling: Sampling | None
    priority: int
    stop: Sequence[str]
    probe_every: int
    keep: bool
    prefix: str | None
    grammar: Grammar | None
    adapters: Sequence[str]
    explain: bool
    tools: Tools | None
    begun: str
    logprobs: int


_BUDGET: Final = {
    "think_budget": "think_tokens",
    "answer_budget": "answer_tokens",
    "total_budget": "total_tokens",
    "deadline_ms": "deadline_ms",
    "soft": "soft",
}


Method = TypeVar("Method", bound=Callable[..., Any])


def spelled_out(method: Method) -> Method:
    """Names the keywords in a method's signature, with their types and defaults."""
    own = inspect.signature(method)
    kept = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
    method.__signature__ = own.replace(parameters=[*kept, *_parameters()])  # type: ignore[attr-defined]  # functions have one
    return method


def _parameters() -> list[inspect.Parameter]:
    defaults = {option.name: option.default for option in (*fields_of(Budget), *fields_of(Request))}
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=defaults[_BUDGET.get(name, name)],
            annotation=kind,
        )
        for name, kind in get_type_hints(Keywords).items()
    ]


@spelled_out
def request_of(prompt: Prompt, **keywords: Unpack[Keywords]) -> Request:
    """The request that keywords describe; one that is given is complete. Raises `UsageError` on a
    keyword that there is not."""
    if isinstance(prompt, Request):
        if keywords:
            raise UsageError(f"a Request takes no further options, got {', '.join(keywords)}")
        return prompt
    known = Keywords.__annotations__
    for name in keywords:
        if name not in known:
            raise unknown("unknown option", name, known)
    given: dict[str, Any] = dict(keywords)
    budget = {field: given.pop(name) for name, field in _BUDGET.items() if name in given}
    if given.get("options", {}) is None:
        given["options"] = {}
    for name in ("stop", "adapters"):
        if isinstance(given.get(name), list):
            given[name] = tuple(given[name])
    return Request(messages_of(prompt), budget=Budget(**budget), **given)
