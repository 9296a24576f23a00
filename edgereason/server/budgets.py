"""One budget out of many dialects: the names that all share, and what they come to together.

`max_tokens` covers thinking and answer. What a client asks for is bounded by the server's caps,
by `max_tokens` less the answer's reserve, and by the room that the context has left. Nothing is
cut in silence: the answer says what was asked and what was in force.
"""

from __future__ import annotations

import re
from typing import Any, Final

from edgereason.errors import UsageError
from edgereason.planning import effort
from edgereason.records import UNLIMITED, Budget
from edgereason.server.config import ServerConfig
from edgereason.server.errors import ApiError
from edgereason.server.fields import (
    OTHERS,
    Given,
    Means,
    Only,
    Table,
    bad,
    boolean,
    disagree,
    number,
    one_of,
    table,
    text,
    texts,
    whole,
)

EFFORTS: Final = (*effort.table(0), "ultra")


def read_effort(value: Any, name: str) -> str:
    level: str = one_of(*EFFORTS)(value, name)
    return "max" if level == "ultra" else level


def _switch_or_level(value: Any, name: str) -> bool | str:
    return value if isinstance(value, bool) else read_effort(value, name)


def _switch(value: Any, name: str) -> bool:
    kinds = {"enabled": True, "adaptive": True, "disabled": False}
    if not isinstance(value, str) or value not in kinds:
        raise bad(name, f"one of {', '.join(kinds)}", value)
    return kinds[value]


def _prefix(value: Any, name: str) -> str:
    """A name. The runtime would take a file as well, and no client may name files."""
    if not isinstance(value, str) or not re.fullmatch(r"[\w-]{1,64}", value):
        raise bad(name, "the name of a prefix of the model", value)
    return value


def _tier(value: Any, name: str) -> int:
    """A class of service as a priority."""
    tiers = {"priority": 1, "fast": 1, "flex": -1}
    others = ("auto", "default", "standard", "standard_only", "scale")
    return tiers.get(one_of(*tiers, *others)(value, name), 0)


TOKENS: Final = whole(UNLIMITED)
EFFORT: Final = Means("effort", read_effort)
SWITCH: Final = Means("think", boolean)
THINK: Final = Means(
    lambda value: "think" if isinstance(value, bool) else "effort", _switch_or_level
)
THINKING: Final[Table] = {
    "type": Means("think", _switch),
    "budget_tokens": Means("think_tokens", TOKENS),
    "display": Means("display", one_of("summarized", "omitted")),
}
TIER: Final = Means("tier", _tier)

BUDGETS: Final[Table] = {
    "thinking_token_budget": Means("think_tokens", TOKENS),
    "reasoning_budget_tokens": Means("think_tokens", TOKENS),
    "thinking_budget_tokens": Means("think_tokens", TOKENS),
    "thinking_budget": Means("think_tokens", TOKENS),
    "thinking": THINKING,
    "reasoning_effort": EFFORT,
    "enable_thinking": SWITCH,
    "think": THINK,
    "chat_template_kwargs": {
        "enable_thinking": SWITCH,
        "thinking": SWITCH,
        "reasoning_effort": EFFORT,
        "thinking_budget": Means("think_tokens", TOKENS),
        OTHERS: Only((), "variables of a chat template are not passed on"),
    },
    "deadline_ms": Means("deadline_ms", number(1)),
    "priority": Means("priority", whole(-(2**31))),
    "service_tier": TIER,
    "strategy": Means("strategy", text),
    "strategy_options": Means("options", table),
    "probe_every": Means("probe_every", whole(0)),
    "prefix": Means("prefix", _prefix),
}
"""The same in every dialect."""

SAMPLING: Final[Table] = {
    "temperature": Means("temperature", number(0, 100)),
    "top_p": Means("top_p", number(0, 1)),
    "top_k": Means("top_k", whole(-1)),
    "min_p": Means("min_p", number(0, 1)),
    "seed": Means("seed", whole(-(2**63), 2**63 - 1)),
    "presence_penalty": Means("presence_penalty", number(-2, 2)),
    "repetition_penalty": Means("repetition_penalty", number(0.01, 10)),
    "repeat_penalty": Means("repetition_penalty", number(0.01, 10)),
    "frequency_penalty": Only((0, 0.0), "only presence_penalty and repetition_penalty are"),
    "stop": Means("stop", texts),
}


def thinking_of(given: Given, context: int, config: ServerConfig) -> int:
    """The thinking budget that was asked for, in tokens; what nobody says is the server's."""
    tokens, level, on = given.get("think_tokens"), given.get("effort"), given.get("think")
    if on is False and (level or "none") != "none":
        raise disagree(given.name("think"), False, given.name("effort"), level)
    if on is True and level == "none":
        raise disagree(given.name("think"), True, given.name("effort"), level)
    if tokens is not None:
        if on is not None and on is not (tokens != 0):
            raise disagree(given.name("think"), on, given.name("think_tokens"), tokens)
        if level is not None and effort.think_tokens(level, context) != tokens:
            raise disagree(given.name("effort"), level, given.name("think_tokens"), tokens)
        return int(tokens)
    if on is False:
        return 0
    default = config.default_effort
    if on is True and default == "none":
        default = "medium"  # somebody asks for thoughts where nobody gets them unasked
    return effort.think_tokens(level or default, context)


def budget_of(
    given: Given,
    *,
    context: int,
    is_bound: bool,
    prompt_tokens: int,
    config: ServerConfig,
    passed_ms: float,
) -> Budget:
    """What the request may spend. `is_bound`: one context holds all of its thinking. `passed_ms`:
    of its deadline, since it arrived."""
    room = context - prompt_tokens - _MARKS
    if room < 1:
        raise _too_long(prompt_tokens, context)
    asked = thinking_of(given, context if is_bound else 0, config)
    think = _least(asked, config.max_think_tokens)
    total = given.get("max_tokens")
    if total is None:
        reserve = min(config.answer_tokens, max(1, room // 2))
        think = _least(think, room - reserve) if is_bound else think
        return _budget(given, think, reserve, passed_ms)
    total = min(int(total), room) if is_bound else int(total)
    reserve = min(config.answer_tokens, max(1, total // 2))
    think = _least(think, total - reserve)
    # What thinking leaves of the whole is the answer's, where one context holds both.
    whole = total if is_bound else UNLIMITED
    return _budget(given, think, min(total - think, room), passed_ms, whole)


def raw_budget(
    given: Given, *, context: int, prompt_tokens: int, num_tokens: int, passed_ms: float
) -> Budget:
    """Of a text that the model goes on with: nothing is thought."""
    room = context - prompt_tokens
    if room < (num_tokens > 0):
        raise _too_long(prompt_tokens, context)
    return _budget(given, 0, max(1, min(num_tokens, room)), passed_ms)


def _too_long(prompt_tokens: int, context: int) -> ApiError:
    return ApiError(
        400,
        f"the prompt of {prompt_tokens} tokens exceeds the available context size of {context} "
        "(send less, or serve with a larger --context)",
        param="messages",
        code="context_length_exceeded",
        more={"n_prompt_tokens": prompt_tokens, "n_ctx": context},
    )


_MARKS: Final = 16  # tokens of end marks and answer cues, which no budget counts


def _least(tokens: int, limit: int) -> int:
    """The tighter of two budgets, of which -1 is none."""
    if UNLIMITED in (tokens, limit):
        return max(tokens, limit)
    return min(tokens, limit)


def _budget(
    given: Given, think: int, answer: int, passed_ms: float, total: int = UNLIMITED
) -> Budget:
    deadline_ms = given.get("deadline_ms")
    if deadline_ms is not None:
        deadline_ms -= passed_ms
        if deadline_ms <= 0:
            raise ApiError(
                400,
                f"{given.name('deadline_ms')} was over before the prompt was read "
                f"(it took {passed_ms:.0f} ms)",
                param="deadline_ms",
                code="deadline_unattainable",
            )
    try:
        return Budget(
            think_tokens=think, answer_tokens=answer, total_tokens=total, deadline_ms=deadline_ms
        )
    except UsageError as error:  # pragma: no cover  # the checks of the fields are tighter
        raise ApiError(400, str(error)) from None
