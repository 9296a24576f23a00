"""Games in which time passes while one thinks: reacting, planning, deadlines, and both at once.

`--clock tokens`: a turn is worth so many thinking tokens (`--pressures`), whatever the machine
does. `--clock ms`: a turn lasts so many milliseconds. The same games for all agents. Bounds are the
game's own script, which knows the rules, and nobody at all. Intervals are bootstraps over games.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from statistics import mean
from typing import Any, Final

from edgereason.errors import UsageError
from edgereason.runtime.reasoner import Reasoner

from ..gym import GAMES
from ..gym.agents import AGENTS, Pace, agent
from ..gym.base import LEVELS, MOST_TURNS
from ..gym.play import Episode, play, play_default, play_script
from ..harness.runner import Bench, Findings, Say, Table, open_reasoner, quantile

_COLUMNS: Final = (
    "game",
    "pressure",
    "agent",
    "games",
    "score",
    "95 % from",
    "to",
    "turns",
    "no action %",
    "thoughts read %",
    "late turns",
)
_RESAMPLES: Final = 2000


def measure(options: argparse.Namespace, say: Say) -> Findings:
    if options.clock == "ms" and options.side_by_side > 1:
        raise UsageError(
            f"games in real time are played one by one, got --side-by-side {options.side_by_side}",
            "games that share a machine slow each other down",
        )
    rows, episodes = [], []
    for game in options.games:
        for name, played in _bounds(game, options).items():
            rows.append(row(game, None, name, played, options.seed))
        alone: list[Episode] = []
        with open_reasoner(options) as reasoner:
            for pressure in options.pressures:
                for name in options.agents:
                    say(f"{game}, {pressure:g} {options.clock} a turn: {name}")
                    if name == "reactive" and alone:
                        played = alone
                    else:
                        played = _played(reasoner, game, name, pressure, options)
                    if name == "reactive" and options.clock == "tokens":
                        alone = played  # it does not depend on the pressure
                    rows.append(row(game, pressure, name, played, options.seed))
                    say(f"  score {rows[-1][4]:.3g}")
                    episodes.append(_figures(game, pressure, name, played))
    figures = {"rows": [dict(zip(_COLUMNS, r, strict=True)) for r in rows], "episodes": episodes}
    title = f"Games, pressure in {options.clock} a turn, level {options.level}"
    return Findings(figures, (Table(title, _COLUMNS, rows),), (_remark(options),))


def _played(
    reasoner: Reasoner, game: str, name: str, pressure: float, options: argparse.Namespace
) -> list[Episode]:
    pace = _pace(pressure, options)

    def one(seed: int) -> Episode:
        made = GAMES[game](options.level, seed, options.turns)
        return play(made, agent(name, reasoner, made, pace), (pace.turn_ms or 0.0) / 1000)

    with ThreadPoolExecutor(options.side_by_side) as pool:
        return list(pool.map(one, range(options.seed, options.seed + options.num)))


def _bounds(game: str, options: argparse.Namespace) -> dict[str, list[Episode]]:
    seeds = range(options.seed, options.seed + options.num)
    games = [GAMES[game](options.level, seed, options.turns) for seed in seeds]
    again = [GAMES[game](options.level, seed, options.turns) for seed in seeds]
    return {
        "nobody": [play_default(one) for one in games],
        "script": [play_script(one) for one in again],
    }


def _pace(pressure: float, options: argparse.Namespace) -> Pace:
    limits = {"react_tokens": options.react_tokens, "plan_tokens": options.plan_tokens}
    if options.clock == "tokens":
        if pressure < options.react_tokens:
            raise UsageError(
                f"a turn of {pressure:g} tokens is shorter than --react-tokens "
                f"{options.react_tokens}"
            )
        return Pace(turn_tokens=int(pressure), **limits)
    return Pace(turn_ms=pressure, react_ms=pressure * options.react_share, **limits)


def row(
    game: str, pressure: float | None, name: str, played: Sequence[Episode], seed: int
) -> tuple[Any, ...]:
    turns = sum(one.turns for one in played)
    low, high = interval([one.score for one in played], seed)
    return (
        game,
        pressure,
        name,
        len(played),
        mean(one.score for one in played),
        low,
        high,
        turns / len(played),
        100 * sum(one.num_default for one in played) / turns,
        100 * sum(one.num_read for one in played) / turns,
        sum(one.num_late for one in played),
    )


def interval(scores: Sequence[float], seed: int) -> tuple[float, float]:
    """95 % of the means of samples drawn from `scores` with replacement."""
    generator = random.Random(seed)
    means = [mean(generator.choices(scores, k=len(scores))) for _ in range(_RESAMPLES)]
    return quantile(means, 0.025), quantile(means, 0.975)


def _figures(game: str, pressure: float, name: str, played: Sequence[Episode]) -> dict[str, Any]:
    return {
        "game": game,
        "pressure": pressure,
        "agent": name,
        "games": [asdict(one) for one in played],
    }


def _remark(options: argparse.Namespace) -> str:
    return (
        f"{options.num} games a row with the same seeds in each, at most {options.turns} turns. "
        f"The reactive pass thinks {options.react_tokens} tokens, a plan {options.plan_tokens} at "
        "most. `script` knows the rules, `nobody` does the default in every turn."
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--games", nargs="+", default=sorted(GAMES), choices=sorted(GAMES))
    parser.add_argument("--agents", nargs="+", default=list(AGENTS), choices=AGENTS)
    parser.add_argument("--level", default="easy", choices=LEVELS)
    parser.add_argument("--clock", default="tokens", choices=("tokens", "ms"))
    parser.add_argument(
        "--pressures", type=float, nargs="+", default=[128, 64, 32, 16], help="of one turn"
    )
    parser.add_argument("--num", type=int, default=8, help="games of each kind")
    parser.add_argument("--turns", type=int, default=MOST_TURNS, help="of a game at most")
    parser.add_argument("--react-tokens", type=int, default=16, help="of the reactive pass")
    parser.add_argument(
        "--react-share", type=float, default=0.5, help="of a turn in ms, for the reactive pass"
    )
    parser.add_argument("--plan-tokens", type=int, default=256, help="of one plan at most")
    parser.add_argument("--side-by-side", type=int, default=1, help="games at once, in tokens")


BENCH = Bench("gym", __doc__.splitlines()[0], _add_options, measure)
