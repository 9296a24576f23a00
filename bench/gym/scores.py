"""What games came to: a row for each agent, and what `agile` gains over the best of the others.

Games of a row have the same seeds as those of any other row, so differences are paired. Intervals
are bootstraps over games.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any, Final

from ..harness.runner import quantile
from .play import Episode

ANY_PRESSURE: Final = 0.0  # of who does not depend on it
BOUNDS: Final = ("nobody", "script")
_RESAMPLES: Final = 2000
_AGILE: Final = "agile"

Key = tuple[str, str, float, str, int]  # settings, game, pressure, agent, seed
Scores = dict[int, float]  # by seed


@dataclass(frozen=True, slots=True)
class Played:
    """One game of one agent. `asked`: the settings, which rows of one table have in common."""

    asked: str
    game: str
    pressure: float
    agent: str
    seed: int
    episode: Episode

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Played:
        return cls(**{**line, "episode": Episode(**line["episode"])})

    @property
    def key(self) -> Key:
        return self.asked, self.game, self.pressure, self.agent, self.seed

    def line(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key != "asked"}

    def told(self) -> str:
        pressure = f" at {self.pressure:g}" if self.pressure else ""
        return f"{self.game} {self.seed}, {self.agent}{pressure}: {self.episode.score:g}"


def rows_of(played: Sequence[Played], seed: int) -> list[tuple[Any, ...]]:
    """In the order in which the agents first appear; the pressures by falling size."""
    groups: dict[tuple[str, float, str], list[Played]] = defaultdict(list)
    for one in played:
        groups[one.game, one.pressure, one.agent].append(one)
    agents = list(dict.fromkeys(one.agent for one in played))
    order = sorted(groups, key=lambda key: (key[0], key[1] or float("inf"), agents.index(key[2])))
    order.sort(key=lambda key: (key[0], -(key[1] or float("inf"))))
    return [_row(*key, [one.episode for one in groups[key]], seed) for key in order]


def _row(
    game: str, pressure: float, agent: str, episodes: Sequence[Episode], seed: int
) -> tuple[Any, ...]:
    turns = sum(one.turns for one in episodes)
    low, high = interval([one.score for one in episodes], seed)
    return (
        game,
        pressure or None,
        agent,
        len(episodes),
        mean(one.score for one in episodes),
        low,
        high,
        turns / len(episodes),
        100 * sum(one.num_default for one in episodes) / turns,
        100 * sum(one.num_read for one in episodes) / turns,
        sum(one.num_late for one in episodes),
    )


def interval(scores: Sequence[float], seed: int) -> tuple[float, float]:
    """95 % of the means of samples drawn from `scores` with replacement."""
    generator = random.Random(seed)
    means = [mean(generator.choices(scores, k=len(scores))) for _ in range(_RESAMPLES)]
    return quantile(means, 0.025), quantile(means, 0.975)


def compared(played: Sequence[Played], seed: int) -> list[tuple[Any, ...]]:
    """`agile` less the best of the other agents, by pressure: for each game, and for all games."""
    by_game = {game: _scores(played, game) for game in dict.fromkeys(one.game for one in played)}
    by_game = {**by_game, "all": _shares(by_game)} if len(by_game) > 1 else by_game
    return [
        (game, pressure, *_pair(scores, pressure, seed))
        for game, scores in by_game.items()
        for pressure in sorted({key[0] for key in scores if key[1] == _AGILE}, reverse=True)
    ]


def _scores(played: Sequence[Played], game: str) -> dict[tuple[float, str], Scores]:
    found: dict[tuple[float, str], Scores] = defaultdict(dict)
    for one in played:
        if one.game == game:
            found[one.pressure, one.agent][one.seed] = one.episode.score
    return found


def _shares(
    by_game: Mapping[str, Mapping[tuple[float, str], Scores]],
) -> dict[tuple[float, str], Scores]:
    """The mean over games of a seed's scores, each as a share of the script's mean there."""
    best = {game: mean(own[ANY_PRESSURE, "script"].values()) for game, own in by_game.items()}
    games = [game for game in by_game if best[game] > 0]  # else nobody can score in so few turns
    keys = next(iter(by_game.values())).keys() if games else ()
    return {
        key: {
            seed: mean(by_game[game][key][seed] / best[game] for game in games)
            for seed in by_game[games[0]][key]
        }
        for key in keys
    }


def _pair(
    scores: Mapping[tuple[float, str], Scores], pressure: float, seed: int
) -> tuple[Any, ...]:
    agile, others = scores[pressure, _AGILE], dict(_others(scores, pressure))
    if not others:
        return None, None, None, None, "nobody to compare with"
    name = max(others, key=lambda other: mean(others[other].values()))
    gains = [agile[one] - others[name][one] for one in agile]
    low, high = interval(gains, seed)
    so = "better" if low > 0 else "worse" if high < 0 else "not told apart"
    return name, mean(gains), low, high, so


def _others(
    scores: Mapping[tuple[float, str], Scores], pressure: float
) -> Iterator[tuple[str, Scores]]:
    for (at, name), own in scores.items():
        if at in (pressure, ANY_PRESSURE) and name not in (*BOUNDS, _AGILE):
            yield name, own
