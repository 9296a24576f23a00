"""Which settings are run, and which are read off another's tokens."""

from __future__ import annotations

import pytest

from edgereason.bench.pareto.plan import Setting, expand, plan
from edgereason.errors import UsageError

MODEL = Setting("m", "")


def families(*ways: str, **changed: float) -> list[tuple[str, list[str], str | None]]:
    model = Setting("m", "", **changed)  # type: ignore[arg-type]  # temperature
    return [
        (family.run.way, [each.way for each in family.read_off], family.kind)
        for family in plan([model], ways).families
    ]


def test_shorter_budgets_are_read_off_the_longest() -> None:
    assert families("no-think", "think:64", "think:256", "think:128") == [
        ("no-think", [], None),
        ("think:256", ["think:128", "think:64"], "budget"),
    ]
    assert families("think:64", "think") == [("think", ["think:64"], "budget")]


def test_budgets_of_drawn_tokens_are_run() -> None:
    assert families("think:64", "think:128", temperature=0.6) == [
        ("think:64", [], None),
        ("think:128", [], None),
    ]


def test_smaller_votes_are_read_off_where_all_samples_are_written() -> None:
    whole = "early_stop=false"
    assert families(f"vote:2:{whole}", f"vote:8:{whole}", "vote:4") == [
        (f"vote:8:{whole}", [f"vote:2:{whole}"], "vote"),
        ("vote:4", [], None),
    ]
    assert len(families(f"vote:2:{whole}:of=bare", f"vote:8:{whole}")) == 2


def test_what_shares_no_tokens_is_run() -> None:
    assert len(families("think:0", "think:64", "think:64:doubts=false", "brief")) == 4


def test_without_sharing_everything_is_run() -> None:
    made = plan([MODEL], ["think:64", "think:128"], share=False)
    assert [family.run.way for family in made.families] == ["think:64", "think:128"]


def test_a_setting_has_a_name_of_its_own_and_a_command() -> None:
    first, second = (Setting("m", way) for way in ("think:64", "think:65"))
    assert first.config != second.config
    assert first.config == Setting("m", "think:64").config
    assert len(first.config) == 12
    command = Setting("m", "vote:8:of=bare", answer_tokens=16, temperature=0.5).command
    assert "-m m --strategy vote --set of=bare --set samples=8" in command
    assert "--soft 1 --answer-budget 16 --temperature 0.5" in command
    assert "--think-budget 64" in first.command


def test_what_is_dropped_goes_and_what_others_need_stays() -> None:
    made = plan([MODEL], ["think:64", "think:256", "no-think"])
    long, short, direct = made.settings
    assert [each.way for each in (long, short, direct)] == ["think:256", "think:64", "no-think"]
    left = made.without(frozenset({long.config, direct.config}))
    assert [each.way for each in left.settings] == ["think:256", "think:64"]
    assert made.without(frozenset(each.config for each in made.settings)).families == ()


def test_wrong_ways_are_refused() -> None:
    with pytest.raises(UsageError, match="given twice"):
        plan([MODEL], ["think:64", "think:64"])
    with pytest.raises(UsageError, match="no strategy called 'thnik'"):
        plan([MODEL], ["thnik"])
    with pytest.raises(UsageError, match="no way was given"):
        plan([MODEL], [])


def test_formats_are_filled_in() -> None:
    assert expand(["a-{quant}.gguf", "nano"], ["q4_0", "q8_0"]) == [
        "a-q4_0.gguf",
        "a-q8_0.gguf",
        "nano",
    ]
    assert expand(["hf:o/r"], ["q4_0"]) == ["hf:o/r:q4_0"]
    assert expand(["nano", "nano"], []) == ["nano"]
    with pytest.raises(UsageError, match="no model has a place for a format"):
        expand(["nano"], ["q4_0"])
    with pytest.raises(UsageError, match="needs formats"):
        expand(["a-{quant}.gguf"], [])


def test_ways_that_name_no_budget_take_the_limit() -> None:
    model = Setting("m", "", think_tokens=100)
    (family,) = plan([model], ["think:64", "think", "think:256"]).families
    assert [each.way for each in family.settings] == ["think:256", "think", "think:64"]
    assert [each.budget for each in family.settings] == [256, 100, 64]
    assert "--think-budget 100" in Setting("m", "auto", think_tokens=100).command
