"""Who reads what when in a game, and one whole run, on the scripted engine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

pytest.importorskip("llguidance", reason="actions are held to a game's letters by a grammar")

from edgereason import _core
from edgereason.bench.gym import Freeway, Snake
from edgereason.bench.gym.agents import (
    PLAN_TASK,
    REACT_TASK,
    Choice,
    Lister,
    Pace,
    TokenPlanner,
    agent,
    messages,
)
from edgereason.bench.gym.play import Episode, play
from edgereason.bench.gym.scores import Played, compared, interval
from edgereason.bench.harness.runner import run
from edgereason.bench.suites.gym import BENCH
from edgereason.models.bundle import open_bundle
from edgereason.robot import Thoughts
from edgereason.runtime.reasoner import Reasoner
from support.places import SCRIPTED

_END = "<|im_end|>\n<|im_start|>assistant\n<think>\n"
_PLAN = "first up and up, then stay"  # 26 tokens of a byte
RULES = [
    (PLAN_TASK + _END, f"{_PLAN}</think>"),
    (f"{_PLAN}</think>", "U U S D"),
    (REACT_TASK + _END, "it is clear</think>"),
    ("Use what still holds." + _END, "as planned</think>"),
    ("clear</think>", "U"),
    ("as planned</think>", "S"),
    ("</think>", "D"),
    ("</think>\n\n", "D"),  # thoughts that were cut
]


@pytest.fixture(scope="module")
def reasoner() -> Iterator[Reasoner]:
    engine = _core.ScriptedEngine(
        RULES, control=["<|im_start|>", "<think>", "</think>"], context=16384
    )
    with Reasoner(open_bundle(SCRIPTED), engine) as opened:
        yield opened


def choices(reasoner: Reasoner, name: str, pace: Pace, num: int) -> list[Choice]:
    game = Freeway("easy", 0)
    player = agent(name, reasoner, game, pace)
    made = [player.choose(game.state()) for _ in range(num)]
    player.close()
    return made


def test_a_planner_in_virtual_time_shows_so_many_tokens_a_turn(reasoner: Reasoner) -> None:
    planner = TokenPlanner(reasoner, Freeway("easy", 0), Pace(turn_tokens=10, react_tokens=4))
    heard = []
    for turn in range(5):
        planner.look("state", turn)
        heard.append(planner.heard())
    assert [one.text for one in heard[:3]] == [_PLAN[:5], _PLAN[:16].strip(), _PLAN]
    assert heard[3] == Thoughts(f"{_PLAN}\nFinal answer: U U S D", 0, finished=True, plan="U U S D")
    assert (heard[4].tick, heard[4].text) == (4, _PLAN[:5])  # the next plan


def test_no_planner_text_in_the_first_turn_where_the_reactive_pass_has_all(
    reasoner: Reasoner,
) -> None:
    made = choices(reasoner, "agile", Pace(turn_tokens=16, react_tokens=16), 3)
    assert [one.read for one in made] == [False, True, True]
    assert [one.action for one in made] == ["U", "S", "S"]


def test_thoughts_change_what_is_done(reasoner: Reasoner) -> None:
    pace = Pace(turn_tokens=32, react_tokens=16)
    assert {one.action for one in choices(reasoner, "agile", pace, 4)} == {"S"}
    assert {one.action for one in choices(reasoner, "reactive", pace, 4)} == {"U"}


def test_a_list_of_actions_is_done_from_where_one_is(reasoner: Reasoner) -> None:
    """The plan is whole after 26 and 9 tokens: in the second turn of 20, whose action is the second
    of the list; the next plan begins in the third turn and is whole in the fourth.
    """
    made = choices(reasoner, "planning", Pace(turn_tokens=20), 6)
    assert [one.action for one in made] == [None, "U", "S", "U", "S", "U"]


def test_a_plan_that_is_over_leaves_the_default() -> None:
    class Once:
        def look(self, state: str, tick: int) -> None:
            pass

        def heard(self) -> Thoughts:
            return Thoughts("U S", 0, finished=True, plan="U S")

        def close(self) -> None:
            pass

    lister = Lister(Snake("easy", 0), Pace(turn_tokens=8), Once())
    assert [lister.choose("").action for _ in range(4)] == ["U", "S", None, None]


def test_the_deadline_agent_thinks_as_much_as_a_turn_is_worth(reasoner: Reasoner) -> None:
    (short,) = choices(reasoner, "deadline", Pace(turn_tokens=5), 1)
    (long,) = choices(reasoner, "deadline", Pace(turn_tokens=50), 1)
    assert (short.thinking_tokens, short.action) == (5, "D")  # cut
    assert (long.thinking_tokens, long.action) == (11, "U")


@pytest.mark.parametrize("name", ["reactive", "agile", "deadline"])
def test_when_tokens_are_the_clock_nobody_is_late_in_a_thousand_turns(
    reasoner: Reasoner, name: str
) -> None:
    pace = Pace(turn_tokens=6, react_tokens=3)
    made = choices(reasoner, name, pace, 1000)
    assert sum(one.late for one in made) == 0
    most = 6 if name == "deadline" else 3
    assert max(one.thinking_tokens for one in made) == most


def test_an_episode_counts_turns_without_an_action() -> None:
    class Silent:
        def choose(self, state: str) -> Choice:
            return Choice(None, late=True, thinking_tokens=2)

        def close(self) -> None:
            pass

    episode = play(Snake("easy", 0), Silent())
    assert episode.turns == 3  # straight on into the wall
    assert (episode.num_default, episode.num_late, episode.thinking_tokens) == (3, 3, 6)


def test_real_time_turns_last_as_long_as_they_should(reasoner: Reasoner) -> None:
    slept: list[float] = []
    game = Snake("easy", 0)
    play(game, agent("deadline", reasoner, game, Pace(turn_ms=500)), 0.5, slept.append)
    assert len(slept) == game.turn
    assert all(0 < seconds <= 0.5 for seconds in slept)


def test_prompts_begin_alike_in_all_turns() -> None:
    first, second = messages("rules", "a"), messages("rules", "b")
    assert first[0] == second[0]
    assert messages("", "a") == first[1:]


def test_intervals_hold_the_mean_and_are_narrow_for_equal_scores() -> None:
    low, high = interval([1.0, 2.0, 3.0, 10.0], 0)
    assert low < 4 < high
    assert interval([5.0, 5.0], 0) == (5, 5)


@pytest.mark.parametrize("clock", ["tokens", "ms"])
def test_a_whole_run(clock: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pressures = ["32", "16"] if clock == "tokens" else ["150"]
    options = [
        "--games",
        "snake",
        "--num",
        "2",
        "--turns",
        "4",
        "--plan-tokens",
        "24",
        "--wait-idle",
        "0",
        "--quiet",
    ]
    arguments = ["--model", SCRIPTED, "--clock", clock, *options, "--context", "8192"]
    assert run(BENCH, [*arguments, "--pressures", *pressures, "--save", str(tmp_path)]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    rows: Sequence[dict[str, object]] = report["figures"]["rows"]
    assert [row["agent"] for row in rows[:2]] == ["nobody", "script"]
    once = clock == "tokens"  # then the reactive pass does not depend on the pressure
    assert len(rows) == 2 + 3 * len(pressures) + (1 if once else len(pressures))
    assert all(row["games"] == 2 for row in rows)
    assert [pair["game"] for pair in report["figures"]["pairs"]] == ["snake"] * len(pressures)
    assert (tmp_path / "gym.md").exists()


def test_a_run_that_was_cut_goes_on_where_it_stopped(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    record = tmp_path / "games.jsonl"
    options = ["--games", "snake", "--turns", "3", "--plan-tokens", "8", "--wait-idle", "0"]
    arguments = ["--model", SCRIPTED, *options, "--pressures", "16", "--record", str(record)]
    assert run(BENCH, [*arguments, "--num", "2", "--context", "8192"]) == 0
    whole = json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]
    lines = record.read_text().splitlines(keepends=True)
    assert len(lines) == 8
    assert {json.loads(line)["seed"] for line in lines[:4]} == {0}  # a seed, all agents
    record.write_text("".join(lines[:3]) + lines[3][:20])
    assert run(BENCH, [*arguments, "--num", "2", "--context", "8192"]) == 0
    captured = capsys.readouterr()
    assert "8 games, 5 of them to be played" in captured.err
    assert json.loads(captured.out.splitlines()[-1])["figures"] == whole


def played(agent: str, pressure: float, *scores: float, game: str = "snake") -> list[Played]:
    return [
        Played("", game, pressure, agent, seed, Episode(score, 1))
        for seed, score in enumerate(scores)
    ]


def test_what_agile_gains_is_paired_by_seed_with_the_best_of_the_others() -> None:
    some = [
        *played("script", 0, 20, 20, 20),
        *played("reactive", 0, 1, 5, 9),
        *played("planning", 16, 0, 0, 0),
        *played("deadline", 32, 9, 9, 9),
        *played("agile", 16, 3, 7, 11),
        *played("agile", 32, 8, 8, 8),
    ]
    first, second = compared(some, 0)
    assert first == ("snake", 32, "deadline", -1, -1, -1, "worse")
    assert second == ("snake", 16, "reactive", 2, 2, 2, "better")


def test_all_games_together_are_shares_of_what_the_script_gets() -> None:
    some = [
        *played("script", 0, 10, 10),
        *played("reactive", 0, 2, 4),
        *played("agile", 16, 4, 4),
        *played("script", 0, 100, 100, game="freeway"),
        *played("reactive", 0, 50, 50, game="freeway"),
        *played("agile", 16, 50, 40, game="freeway"),
    ]
    (every,) = [row for row in compared(some, 0) if row[0] == "all"]
    assert every[:3] == ("all", 16, "reactive")
    assert every[3] == pytest.approx((0.1 - 0.05) / 2)


def test_a_turn_that_is_too_short_for_the_reactive_pass_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["--model", SCRIPTED, "--pressures", "8", "--games", "snake", "--wait-idle", "0"]
    assert run(BENCH, [*options, "--quiet"]) == 2
    assert "a turn of 8 tokens is shorter than --react-tokens 16" in capsys.readouterr().err
