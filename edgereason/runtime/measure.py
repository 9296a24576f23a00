"""Measures what steps of a model cost on this machine: against rows, against context.

    cost = measure_cost("smollm2-135m", seconds=20)

Turns of the same steps; the machine should be idle. The engine is asked
directly for steps, a whole request tells what it costs besides. Knows no profile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgereason import engines
from edgereason.config import build, fields_of
from edgereason.errors import EngineError
from edgereason.models.bundle import open_bundle
from edgereason.models.hub import resolve
from edgereason.planning import energy, here
from edgereason.planning.cost import KNOTS, LEAST_SPREAD, Cost, Power
from edgereason.planning.fit import spread_of
from edgereason.planning.sizes import of_bundle
from edgereason.records import Sampling
from edgereason.registry import load
from edgereason.runtime.reasoner import Reasoner

if TYPE_CHECKING:
    from edgereason._core import Engine
    from edgereason.models.bundle import Bundle

Say = Callable[[str], None]

_SINGLE: Final = 6  # steps of one row at each of two contexts
_LEAST_TURNS: Final = 2
_MOST_TURNS: Final = 15
_ANSWER: Final = 32  # tokens of the request that tells the rest
_LEAST: Final = 0.25  # of a step is not its cells

Step = tuple[int, float, float]  # rows, cells read, milliseconds


def measure_cost(
    model: str, *, seconds: float = 20, threads: int = 0, say: Say = lambda text: None
) -> Cost:
    """What steps cost with default options, kept for the scheduler and for `plan`.

    `seconds` of turns, two at least. Raises `OSError` where the result cannot be kept.
    """
    bundle = open_bundle(resolve(model))
    meter = energy.meter()
    if meter is not None:
        meter.start()
    steps = _all_steps(bundle, seconds, threads, say)
    joules = meter.stop() if meter is not None else None
    watts = joules / meter.seconds if meter is not None and joules is not None else 0.0
    cost = cost_of(bundle, steps, threads)
    if watts and meter is not None:
        cost = replace(cost, power=Power(watts, idle_watts=meter.sampler.idle_watts or 0.0))
    overhead_ms, request_ms = _besides(bundle, threads)
    cost = replace(cost, overhead_ms=overhead_ms, request_ms=request_ms)
    here.save_cost(bundle, cost, here.way_of_opening(bundle.engine, {}, threads))
    return cost


def cost_of(bundle: Bundle, steps: Sequence[Step], threads: int) -> Cost:
    """By rows, the slope between short and long contexts, and how far single steps lie apart from
    that. Lower quartiles: what else runs makes a step longer, never shorter."""
    rows_seen = sorted({rows for rows, *_ in steps})
    cell_ms = _slope([(cells, ms) for rows, cells, ms in steps if rows == 1])
    size = of_bundle(bundle)
    plain = Cost(size.name, "being fitted", {1: 1.0}, cell_ms)
    step_ms = {
        rows: _fast(
            [
                # Cells never explain more than the rest of a step, as in the core.
                max(ms - plain.rows_ms(rows, cells) + plain.rows_ms(rows), _LEAST * ms)
                for each, cells, ms in steps
                if each == rows
            ]
        )
        for rows in rows_seen
    }
    told = f"{threads} threads" if threads else "threads that follow the load"
    cost = Cost(
        model=size.name,
        source=f"edgereason profile measure, {bundle.engine}, {told}, {date.today().isoformat()}",
        step_ms=step_ms,
        cell_ms=cell_ms,
        format=size.format,
        engine=bundle.engine,
        weight_bytes=size.weight_bytes,
        num_parameters=size.num_parameters,
    )
    spread = spread_of((ms, cost.rows_ms(rows, cells)) for rows, cells, ms in steps if rows == 1)
    return replace(cost, spread=max(spread, LEAST_SPREAD))


def _slope(single: Sequence[tuple[float, float]]) -> float:
    """Milliseconds a cell, of (cells, milliseconds) of steps of one row."""
    ordered = sorted(single)
    half = len(ordered) // 2
    near, far = ordered[:half], ordered[half:]
    apart = median(cells for cells, _ in far) - median(cells for cells, _ in near)
    far_ms = _fast([ms for _, ms in far])
    slope = (far_ms - _fast([ms for _, ms in near])) / max(apart, 1)
    most = (1 - _LEAST) * far_ms / max(median(cells for cells, _ in far), 1)
    return min(max(slope, 0.0), most)


def _fast(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 4]


def _all_steps(bundle: Bundle, seconds: float, threads: int, say: Say) -> list[Step]:
    module: Any = load(engines, bundle.engine)
    fixed = threads and "threads" in {option.name for option in fields_of(module.Config)}
    engine: Engine = module.open(
        bundle, build(module.Config, {"threads": threads} if fixed else {})
    )
    most = engine.info["max_threads"]
    if most > 1:
        engine.set_threads(threads or most)
    _turn(engine)  # the first touches all weights
    until = time.monotonic() + seconds
    steps: list[Step] = []
    for turn in range(_MOST_TURNS):
        if turn >= _LEAST_TURNS and time.monotonic() > until:
            break
        steps += _turn(engine)
        say(f"{bundle.name}: turn {turn + 1}")
    return steps


def _turn(engine: Engine) -> list[Step]:
    """Steps of 1 row, of 2, 4 ... as many as fit, and of 1 row behind all of those."""
    room = min(engine.info["num_cells"], 2 * KNOTS[-1]) - 2 * _SINGLE
    engine.drop(0)
    steps, at = [], 0
    for rows in (*[1] * _SINGLE, *KNOTS[1:]):
        if rows <= engine.info["max_rows"] and at + rows <= room:
            steps.append(_step(engine, rows, at))
            at += rows
    for _ in range(_SINGLE):
        steps.append(_step(engine, 1, at))
        at += 1
    engine.drop(0)
    return steps


def _step(engine: Engine, rows: int, at: int) -> Step:
    begin = time.perf_counter()
    engine.decode([(0, at + i, 0, i == rows - 1) for i in range(rows)])
    took_ms = 1000 * (time.perf_counter() - begin)
    return rows, float(rows * at + rows * (rows - 1) / 2), took_ms


def _besides(bundle: Bundle, threads: int) -> tuple[float, float]:
    """Milliseconds of a token besides its step, and of a request besides its tokens."""
    with Reasoner.open(bundle.path, threads=threads) as reasoner:
        reasoner.ask("Hello.", strategy="no-think", answer_budget=2)
        tokens, requests = [], []
        for _ in range(3):
            before = reasoner.stats()
            answer = reasoner.ask("Count.", strategy="no-think", answer_budget=_ANSWER)
            reasoner.wait_idle()
            after = reasoner.stats()
            spent = {name: after[name] - before[name] for name in ("sample_ms", "overhead_ms")}
            steps = after["num_steps"] - before["num_steps"]
            if not steps:
                raise EngineError(f"{bundle.name} answered without a step")
            tokens.append(sum(spent.values()) / steps)
            timings = answer.timings
            requests.append(timings.total_ms - timings.prefill_ms - timings.answer_ms)
    return median(tokens), max(median(requests), 0.0)


def decode_rate(path: Path, options: Mapping[str, Any], *, tokens: int = 48) -> float:
    """Tokens a second of answers to a short and to a long prompt, opened anew with `options`."""
    with Reasoner.open(path, **options) as reasoner:
        engine = reasoner.engine
        ends = {token: -1e9 for token in range(engine.info["num_vocab"]) if engine.ends(token)}
        greedy = Sampling(seed=0, logit_bias=ends)
        reasoner.ask(_SHORT, strategy="no-think", answer_budget=8, sampling=greedy)
        steps, took_ms = 0, 0.0
        for text in (_SHORT, _SHORT * 24):
            handle = reasoner.submit(
                text, strategy="no-think", answer_budget=tokens, sampling=greedy
            )
            handle.result()
            result = handle.chains[0][-1]
            steps += result.num_tokens - 1  # the first comes out of the prompt
            took_ms += result.decode_ms
    if steps < 1 or took_ms <= 0:
        raise EngineError(f"{path} answered with {steps} steps in {took_ms} ms")
    return 1000 * steps / took_ms


_SHORT: Final = "The sea was calm, and the keeper wrote the weather of the day into his book. "


def bandwidth_gb_per_s(num_cores: int, *, mib: int = 256, turns: int = 7) -> float:
    """What loops on all cores together read from memory: median of turns, of arrays that no cache
    holds."""
    from concurrent.futures import ThreadPoolExecutor

    length = mib * 2**20 // 4 // max(num_cores, 1)
    arrays = [np.ones(length, dtype=np.float32) for _ in range(num_cores)]
    rates = []
    with ThreadPoolExecutor(num_cores) as pool:
        for _ in range(turns):
            begin = time.perf_counter()
            list(pool.map(lambda array: float(array.max()), arrays))
            rates.append(4 * length * num_cores / (time.perf_counter() - begin) / 1e9)
    return median(rates)


__all__ = ["bandwidth_gb_per_s", "cost_of", "decode_rate", "measure_cost"]
