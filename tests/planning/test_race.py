"""The race of setups: who is dropped, and how sure the rest is."""

from __future__ import annotations

import numpy as np
import pytest

from edgereason.errors import UsageError
from edgereason.planning.race import Race, speed_of


def test_speeds_are_ratios_to_the_default_of_the_same_turn() -> None:
    race = Race(["default", "a"])
    for slow in (1.0, 0.3, 1.0, 0.5):  # a slow turn hits both
        assert set(race.next_turn()) == {"default", "a"}
        race.add({"default": 100 * slow, "a": 150 * slow})
    speed = race.speeds()["a"]
    assert (speed.value, speed.low, speed.high) == pytest.approx((1.5, 1.5, 1.5))
    assert race.leader() == "a"


def test_turns_go_forwards_and_backwards() -> None:
    race = Race(["default", "a", "b"])
    first = list(race.next_turn())
    race.add(dict.fromkeys(first, 1.0))
    assert race.next_turn() == first[::-1]


def test_what_is_surely_slower_is_dropped_but_never_the_default() -> None:
    rng = np.random.default_rng(0)
    race = Race(["default", "fast", "near", "slow"])
    true = {"default": 1.0, "fast": 1.5, "near": 1.48, "slow": 0.7}
    for turn in range(6):
        race.add({name: true[name] * np.exp(0.03 * rng.standard_normal()) for name in race.running})
        if turn < 3:
            assert "slow" in race.running  # not before two turns running say so
    assert race.running == ["default", "fast", "near"]
    assert race.speeds()["slow"].num_turns < 6


def test_one_that_fails_is_out() -> None:
    race = Race(["default", "broken"])
    race.add({"default": 10.0, "broken": 0.0})
    assert race.running == ["default"]
    assert "broken" not in race.speeds()
    with pytest.raises(UsageError, match="the default cannot be measured"):
        race.add({"default": 0.0})


def test_an_interval_holds_the_truth_nine_times_of_ten() -> None:
    rng = np.random.default_rng(5)
    held = 0
    for seed in range(200):
        ratios = np.exp(np.log(1.2) + 0.1 * rng.standard_normal(15))
        speed = speed_of(list(ratios), seed)
        held += speed.low <= 1.2 <= speed.high
    assert 165 <= held <= 198


def test_nonsense_is_refused() -> None:
    with pytest.raises(UsageError, match="names that differ"):
        Race(["a", "a"])
    with pytest.raises(UsageError, match="must be above 0"):
        speed_of([])
