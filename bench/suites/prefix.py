"""Trained prefixes against demonstrations in the prompt: right answers, time to the first token,
memory.

Problems and demonstrations are files, so that any skill can be measured. Zero-shot, as many
demonstrations as fit the context, and each prefix are asked the same; times are taken in turns.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

from edgereason.errors import ContextFullError, UsageError
from edgereason.keywords import request_of
from edgereason.models.prefix_file import read_prefix
from edgereason.records import Message, Request, Sampling
from edgereason.runtime.reasoner import Reasoner
from edgereason.values import extract_answer, normalize

from ..harness.runner import Bench, Findings, Say, Table, ratios, turns, wilson
from ..harness.ways import Way

_ZERO: Final = "zero-shot"
_DEMOS: Final = "in-context"
_TEXT: Final = "in-context, one message"  # templates leave earlier thoughts out, texts keep them
_KEPT: Final = "in-context, kept"  # the demonstrations' KV is there already
_AT_ONCE: Final = 16
_PREFIXES: Final = 4


@dataclass(frozen=True, slots=True)
class Problem:
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Demo:
    prompt: str
    reply: str


@dataclass(frozen=True, slots=True)
class Setting:
    """A request without its question, and the text that stands before that."""

    request: Request
    lead: str = ""

    def asks(self, problem: Problem, *, keep: bool = False) -> Request:
        question = Message("user", self.lead + problem.question)
        return replace(self.request, messages=(*self.request.messages[:-1], question), keep=keep)


@dataclass(frozen=True, slots=True)
class Row:
    """One way to be asked. Tokens are a prompt's."""

    way: str
    slots: int
    prompt_tokens: float
    num: int
    right: int


def measure(options: argparse.Namespace, say: Say) -> Findings:
    problems = [Problem(p, a) for p, a in _pairs(options.problems, "answer")][: options.num]
    demos = [Demo(prompt, reply) for prompt, reply in _pairs(options.demos, "reply")]
    with _opened(options, options.prefix) as reasoner:
        settings = _settings(reasoner, demos, problems, options)
        rows = []
        for name, setting in settings.items():
            rows.append(_row(reasoner, name, setting, problems))
            say(f"{name}: {rows[-1].right} of {len(problems)}")
        times = _times(reasoner, settings, problems, options, say)
    memory = _memory(options, problems, say)
    num_demos = len(settings[_DEMOS].request.messages) // 2
    return findings(rows, times, memory, num_demos)


def _pairs(path: Path, key: str) -> list[tuple[str, str]]:
    """`prompt` and one more text of each line."""
    try:
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
        return [(str(line["prompt"]), str(line[key])) for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"cannot read {path}: {error}", f'a line is {{"prompt": ..., "{key}": ...}}'
        ) from None


@contextmanager
def _opened(options: argparse.Namespace, prefixes: Sequence[Path]) -> Iterator[Reasoner]:
    """Room for one request, for the prefixes and for kept KV beside the context asked for."""
    slots = sum(read_prefix(path).num_positions for path in prefixes)
    with Reasoner.open(
        options.model,
        engine=options.engine,
        threads=options.threads,
        context=2 * options.context + slots,
        park_tokens=options.context,
        prefixes=prefixes,
    ) as reasoner:
        yield reasoner


# --- ways to ask ----------------------------------------------------------------------------------


def _settings(
    reasoner: Reasoner,
    demos: Sequence[Demo],
    problems: Sequence[Problem],
    options: argparse.Namespace,
) -> dict[str, Setting]:
    plain = _plain(options)
    marks = (*reasoner.bundle.reasoning.opens, *reasoner.bundle.reasoning.shuts)

    def turns_of(num: int) -> Setting:
        turns_ = [
            turn
            for demo in demos[:num]
            for turn in (Message("user", demo.prompt), Message("assistant", demo.reply))
        ]
        return Setting(replace(plain.request, messages=(*turns_, *plain.request.messages)))

    def text_of(num: int) -> Setting:
        shown = (f"{demo.prompt}\n{_without(demo.reply, marks)}\n\n" for demo in demos[:num])
        return Setting(plain.request, "".join(shown))

    found = {_ZERO: plain}
    for name, build in ((_DEMOS, turns_of), (_TEXT, text_of)):
        found[name] = build(fitting(reasoner, build, len(demos), problems, options))
    for path in options.prefix:
        found[path.stem] = _plain(options, path.stem)
    return found


def _plain(options: argparse.Namespace, prefix: str = "") -> Setting:
    way = Way(options.strategy, options.think_budget, prefix)
    sampling = Sampling(temperature=0, seed=options.seed)
    blank = request_of("", **way.keywords, answer_budget=options.answer_budget, sampling=sampling)
    return Setting(blank)


def _without(text: str, marks: Sequence[str]) -> str:
    for mark in marks:
        text = text.replace(mark, "")
    return "\n".join(line for line in text.splitlines() if line.strip())


def fitting(
    reasoner: Reasoner,
    build: Callable[[int], Setting],
    most: int,
    problems: Sequence[Problem],
    options: argparse.Namespace,
) -> int:
    """How many demonstrations leave room for the longest question, its thought and its answer in
    what the model can see."""
    sees = min(options.context, reasoner.bundle.context or options.context)
    room: int = sees - options.answer_budget - max(options.think_budget, 0)
    longest = max(problems, key=lambda problem: len(problem.question))

    def fits(num: int) -> bool:
        asked = build(num).asks(longest)
        try:
            tokens = reasoner.prompt_tokens(asked, thinking=options.strategy != "no-think")
        except ContextFullError:  # nobody counts what is far too long
            return False
        return len(tokens) <= room

    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def is_right(problem: Problem, answer: str) -> bool:
    found = extract_answer(answer) or answer
    return normalize(found) == normalize(problem.answer)


def _row(reasoner: Reasoner, name: str, setting: Setting, problems: Sequence[Problem]) -> Row:
    # Demonstrations are read once for all questions: answers stay what they are.
    keep = name in (_DEMOS, _TEXT)
    answers = [reasoner.ask(setting.asks(problem, keep=keep)) for problem in problems]
    right = sum(is_right(p, a.answer) for p, a in zip(problems, answers, strict=True))
    prefix = setting.request.prefix
    slots = reasoner._prefixes.get(prefix).num_positions if prefix else 0
    tokens = [answer.usage.prompt_tokens for answer in answers]
    return Row(name, slots, sum(tokens) / len(tokens), len(problems), right)


# --- time to the first token ----------------------------------------------------------------------


def _times(
    reasoner: Reasoner,
    settings: Mapping[str, Setting],
    problems: Sequence[Problem],
    options: argparse.Namespace,
    say: Say,
) -> dict[str, list[float]]:
    """Milliseconds from the request to the end of its prompt, by way, in turns."""
    turn: dict[str, int] = {}

    def timed(name: str, setting: Setting, *, keep: bool) -> float:
        at = turn[name] = turn.get(name, -1) + 1
        answer = reasoner.ask(setting.asks(problems[at % len(problems)], keep=keep))
        return answer.timings.queue_ms + answer.timings.prefill_ms

    # KV that is kept would serve the cold way, too: its demonstrations come in another order.
    request = settings[_DEMOS].request
    pairs = [request.messages[i : i + 2] for i in range(0, len(request.messages) - 1, 2)]
    turned = [turn_ for pair in (*pairs[1:], *pairs[:1]) for turn_ in pair]
    cold = Setting(replace(request, messages=(*turned, request.messages[-1])))
    systems: dict[str, Callable[[], float]] = {
        name: partial(timed, name, cold if name == _DEMOS else setting, keep=False)
        for name, setting in settings.items()
        if name != _TEXT
    }
    systems[_KEPT] = partial(timed, _KEPT, settings[_DEMOS], keep=True)
    return turns(systems, options.turns, say)


# --- memory ---------------------------------------------------------------------------------------


def _memory(
    options: argparse.Namespace, problems: Sequence[Problem], say: Say
) -> Mapping[str, Any]:
    """Cells held with four prefixes and sixteen requests at once; one file may serve as several."""
    if not options.prefix:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for i in range(_PREFIXES):
            files.append(Path(folder) / f"copy{i}.safetensors")
            shutil.copyfile(options.prefix[i % len(options.prefix)], files[-1])
        slots = [read_prefix(path).num_positions for path in files]
        with Reasoner.open(
            options.model,
            engine=options.engine,
            threads=options.threads,
            context=options.context * 2 + sum(slots),
            sequences=_AT_ONCE + _PREFIXES + 1,
            prefixes=files,
        ) as reasoner:
            found = _held(reasoner, _plain(options), problems)
            cell_bytes = reasoner.engine.info["cell_bytes"]
    shared = sum(slots)
    copied = sum(slots[i % _PREFIXES] for i in range(_AT_ONCE))
    say(f"{found['peak']} cells at most, {shared} of them prefixes")
    return {
        "requests": _AT_ONCE,
        "at_once": found["at_once"],
        "slots": shared,
        "peak_cells": found["peak"],
        "peak_cells_if_copied": found["peak"] - shared + copied,
        "peak_bytes": found["peak"] * cell_bytes,
        "slots_bytes": shared * cell_bytes,
    }


def _held(reasoner: Reasoner, setting: Setting, problems: Sequence[Problem]) -> dict[str, int]:
    """Most cells that were held, and most requests that had some at once."""
    found = {"peak": 0, "at_once": 0}
    over = threading.Event()

    def watch() -> None:
        cells = reasoner.engine.info["num_cells"]
        while not over.is_set():
            stats = reasoner.stats()
            if stats["num_active"]:
                found["peak"] = max(found["peak"], cells - stats["num_free_cells"])
                running = stats["num_active"] - stats["num_waiting"]
                found["at_once"] = max(found["at_once"], running)
            time.sleep(0.0005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        handles = []
        for i in range(_AT_ONCE):
            asked = setting.asks(problems[i % len(problems)])
            handles.append(reasoner.submit(replace(asked, prefix=f"copy{i % _PREFIXES}")))
        for handle in handles:
            handle.result()
    finally:
        over.set()
        watcher.join()
    return found


# --- what was found -------------------------------------------------------------------------------


def findings(
    rows: Sequence[Row],
    times: Mapping[str, Sequence[float]],
    memory: Mapping[str, Any],
    num_demos: int,
) -> Findings:
    faster = {
        way: median(ratios(times[_DEMOS], ms))
        for way, ms in times.items()
        if _DEMOS in times and way != _DEMOS
    }
    figures = {
        "demos": num_demos,
        "rows": [{**asdict(row), "interval": wilson(row.right, row.num)} for row in rows],
        "first_token_ms": {way: median(ms) for way, ms in times.items()},
        "faster": faster,
        "memory": dict(memory),
    }
    tables = [
        Table(
            f"{rows[0].num} problems, {num_demos} demonstrations in context",
            ("way", "slots", "prompt tokens", "right %", "95 % interval"),
            [_cells(row) for row in rows],
        ),
        Table(
            "Time to the first token",
            ("way", "median ms", f"times faster than {_DEMOS}"),
            [(way, median(ms), faster.get(way)) for way, ms in times.items()],
        ),
    ]
    if memory:
        title = f"{memory['at_once']} requests at once behind {_PREFIXES} prefixes"
        tables.append(Table(title, ("KV", "cells"), _memory_rows(memory)))
    return Findings(figures, tuple(tables))


def _cells(row: Row) -> tuple[object, ...]:
    low, high = wilson(row.right, row.num)
    share = round(100 * row.right / row.num, 1)
    return (row.way, row.slots, row.prompt_tokens, share, f"{100 * low:.1f}-{100 * high:.1f}")


def _memory_rows(memory: Mapping[str, Any]) -> list[tuple[object, ...]]:
    return [
        ("of the prefixes", memory["slots"]),
        ("at most", memory["peak_cells"]),
        ("if each request had its own copy", memory["peak_cells_if_copied"]),
    ]


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--problems", type=Path, required=True, help="lines of prompt and answer")
    parser.add_argument("--demos", type=Path, required=True, help="lines of prompt and reply")
    parser.add_argument(
        "--prefix", type=Path, action="append", default=[], help="a prefix file; may be repeated"
    )
    parser.add_argument("--num", type=int, default=200, help="problems")
    parser.add_argument("--turns", type=int, default=20, help="of the time to the first token")
    parser.add_argument("--strategy", default="no-think", help="no-think or think")
    parser.add_argument("--think-budget", type=int, default=128, help="tokens")
    parser.add_argument("--answer-budget", type=int, default=16, help="tokens")
    parser.add_argument("--engine", help="default: what the model was made for")
    parser.add_argument("--threads", type=int, default=0, help="0 follows the load")
    parser.set_defaults(context=2048)


BENCH: Final = Bench(
    "prefix",
    "Right answers, time to the first token and memory of prefixes and of demonstrations",
    _add_options,
    measure,
)
