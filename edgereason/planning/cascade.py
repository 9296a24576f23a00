"""Which drafts `auto` should try, and from which confidence it should keep them.

Pure arithmetic on what each way did with the same questions: how sure it was, whether it was right,
what it cost. Knows no model and no strategy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Final

from edgereason.errors import UsageError

Steps = tuple[tuple[str, float], ...]

_LONGEST: Final = 2  # drafts one after another
_GRID: Final = 12  # thresholds tried for each draft
_LEAST_AUC: Final = 0.55  # a draft that tells less than this is not tried
_FOLDS: Final = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one way did with one question. `score` is 0 where there was no whole answer."""

    score: float
    right: bool
    tokens: int


@dataclass(frozen=True, slots=True)
class Bill:
    """What a cascade comes to on all questions."""

    right: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Choice:
    """The drafts, what they come to on the questions they were chosen on, and on questions held out
    in turns, beside thinking alone.
    """

    steps: Steps
    chosen_on: Bill
    held_out: Bill
    thinking: Bill
    num: int


def bill(steps: Steps, drafts: Mapping[str, Sequence[Outcome]], think: Sequence[Outcome]) -> Bill:
    """As if the drafts were written one after another, and thinking began after the last."""
    right = tokens = 0
    for index, thought in enumerate(think):
        for way, threshold in steps:
            tried = drafts[way][index]
            tokens += tried.tokens
            if tried.score >= threshold:
                right += tried.right
                break
        else:
            right, tokens = right + thought.right, tokens + thought.tokens
    return Bill(right, tokens)


def choose(
    drafts: Mapping[str, Sequence[Outcome]], think: Sequence[Outcome], *, cost_points: float = 1.0
) -> Choice:
    """The cascade with the fewest tokens among those that lose at most `cost_points` of accuracy.

    No draft where that does not hold on held-out questions, too: within two points or one question
    of thinking, with fewer tokens.
    """
    for way, outcomes in drafts.items():
        if len(outcomes) != len(think):
            raise UsageError(f"{way} has {len(outcomes)} outcomes, thinking has {len(think)}")
    num = len(think)
    alone = bill((), drafts, think)
    steps = _best(drafts, think, cost_points)
    held_out = Bill(0, 0)
    for fold in range(_FOLDS):
        inside = [i for i in range(num) if i % _FOLDS != fold]
        outside = range(fold, num, _FOLDS)
        learned = _best(*_part(drafts, think, inside), cost_points)
        one = bill(learned, *_part(drafts, think, outside))
        held_out = Bill(held_out.right + one.right, held_out.tokens + one.tokens)
    if held_out.right < alone.right - max(1, 0.02 * num) or held_out.tokens >= alone.tokens:
        steps = ()
    return Choice(steps, bill(steps, drafts, think), held_out, alone, num)


def _part(
    drafts: Mapping[str, Sequence[Outcome]], think: Sequence[Outcome], which: Iterable[int]
) -> tuple[dict[str, list[Outcome]], list[Outcome]]:
    chosen = list(which)
    parts = {way: [outcomes[i] for i in chosen] for way, outcomes in drafts.items()}
    return parts, [think[i] for i in chosen]


def _best(
    drafts: Mapping[str, Sequence[Outcome]], think: Sequence[Outcome], cost_points: float
) -> Steps:
    least = bill((), drafts, think).right - cost_points / 100 * len(think)
    best: Steps = ()
    fewest = bill((), drafts, think).tokens
    for steps in _cascades(drafts):
        found = bill(steps, drafts, think)
        if found.right >= least and found.tokens < fewest:
            best, fewest = steps, found.tokens
    return best


def _cascades(drafts: Mapping[str, Sequence[Outcome]]) -> Iterator[Steps]:
    grids = {way: grid for way, outcomes in drafts.items() if (grid := _thresholds(outcomes))}
    for length in range(1, _LONGEST + 1):
        for ways in permutations(grids, length):
            yield from _with_thresholds(ways, grids)


def _with_thresholds(ways: Sequence[str], grids: Mapping[str, Sequence[float]]) -> Iterator[Steps]:
    if not ways:
        yield ()
        return
    for threshold in grids[ways[0]]:
        for rest in _with_thresholds(ways[1:], grids):
            yield ((ways[0], threshold), *rest)


def _thresholds(outcomes: Sequence[Outcome]) -> list[float]:
    """Quantiles of its scores; none where being surer does not mean being right more often."""
    scores = sorted({one.score for one in outcomes if one.score > 0})
    if not scores or auc([(one.score, one.right) for one in outcomes]) < _LEAST_AUC:
        return []
    places = {round(i * (len(scores) - 1) / (_GRID - 1)) for i in range(_GRID)}
    return [scores[place] for place in sorted(places)]


def auc(points: Sequence[tuple[float, bool]]) -> float:
    """The chance that a right answer has a higher score than a wrong one; 0.5 tells nothing, which
    is also said where all are right or all are wrong.
    """
    right = [score for score, is_right in points if is_right]
    wrong = [score for score, is_right in points if not is_right]
    if not right or not wrong:
        return 0.5
    wins = sum((a > b) + (a == b) / 2 for a in right for b in wrong)
    return wins / (len(right) * len(wrong))


__all__ = ["Bill", "Choice", "Outcome", "Steps", "auc", "bill", "choose"]
