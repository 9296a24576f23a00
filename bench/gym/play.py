"""One episode: an agent, or the game's own script, plays a game to its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from .agents import Agent
from .base import Game


@dataclass(frozen=True, slots=True)
class Episode:
    """What became of one game. `num_default`: turns for which the agent came up with no action."""

    score: float
    turns: int
    num_late: int = 0
    num_default: int = 0
    num_read: int = 0
    thinking_tokens: int = 0


def play(
    game: Game, agent: Agent, turn_s: float = 0.0, sleep: Callable[[float], None] = time.sleep
) -> Episode:
    """`turn_s`: what a turn lasts at least, whoever is done sooner; 0 in virtual time."""
    late = default = read = tokens = 0
    try:
        while not game.over:
            ends = time.monotonic() + turn_s
            choice = agent.choose(game.state())
            late += choice.late
            default += choice.action is None
            read += choice.read
            tokens += choice.thinking_tokens
            if turn_s:
                sleep(max(0.0, ends - time.monotonic()))
            game.act(choice.action or game.default)
    finally:
        agent.close()
    return Episode(game.score, game.turn, late, default, read, tokens)


def play_script(game: Game) -> Episode:
    while not game.over:
        game.act(game.script())
    return Episode(game.score, game.turn)


def play_default(game: Game) -> Episode:
    """Nobody plays: the bound from below."""
    while not game.over:
        game.act(game.default)
    return Episode(game.score, game.turn, num_default=game.turn)
