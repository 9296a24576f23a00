"""What the names of a budget come to together."""

from __future__ import annotations

from typing import Any

import pytest

from edgereason.planning import effort
from edgereason.records import Budget
from edgereason.server.budgets import BUDGETS, budget_of
from edgereason.server.config import ServerConfig
from edgereason.server.errors import ApiError
from edgereason.server.fields import Means, Table, read, whole

TABLE: Table = {**BUDGETS, "max_tokens": Means("max_tokens", whole(1))}
ROOM = 4096 - 100 - 16


def budget(
    config: ServerConfig | None = None, *, is_bound: bool = True, prompt: int = 100, **body: Any
) -> Budget:
    return budget_of(
        read(body, TABLE),
        context=4096,
        is_bound=is_bound,
        prompt_tokens=prompt,
        config=config or ServerConfig(),
        passed_ms=10,
    )


@pytest.mark.parametrize(
    "body",
    [
        {"thinking_token_budget": 77},
        {"reasoning_budget_tokens": 77},
        {"thinking_budget_tokens": 77},
        {"thinking_budget": 77},
        {"thinking": {"type": "enabled", "budget_tokens": 77}},
        {"chat_template_kwargs": {"enable_thinking": True, "thinking_budget": 77}},
        {"thinking_budget": 77, "think": True, "thinking_token_budget": 77},
    ],
)
def test_all_names_of_a_budget_mean_the_same(body: dict[str, Any]) -> None:
    assert budget(**body).think_tokens == 77


@pytest.mark.parametrize(
    "body",
    [
        {"think": False},
        {"enable_thinking": False},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"thinking": {"type": "disabled"}},
        {"reasoning_effort": "none"},
        {"thinking_budget": 0},
        {"think": False, "reasoning_effort": "none", "thinking_budget": 0},
    ],
)
def test_all_ways_to_switch_thinking_off(body: dict[str, Any]) -> None:
    assert budget(max_tokens=50, **body) == Budget(
        think_tokens=0, answer_tokens=50, total_tokens=50
    )


@pytest.mark.parametrize("level", [*effort.table(0), "ultra"])
def test_efforts_are_those_of_the_command_line(level: str) -> None:
    expected = effort.think_tokens("max" if level == "ultra" else level, 4096)
    asked = budget(reasoning_effort=level).think_tokens
    assert asked == (ROOM - 512 if expected == -1 else expected)
    assert asked == budget(think=level).think_tokens


def test_nothing_said_is_the_default_effort() -> None:
    assert budget().think_tokens == effort.think_tokens("medium", 4096)
    silent = ServerConfig(default_effort="none")
    assert budget(silent).think_tokens == 0
    assert budget(silent, think=True).think_tokens == effort.think_tokens("medium", 4096)


@pytest.mark.parametrize(
    "body",
    [
        {"think": False, "thinking_budget": 4},
        {"think": True, "thinking_budget": 0},
        {"think": False, "reasoning_effort": "high"},
        {"think": True, "reasoning_effort": "none"},
        {"think": True, "thinking": {"type": "disabled"}},
        {"thinking_budget": 4, "thinking_token_budget": 5},
        {"thinking_budget": 4, "reasoning_effort": "high"},
        {"think": "low", "reasoning_effort": "high"},
    ],
)
def test_two_that_disagree_are_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        budget(**body)
    assert (caught.value.status, caught.value.code) == (400, "conflicting_parameters")
    assert all(name in str(caught.value.param) for name in body)


@pytest.mark.parametrize("value", [-2, 0.6, 10.5, True, "10"])
def test_odd_budgets_are_refused(value: Any) -> None:
    with pytest.raises(ApiError, match="thinking_token_budget must be a whole number"):
        budget(thinking_token_budget=value)


@pytest.mark.parametrize(
    ("total", "think", "expected"),
    [
        (1, 100, (0, 1)),
        (2, 100, (1, 1)),
        (100, -1, (50, 50)),
        (100, 5, (5, 95)),
        (3000, -1, (2488, 512)),
        (3000, 2999, (2488, 512)),
    ],
)
def test_max_tokens_covers_both_and_keeps_the_answers_part(
    total: int, think: int, expected: tuple[int, int]
) -> None:
    made = budget(max_tokens=total, thinking_budget=think)
    assert (made.think_tokens, made.answer_tokens) == expected


def test_what_the_context_lacks_is_not_promised() -> None:
    made = budget(max_tokens=100_000, thinking_budget=-1)
    assert made.think_tokens + made.answer_tokens == ROOM
    with pytest.raises(ApiError) as caught:
        budget(prompt=4090)
    assert caught.value.more == {"n_prompt_tokens": 4090, "n_ctx": 4096}


def test_thinking_over_several_contexts_is_not_bound_by_one() -> None:
    made = budget(is_bound=False, max_tokens=100_000, thinking_budget=-1)
    assert made.think_tokens == 100_000 - 512
    assert made.answer_tokens == 512


def test_the_servers_cap_holds() -> None:
    capped = ServerConfig(max_think_tokens=40)
    assert budget(capped, thinking_budget=-1).think_tokens == 40
    assert budget(capped, thinking_budget=39).think_tokens == 39


def test_a_deadline_counts_from_arrival() -> None:
    assert budget(deadline_ms=500).deadline_ms == 490
    with pytest.raises(ApiError, match="was over before the prompt was read"):
        budget(deadline_ms=9)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a.safetensors", "", 3, "a/b"])
def test_a_prefix_is_a_name_and_never_a_file(name: Any) -> None:
    with pytest.raises(ApiError, match="prefix must be the name"):
        budget(prefix=name)
