"""A thousand strangers at a server, and a stream beside them: leaks, and how long it stands still.

The server, the strangers and the reader of the stream are three processes. The stream is one long
answer after the other; its gaps are the times between two pieces of text, alone and beside the
strangers. Who comes in between costs a stream one step of the loop and no more: so the longest
gap stands beside the server's longest step so far. What the server holds is noted after each
quarter.
"""

from __future__ import annotations

import argparse
import http.client
import json
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise
from multiprocessing import get_context
from typing import Any, Final

import psutil

from ..harness.runner import Bench, Findings, Say, Table, quantile
from ..harness.speed import STORY
from ..harness.strangers import KEY, PATH, Stranger
from ..rivals.servers import Server, ours, started

_SHARES: Final = 4
_ANSWER: Final = 256  # tokens of one answer of the stream
_IDLE_S: Final = 2.0  # for what is still being closed


def measure(options: argparse.Namespace, say: Say) -> Findings:
    program = ours(
        *(options.model, options.threads, options.context, options.clients),
        more=("--api-key", KEY, "--max-requests", str(options.most_requests)),
    )
    context = get_context("spawn")
    with (
        started(program) as server,
        ProcessPoolExecutor(1, mp_context=context) as reader,
        ProcessPoolExecutor(1, mp_context=context) as crowd,
    ):
        return _measured(server, reader, crowd, options, say)


def _measured(
    server: Server,
    reader: ProcessPoolExecutor,
    crowd: ProcessPoolExecutor,
    options: argparse.Namespace,
    say: Say,
) -> Findings:
    reader.submit(gaps_ms, server.port, 1.0).result()  # what happens for the first time
    crowd.submit(visit, server.port, range(options.clients), options.clients).result()
    held, ends, beside = [_held(server, "before")], Counter[str](), list[float]()
    say("a stream alone")
    alone = reader.submit(gaps_ms, server.port, options.seconds).result()
    streams = [_gaps("alone", alone, server.port)]
    for share in range(_SHARES):
        numbers = range(share * options.num // _SHARES, (share + 1) * options.num // _SHARES)
        say(f"strangers {numbers.start} to {numbers.stop}")
        visited = crowd.submit(visit, server.port, numbers, options.clients)
        while not visited.done():
            beside += reader.submit(gaps_ms, server.port, 1.0).result()
        ends += visited.result()
        time.sleep(_IDLE_S)
        held.append(_held(server, f"after {numbers.stop}"))
    streams.append(_gaps("beside strangers", beside, server.port))
    columns = ("", "pieces", "median", "p99", "most", "longest step")
    tables = (
        Table("A stream, ms between two pieces", columns, streams),
        Table("What the server holds", ("", "sockets", "threads", "RSS, MiB"), held),
        Table("What became of the strangers", ("", "number"), sorted(ends.items())),
    )
    figures = {"streams": streams, "held": held, "ends": ends, "alone": alone, "beside": beside}
    return Findings(figures, tables)


def visit(port: int, numbers: Sequence[int], clients: int) -> Counter[str]:
    """In a process of their own."""
    strangers = [Stranger(port, number, ("model",)) for number in numbers]
    with ThreadPoolExecutor(clients) as pool:
        return Counter(pool.map(Stranger.run, strangers))


def gaps_ms(port: int, seconds: float) -> list[float]:
    """Between the pieces of streams that are read for so long, each to its end."""
    until = time.monotonic() + seconds
    found: list[float] = []
    while time.monotonic() < until:
        found += (1000 * (after - before) for before, after in pairwise(_pieces(port)))
    return found


def _pieces(port: int) -> list[float]:
    """When each came, of one answer. Refused: none."""
    body = {
        "model": "model",
        "messages": [{"role": "user", "content": STORY}],
        "stream": True,
        "thinking_budget": 0,
        "max_tokens": _ANSWER,
        "priority": 1,
    }
    times: list[float] = []
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with closing(line):
        line.request("POST", PATH, json.dumps(body), {"x-api-key": KEY})
        for row in line.getresponse():
            if row.startswith(b"data: {") and b'"content"' in row:
                times.append(time.monotonic())
    return times


def _gaps(name: str, found: Sequence[float], port: int) -> tuple[Any, ...]:
    longest_ms = _longest_step_ms(port)
    if not found:
        return (name, 0, None, None, None, longest_ms)
    return (name, len(found), *(quantile(found, q) for q in (0.5, 0.99)), max(found), longest_ms)


def _longest_step_ms(port: int) -> float:
    """Since the server's model was opened."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with closing(line):
        line.request("GET", "/status", headers={"x-api-key": KEY})
        (model,) = json.loads(line.getresponse().read())["models"]
    return float(model["core"]["longest_ms"])


def _held(server: Server, when: str) -> tuple[Any, ...]:
    process = psutil.Process(server.process.pid)
    return (when, len(process.net_connections()), process.num_threads(), server.rss_mib)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--num", type=int, default=1000, help="strangers")
    parser.add_argument("--clients", type=int, default=16, help="of them at once")
    parser.add_argument("--most-requests", type=int, default=12, help="that the server takes")
    parser.add_argument("--seconds", type=float, default=10, help="of the stream alone")
    parser.add_argument("--threads", type=int, default=1, help="of the server's model")


BENCH = Bench("strangers", __doc__.splitlines()[0], _add_options, measure)
