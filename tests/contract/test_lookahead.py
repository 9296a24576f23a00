"""Tokens that are guessed from the text change none, on any engine; one suite for all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgereason import _core
from edgereason.errors import UnsupportedError, UsageError
from edgereason.planning.cost import KNOTS
from edgereason.prompt.lowering import lower
from edgereason.records import Capability, Phase, Sampling, Segment
from support.engine_cases import TEXT, Case, open_case

NAMES = ("scripted", "dense", "sliding", "recurrent", "smollm2", "onnx-dense", "trt-A-dense")
BUDGET = 40


def answered(case: Case, lookahead: int, sampling: Sampling, budget: int = BUDGET) -> Any:
    """What a text that repeats itself goes on with."""
    engine = case.open()
    core = _core.Scheduler(engine, lookahead=lookahead)
    # More rows are said to cost nothing, so that it guesses from the first step on.
    core.restore_cost([50.0] * len(KNOTS), 1e-6)
    ends = {token: -1e9 for token in range(engine.info["num_vocab"]) if engine.ends(token)}
    phase = Phase(
        "answer",
        fresh=(Segment(f"{TEXT} {TEXT} {TEXT[:20]}"),),
        budget=budget,
        sampling=Sampling(temperature=sampling.temperature, seed=sampling.seed, logit_bias=ends),
    )
    sequence = core.open()
    core.run(sequence, lower(phase, engine))
    for _ in range(500):
        core.step()
        for _, kind, last, value in core.take(0):
            assert kind == "phase", value
            assert last
            core.close(sequence)
            core.step()
            return value
    raise AssertionError("the answer never ended")


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.8, seed=5)])
def test_no_token_changes(case: Case, sampling: Sampling) -> None:
    if not Capability(case.open().info["caps"]) & Capability.TRIM:
        with pytest.raises(UnsupportedError, match="take tokens back"):
            answered(case, 7, sampling)
        return
    plain, ahead = (answered(case, lookahead, sampling) for lookahead in (0, 7))
    # Real weights in few bits round otherwise in other batches: a near tie may fall otherwise.
    num = 12 if case.tolerance > 1 else BUDGET
    assert ahead["tokens"][:num] == plain["tokens"][:num]
    assert len(ahead["tokens"]) == len(plain["tokens"]) == BUDGET
    assert plain["num_drafted"] == plain["num_accepted"] == 0
    assert ahead["num_accepted"] <= ahead["num_drafted"]
    assert ahead["num_steps"] + ahead["num_accepted"] == plain["num_steps"]


@pytest.mark.parametrize("budget", [1, 2, 3, 7])
def test_a_budget_is_never_passed(case: Case, budget: int) -> None:
    if Capability(case.open().info["caps"]) & Capability.TRIM:
        assert len(answered(case, 7, Sampling(), budget)["tokens"]) == budget


@pytest.mark.model
def test_smollm2_copies_in_fewer_steps(smollm2: Path, tmp_path: Path) -> None:
    done = answered(open_case("smollm2", tmp_path, smollm2), 7, Sampling())
    assert done["num_accepted"] > 10


@pytest.mark.parametrize("lookahead", [-1, 33])
def test_what_makes_no_sense_is_refused(lookahead: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"0 \\(off\\) to 32 tokens, got {lookahead}"):
        _core.Scheduler(open_case("scripted", tmp_path, None).open(), lookahead=lookahead)
