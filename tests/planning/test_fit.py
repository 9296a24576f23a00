"""Fits against the traces of EdgeReasoning (arXiv 2511.01866), in sample and held out.

The form of the prompt's time was chosen after looking at all of these traces, so that even the
errors held out flatter it (docs/planning.md).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from statistics import mean

import pytest

from edgereason.errors import UsageError
from edgereason.planning.cost import Cost
from edgereason.planning.fit import fit_decode, fit_prefill, spread_of
from edgereason.planning.profile import load_profile
from support.places import SHARED

ORIN = SHARED / "data" / "orin"
MODELS = ("1.5B", "14B")
BANDS = ((129, 256), (257, 640), (641, 1160), (1161, 2048), (2049, 3072), (3073, 4097))

needs_traces = pytest.mark.skipif(not ORIN.is_dir(), reason=f"no traces of an Orin in {ORIN}")


def decoded(model: str) -> list[tuple[int, int, float]]:
    with (ORIN / "decode.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["model"].endswith(f"-{model}")]
    runs = [(int(r["input_tokens"]), int(r["output_tokens"]), float(r["decode_s"])) for r in rows]
    return [(prompt, tokens, 1000 * s) for prompt, tokens, s in runs if tokens > 1]


def read(model: str) -> list[tuple[int, float]]:
    with (ORIN / "prefill.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["model"].endswith(f"-{model}")]
    return sorted((int(row["input_tokens"]), float(row["ttft_ms"])) for row in rows)


def errors(cost: Cost, runs: Sequence[tuple[int, int, float]]) -> list[float]:
    return [abs(cost.decode_ms(prompt, tokens) / ms - 1) for prompt, tokens, ms in runs]


@needs_traces
@pytest.mark.parametrize("model", MODELS)
def test_decoding_is_told_within_one_per_cent_from_four_runs(model: str) -> None:
    runs = decoded(model)
    four = [run for run in runs if run[0] in (128, 1024) and run[1] in (256, 2048)]
    assert len(four) == 4
    step_ms, cell_ms = fit_decode(four)
    cost = Cost("m", "four runs", {1: step_ms}, cell_ms)
    held_out = [run for run in runs if run not in four]
    assert len(held_out) > 150
    assert max(errors(cost, held_out)) <= 0.01


@needs_traces
@pytest.mark.parametrize("model", MODELS)
def test_lengths_that_were_left_out_are_told_within_one_per_cent(model: str) -> None:
    runs = decoded(model)
    for which in (0, 1):
        for length in sorted({run[which] for run in runs}):
            step_ms, cell_ms = fit_decode(run for run in runs if run[which] != length)
            cost = Cost("m", "the others", {1: step_ms}, cell_ms)
            assert max(errors(cost, [run for run in runs if run[which] == length])) <= 0.01


@needs_traces
@pytest.mark.parametrize("model", MODELS)
def test_prompts_are_told_within_five_per_cent_in_the_mean_of_a_band(model: str) -> None:
    pytest.importorskip(
        "scipy", reason="prompts are fitted with scipy: pip install 'edgereason[plan]'"
    )
    runs = read(model)
    prefill = fit_prefill(runs)
    for low, high in BANDS:
        off = [abs(prefill.ms(num) / ms - 1) for num, ms in runs if low <= num <= high]
        assert off
        assert mean(off) <= 0.05, (low, high)


@needs_traces
@pytest.mark.parametrize(("model", "most"), [("1.5B", 0.015), ("14B", 0.03)])
def test_every_other_prompt_from_the_rest(model: str, most: float) -> None:
    pytest.importorskip(
        "scipy", reason="prompts are fitted with scipy: pip install 'edgereason[plan]'"
    )
    runs = read(model)
    short = runs[0]
    off = []
    for half in (0, 1):
        prefill = fit_prefill([short, *runs[1 + half :: 2]])
        off += [abs(prefill.ms(num) / ms - 1) for num, ms in runs[2 - half :: 2]]
    assert mean(off) <= most


@needs_traces
@pytest.mark.parametrize("model", MODELS)
def test_the_profile_has_what_the_traces_say(model: str) -> None:
    (cost,) = (
        cost
        for cost in load_profile("jetson-agx-orin-64gb").costs
        if cost.model.endswith(f"-{model}")
    )
    assert max(errors(cost, decoded(model))) <= 0.01
    off = [abs(cost.prompt_ms(num) / ms - 1) for num, ms in read(model)]
    assert mean(off) <= 0.02


def test_a_fit_is_exact_on_what_it_can_be() -> None:
    runs = [(p, n, (n - 1) * (20 + 0.01 * (p + n / 2))) for p, n in ((10, 50), (500, 80), (30, 9))]
    assert fit_decode(runs) == pytest.approx((20, 0.01))
    falling = [(p, n, (n - 1) * (20 - 0.01 * (p + n / 2))) for p, n in ((10, 50), (500, 80))]
    assert fit_decode(falling)[1] == 0  # nothing gets faster by reading more


def test_too_few_runs_are_refused() -> None:
    with pytest.raises(UsageError, match="1 runs do not tell a step from its context"):
        fit_decode([(10, 50, 1000.0), (10, 1, 3.0)])
    with pytest.raises(UsageError, match="5 prompts are too few"):
        fit_prefill([(i, 10.0) for i in range(1, 6)])


def test_the_spread_is_of_ratios() -> None:
    assert spread_of([(2.0, 1.0), (1.0, 2.0)]) == pytest.approx(0.6931, abs=1e-4)
    assert spread_of([]) == 0
