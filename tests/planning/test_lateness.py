"""Lengths of thoughts, and the chance of being late: against known worlds, none of them tuned."""

from __future__ import annotations

import numpy as np
import pytest

from edgereason.errors import UsageError
from edgereason.planning.lateness import FEW, Array, Lateness, Length, Lengths


def drawn(lengths: Lengths, num: int = 20_000) -> Array:
    return lengths.draw(np.random.default_rng(1), num)


def test_lengths_keep_their_middle_and_their_tail() -> None:
    rng = np.random.default_rng(0)
    true = np.exp(5 + 0.6 * rng.standard_normal(400))
    lengths = drawn(Lengths(Length(int(x)) for x in true))
    for share in (0.1, 0.5, 0.9, 0.95):
        assert np.quantile(lengths, share) == pytest.approx(np.quantile(true, share), rel=0.1)


def test_a_cut_length_counts_as_at_least_so_long() -> None:
    """A world of which a budget of 200 shows only the beginning, for some questions."""
    rng = np.random.default_rng(3)
    true = np.exp(5 + 0.6 * rng.standard_normal(600))
    seen = [
        Length(min(int(x), 200), cut=x > 200) if i % 2 else Length(int(x))
        for i, x in enumerate(true)
    ]
    as_if_ended = drawn(Lengths(Length(length.tokens) for length in seen))
    right = drawn(Lengths(seen))
    median, tail = np.quantile(true, (0.5, 0.9))
    assert np.quantile(right, 0.5) == pytest.approx(median, rel=0.08)
    assert np.quantile(right, 0.9) == pytest.approx(tail, rel=0.12)
    assert np.quantile(as_if_ended, 0.9) < 0.85 * tail


def test_what_was_always_cut_is_not_known_to_end() -> None:
    lengths = Lengths([Length(50), Length(100, cut=True), Length(100, cut=True)])
    assert lengths.beyond == pytest.approx(2 / 3)
    assert np.isinf(drawn(lengths)).mean() == pytest.approx(2 / 3, abs=0.02)
    late = Lateness(lambda tokens: 10 * tokens, [Length(100, cut=True)] * 30)
    assert late.p_late(1e9) == 1  # nothing says that it ever ends


def test_a_hard_budget_ends_every_thought() -> None:
    late = Lateness(lambda tokens: 10 * tokens, [Length(100, cut=True)] * 30, limit=100)
    assert late.within(1.0) == 1000
    assert (late.p_late(999), late.p_late(1000)) == (1, 0)


def test_few_lengths_are_told_as_wide() -> None:
    few = Lengths(Length(100 + i) for i in range(FEW - 1))
    many = Lengths(Length(100 + i % 19) for i in range(5 * FEW))
    assert few.is_wide
    assert not many.is_wide
    assert drawn(few).std() > 1.1 * drawn(many).std()


def test_no_thoughts_and_nonsense() -> None:
    assert (drawn(Lengths([Length(0), Length(0)])) == 0).all()
    with pytest.raises(UsageError, match="no lengths to learn from"):
        Lengths([])
    with pytest.raises(UsageError, match="0 tokens or more, got -1"):
        Length(-1)


def stream(rng: np.random.Generator, num: int, *, drift: bool) -> tuple[Array, Array]:
    """The world of the design: 30 % hard questions, a load that wanders, bursts; lengths, ms."""
    hard = rng.random(num) < 0.3
    logs = np.where(
        hard, 6.2 + 0.5 * rng.standard_normal(num), 4.8 + 0.4 * rng.standard_normal(num)
    )
    lengths = np.maximum(np.exp(logs), 1).astype(int).astype(float)
    noise = np.zeros(num)
    for i in range(1, num):
        noise[i] = 0.9 * noise[i - 1] + 0.06 * np.sqrt(1 - 0.81) * rng.standard_normal()
    load = np.exp(noise) * np.where(rng.random(num) < 0.05, 1.3, 1.0)
    if drift:
        load[num // 2 :] *= 1.25
    return lengths, predicted_ms(lengths) * load


def predicted_ms(tokens: Array) -> Array:
    return 200 + 20 * (tokens + 16)


def late_share(seed: int, *, drift: bool, learn: bool = True, before: int = 50) -> float:
    """Of 500 requests whose deadline is where 5 % were predicted to be late."""
    rng = np.random.default_rng(seed)
    lengths, took_ms = stream(rng, before + 500, drift=drift)
    late = Lateness(predicted_ms, seed=seed)
    for tokens, ms in zip(lengths[:before], took_ms[:before], strict=True):
        late.observe(int(tokens), ms)
    num_late, deadline_ms = 0, late.within(0.95)
    for i in range(before, before + 500):
        if learn:
            deadline_ms = late.within(0.95)
            late.observe(int(lengths[i]), took_ms[i])
        num_late += took_ms[i] > deadline_ms
    return num_late / 500


@pytest.mark.parametrize("drift", [False, True])
def test_five_per_cent_late_are_two_to_eight(drift: bool) -> None:
    shares = [late_share(seed, drift=drift) for seed in range(1000, 1040)]
    inside = sum(0.02 <= share <= 0.08 for share in shares)
    assert inside >= 39, shares  # of 40; the design found 99 to 100 % of runs
    assert np.mean(shares) == pytest.approx(0.05, abs=0.01)


def test_an_estimate_that_stops_learning_misses_more_often() -> None:
    """The test above can fail: the same without refitting does."""
    shares = [late_share(seed, drift=True, learn=False) for seed in range(1000, 1040)]
    assert sum(0.02 <= share <= 0.08 for share in shares) < 36
