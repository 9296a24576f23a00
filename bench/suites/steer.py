"""Steering for length: tokens and right answers against the strength of a control vector.

The vector is made here (`edgereason export steer`): of each training question the shortest right
thought is wanted, the longest right one is not. As a control a random direction of equal length is
measured at the same strengths. Test questions are never trained on. Needs torch.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from edgereason.errors import UsageError
from edgereason.export.offline import quiet
from edgereason.export.sources.open import open_source
from edgereason.models.hub import resolve
from edgereason.models.steering_file import Steering, write_steering
from edgereason.records import Answer, Sampling
from edgereason.runtime.reasoner import Reasoner

from ..harness.questions import Question, gsm8k, read_questions
from ..harness.runner import Bench, Findings, Say, Table, open_reasoner, wilson

_COLUMNS = ("vector", "strength", "right", "of", "interval", "thinking tokens", "ended by budget")


def measure(options: argparse.Namespace, say: Say) -> Findings:
    train = read_questions(options.train or gsm8k().with_name("train.jsonl"), options.num_train)
    test = read_questions(options.questions or gsm8k(), options.num)
    with tempfile.TemporaryDirectory(prefix="edgereason-") as name:
        folder = Path(name)
        with open_reasoner(options, threads=options.threads) as reasoner:
            num_pairs = _pairs(reasoner, train, options, folder, say)
        vectors = _vectors(options, folder, say)
        rows = []
        with open_reasoner(options, threads=options.threads) as reasoner:
            for vector, strength in [("none", 0.0), *_asked(vectors, options.strengths)]:
                adapters = () if vector == "none" else (f"{vectors[vector]}:{strength}",)
                rows.append((vector, strength, *_row(reasoner, test, options, adapters)))
                say(f"{vector} {strength:g}: {rows[-1][2]} right, {rows[-1][5]:.0f} tokens")
    figures = {
        f"{row[0]} {row[1]:g}": dict(zip(_COLUMNS[2:], row[2:], strict=True)) for row in rows
    }
    figures["pairs"] = {"num": num_pairs}
    return Findings(figures, (Table(f"{num_pairs} pairs of thoughts", _COLUMNS, rows),))


def _asked(vectors: dict[str, Path], strengths: Sequence[float]) -> Iterator[tuple[str, float]]:
    for vector in vectors:
        for strength in strengths:
            yield vector, strength


def _answers(
    reasoner: Reasoner, questions: Sequence[Question], options: argparse.Namespace, **more: Any
) -> list[Answer]:
    answers = []
    for begin in range(0, len(questions), options.batch):
        handles = [
            reasoner.submit(
                one.text,
                strategy="think",
                think_budget=options.think_budget,
                answer_budget=options.answer_budget,
                **more,
            )
            for one in questions[begin : begin + options.batch]
        ]
        answers += [handle.result() for handle in handles]
    return answers


def _pairs(
    reasoner: Reasoner,
    train: Sequence[Question],
    options: argparse.Namespace,
    folder: Path,
    say: Say,
) -> int:
    """Writes the wanted and the unwanted thoughts; how many questions have both."""
    right: dict[str, list[Answer]] = {one.text: [] for one in train}
    for sample in range(options.samples):
        sampling = Sampling(temperature=0.8, top_p=0.95, seed=sample)
        for one, answer in zip(
            train, _answers(reasoner, train, options, sampling=sampling), strict=True
        ):
            ended = answer.budget.think_tokens.ended_by == "stop"
            if ended and answer.reasoning and one.is_right(answer.answer):
                right[one.text].append(answer)
        say(f"{sample + 1} of {options.samples} thoughts about {len(train)} questions")
    toward, away = [], []
    for text, answers in right.items():
        answers.sort(key=lambda answer: answer.usage.reasoning_tokens)
        if len(answers) > 1 and answers[0].reasoning != answers[-1].reasoning:
            toward.append({"prompt": text, "reply": answers[0].reasoning})
            away.append({"prompt": text, "reply": answers[-1].reasoning})
    if not toward:
        raise UsageError("no question has two right thoughts", "give more --num-train or --samples")
    (folder / "toward.jsonl").write_text("\n".join(map(json.dumps, toward)), encoding="utf-8")
    (folder / "away.jsonl").write_text("\n".join(map(json.dumps, away)), encoding="utf-8")
    return len(toward)


def _vectors(options: argparse.Namespace, folder: Path, say: Say) -> dict[str, Path]:
    """By name: towards short thoughts, and at random."""
    from edgereason.export.prefixes.steer import Options, steer  # needs torch

    say("reading the thoughts in torch")
    with open_source(resolve(str(options.model))) as source:
        made = steer(
            source,
            folder / "toward.jsonl",
            folder / "away.jsonl",
            Options(thinking=True, tokens=options.tokens),
            quiet,
        )
    drawn = np.random.default_rng(options.seed).standard_normal(made.rows.shape)
    lengths = np.linalg.norm(made.rows, axis=1, keepdims=True)
    drawn *= lengths / np.linalg.norm(drawn, axis=1, keepdims=True)
    vectors = {"short": made, "random": Steering(made.made_for, drawn.astype(np.float32))}
    files = {name: folder / f"{name}.gguf" for name in vectors}
    for name, vector in vectors.items():
        write_steering(files[name], vector)
    return files


def _row(
    reasoner: Reasoner,
    test: Sequence[Question],
    options: argparse.Namespace,
    adapters: tuple[str, ...],
) -> tuple[Any, ...]:
    answers = _answers(reasoner, test, options, adapters=adapters)
    right = sum(one.is_right(answer.answer) for answer, one in zip(answers, test, strict=True))
    low, high = wilson(right, len(test))
    interval = f"{100 * low:.1f} to {100 * high:.1f} %"
    tokens = mean(answer.usage.reasoning_tokens for answer in answers)
    cut = sum(answer.budget.think_tokens.ended_by != "stop" for answer in answers)
    return right, len(test), interval, tokens, cut


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--train", type=Path, help="JSON lines; default GSM8K's train rows")
    parser.add_argument("--questions", type=Path, help="JSON lines; default GSM8K's test rows")
    parser.add_argument("--num-train", type=int, default=40)
    parser.add_argument("--samples", type=int, default=6, help="thoughts of a training question")
    parser.add_argument("--tokens", type=int, default=32, help="first of a thought; 0: all")
    parser.add_argument("--num", type=int, default=60, help="test questions")
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.05, 0.1, 0.2, 0.4])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--think-budget", type=int, default=400)
    parser.add_argument("--answer-budget", type=int, default=48)
    parser.add_argument("--threads", type=int, default=0)


BENCH = Bench("steer", __doc__.splitlines()[0], _add_options, measure)
