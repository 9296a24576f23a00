"""Plans: what is ranked first and why, what cannot be taken, what is not known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from edgereason.errors import UsageError
from edgereason.planning.cost import Cost, Power
from edgereason.planning.estimate import Device
from edgereason.planning.planner import Limits, Task, rank, request_ms
from edgereason.planning.profile import Datasheet, Mode, Profile
from edgereason.planning.sizes import Size
from edgereason.planning.trials import Trial, Way

SMALL = Size("small", "small", "Q4_0", "llamacpp", "its files", 1e8, 1e8, kv_bytes={"f16": 2**20})
LARGE = Size("large", "large", "Q4_0", "llamacpp", "its files", 4e9, 4e9, kv_bytes={"f16": 2**20})
STEP_MS = {"small": 5.0, "large": 50.0}


def device(**more: Any) -> Device:
    def here(size: Size) -> Cost:
        step_ms = STEP_MS[size.name]
        return Cost(size.name, "measured", {1: step_ms, 512: 20 * step_ms}, **more)

    return Device(Profile("bench", "made up"), here=here)


def trials(
    model: str, way: str, lengths: Sequence[int], right: float, finish: str = "stop"
) -> list[Trial]:
    num_right = round(right * len(lengths))
    return [
        Trial(model, way, f"q{i}", 60, tokens, 10, finish=finish, right=i < num_right, quant="Q4_0")
        for i, tokens in enumerate(lengths)
    ]


def ways(*texts: str) -> list[Way]:
    return [Way.parse(text) for text in texts]


LENGTHS = [60 + 5 * (i % 40) for i in range(120)]  # to 255 tokens


def task(*known: list[Trial]) -> Task:
    return Task([60], [trial for each in known for trial in each])


def test_the_most_accurate_that_is_in_time_comes_first() -> None:
    asked = task(
        trials("small", "think", LENGTHS, 0.4),
        trials("small", "no-think", [0] * 120, 0.2),
        trials("large", "think", LENGTHS, 0.9),
        trials("large", "no-think", [0] * 120, 0.3),
    )
    rows = rank(
        [SMALL, LARGE], ways("think", "no-think"), device(), asked, Limits(deadline_ms=4000)
    )
    assert [(row.model, row.way) for row in rows[:3]] == [
        ("small", "think"),
        ("large", "no-think"),
        ("small", "no-think"),
    ]
    late = rows[3]
    assert (late.model, late.way) == ("large", "think")
    assert late.p_late is not None
    assert late.p_late.value > 0.9
    assert "would be late" in late.reasons[0]
    free = rank([SMALL, LARGE], ways("think"), device(), asked, Limits())
    assert free[0].model == "large"
    assert free[0].p_late is None


def test_times_are_those_of_the_lengths() -> None:
    (row,) = rank(
        [SMALL], ways("think"), device(), task(trials("small", "think", LENGTHS, 0.5)), Limits()
    )
    assert row.p50_ms is not None
    assert row.p95_ms is not None
    prompt_ms = Cost("m", "x", {1: 5.0, 512: 100.0}).prompt_ms(60)
    for figure, share in ((row.p50_ms, 0.5), (row.p95_ms, 0.95)):
        tokens = float(np.quantile(LENGTHS, share)) + 10
        assert figure.value == pytest.approx(prompt_ms + 5 * (tokens - 1), rel=0.1)
        assert figure.low < figure.value < figure.high
        assert figure.source == "measured here"
    assert row.thinking == "120 trials"


def test_a_hard_budget_needs_no_trials_and_cuts_what_is_known() -> None:
    (unknown,) = rank([SMALL], ways("think:100"), device(), Task([60]), Limits())
    assert unknown.thinking == "its budget in full: no trials"
    assert unknown.p50_ms is not None
    assert unknown.accuracy is None
    assert not unknown.reasons
    known = trials("small", "think", [20] * 30 + [400] * 30, 0.5)
    (row,) = rank([SMALL], ways("think:100"), device(), task(known), Limits())
    assert row.p95_ms is not None
    assert row.p50_ms is not None
    assert row.p50_ms.value < row.p95_ms.value < unknown.p95_ms.value * 1.2  # type: ignore[union-attr]  # looked at above


def test_what_is_not_known_is_said_and_comes_last() -> None:
    known = trials("small", "no-think", [0] * 40, 0.1)
    rows = rank([SMALL], ways("think", "think:64", "no-think"), device(), task(known), Limits())
    assert [row.way for row in rows] == ["no-think", "think:64", "think"]
    assert rows[1].accuracy is None
    assert rows[2].p50_ms is None
    assert "how long it thinks is not known" in rows[2].reasons[0]
    nowhere = Device(Profile("p", "nothing is known"))
    (row,) = rank([SMALL], ways("no-think"), nowhere, Task([60]), Limits())
    assert row.reasons == ("what its steps cost there is not known",)
    assert (row.p50_ms, row.joules, row.accuracy) == (None, None, None)


def test_thoughts_that_were_all_cut_have_no_length() -> None:
    cut = trials("small", "think", [80] * 40, 0.5, finish="deadline")
    (row,) = rank([SMALL], ways("think"), device(), task(cut), Limits())
    assert row.p50_ms is None
    assert "most of its thoughts were cut" in row.reasons[0]


def test_memory_is_a_limit() -> None:
    rows = rank([LARGE, SMALL], ways("think:64"), device(), Task([60]), Limits(memory_gib=2))
    assert [row.model for row in rows] == ["small", "large"]
    assert "it takes up to" in rows[1].reasons[0]
    memory = rows[0].memory_gib
    assert memory is not None
    cells = 60 + 64 + 32
    assert memory.low == pytest.approx(1e8 / 2**30 + cells * 2**20 / 2**30)
    assert memory.source == "computed from its files"


def test_energy_of_a_meter_else_at_most_what_the_mode_allows() -> None:
    (row,) = rank(
        [SMALL], ways("no-think"), device(power=Power(20.0)), Task([60]), Limits(joules=1.0)
    )
    assert row.joules is not None
    assert row.p50_ms is not None
    assert row.joules.value == pytest.approx(20 * row.p50_ms.value / 1000)
    assert "J" in row.reasons[0]
    modes = (Mode("10W", "sheet", watts=10.0, default=True),)
    profile = Profile("p", "made up", datasheet=Datasheet("sheet", 10.0), modes=modes)
    (row,) = rank([SMALL], ways("no-think"), Device(profile), Task([60]), Limits())
    assert row.joules is not None
    assert (row.joules.low, row.joules.source) == (0, "at most: 10 W allowed")
    (row,) = rank([SMALL], ways("no-think"), device(), Task([60]), Limits())
    assert row.joules is None


def test_choices_that_trials_do_not_tell_apart_go_by_time() -> None:
    asked = task(
        trials("small", "think:64", [64] * 40, 0.5), trials("large", "think:64", [64] * 40, 0.55)
    )
    rows = rank([LARGE, SMALL], ways("think:64"), device(), asked, Limits())
    assert [row.model for row in rows] == ["small", "large"]
    assert all(row.tied for row in rows)
    apart = task(
        trials("small", "think:64", [64] * 400, 0.3), trials("large", "think:64", [64] * 400, 0.6)
    )
    rows = rank([SMALL, LARGE], ways("think:64"), device(), apart, Limits())
    assert [row.model for row in rows] == ["large", "small"]
    assert not rows[0].tied


def test_accuracy_is_a_posterior_shrunk_to_others() -> None:
    alone = task(trials("small", "think", [50] * 10, 1.0))
    (row,) = rank([SMALL], ways("think"), device(), alone, Limits())
    assert row.accuracy is not None
    assert row.accuracy.value == pytest.approx(11 / 12)
    assert row.accuracy.low < 0.85 < row.accuracy.high < 1
    beside = task(
        trials("small", "think", [50] * 10, 1.0), trials("large", "think", [50] * 50, 0.0)
    )
    (row, _) = rank([SMALL, LARGE], ways("think"), device(), beside, Limits())
    assert row.accuracy is not None
    assert row.accuracy.value == pytest.approx((10 + 4 / 52) / 14)


def test_another_format_is_another_model() -> None:
    other = [trial for trial in trials("small", "no-think", [0] * 30, 0.9)]
    (row,) = rank([SMALL.in_format("Q8_0")], ways("no-think"), device(), task(other), Limits())
    assert row.accuracy is None


def test_a_vote_counts_one_line() -> None:
    known = trials("small", "vote:4", [400] * 40, 0.5)  # of four lines together
    (row,) = rank([SMALL], ways("vote:4"), device(), task(known), Limits())
    assert row.p50_ms is not None
    four = Cost("m", "x", {1: 5.0, 512: 100.0})
    expected = four.prompt_ms(60) + (100 + 2.5 - 1) * four.rows_ms(4)
    assert row.p50_ms.value == pytest.approx(expected, rel=0.05)


def test_requests_of_no_end_take_for_ever() -> None:
    cost = Cost("m", "x", {1: 5.0, 512: 100.0}, request_ms=3.0)
    ms = request_ms(cost, np.array([60.0, 60.0]), np.array([11.0, np.inf]))
    assert ms[0] == pytest.approx(3 + cost.prompt_ms(60) + cost.decode_ms(60, 11))
    assert np.isinf(ms[1])


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda: Limits(deadline_ms=0), "deadline_ms must be above 0, got 0"),
        (lambda: Limits(memory_gib=float("nan")), "memory_gib must be above 0, got nan"),
        (lambda: Task([]), "prompts and answers of 1 token or more"),
        (lambda: Task([5], answer_tokens=0), "prompts and answers of 1 token or more"),
    ],
)
def test_nonsense_is_refused(made: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        made()


def test_watts_of_a_device_without_modes_are_checked_where_they_are_known() -> None:
    (row,) = rank(
        [SMALL], ways("no-think"), device(power=Power(20.0)), Task([60]), Limits(watts=15)
    )
    assert row.reasons == ("it takes 20 W",)
    (row,) = rank([SMALL], ways("no-think"), device(), Task([60]), Limits(watts=15))
    assert row.reasons == ()
    assert row.notes == ("what power it takes is not known, so 15 W is not checked",)


def test_a_vote_takes_as_long_as_its_longest_line_with_fewer_rows_as_others_end() -> None:
    cost = Cost("m", "x", {1: 10.0, 2: 14.0, 4: 20.0}, cell_ms=0.01, overhead_ms=0.5, request_ms=3)
    prompt = np.array([60.0])

    def took(*lines: float) -> float:
        prompt_ms = cost.prompt_ms(60) if cost.knows_prompts else 0.0
        return float(request_ms(cost, prompt, np.array([lines], dtype=float))[0]) - prompt_ms

    alone = 3 + 10 * (10 + 0.5 + 0.01 * (60 + 5.5))
    assert took(11) == pytest.approx(alone)
    assert took(11, 11) == pytest.approx(3 + 10 * (14 + 2 * (0.5 + 0.01 * 65.5)))
    both = 4 * (14 + 2 * (0.5 + 0.01 * 62.5))
    assert took(5, 11) == pytest.approx(3 + both + 6 * (10 + 0.5 + 0.01 * (60 + 7.5)))
    assert took(5, 11) == took(11, 5)
    assert took(11, 1, 1, 1) == pytest.approx(alone)
    assert took(5, np.inf) == np.inf
