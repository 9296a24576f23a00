"""What a vote costs, what stopping it early saves, and whether it is right as often.

The same problems are put to the vote in several ways, in turns and on the same seeds; and once more
through libllama's batch API: the prompt decoded once, a sequence for each sample, llama.cpp's own
samplers, the value that most samples come to. Its draws are others than ours.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from edgereason.config import unknown
from edgereason.errors import UnsupportedError
from edgereason.models.bundle import model_file
from edgereason.records import Answer, Sampling
from edgereason.runtime.reasoner import Reasoner
from edgereason.strategies.vote import elected
from edgereason.values import extract_answer, normalize

from ..harness import items
from ..harness.record import Record
from ..harness.runner import Bench, Findings, Say, open_reasoner
from ..rivals.libllama import Libllama
from ..tasks.base import Item
from .ways import Row, chosen, findings

Vote = Callable[[str, int], tuple[Answer, int]]  # of a question and a seed; and its tokens

_FULL: Final = "all samples"
_PEER: Final = "libllama"
_CONSENSUS: Final = 0.95
_WAYS: Final[Mapping[str, Mapping[str, Any]]] = {  # options of the strategy
    _FULL: {"early_stop": False},
    "early stop": {},
    "consensus": {"consensus": _CONSENSUS},
    "weighed": {"weigh": True, "consensus": _CONSENSUS},
    "dropped": {"weigh": True, "drop": 0.5, "consensus": _CONSENSUS},
}


def measure(options: argparse.Namespace, say: Say) -> Findings:
    problems = items.items(options.task, options.problems, options.seed, options.data)
    names = [name.strip() for name in options.ways.split(",")]
    for name in names:
        if name not in (*_WAYS, _PEER):
            raise unknown("no way to vote called", name, (*_WAYS, _PEER))
    rows = Record(options.record, lambda line: Row(**line))
    with ExitStack() as stack:
        reasoner = stack.enter_context(open_reasoner(options, threads=options.threads))
        votes = {name: _ours(reasoner, options, name) for name in names if name != _PEER}
        if _PEER in names:
            votes[_PEER] = _theirs(reasoner, options, stack)
        for number, item in enumerate(problems):
            for name in names if number % 2 == 0 else reversed(names):
                if (_asked(options), name, item.question) not in rows:
                    rows.add(_row(options, name, item, votes[name], options.seed + 1000 * number))
            say(f"{number + 1} of {len(problems)} problems")
    own = chosen(rows, _asked(options), [item.question for item in problems], names)
    found = findings(own, names)
    return replace(found, remarks=tuple(_same_winners(own, names)))


def _asked(options: argparse.Namespace) -> str:
    return (
        f"{Path(options.model).name}, {options.samples} of {options.of}, "
        f"thinking {options.think_budget}, answer {options.answer_budget}, "
        f"window {options.window}, temperature {options.temperature:g}"
    )


def _row(options: argparse.Namespace, name: str, item: Item, vote: Vote, seed: int) -> Row:
    begin = time.monotonic()
    answer, tokens = vote(items.asked(item), seed)
    seconds = time.monotonic() - begin
    right = items.is_right(item, answer.answer)
    told = " ".join(f"{each.votes}:{each.answer[:20]!r}" for each in answer.candidates[:4])
    asked = _asked(options)
    text, cells = answer.answer[:200], answer.usage.peak_cells
    return Row(asked, name, item.question, right, tokens, seconds, text, told, cells)


def _ours(reasoner: Reasoner, options: argparse.Namespace, name: str) -> Vote:
    given = {"samples": options.samples, "of": options.of, "window": options.window, **_WAYS[name]}

    def vote(question: str, seed: int) -> tuple[Answer, int]:
        answer = reasoner.ask(
            question,
            strategy="vote",
            options=given,
            think_budget=options.think_budget,
            answer_budget=options.answer_budget,
            sampling=Sampling(temperature=options.temperature, seed=seed),
        )
        return answer, answer.usage.reasoning_tokens + answer.usage.answer_tokens

    return vote


def _theirs(reasoner: Reasoner, options: argparse.Namespace, stack: ExitStack) -> Vote:
    """What stands behind the mark that ends a thought is a sample's answer; without it, all."""
    if options.of not in ("think", "no-think"):
        raise UnsupportedError(
            f"libllama's loop cannot sample {options.of}", f"leave {_PEER} out of --ways"
        )
    bare = stack.enter_context(
        closing(
            Libllama(
                model_file(reasoner.bundle),
                context=options.context,
                threads=options.threads,
                max_seqs=options.samples,
            )
        )
    )
    thinks = options.of == "think"
    most = options.answer_budget + (options.think_budget if thinks else 0)
    close = reasoner.bundle.reasoning.close.strip() if thinks else ""

    def vote(question: str, seed: int) -> tuple[Answer, int]:
        lines = bare.samples(
            reasoner.prompt_tokens(question, thinking=thinks),
            range(seed, seed + options.samples),
            Sampling(temperature=options.temperature),
            most,
        )
        texts = [reasoner.engine.detokenize(line).decode("utf-8", "replace") for line in lines]
        answers = [Answer(text.rpartition(close)[2] if close else text) for text in texts]
        return elected(answers), sum(map(len, lines))

    return vote


def _same_winners(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """How often the others come to what all samples together came to."""

    def values(name: str) -> dict[str, Any]:
        own = [row for row in rows if row.way == name]
        return {row.question: normalize(extract_answer(row.answer, numeric=True)) for row in own}

    full = values(_FULL)
    told = []
    for name in names:
        own = {} if name in (_FULL, _PEER) else values(name)
        both = full.keys() & own.keys()
        if both:
            same = sum(own[question] == full[question] for question in both)
            told.append(f"{name}: the winner of {_FULL} in {same} of {len(both)}.")
    return told


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", default="chain", help="as of `bench pareto`, or FILE.jsonl")
    parser.add_argument("--data", type=Path, help="folder with data of tasks")
    parser.add_argument("--ways", default=",".join(_WAYS), help=f"with commas; also {_PEER}")
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--of", default="think", help="the strategy of a sample")
    parser.add_argument("--window", type=int, default=64, help="tokens that are judged together")
    parser.add_argument("--think-budget", type=int, default=256)
    parser.add_argument("--answer-budget", type=int, default=64)
    parser.add_argument("--temperature", type=float, default=0.6)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--record", type=Path, help="JSON lines to keep, and to go on from")


BENCH = Bench("vote", __doc__.splitlines()[0], _add_options, measure)
