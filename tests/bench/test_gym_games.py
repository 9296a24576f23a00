"""The rules of the games, and what their scripts come to."""

from __future__ import annotations

import random
import re

import pytest

from edgereason.bench.gym import GAMES, Freeway, Overcooked, Snake, actions_in
from edgereason.bench.gym.base import LEVELS
from edgereason.bench.gym.freeway import Lane, crossing, is_hit
from edgereason.bench.gym.kitchen import COOKING, Cook
from edgereason.bench.gym.play import play_default, play_script

ONE = Lane(heads=(0,), length=1, cells=1, wait=2, way=1)
EMPTY = Lane(heads=(0,), length=1, cells=0, wait=1, way=1)  # a car that never comes


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("game", sorted(GAMES))
def test_a_game_is_the_same_for_the_same_seed_and_ends(game: str, level: str) -> None:
    generator = random.Random(3)
    first, second = GAMES[game](level, 7), GAMES[game](level, 7)
    while not first.over:
        assert (first.state(), first.script()) == (second.state(), second.script())
        action = generator.choice([*first.actions, "?"])
        first.act(action)
        second.act(action)
    assert second.over
    assert first.turn <= 100
    states = {GAMES[game](level, seed).state() for seed in range(4)}
    assert len(states) > 1


@pytest.mark.parametrize("game", sorted(GAMES))
def test_a_script_is_far_better_than_nobody(game: str) -> None:
    for level in LEVELS:
        scripted = sum(play_script(GAMES[game](level, seed)).score for seed in range(6))
        nobody = sum(play_default(GAMES[game](level, seed)).score for seed in range(6))
        gain = 60 if game == "overcooked" else 6  # three soups, a food each game
        assert scripted >= nobody + gain, (game, level)


def test_unknown_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="level must be one of easy, medium, hard, got 'mad'"):
        Freeway("mad", 0)


# -- freeway ---------------------------------------------------------------------------------------


def test_lanes_move_and_wrap_around() -> None:
    assert [ONE.at(time)[0] for time in range(5)] == [0, 0, 1, 1, 2]
    assert ONE.at(18) == (0,)
    long = Lane(heads=(1,), length=3, cells=3, wait=1, way=-1)
    assert [long.at(time)[0] for time in range(3)] == [1, 7, 4]
    # A car that goes left has its tail on the right: columns 4, 5, 6 at the third turn.
    assert [long.hits(time) for time in range(3)] == [False, False, True]
    assert Lane(heads=(2,), length=3, cells=3, wait=1, way=-1).hits(0)  # 2, 3, 4


def road(*lanes: Lane) -> Freeway:
    game = Freeway("easy", 0)
    game.lanes = (*lanes, *[EMPTY] * (8 - len(lanes)))
    return game


def test_an_empty_road_takes_nine_turns() -> None:
    game = road()
    assert crossing(game.lanes) == ["U"] * 9
    for _ in range(9):
        assert not game.over
        game.act("U")
    assert (game.over, game.score, game.num_hits) == (True, 91, 0)


def test_a_hit_is_back_to_the_start_and_the_clock_runs_on() -> None:
    standing = Lane(heads=(4,), length=1, cells=0, wait=1, way=1)
    game = road(*[EMPTY] * 7, standing)  # row 8
    game.act("U")
    assert (game.row, game.time, game.turn, game.num_hits) == (9, 0, 1, 1)
    assert crossing(game.lanes) is None
    assert is_hit(game.lanes, 8, 5)


def test_the_goal_ends_before_the_cars_move() -> None:
    game = road()
    game.row = 1
    game.lanes = (Lane(heads=(4,), length=1, cells=0, wait=1, way=1), *game.lanes[1:])
    game.act("U")
    assert (game.over, game.num_hits) == (True, 0)


def test_down_and_stay_and_nonsense() -> None:
    game = road()
    game.act("D")
    assert game.row == 9
    game.act("S")
    assert game.row == 9
    game.act("?")  # the default
    assert game.row == 8


def test_the_levels_differ_by_the_shortest_way() -> None:
    ways = {level: [crossing(Freeway(level, seed).lanes) for seed in range(5)] for level in LEVELS}
    lengths = {level: [len(way or []) for way in found] for level, found in ways.items()}
    assert max(lengths["easy"]) <= 10
    assert {*lengths["medium"]} <= {11, 12, 13}
    assert min(lengths["hard"]) >= 14


def test_the_script_of_freeway_is_the_shortest_way() -> None:
    for level in LEVELS:
        game = Freeway(level, 2)
        length = len(crossing(game.lanes) or [])
        assert play_script(game).turns == length


def test_the_state_of_freeway_is_what_one_sees() -> None:
    game = road(Lane(heads=(5,), length=2, cells=2, wait=1, way=1))
    lines = game.state().splitlines()
    assert lines[0] == "Turn 0. You are in row 9."
    assert [line[:6] for line in lines[1:]] == ["Row 5:", "Row 6:", "Row 7:", "Row 8:"]
    game.row = 2
    lines = game.state().splitlines()
    assert lines[1] == "Row 1: 12 to 0; +24"
    assert len(lines) == 3


# -- snake -----------------------------------------------------------------------------------------


def snake(foods: dict[tuple[int, int], int], obstacles: frozenset[tuple[int, int]]) -> Snake:
    game = Snake("easy", 0)
    game.foods, game.obstacles = foods, obstacles
    return game


def test_food_is_a_point_and_a_cell() -> None:
    game = snake({(2, 3): 10}, frozenset())
    game.act("S")
    assert (game.body, game.score) == ([(2, 3), (3, 3)], 1)
    game.act("U")
    assert game.body == [(2, 2), (2, 3)]


def test_walls_obstacles_and_the_body_are_the_end() -> None:
    game = snake({}, frozenset())
    for _ in range(3):
        game.act("L")
    assert (game.over, game.score, game.turn) == (True, -1, 3)
    game = snake({}, frozenset({(2, 3)}))
    game.act("S")
    assert game.over
    game = snake({}, frozenset())
    game.body = [(3, 3), (3, 4), (2, 4), (2, 3), (2, 2)]
    game.act("L")
    assert game.over


def test_the_cell_that_the_tail_leaves_is_free() -> None:
    game = snake({}, frozenset())
    game.body = [(3, 3), (3, 4), (2, 4), (2, 3)]
    game.act("L")
    assert not game.over


def test_turning_back_on_the_spot_is_ignored() -> None:
    game = snake({}, frozenset())
    game.act("R")
    assert game.body == [(2, 3)]


def test_foods_go_after_ten_turns_and_come_every_third() -> None:
    game = snake({(6, 6): 10}, frozenset())
    for turn, move in enumerate("ULDRULDRU", 1):
        before, eaten = len(game.foods), game.num_eaten
        game.act(move)
        assert len(game.foods) - before == (turn % 3 == 1) - (game.num_eaten - eaten)
    assert (6, 6) in game.foods
    game.act("L")
    assert (6, 6) not in game.foods


@pytest.mark.parametrize(("level", "num"), [("easy", 1), ("medium", 5), ("hard", 8)])
def test_obstacles_by_level(level: str, num: int) -> None:
    assert len(Snake(level, 1).obstacles) == num
    assert len(Snake(level, 1).foods) == 3


# -- overcooked ------------------------------------------------------------------------------------


def test_a_soup_from_the_first_onion_to_the_hatch() -> None:
    game = Overcooked("easy", 0)
    kitchen = game.kitchen
    player, partner = kitchen.cooks
    player.at, partner.at = (2, 1), (3, 3)
    (pot,) = kitchen.pots.values()
    player.facing = "U"
    for num in range(1, 4):
        player.held = "onion"
        kitchen.act(player, "I")
        assert (pot.onions, player.held) == (num, "")
    player.held = "onion"
    kitchen.act(player, "I")
    assert player.held == "onion"  # it is full
    player.held = "dish"
    for _ in range(COOKING):
        kitchen.act(player, "I")
        assert player.held == "dish"
        kitchen.cook_on()
    kitchen.act(player, "I")
    assert (player.held, pot.onions, pot.cooking) == ("soup", 0, 0)
    player.at, player.facing = (3, 3), "D"
    kitchen.act(player, "I")
    assert (player.held, game.score) == ("", 20 + 3 * 3 + 5)


def test_a_step_into_what_is_in_the_way_is_a_turn() -> None:
    kitchen = Overcooked("easy", 0).kitchen
    player, partner = kitchen.cooks
    player.at, partner.at = (1, 1), (2, 1)
    kitchen.act(player, "R")
    assert (player.at, player.facing) == ((1, 1), "R")
    kitchen.act(player, "D")
    assert player.at == (1, 2)


def test_things_lie_on_counters() -> None:
    kitchen = Overcooked("easy", 0).kitchen
    cook = Cook((1, 2), "L", "onion")
    kitchen.act(cook, "I")
    assert (cook.held, kitchen.counters) == ("", {(0, 2): "onion"})
    kitchen.act(cook, "I")
    assert (cook.held, kitchen.counters) == ("onion", {})


def test_the_partner_brings_onions_alone() -> None:
    game = Overcooked("medium", 1)
    while not game.over:
        game.act("S")
    assert game.score == 0
    (pot,) = game.kitchen.pots.values()
    assert pot.onions == 3
    assert set(game.kitchen.counters.values()) == {"onion"}


# -- reading actions -------------------------------------------------------------------------------


def test_actions_are_letters_runs_and_words() -> None:
    actions = {"U": "up", "D": "down", "S": "stay"}
    assert actions_in("U, stay and UUD", actions) == ["U", "S", "U", "U", "D"]
    assert actions_in("As you see: Up.", actions) == ["U"]
    assert actions_in("us", actions) == []
    assert actions_in("", actions) == []


@pytest.mark.parametrize("game", sorted(GAMES))
def test_brief_states_are_shorter_and_tell_each_turn_apart(game: str) -> None:
    long, brief = GAMES[game]("easy", 1), GAMES[game]("easy", 1, brief=True)
    assert len(brief.rules) < len(long.rules) / 2
    seen = set()
    for _ in range(9):
        assert len(brief.state()) < len(long.state())
        seen.add(brief.state())
        action = long.script()
        long.act(action)
        brief.act(action)
    assert len(seen) == 9


def test_what_brief_states_tell() -> None:
    game = Freeway("easy", 0, brief=True)
    game.lanes = (Lane(heads=(5,), length=2, cells=2, wait=1, way=1), ONE, *[EMPTY] * 6)
    game.row = 2
    assert game.state().splitlines() == ["row 2", "1: 1*2 >2", "2: -4 >1/2"]
    assert re.fullmatch(
        r"head 3,3 L body - block \d,\d food \d,\d \d,\d \d,\d",
        Snake("easy", 0, brief=True).state(),
    )
    assert re.fullmatch(
        r"you \d,\d U - mate \d,\d - pot 2,0 0", Overcooked("easy", 0, brief=True).state()
    )
