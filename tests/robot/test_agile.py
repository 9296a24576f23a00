"""The loop that thinks ahead: who reads what when, on the scripted engine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from edgereason.errors import EngineError, UsageError
from edgereason.grammars import Grammar
from edgereason.records import Answer
from edgereason.robot import Agile, Planner, Thoughts
from edgereason.robot.agile import Muted, messages
from edgereason.runtime.reasoner import Reasoner
from support.places import SCRIPTED

WALL = "A wall is ahead. Which way?"
DOOR = "The door on the right is open. Which way?"
RULES = "You steer a robot."


@pytest.fixture(scope="module")
def reasoner() -> Iterator[Reasoner]:
    with Reasoner.open(SCRIPTED) as opened:
        yield opened


@pytest.fixture(scope="module")
def slow() -> Iterator[Reasoner]:
    """Each step takes 5 ms, so thoughts of 60 tokens take 300."""
    with Reasoner.open(SCRIPTED, sleep_ms=5) as opened:
        yield opened


class Fixed:
    """A planner that always says the same."""

    def __init__(self, text: str) -> None:
        self.thoughts = Thoughts(text)
        self.seen: list[tuple[str, int]] = []

    def look(self, state: str, tick: int) -> None:
        self.seen.append((state, tick))

    def heard(self) -> Thoughts:
        return self.thoughts

    def close(self) -> None:
        pass


def ticks(agile: Agile, num: int) -> None:
    for _ in range(num):
        agile.tick(WALL)


def plain(reasoner: Reasoner, state: str) -> Answer:
    return reasoner.ask(
        messages(RULES, state), strategy="think", think_budget=24, answer_budget=8, priority=10
    )


def test_a_muted_planner_leaves_the_reactive_pass_step_for_step(reasoner: Reasoner) -> None:
    with Agile(
        reasoner,
        rules=RULES,
        period_ms=None,
        react_tokens=24,
        answer_tokens=8,
        planner=Muted(),
    ) as agile:
        for state in (WALL, DOOR, WALL, "Something else."):
            act, alone = agile.tick(state), plain(reasoner, state)
            assert (act.action, act.answer.reasoning) == (alone.answer, alone.reasoning)
            assert act.answer.usage.prompt_tokens == alone.usage.prompt_tokens
            assert (act.thoughts.text, act.age) == ("", 0)


def test_thoughts_are_read_with_their_age(reasoner: Reasoner) -> None:
    planner = Fixed("turn left soon")
    with Agile(reasoner, period_ms=None, planner=planner) as agile:
        acts = [agile.tick(WALL) for _ in range(3)]
    assert [act.age for act in acts] == [0, 1, 2]
    assert planner.seen == [(WALL, 0), (WALL, 1), (WALL, 2)]
    silent = reasoner.ask(WALL, strategy="think", think_budget=32).usage.prompt_tokens
    assert all(act.answer.usage.prompt_tokens > silent + len("turn left soon") for act in acts)


def test_a_reactive_pass_that_has_the_whole_tick_reads_no_thought_in_the_first(
    slow: Reasoner,
) -> None:
    """b = B: the planner has had no time yet."""
    with Agile(slow, period_ms=150, react_ms=150, react_tokens=8, answer_tokens=2) as agile:
        first = agile.tick(WALL)
        assert first.thoughts.text == ""
        time.sleep(0.05)
        assert agile.tick(WALL).thoughts.text


def test_the_planner_goes_on_across_ticks_and_begins_anew_once_it_is_done(slow: Reasoner) -> None:
    planner = Planner(slow, rules=RULES, think_tokens=40, answer_tokens=4)
    heard: list[Thoughts] = []
    with Agile(
        slow, rules=RULES, period_ms=100, react_tokens=4, answer_tokens=2, planner=planner
    ) as agile:
        for tick in range(24):
            heard.append(agile.tick(WALL if tick < 12 else DOOR).thoughts)
    begun = sorted({thoughts.tick for thoughts in heard})
    assert begun[0] == 0
    assert len(begun) >= 2
    of_first = [thoughts.text for thoughts in heard if thoughts.tick == 0]
    assert len(of_first) >= 2
    for before, after in pairwise(of_first):
        assert after.startswith(before)
    assert len(of_first[-1]) > len(of_first[0])


def test_a_finished_plan_says_what_it_came_to(reasoner: Reasoner) -> None:
    planner = Planner(reasoner, think_tokens=64, answer_tokens=8)
    planner.look(WALL, 3)
    for _ in range(200):
        if planner.heard().finished:
            break
        time.sleep(0.01)
    assert planner.heard() == Thoughts(
        text="There is a wall ahead. The way is clear on the left, then turn left.\nturn left",
        tick=3,
        finished=True,
        plan="turn left",
    )


def test_fast_in_slow_reads_finished_plans_only(slow: Reasoner) -> None:
    with Agile(slow, period_ms=60, react_tokens=2, answer_tokens=2, plan_ms=300) as agile:
        acts = [agile.tick(WALL) for _ in range(30)]
    assert acts[0].thoughts == Thoughts()
    read = [act for act in acts if act.thoughts.text]
    assert read
    assert all(act.thoughts.finished for act in read)
    assert all(act.age >= 1 for act in read)  # a plan takes several ticks
    assert len({act.thoughts.tick for act in read}) >= 2


def test_the_reactive_pass_goes_first(slow: Reasoner) -> None:
    """The planner has no deadline and thinks for 200 tokens of 5 ms; no tick waits for that."""
    planner = Planner(slow, think_tokens=200)
    with Agile(
        slow, period_ms=400, react_ms=390, react_tokens=4, answer_tokens=2, planner=planner
    ) as agile:
        used = []
        for _ in range(3):
            begin = time.monotonic()
            agile.tick("Nothing is known.")
            used.append(time.monotonic() - begin)
    assert max(used) < 0.4


def test_with_a_clock_that_stands_still_nothing_is_late(reasoner: Reasoner) -> None:
    slept: list[float] = []
    with Agile(
        reasoner,
        period_ms=10_000,
        react_tokens=2,
        answer_tokens=1,
        planner=Fixed("left"),
        now=lambda: 5.0,
        sleep=slept.append,
    ) as agile:
        for _ in range(1000):
            assert agile.tick(WALL).late_ms == 0
        assert (agile.num_ticks, agile.num_late) == (1000, 0)
    assert slept == [5.0] * 1000


def test_an_action_of_a_given_form(reasoner: Reasoner) -> None:
    pytest.importorskip("llguidance", reason="grammars need the extra `grammar`")
    with Agile(
        reasoner,
        period_ms=None,
        react_tokens=4,
        planner=Muted(),
        grammar=Grammar.choice("left", "right"),
    ) as agile:
        assert {agile.tick(f"Scene {i}.").action for i in range(4)} <= {"left", "right"}


def test_a_late_tick_is_counted(reasoner: Reasoner) -> None:
    times = iter([0.0, 0.0, 0.75])  # begin, before the reactive pass, after it
    with Agile(
        reasoner,
        period_ms=500,
        react_tokens=2,
        answer_tokens=1,
        planner=Muted(),
        now=lambda: next(times),
        sleep=lambda seconds: None,
    ) as agile:
        assert agile.tick(WALL).late_ms == pytest.approx(250)
        assert agile.num_late == 1


def test_what_ends_the_planner_is_raised_at_a_tick() -> None:
    with Reasoner.open(SCRIPTED, sleep_ms=2, fail_at_step=60) as broken:
        agile = Agile(broken, period_ms=60, react_tokens=2, answer_tokens=1)
        with pytest.raises(EngineError, match="failed"):
            ticks(agile, 50)
        agile.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"period_ms": 0}, "period_ms must be more than 0, got 0"),
        ({"period_ms": 100, "react_ms": 101}, r"react_ms must be in \(0, period_ms\], got 101"),
        ({"react_ms": 0}, r"react_ms must be in \(0, period_ms\], got 0"),
    ],
)
def test_bad_values(reasoner: Reasoner, options: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Agile(reasoner, **options)
