"""Games in which time passes while one thinks: reacting, planning, deadlines, and both at once.

`--clock tokens`: a turn is worth so many thinking tokens (`--pressures`), whatever the machine
does. `--clock ms`: a turn lasts so many milliseconds. The same games for all agents, all agents of
a seed before the next seed: a run that is cut has whole seeds, and goes on with `--record`. Bounds
are the game's own script, which knows the rules, and nobody at all.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Final

from edgereason.errors import UsageError
from edgereason.runtime.reasoner import Reasoner

from ..gym import GAMES
from ..gym.agents import AGENTS, Pace, agent
from ..gym.base import LEVELS, MOST_TURNS
from ..gym.play import Episode, play, play_default, play_script
from ..gym.scores import ANY_PRESSURE, Key, Played, compared, rows_of
from ..harness.record import Record
from ..harness.runner import Bench, Findings, Say, Table

_ROWS: Final = (
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
_PAIRS: Final = ("game", "pressure", "best other", "agile - best", "95 % from", "to", "so")
_PARKED: Final = 2  # one part in so many of the context holds prompts of the turn before


def measure(options: argparse.Namespace, say: Say) -> Findings:
    _check(options)
    record = Record(options.record, Played.of)
    wanted = list(_wanted(options))
    missing = [one for one in wanted if one not in record]
    say(f"{len(wanted)} games, {len(missing)} of them to be played")
    if missing:
        _play_all(missing, record, options, say)
    played = [record[key] for key in wanted]
    bounds = [bound for game in options.games for bound in _bounds(game, options)]
    rows, pairs = rows_of(bounds + played, options.seed), compared(bounds + played, options.seed)
    figures = {
        "rows": [dict(zip(_ROWS, row, strict=True)) for row in rows],
        "pairs": [dict(zip(_PAIRS, pair, strict=True)) for pair in pairs],
        "episodes": [one.line() for one in played],
    }
    tables = [Table(f"Games, pressure in {options.clock} a turn, {options.level}", _ROWS, rows)]
    if pairs:
        tables.append(Table("What agile gains, game by game", _PAIRS, pairs))
    remarks = [_remark(options)]
    if len(missing) < len(wanted):
        num = len(wanted) - len(missing)
        remarks.append(f"{num} of {len(wanted)} games were played by earlier runs (`--record`).")
    return Findings(figures, tuple(tables), tuple(remarks))


def _play_all(
    missing: Sequence[Key], record: Record[Played], options: argparse.Namespace, say: Say
) -> None:
    with _opened(options) as reasoner, ThreadPoolExecutor(options.side_by_side) as pool:
        games = [pool.submit(_play, reasoner, options, key, record) for key in missing]
        try:
            for number, game in enumerate(as_completed(games), 1):
                say(f"{number} of {len(missing)}: {game.result().told()}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _check(options: argparse.Namespace) -> None:
    if options.clock == "ms" and options.side_by_side > 1:
        raise UsageError(
            f"games in real time are played one by one, got --side-by-side {options.side_by_side}",
            "games that share a machine slow each other down",
        )
    for pressure in options.pressures:
        _pace(pressure, options)


def _opened(options: argparse.Namespace) -> Reasoner:
    return Reasoner.open(
        options.model,
        threads=options.threads,
        context=options.context,
        park_tokens=options.context // _PARKED,
    )


def _asked(options: argparse.Namespace) -> str:
    """What rows of one table have in common."""
    budgets = f"react {options.react_tokens}, plan {options.plan_tokens}"
    if options.clock == "ms":
        budgets += f", share {options.react_share:g}"
    return (
        f"{Path(options.model).name}, {options.level}, {options.clock}, {options.turns} turns, "
        f"{budgets}{', brief' if options.brief else ''}"
    )


def _wanted(options: argparse.Namespace) -> Iterator[Key]:
    for seed in range(options.seed, options.seed + options.num):
        for game in options.games:
            for name in options.agents:
                if name == "reactive" and options.clock == "tokens":
                    yield _asked(options), game, ANY_PRESSURE, name, seed
                else:
                    for pressure in options.pressures:
                        yield _asked(options), game, pressure, name, seed


def _play(
    reasoner: Reasoner, options: argparse.Namespace, key: Key, record: Record[Played]
) -> Played:
    _, game, pressure, name, seed = key
    pace = _pace(pressure or options.pressures[0], options)
    made = GAMES[game](options.level, seed, options.turns, brief=options.brief)
    player = agent(name, reasoner, made, pace)
    played = Played(*key, play(made, player, (pace.turn_ms or 0.0) / 1000))
    record.add(played)
    return played


def _bounds(game: str, options: argparse.Namespace) -> Iterator[Played]:
    for name, one_game in (("nobody", play_default), ("script", play_script)):
        for seed in range(options.seed, options.seed + options.num):
            episode: Episode = one_game(GAMES[game](options.level, seed, options.turns))
            yield Played(_asked(options), game, ANY_PRESSURE, name, seed, episode)


def _pace(pressure: float, options: argparse.Namespace) -> Pace:
    limits = {"react_tokens": options.react_tokens, "plan_tokens": options.plan_tokens}
    if options.clock == "tokens":
        if pressure < options.react_tokens:
            raise UsageError(
                f"a turn of {pressure:g} tokens is shorter than --react-tokens "
                f"{options.react_tokens}"
            )
        return Pace(turn_tokens=int(pressure), brief=options.brief, **limits)
    return Pace(
        turn_ms=pressure, react_ms=pressure * options.react_share, brief=options.brief, **limits
    )


def _remark(options: argparse.Namespace) -> str:
    return (
        f"{options.num} games a row with the same seeds in each, at most {options.turns} turns. "
        f"The reactive pass thinks {options.react_tokens} tokens, a plan {options.plan_tokens} at "
        "most. `script` knows the rules, `nobody` does the default in every turn. Intervals are "
        "bootstraps over games. In `all` a score is a share of the script's in that game."
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
    parser.add_argument("--brief", action="store_true", help="rules and states in few characters")
    parser.add_argument("--side-by-side", type=int, default=1, help="games at once, in tokens")
    parser.add_argument("--threads", type=int, default=0, help="0: follows the load")
    parser.add_argument("--record", type=Path, help="JSON lines to keep, and to go on from")


BENCH = Bench("gym", __doc__.splitlines()[0], _add_options, measure)
