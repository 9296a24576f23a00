"""Our server against llama.cpp's: first token, tokens a second alone and with eight clients, votes.

Each turn starts a server, asks, and ends it: the same GGUF, threads and prompts, times taken by the
client. A vote of ours stops once its winner is certain, or sure enough; theirs is `n` answers,
counted afterwards. Its second column asks both once more, with other draws.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

from edgereason.errors import EngineError
from edgereason.models.bundle import model_file, open_bundle
from edgereason.models.hub import resolve
from edgereason.values import Kind, extract_answer, normalize

from ..harness.runner import Bench, BusyCores, Findings, Say, Table, ratios, spread, turns
from ..harness.speed import FILLER, STORY
from ..rivals.servers import Program, Server, llama_server, ours, started

Figures = Mapping[str, float]

_OURS: Final = "edgereason"
_SAMPLES: Final = 8
_QUESTION: Final = "What is 17 + 25? Answer with the number only."
_COLUMNS: Final = {
    "cold_ms": "start to first token, ms",
    "first_ms": "first token after a long prompt, ms",
    "alone": "tok/s alone",
    "cpu_ms": "CPU a token alone, ms",
    "together": "tok/s of all clients",
    "vote_s": "vote of 8, s",
    "sure_s": "the same until 95 % sure, s",
    "rss_mib": "RSS, MiB",
}


def measure(options: argparse.Namespace, say: Say) -> Findings:
    bundle = open_bundle(resolve(options.model))
    gguf = model_file(bundle)
    shared = (options.threads, options.context, max(options.clients, _SAMPLES))
    programs = [ours(options.model, *shared), automatic(options.model, *shared[1:])]
    if options.llama_server is not None:
        programs.append(llama_server(options.llama_server, gguf, *shared))
    systems: dict[str, Callable[[], Figures]] = {
        program.name: _turn(program, bundle.control_tokens, options) for program in programs
    }
    with BusyCores(options.busy):
        return findings(turns(systems, options.turns, say))


def automatic(model: str, context: int, num_clients: int) -> Program:
    """Ours with as many threads as the load of the machine leaves."""
    return Program(f"{_OURS}, automatic threads", ours(model, 0, context, num_clients).command)


def _turn(
    program: Program, control: Sequence[str], options: argparse.Namespace
) -> Callable[[], Figures]:
    """`control`: texts of tokens of which none comes, so that all answers are equally long."""

    def run() -> Figures:
        with started(program) as server:
            cold_ms = server.started_ms + server.complete("Hello", 1).total_ms
            long = server.complete(FILLER * (options.prompt // 18), 2)
            without = server.single_tokens(control)
            before = server.cpu_s
            alone = server.complete(STORY, options.decode, without)
            if alone.num_tokens < options.decode:  # a rate of a few tokens would say nothing
                raise EngineError(f"{program.name} ended after {alone.num_tokens} tokens")
            cpu_ms = 1000 * (server.cpu_s - before) / alone.num_tokens
            together = _together(server, without, options)
            vote_s, winner = _vote(server, program.name, options)
            sure_s, sure_winner = _vote(server, program.name, options, consensus=0.95)
            return {
                "cold_ms": cold_ms,
                "first_ms": long.first_ms,
                "alone": alone.tokens_per_s,
                "cpu_ms": cpu_ms,
                "together": together,
                "vote_s": vote_s,
                "winner": winner,
                "sure_s": sure_s,
                "sure_winner": sure_winner,
                "rss_mib": server.rss_mib,
            }

    return run


def _together(server: Server, without: Sequence[int], options: argparse.Namespace) -> float:
    """Tokens a second of all clients, each with a prompt of its own."""
    prompts = [f"{STORY} Chapter {number}." for number in range(options.clients)]
    begin = time.monotonic()
    with ThreadPoolExecutor(options.clients) as pool:
        asked = partial(server.complete, num_tokens=options.decode, without=without)
        replies = list(pool.map(asked, prompts))
    return sum(reply.num_tokens for reply in replies) / (time.monotonic() - begin)


def _vote(
    server: Server, name: str, options: argparse.Namespace, consensus: float = 0
) -> tuple[float, float]:
    """Seconds to the winner of eight samples, and that number; -1: none said a number. `consensus`:
    how sure ours must be of the winner; theirs has nothing of the kind, and writes all eight."""
    turn = [{"role": "user", "content": _QUESTION}]
    seed = options.seed + (1 if consensus else 0)  # theirs keeps what it has answered
    drawn = {"temperature": 0.6, "seed": seed, "max_tokens": options.decode}
    begin = time.monotonic()
    if name.startswith(_OURS):
        vote = {"samples": _SAMPLES, "consensus": consensus}
        done = server.chat(turn, **drawn, strategy="vote", strategy_options=vote)
    else:
        done = server.chat(turn, **drawn, n=_SAMPLES)
    spent_s = time.monotonic() - begin
    said = (choice["message"]["content"] or "" for choice in done["choices"])
    values = [normalize(extract_answer(text, numeric=True)) for text in said]
    numbers = Counter(
        float(value.key)
        for value in values
        if value.kind is Kind.NUMBER and isinstance(value.key, Fraction)
    )
    return spent_s, numbers.most_common(1)[0][0] if numbers else -1.0


def findings(runs: Mapping[str, Sequence[Figures]]) -> Findings:
    """Medians of all turns, and of the ratios of ours to theirs, turn by turn."""
    rows: list[tuple[Any, ...]] = [
        (name, *(median(_column(turns_of, key)) for key in _COLUMNS))
        for name, turns_of in runs.items()
    ]
    first, *others = runs
    for other in others:
        pairs = [ratios(_column(runs[first], key), _column(runs[other], key)) for key in _COLUMNS]
        rows.append((f"{first} to {other}", *(median(pair) if pair else None for pair in pairs)))
    figures = {
        name: {key: spread(_column(turns_of, key)) for key in _COLUMNS}
        for name, turns_of in runs.items()
    }
    table = Table("Servers over HTTP, medians", ("", *_COLUMNS.values()), rows)
    notes = [
        f"winners of the {kind}, {name}: {_column(turns_of, key)}"
        for name, turns_of in runs.items()
        for kind, key in (("votes", "winner"), ("votes until sure", "sure_winner"))
    ]
    return Findings({"systems": figures, "runs": dict(runs)}, (table,), tuple(notes))


def _column(runs: Sequence[Figures], key: str) -> list[float]:
    return [float(figures[key]) for figures in runs]


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--llama-server", type=Path, help="the rival's program; default: ours alone"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--busy", type=int, default=0, help="cores that others keep busy")
    parser.add_argument("--decode", type=int, default=128, help="tokens of each answer")
    parser.add_argument("--prompt", type=int, default=400, help="tokens of the long prompt, about")


BENCH = Bench("serve", __doc__.splitlines()[0], _add_options, measure)
