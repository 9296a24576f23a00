"""Slow twin of `policy/lookahead.h`: looks at every place of the text, and adds up every width."""

from __future__ import annotations

from collections.abc import Callable, Sequence

LEAST_MATCH, MOST_MATCH = 3, 24
PRIORS: dict[int | None, float] = {12: 0.95, 6: 0.85, 0: 0.7, None: 0.8}  # None: a model's


def match(tokens: Sequence[int], end: int) -> int:
    """How many tokens before `end` are those at the end of the text; negative ones are none."""
    num = 0
    while num < min(end, MOST_MATCH) and tokens[end - 1 - num] == tokens[-1 - num] >= 0:
        num += 1
    return num


def guess_next(tokens: Sequence[int], num: int) -> tuple[list[int], int]:
    """The guesses, and how many tokens match before them."""
    places = {end: match(tokens, end) for end in range(1, len(tokens))}
    best = max(places.values(), default=0)
    if best < LEAST_MATCH:
        return [], 0
    start = max(end for end, length in places.items() if length == best)
    text = list(tokens)
    while len(text) - start < num:
        text.append(text[start + len(text) - len(tokens)])
    guesses = text[start : start + num]
    return guesses[: next((i for i, token in enumerate(guesses) if token < 0), num)], best


class Lookahead:
    """Each kind of match, by the least tokens of it, has a share of right guesses and a rest."""

    def __init__(self) -> None:
        self.share, self.rest = dict(PRIORS), dict.fromkeys(PRIORS, 0)
        self.next_rest = dict.fromkeys(PRIORS, 64)
        self.kind: int | None = 0

    def num_worth(
        self,
        step_ms: Callable[[int], float],
        num_rows: int,
        most: int,
        match: int | None,
        guess_ms: float = 0,
    ) -> int:
        if most <= 0:
            return 0
        kind = self.kind = match and next(least for least in (12, 6, 0) if match >= least)
        if self.rest[kind]:
            self.rest[kind] -= 1
            return 0
        rates = [
            (num_rows + sum(self.share[kind] ** i for i in range(1, num + 1)))
            / (step_ms(num_rows + num) + num * guess_ms)
            for num in range(most + 1)
        ]
        best = max(range(1, most + 1), key=lambda num: (rates[num], -num))
        if rates[best] > 1.3 * rates[0]:
            return best
        self.rest[kind], self.share[kind] = self.next_rest[kind], PRIORS[kind]
        self.next_rest[kind] = min(2 * self.next_rest[kind], 4096)
        return 0

    def learn(self, num: int, num_right: int) -> None:
        for _ in range(num_right):
            self.share[self.kind] += 0.1 * (1 - self.share[self.kind])
        if num_right < num:
            self.share[self.kind] -= 0.1 * self.share[self.kind]
        else:
            self.next_rest[self.kind] = 64
