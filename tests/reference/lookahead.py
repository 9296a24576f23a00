"""Slow twin of `policy/lookahead.h`: looks at every place of the text, and adds up every width."""

from __future__ import annotations

from collections.abc import Callable, Sequence

LEAST_MATCH, MOST_MATCH = 3, 24


def match(tokens: Sequence[int], end: int) -> int:
    """How many tokens before `end` are those at the end of the text; negative ones are none."""
    num = 0
    while num < min(end, MOST_MATCH) and tokens[end - 1 - num] == tokens[-1 - num] >= 0:
        num += 1
    return num


def guess_next(tokens: Sequence[int], num: int) -> list[int]:
    places = {end: match(tokens, end) for end in range(1, len(tokens))}
    best = max(places.values(), default=0)
    if best < LEAST_MATCH:
        return []
    start = max(end for end, length in places.items() if length == best)
    text = list(tokens)
    while len(text) - start < num:
        text.append(text[start + len(text) - len(tokens)])
    guesses = text[start : start + num]
    return guesses[: next((i for i, token in enumerate(guesses) if token < 0), num)]


class Lookahead:
    def __init__(self) -> None:
        self.share, self.rest, self.next_rest = 0.8, 0, 64

    def num_worth(self, step_ms: Callable[[int], float], num_rows: int, most: int) -> int:
        if self.rest:
            self.rest -= 1
            return 0
        if most <= 0:
            return 0
        rates = [
            (num_rows + sum(self.share**i for i in range(1, num + 1))) / step_ms(num_rows + num)
            for num in range(most + 1)
        ]
        best = max(range(1, most + 1), key=lambda num: (rates[num], -num))
        if rates[best] > 1.05 * rates[0]:
            return best
        self.rest, self.next_rest, self.share = self.next_rest, min(2 * self.next_rest, 4096), 0.8
        return 0

    def learn(self, num: int, num_right: int) -> None:
        for _ in range(num_right):
            self.share += 0.1 * (1 - self.share)
        if num_right < num:
            self.share -= 0.1 * self.share
        else:
            self.next_rest = 64
