"""What phases may ask of any engine beside tokens: scores, entropies, blends; one suite for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgereason import _core
from edgereason.errors import EngineError, UnsupportedError, UsageError
from edgereason.prompt.lowering import lower, prompt_tokens
from edgereason.records import Blend, Capability, Phase, Role, Sampling, Segment
from reference import blend as twin
from support.engine_cases import TEXT, Case, feed, fresh, output

if TYPE_CHECKING:
    from edgereason._core import Engine

NAMES = ("scripted", "dense", "recurrent", "smollm2", "onnx-dense", "trt-A-dense")
LETTERS = ("a", "b", "c")
SOFT = Sampling(temperature=0.6, top_k=30, top_p=0.95, min_p=0.001, seed=3)
PROMPT = (Segment(TEXT),)


def run(engine: Engine, phase: Phase) -> list[dict[str, Any]]:
    """What each phase of the chain did."""
    core = _core.Scheduler(engine)
    sequence = core.open()
    core.run(sequence, lower(phase, engine))
    results: list[dict[str, Any]] = []
    for _ in range(2000):
        core.step()
        for _, kind, last, value in core.take(0):
            assert kind == "phase", value
            results.append(value)
            if last:
                core.close(sequence)
                core.step()
                return results
    raise AssertionError("the chain never ended")


def scored(*texts: str, **more: Any) -> Phase:
    return Phase("score", Role.PREFILL, fresh=PROMPT, budget=0, score=texts, **more)


def test_scores_are_log_probabilities(case: Case, engine: Engine) -> None:
    tokens = prompt_tokens(PROMPT, engine)
    wanted = twin.log_probs(
        fresh(engine, tokens).astype(float).tolist(), [engine.tokenize(x)[0] for x in LETTERS]
    )
    (done,) = run(engine, scored(*LETTERS))
    assert done["tokens"] == ()
    assert done["scores"] == pytest.approx(wanted, abs=2 * case.tolerance + 1e-4)
    assert sum(np.exp(done["scores"])) < 1


def test_scores_cost_no_token_and_nothing_is_scored_unasked(engine: Engine) -> None:
    chain = scored(then=Phase("answer", fresh=PROMPT, budget=3))
    score, answer = run(engine, chain)
    assert score["scores"] == answer["scores"] == ()
    assert len(answer["tokens"]) == len(answer["entropies"]) <= 3


def test_what_cannot_be_scored_is_refused(engine: Engine) -> None:
    for texts in (("again", "again"), ("a", "")):
        with pytest.raises(UsageError, match="must begin with different tokens"):
            run(engine, scored(*texts))
    with pytest.raises(UsageError, match="a phase that samples nothing"):
        run(engine, Phase("answer", fresh=PROMPT, budget=3, score=LETTERS))


def test_entropies_are_those_of_the_logits(case: Case, engine: Engine) -> None:
    tokens = list(prompt_tokens(PROMPT, engine))
    (done,) = run(engine, Phase("answer", fresh=PROMPT, budget=4))
    for token, entropy in zip(done["tokens"], done["entropies"], strict=True):
        logits = fresh(engine, tokens).astype(float)
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        wanted = -(shares * np.log(np.maximum(shares, 1e-300))).sum()
        assert entropy == pytest.approx(wanted, abs=case.tolerance + 1e-3)
        tokens.append(token)


def needs_rows(engine: Engine) -> None:
    wanted = Capability.TOKEN_ROWS | Capability.EMBED_IN
    if wanted not in Capability(engine.info["caps"]):
        pytest.skip("this model cannot tell what its tokens are fed as")


def soft(budget: int, rule: Blend, sampling: Sampling = SOFT) -> Phase:
    return Phase("think", Role.THINK, fresh=PROMPT, budget=budget, sampling=sampling, blend=rule)


def test_a_blend_is_the_weighted_mean_of_rows(case: Case, engine: Engine) -> None:
    """The core against a loop by hand over numpy."""
    needs_rows(engine)
    if case.name == "scripted":
        pytest.skip("a script's noise hangs on the last bit of a row")
    rule = Blend(top=10)
    (done,) = run(engine, soft(16, rule))
    tokens = prompt_tokens(PROMPT, engine)
    logits = feed(engine, 0, tokens)
    said, blended = [], 0
    for step in range(16):
        weights = twin.weigh(logits.astype(float).tolist(), SOFT, rule, step)
        said.append(weights[0][0])
        row: Any = weights[0][0]
        if len(weights) > 1:
            blended += 1
            row = sum(weight * embedded(engine, token) for token, weight in weights)
            row = np.ascontiguousarray(row, np.float32)
        engine.decode([(0, len(tokens) + step, row, True)])
        logits = output(engine, 0)
    assert list(done["tokens"]) == said[: len(done["tokens"])]
    assert done["num_reasoning"] == len(done["tokens"])
    assert done["num_latent"] <= blended


def embedded(engine: Engine, token: int) -> Any:
    row = engine.embed(token)
    assert row is not None
    return row.astype(np.float64)


def test_a_row_fed_as_its_embedding_is_the_token(case: Case, engine: Engine) -> None:
    if case.name == "scripted":
        pytest.skip("a script answers tokens, not embeddings")
    needs_rows(engine)
    tokens = prompt_tokens(PROMPT, engine)[:6]
    said = feed(engine, 0, tokens)
    feed(engine, 1, tokens[:5])
    engine.decode([(1, 5, engine.embed(tokens[5]), True)])
    assert case.same(output(engine, 0), said)


def test_one_token_at_temperature_zero_is_plain(engine: Engine) -> None:
    needs_rows(engine)
    plain = run(engine, Phase("think", Role.THINK, fresh=PROMPT, budget=12))[0]
    cold = run(engine, soft(12, Blend(top=10), Sampling()))[0]
    alone = run(engine, soft(12, Blend(top=1), Sampling()))[0]
    assert plain["tokens"] == cold["tokens"] == alone["tokens"]
    assert cold["num_latent"] == alone["num_latent"] == 0


def test_noise_is_drawn_from_the_seed(engine: Engine) -> None:
    needs_rows(engine)
    one, two = (run(engine, soft(12, Blend(top=5, noise=0.5)))[0]["tokens"] for _ in range(2))
    assert one == two


def test_turns_end_thinking_after_so_many(engine: Engine) -> None:
    needs_rows(engine)
    (done,) = run(engine, soft(64, Blend(top=10, dwell=1, switches=1)))
    _, turned = twin.turns(Blend(top=10, dwell=1), done["entropies"])
    ended_by_turns = done["reason"] == "budget" and len(done["tokens"]) < 64
    assert turned == (2 if ended_by_turns else min(turned, 1))


def test_blends_belong_to_thoughts(engine: Engine) -> None:
    with pytest.raises((UsageError, UnsupportedError), match="blends"):
        run(engine, Phase("answer", fresh=PROMPT, budget=3, blend=Blend(top=4), sampling=SOFT))


def test_adapters_are_refused_where_there_are_none(case: Case, engine: Engine) -> None:
    core = _core.Scheduler(engine)
    with pytest.raises(UsageError, match="key 0 is the model"):
        core.add_adapters(0)
    if Capability.STEER not in Capability(engine.info["caps"]):
        with pytest.raises((UnsupportedError, EngineError), match="takes no adapters"):
            core.add_adapters(1, steering=np.zeros((2, engine.info["num_embd"]), np.float32))
