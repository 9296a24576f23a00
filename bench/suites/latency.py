"""Ours against a bare C loop over libllama: decoding, prompts, eight samples, the scheduler's cost.

Ours is the whole way from `Reasoner.ask` to the answer, the bare loop is
`native/bench/decode_bench.cc` with the same KV and attention settings. Every comparison is made in
turns; a ratio of 1 is as fast as libllama allows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final, TypeVar

from edgereason.models.bundle import model_file, open_bundle
from edgereason.models.hub import resolve
from edgereason.runtime.reasoner import Reasoner

from ..harness.runner import Bench, Findings, Say, Table, open_reasoner, ratios, spread, turns
from ..harness.speed import FILLER, STORY, Figures, ask, stay_on
from ..rivals.bare_loop import BareLoop, bare_loop

_BATCH: Final = 8

T = TypeVar("T")


def samples_at_once(reasoner: Reasoner, num_tokens: int) -> Figures:
    """Eight samples of one prompt on a shared prefix, as `vote` runs them."""
    begin = time.monotonic()
    handle = reasoner.submit(
        STORY,
        strategy="vote",
        options={"samples": _BATCH, "early_stop": False},
        think_budget=0,
        answer_budget=num_tokens,
        sampling=stay_on(reasoner, temperature=0.6),
    )
    handle.result()
    seconds = time.monotonic() - begin
    results = [chain[-1] for chain in handle.chains[1:]]
    return {
        "seconds": seconds,
        "decode_tokens_per_s": 1000 * _BATCH * (num_tokens - 1) / max(r.decode_ms for r in results),
    }


def samples_in_sequence(reasoner: Reasoner, num_tokens: int) -> Figures:
    """The same eight, one after the other."""
    begin = time.monotonic()
    decode_ms = 0.0
    for seed in range(_BATCH):
        handle = reasoner.submit(
            STORY,
            strategy="no-think",
            answer_budget=num_tokens,
            sampling=stay_on(reasoner, seed, temperature=0.6),
        )
        handle.result()
        decode_ms += handle.chains[0][-1].decode_ms
    return {
        "seconds": time.monotonic() - begin,
        "decode_tokens_per_s": 1000 * _BATCH * (num_tokens - 1) / decode_ms,
    }


def measure(options: argparse.Namespace, say: Say) -> Findings:
    model = model_file(open_bundle(resolve(options.model)))
    with bare_loop(model, options.decode_bench) as bare:
        decode, prompt = _single_stream(options, say, bare)
        samples = _samples(options, say, bare)
    return _findings(decode, prompt, samples)


def _alone(
    options: argparse.Namespace, threads: int, act: Callable[[Reasoner, int], T], num_tokens: int
) -> T:
    """Opens the model for one turn: threads that wait for another's work spin on its cores."""
    with open_reasoner(options, threads) as reasoner:
        ask(reasoner, 8, "Hello")
        return act(reasoner, num_tokens)


def _single_stream(
    options: argparse.Namespace, say: Say, bare: BareLoop
) -> tuple[dict[str, list[Figures]], dict[str, list[Figures]]]:
    """Decoding after a short prompt, then reading a long one."""
    long_prompt = FILLER * (options.prompt // 18)  # about 18 tokens each time
    reports = []
    for text, num_tokens in ((STORY, options.decode), (long_prompt, 2)):
        act = partial(ask, text=text)
        num_prompt = int(_alone(options, 0, act, 2)["prompt_tokens"])
        say(f"{num_tokens} tokens after a prompt of {num_prompt}")
        systems: dict[str, Callable[[], Figures]] = {}
        for count in (*options.threads, 0):
            systems[_ours(count)] = partial(_alone, options, count, act, num_tokens)
            if count:
                systems[_bare(count)] = partial(
                    bare,
                    prompt=num_prompt,
                    decode=num_tokens,
                    threads=count,
                    context=options.context,
                )
        reports.append(turns(systems, options.turns, say))
    return reports[0], reports[1]


def _samples(options: argparse.Namespace, say: Say, bare: BareLoop) -> dict[str, list[Figures]]:
    """Eight at once, eight in sequence, and libllama's batch of eight, with the most threads."""
    threads = max(options.threads)
    num_prompt = int(_alone(options, 0, ask, 2)["prompt_tokens"])
    systems: dict[str, Callable[[], Figures]] = {
        "eight at once": partial(_alone, options, threads, samples_at_once, options.samples),
        "eight in sequence": partial(
            _alone, options, threads, samples_in_sequence, options.samples
        ),
        "libllama's batch of eight": partial(
            bare,
            prompt=num_prompt,
            decode=options.samples,
            threads=threads,
            batch=_BATCH,
            context=options.context,
        ),
    }
    return turns(systems, options.turns, say)


def _ours(count: int) -> str:
    return f"ours, {count} threads" if count else "ours, automatic"


def _bare(count: int) -> str:
    return f"bare loop, {count} threads"


def _findings(
    decode: Mapping[str, Sequence[Figures]],
    prompt: Mapping[str, Sequence[Figures]],
    samples: Mapping[str, Sequence[Figures]],
) -> Findings:
    decode_rows = _against_bare(decode, "decode_tokens_per_s")
    prompt_rows = _against_bare(prompt, "prompt_tokens_per_s")
    sample_rates = {name: _column(runs, "decode_tokens_per_s") for name, runs in samples.items()}
    at_once = sample_rates["eight at once"]
    sample_rows = [
        (name, median(rates), median(ratios(at_once, rates)))
        for name, rates in sample_rates.items()
    ]
    costs = {
        name: {
            key: median(_column(runs, key))
            for key in ("overhead_us", "sample_us", "scheduler_share")
        }
        for name, runs in decode.items()
        if name.startswith("ours")
    }
    columns = ("system", "tok/s", "ratio to the bare loop", "lowest", "highest")
    figures = {
        "decode": _as_dict(columns, decode_rows),
        "prompt": _as_dict(columns, prompt_rows),
        "samples": _as_dict(("system", "tok/s", "at once to this"), sample_rows),
        "seconds_of_eight": {
            name: spread(_column(runs, "seconds"))
            for name, runs in samples.items()
            if "seconds" in runs[0]
        },
        "scheduler": costs,
        "runs": {"decode": decode, "prompt": prompt, "samples": samples},
    }
    num_prompt = int(next(iter(prompt.values()))[0]["prompt_tokens"])
    tables = (
        Table("Decoding, one stream", columns, decode_rows),
        Table(f"Reading a prompt of {num_prompt} tokens", columns, prompt_rows),
        Table("Eight samples of one prompt", ("", "tok/s", "at once to this"), sample_rows),
        Table(
            "What the scheduler costs in a step, one stream",
            ("system", "plan, commit: us", "sampling: us", "share of a step"),
            [(name, *cost.values()) for name, cost in costs.items()],
        ),
    )
    return Findings(figures, tables)


def _column(runs: Sequence[Figures], key: str) -> list[float]:
    return [float(figures[key]) for figures in runs]


def _against_bare(runs: Mapping[str, Sequence[Figures]], key: str) -> list[tuple[Any, ...]]:
    """Each system with its ratio to the bare loop of as many threads; automatic to the fastest."""
    rates = {name: _column(figures, key) for name, figures in runs.items()}
    bare = {name: values for name, values in rates.items() if name.startswith("bare")}
    fastest = max(bare, key=lambda name: median(bare[name]))
    rows = []
    for name, values in rates.items():
        pairs = ratios(values, bare.get(name.replace("ours", "bare loop"), bare[fastest]))
        is_bare = name in bare
        rows.append(
            (name, median(values))
            + ((None,) * 3 if is_bare else (median(pairs), min(pairs), max(pairs)))
        )
    return rows


def _as_dict(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, dict[str, Any]]:
    return {row[0]: dict(zip(columns[1:], row[1:], strict=True)) for row in rows}


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="fixed numbers")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--decode", type=int, default=256, help="tokens of one stream")
    parser.add_argument("--prompt", type=int, default=400, help="tokens of the long prompt, about")
    parser.add_argument("--samples", type=int, default=96, help="tokens of each of eight samples")
    parser.add_argument("--decode-bench", type=Path, help="the built program; default: build it")


BENCH = Bench("latency", __doc__.splitlines()[0], _add_options, measure)
