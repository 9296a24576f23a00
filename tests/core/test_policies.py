"""The policies of the native core against slow, obvious twins in `reference/`."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgereason.errors import UsageError
from edgereason.planning.cost import KNOTS, Cost
from edgereason.records import Blend, Sampling
from reference import blend, budget, cost, lookahead, marker, repetition, sampler, stop

policies = pytest.importorskip("_policies", reason="built by `make test`")

# Few letters, so that texts and patterns meet often.
texts = st.binary(max_size=40).map(lambda data: bytes(b"ab<>"[byte % 4] for byte in data))
around = st.sampled_from([b"\n", b"\n```", b"\n~~~\n", b"`", b'"', b" ", "\u201c".encode()])
patterns = texts.filter(bool).map(lambda text: text[:6])
pieces = st.lists(texts, max_size=12)


@given(st.lists(patterns, max_size=4), pieces)
def test_text_matcher(wanted: list[bytes], text: list[bytes]) -> None:
    native, twin = policies.TextMatcher(wanted), stop.TextMatcher(wanted)
    for piece in text:
        assert native.feed(piece) == twin.feed(piece)
        assert native.num_held == twin.num_held


@settings(deadline=None)  # the twin first lists all characters
@given(st.binary(max_size=6) | st.text(max_size=3).map(str.encode).map(lambda data: data[:-1]))
def test_unfinished_utf8(text: bytes) -> None:
    assert policies.num_unfinished_utf8(text) == stop.num_unfinished_utf8(text)


@pytest.mark.slow
def test_unfinished_utf8_of_all_short_endings() -> None:
    for ending in itertools.product(range(0x7F, 0x100), repeat=2):
        for lead in (b"", b"\xe0", b"\xed", b"\xf0", b"\xf4", b"\xff"):
            text = lead + bytes(ending)
            assert policies.num_unfinished_utf8(text) == stop.num_unfinished_utf8(text), text


marks = st.lists(patterns, max_size=2)


@given(
    marks,
    marks,
    marks,
    st.booleans(),
    st.lists(st.integers(0, 6), max_size=4),
    st.lists(texts | around | patterns | st.sampled_from([None, 0]), max_size=14),
)
@example([b"<a>"], [b"</a>"], [b"ba"], True, [], [b"a<", b"/a>b\n<a>b", None, b"</a>a", b"ba"])
@example([b"<a>"], [b"</a>"], [], False, [3], [b"a\n", b"<a", b">", b"\n", b"<a>", b"b"])
def test_marker_tracker(  # noqa: PLR0917  # hypothesis gives the arguments
    open: list[bytes],
    shut: list[bytes],
    ends: list[bytes],
    inside: bool,
    own: list[int],
    steps: list[bytes | int | None],
) -> None:
    own = own[: len(open) + len(shut)]
    native = policies.MarkerTracker(open, shut, ends, inside, own)
    twin = marker.MarkerTracker(open, shut, ends, inside, own)
    for step in steps:
        if isinstance(step, bytes):
            assert native.feed(step) == twin.feed(step)
        elif step is None:
            native.force_shut()
            twin.force_shut()
        else:
            native.flush()
            twin.flush()
        assert native.inside == twin.inside
        assert native.num_held == twin.num_held
        assert native.answer == twin.answer
        assert native.reasoning == twin.reasoning


@given(st.lists(patterns, max_size=3), st.booleans(), texts, st.data())
def test_marks_are_found_however_the_text_is_split(
    wanted: list[bytes], inside: bool, text: bytes, data: st.DataObject
) -> None:
    whole = policies.MarkerTracker(wanted[:1], wanted[1:], [], inside)
    split = policies.MarkerTracker(wanted[:1], wanted[1:], [], inside)
    whole.feed(text)
    while text:
        num = data.draw(st.integers(1, len(text)))
        split.feed(text[:num])
        text = text[num:]
    whole.flush()
    split.flush()
    assert (split.answer, split.reasoning) == (whole.answer, whole.reasoning)


@given(
    st.lists(st.integers(0, 2), max_size=60),
    st.integers(0, 8),
    st.integers(2, 5),
    st.integers(0, 20),
)
@example([1, 2] * 12, 4, 4, 16)
def test_loop_detector(tokens: list[int], max_period: int, repeats: int, min_tokens: int) -> None:
    native = policies.RepetitionDetector(max_period, repeats, min_tokens)
    for num, token in enumerate(tokens, 1):
        expected = repetition.is_loop(tokens[:num], max_period, repeats, min_tokens)
        assert native.push(token) == expected


@given(st.floats(0, 1, width=32), st.integers(0, 300), st.integers(-1, 200), st.booleans())
def test_soft_share(soft: float, used: int, limit: int, at_end: bool) -> None:
    native = policies.soft_share(soft, used, limit, at_end)
    assert native == pytest.approx(budget.soft_share(soft, used, limit, at_end), abs=2e-3)
    assert 0 <= native <= 1


@given(st.text("ab1.!?\n\t \"')]*”。…」", max_size=8) | st.text(max_size=8))
def test_ends_sentence(text: str) -> None:
    assert policies.ends_sentence(text.encode()) == budget.ends_sentence(text)


@given(st.integers(-1, 20), st.lists(st.integers(-3, 1), max_size=30))
def test_token_budget(limit: int, moves: list[int]) -> None:
    native = policies.TokenBudget(limit)
    used = 0
    for move in moves:
        if move == 1:
            native.spend()
            used += 1
        elif used + move >= 0:
            native.refund(-move)
            used += move
        assert native.used == used
        assert native.can_spend() == (limit == -1 or used < limit)
        assert native.remaining == (2**31 - 1 if limit == -1 else limit - used)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_counter_uniform(seed: int, index: int) -> None:
    native = policies.counter_uniform(seed, index)
    assert native == sampler.counter_uniform(seed, index)
    assert 0 <= native < 1


# Values on which single and double precision agree exactly, so that ties stay ties.
logit_values = st.integers(-80, 80).map(lambda value: value / 4) | st.just(-math.inf)


@st.composite
def rows(draw: st.DrawFn) -> list[float]:
    row = draw(st.lists(logit_values, min_size=1, max_size=40))
    if draw(st.booleans()):  # long enough for every loop over vectors, and for selection
        noise = np.random.default_rng(draw(st.integers(0, 99))).normal(
            0, draw(st.integers(0, 9)), 900
        )
        row += list(np.round(noise * 4) / 4)
    return row


def samplings() -> st.SearchStrategy[Sampling]:
    return st.builds(
        Sampling,
        temperature=st.sampled_from([0.0, 0.25, 0.7, 1.0, 2.5]),
        top_k=st.sampled_from([0, 0, 1, 2, 7, 40, 500]),
        top_p=st.sampled_from([1.0, 1.0, 0.05, 0.5, 0.9, 0.999]),
        min_p=st.sampled_from([0.0, 0.0, 0.01, 0.3, 1.0]),
        repetition_penalty=st.sampled_from([1.0, 2.0, 0.5]),
        presence_penalty=st.sampled_from([0.0, 1.5, -1.0]),
        penalty_window=st.integers(0, 5),
        seed=st.integers(0, 2**64 - 1),
    )


def near_draws(logits: list[float], sampling: Sampling, index: int) -> set[int]:
    """What the twin draws where a limit lies within the error of single precision."""
    off = (-1e-5, 0.0, 1e-5)
    nudges = (sampler.Nudge(*each) for each in itertools.product(off, off, off))
    return {sampler.draw(logits, sampling, index, nudge) for nudge in nudges}


@settings(deadline=None)  # twins are slow by design
@given(rows(), samplings(), st.integers(0, 10**6), st.data())
def test_sampler(row: list[float], sampling: Sampling, index: int, data: st.DataObject) -> None:
    ids = st.integers(0, len(row) - 1)
    recent = data.draw(st.lists(ids, max_size=8))
    lift = data.draw(st.none() | ids)
    share = data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    biases = st.dictionaries(ids, st.sampled_from([-math.inf, -2.0, 0.5, 30.0]), max_size=3)
    sampling = replace(sampling, logit_bias=data.draw(biases))
    token, *statistics = policies.Sampler(len(row)).sample(
        np.array(row, dtype=np.float32),
        sampling,
        recent=recent,
        draw=index,
        lift=-1 if lift is None else lift,
        lift_share=share,
    )
    if max(row) == -math.inf:
        assert token == -1  # nothing is drawn, nothing is told
        return
    adjusted = sampler.adjust(row, sampling, recent, lift, share)
    if token != sampler.draw(adjusted, sampling, index):
        assert sampling.temperature > 0
        assert token in near_draws(adjusted, sampling, index)
    assert statistics == pytest.approx(sampler.statistics(row, token), rel=1e-5, abs=1e-5)


def test_sampler_draws_as_the_twin_on_a_real_size() -> None:
    random = np.random.default_rng(1)
    native = policies.Sampler(49152)
    same = 0
    for index in range(40):
        logits = random.normal(0, 3.0, 49152).astype(np.float32)
        logits[random.integers(0, 49152, 30)] += np.linspace(0, 12, 30, dtype=np.float32)
        sampling = Sampling(temperature=0.8, top_p=(0.5, 0.9, 0.99, 1.0)[index % 4], seed=9)
        token, *statistics = native.sample(logits, sampling, draw=index)
        same += token == sampler.draw(logits.tolist(), sampling, index)
        expected = sampler.statistics(logits.tolist(), token)
        assert statistics == pytest.approx(expected, rel=1e-5, abs=2e-5)
    assert same >= 39  # one may lie within rounding of a limit


def test_sampler_refuses_what_is_not_of_its_vocabulary() -> None:
    native = policies.Sampler(4)
    row = np.zeros(4, dtype=np.float32)
    with pytest.raises(UsageError, match="vocabulary of 4"):
        native.sample(np.zeros(5, dtype=np.float32), Sampling())
    with pytest.raises(UsageError, match="vocabulary of 4"):
        native.sample(row, Sampling(), recent=[4])
    with pytest.raises(UsageError, match="vocabulary of 4"):
        native.sample(row, Sampling(logit_bias={-1: 1.0}))
    for bias in (math.inf, math.nan):  # -inf bans a token
        with pytest.raises(UsageError, match=f"bias must be a number, got {bias} for token 3"):
            Sampling(logit_bias={3: bias})


steps = st.tuples(
    st.integers(1, 20) | st.sampled_from([1, 1, 64, 300, 1024, 1500]),
    st.integers(0, 4000),
    st.floats(0, 500),
    st.integers(1, 40),
)


@settings(deadline=None)
@given(st.lists(steps, max_size=12))
@example([(1, 50, 6.0, 80), (1, 900, 6.7, 80), (1, 40, 18.0, 5), (64, 500, 60.0, 3)])
def test_cost_model(observed: list[tuple[int, int, float, int]]) -> None:
    native, twin = policies.CostModel(), cost.CostModel()
    for rows, cells, ms, times in observed:
        for i in range(times):
            native.observe(rows, cells + i * rows, ms)
            twin.observe(rows, cells + i * rows, ms)
    assert native.load == pytest.approx(twin.load, rel=1e-6)
    assert native.cell_ms == pytest.approx(twin.cell_ms, rel=1e-6, abs=1e-12)
    for num in (1, 2, 3, 7, 16, 40, 1024, 2000):
        assert native.step_ms(num) == pytest.approx(twin.step_ms(num), rel=1e-6)
        assert native.step_ms(num, 100) == pytest.approx(twin.step_ms(num, 100), rel=1e-6)
        assert native.step_ms(num) <= native.step_ms(num + 1) * (1 + 1e-9)
    limit_ms = twin.step_ms(9) * 1.001
    assert native.rows_within(limit_ms, 12) == twin.rows_within(limit_ms, 12)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0.0, math.nan, -1.0]) | st.floats(0.1, 500), max_size=11),
    st.sampled_from([0.0, math.nan]) | st.floats(1e-6, 0.1),
    st.lists(steps, max_size=4),
)
@example([6.0, 0.0, 12.0], 1e-3, [(1, 50, 12.0, 80)])
def test_a_cost_that_was_measured_before(
    knot_ms: list[float], cell_ms: float, observed: list[tuple[int, int, float, int]]
) -> None:
    native, twin = policies.CostModel(), cost.CostModel()
    native.restore(knot_ms, cell_ms)
    twin.restore(knot_ms, cell_ms)
    assert native.known == twin.restored
    for rows, cells, ms, times in observed:
        for i in range(times):
            native.observe(rows, cells + i * rows, ms)
            twin.observe(rows, cells + i * rows, ms)
    assert native.load == pytest.approx(twin.load, rel=1e-6)
    for num in (1, 2, 3, 7, 16, 40, 1024, 2000):
        assert native.step_ms(num, 100) == pytest.approx(twin.step_ms(num, 100), rel=1e-6)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(KNOTS), st.floats(0.1, 500), min_size=1),
    st.floats(0, 0.1),
    st.integers(1, 2000),
    st.integers(0, 10000),
)
def test_predictions_and_the_core_have_one_cost_model(
    step_ms: dict[int, float], cell_ms: float, rows: int, cells: int
) -> None:
    known = Cost("m", "made up", {1: 0.2} | step_ms, cell_ms)
    native = policies.CostModel()
    native.restore([known.step_ms.get(knot, 0.0) for knot in KNOTS], cell_ms)
    assert known.rows_ms(rows, cells) == pytest.approx(native.step_ms(rows, cells), rel=1e-6)


blends = st.builds(
    Blend,
    top=st.sampled_from([1, 2, 3, 10, 64]),
    noise=st.sampled_from([0.0, 0.0, 0.5, 2.0]),
    dwell=st.integers(0, 3),
    switches=st.integers(0, 3),
)


@settings(deadline=None)
@given(rows(), samplings(), blends, st.integers(0, 10**6))
def test_weights_of_a_blend(row: list[float], sampling: Sampling, rule: Blend, draw: int) -> None:
    if max(row) == -math.inf:
        return
    plain = replace(sampling, repetition_penalty=1.0, presence_penalty=0.0)
    logits = np.array(row, dtype=np.float32)
    found = policies.Sampler(len(row)).weigh(logits, plain, rule, draw=draw)
    assert sum(weight for _, weight in found) == pytest.approx(1, abs=1e-5)
    assert [weight for _, weight in found] == sorted((w for _, w in found), reverse=True)
    wanted = blend.weigh(row, plain, rule, draw)
    if len(found) != len(wanted):  # a limit within the error of single precision
        near = [
            replace(plain, top_p=min(1.0, max(1e-6, plain.top_p + off))) for off in (-1e-5, 1e-5)
        ]
        near += [
            replace(plain, min_p=min(1.0, max(0.0, plain.min_p * (1 + off))))
            for off in (-1e-5, 1e-5)
        ]
        assert len(found) in {len(blend.weigh(row, each, rule, draw)) for each in near}
        return
    weights = dict(wanted)
    assert {token for token, _ in found} == set(weights)
    for token, weight in found:
        assert weight == pytest.approx(weights[token], rel=1e-3, abs=1e-5)


@given(rows(), st.data())
def test_log_probs(row: list[float], data: st.DataObject) -> None:
    tokens = data.draw(st.lists(st.integers(0, len(row) - 1), max_size=5))
    found = policies.log_probs(np.array(row, dtype=np.float32), tokens)
    if max(row) == -math.inf:
        assert found is None
        return
    assert found == pytest.approx(blend.log_probs(row, tokens), rel=1e-5, abs=1e-5)


@given(blends, st.lists(st.integers(0, 8).map(lambda n: n / 4), max_size=30))
def test_turns_between_blends_and_text(rule: Blend, entropies: list[float]) -> None:
    native = policies.BlendSwitch(rule)
    wanted, num = blend.turns(rule, entropies)
    assert [native.next(entropy) for entropy in entropies] == wanted
    assert native.is_over == (rule.switches > 0 and num > rule.switches)


@given(st.lists(st.integers(-1, 2), max_size=40), st.integers(0, 12))
@example([1, 2, 0, 1, 2, 0], 7)
@example([0] * 60, 5)
def test_guesses_of_what_follows(tokens: list[int], num: int) -> None:
    assert policies.guess_next(tokens, num) == lookahead.guess_next(tokens, num)


@given(
    st.floats(0.01, 12),
    st.lists(
        st.tuples(
            st.integers(1, 4),
            st.integers(0, 16),
            st.none() | st.integers(3, 24),
            st.floats(0, 1),
            st.floats(0, 4),
        ),
        max_size=200,
    ),
)
def test_lookahead_pays_or_rests(
    row_ms: float, steps: list[tuple[int, int, int | None, float, float]]
) -> None:
    native, twin, model = policies.Lookahead(), lookahead.Lookahead(), policies.CostModel()
    model.restore([10 + row_ms * (rows - 1) for rows in KNOTS], 1e-9)
    for num_rows, most, match, share, guess_ms in steps:
        num = native.num_worth(model, num_rows, most, match, guess_ms)
        assert num == twin.num_worth(model.step_ms, num_rows, most, match, guess_ms)
        if num:
            native.learn(num, int(share * num))
            twin.learn(num, int(share * num))
