"""Does the engine change a token? Each variant of the nano family on llamacpp and onnxruntime.

One model goes to GGUF and to ONNX f32; both are asked the same test questions greedily, one after
the other. Where tokens differ, the first difference comes with the margin between the two likeliest
logits that onnxruntime, the more exact of the two, has there. A model that is missing is left out.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgereason.errors import EngineError, ModelNotFoundError, UsageError
from edgereason.export.job import Job, export
from edgereason.export.sources.open import open_source
from edgereason.models.bundle import Bundle
from edgereason.models.hub import resolve
from edgereason.models.prefix_file import bundled
from edgereason.records import PhaseResult, Sampling, StopReason
from edgereason.runtime.reasoner import Reasoner

from ..harness.problems import problems
from ..harness.runner import Bench, Findings, Say, Table
from ..harness.ways import Way

LLAMA: Final = "llamacpp"
ORT: Final = "onnxruntime"
END: Final = -1  # drawn where the model ends its turn: a phase's tokens leave it out


@dataclass(frozen=True, slots=True)
class Drawn:
    """One token that was sampled, and where."""

    phase: str
    position: int  # in its phase
    token: int


@dataclass(frozen=True, slots=True)
class Choice:
    """The two likeliest tokens of a row of logits, and the difference of these."""

    best: int
    second: int
    margin: float


@dataclass(frozen=True, slots=True)
class Difference:
    """Where an answer of llamacpp's first differs from onnxruntime's. `place` counts all that was
    sampled for the question, `position` that of the phase."""

    question: int
    phase: str
    position: int
    place: int
    onnxruntime: int
    llamacpp: int
    margin: float
    is_second: bool  # llamacpp took the second likeliest


@dataclass(frozen=True, slots=True)
class Row:
    task: str
    way: Way
    num: int
    num_tokens: int
    differences: tuple[Difference, ...]

    @property
    def num_equal(self) -> int:
        return self.num - len(self.differences)

    @property
    def largest_margin(self) -> float | None:
        return max((d.margin for d in self.differences), default=None)


class Choices:
    """Notes what an opened `onnxruntime` could choose between, row by row, while one request at a
    time runs on it. A row whose state is fed back, a latent step, offers no choice."""

    def __init__(self, engine: Any) -> None:
        self.rows: list[Choice] = []
        self._decode = engine.model.decode
        engine.model.decode = self._watched

    def clear(self) -> None:
        self.rows = []

    def _watched(self, *step: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        _, _, tokens, outputs, embeddings = step
        if embeddings is not None and (np.asarray(tokens) < 0).any():
            self.rows.pop()  # it gave this step's embedding
        logits, hidden = self._decode(*step)
        self.rows += [choice(row) for row in logits[: np.count_nonzero(outputs)]]
        return logits, hidden


def choice(logits: NDArray[np.float32]) -> Choice:
    second, best = np.argsort(logits)[-2:]
    return Choice(int(best), int(second), float(logits[best] - logits[second]))


def measure(options: argparse.Namespace, say: Say) -> Findings:
    rows: list[Row] = []
    remarks: list[str] = []
    for model in dict.fromkeys((options.model, options.coconut, options.infty)):
        chosen, missing = ways(options, model)
        remarks += missing
        if not chosen:
            continue
        with tempfile.TemporaryDirectory() as folder:
            say(f"{model}: to GGUF {options.quant} and ONNX f32")
            forms = exported(model, Path(folder), options.quant)
            rows += compared(forms, chosen, options, say)
    if not rows:
        raise UsageError("none of the models is there", "; ".join(remarks))
    return findings(rows, remarks)


def ways(options: argparse.Namespace, model: str) -> tuple[list[tuple[str, Way]], list[str]]:
    """What `model` is asked, by task, and what cannot be asked of it."""
    try:
        with open_source(model):
            pass
    except ModelNotFoundError as error:
        return [], [f"{model} is left out: {error}"]
    found: list[tuple[str, Way]] = []
    missing = []
    asked = partial(Way, model=model)
    if model == options.model:
        found += [("chain", asked(strategy)) for strategy in ("no-think", "think")]
        for name in options.prefixes:
            path = _prefix(model, name)
            if path is None:
                missing.append(f"{model} + {name} is left out: {model} has no such prefix")
            else:
                found.append(("operator", asked("think", prefix=str(path))))
    if model == options.coconut:
        found.append(("reach", asked("coconut")))
    if model == options.infty:
        found.append(("iterate", asked("infty-think")))
    return found, missing


def _prefix(model: str, name: str) -> Path | None:
    """A file, or one that comes with the model."""
    if Path(name).is_file():
        return Path(name)
    return bundled(Path(model) if Path(model).is_dir() else resolve(model)).get(name)


def exported(model: str, folder: Path, quant: str) -> dict[str, Bundle]:
    forms = {}
    for engine, target, precision in ((LLAMA, "gguf", quant), (ORT, "onnx", "f32")):
        forms[engine] = export(model, Job(target, folder / target, {"quant": precision})).bundle
    return forms


def compared(
    forms: Mapping[str, Bundle],
    chosen: Sequence[tuple[str, Way]],
    options: argparse.Namespace,
    say: Say,
) -> list[Row]:
    """Both forms are open at once, and asked in turns."""
    open_ = {"threads": options.threads, "context": options.context}
    with (
        Reasoner.open(str(forms[LLAMA].path), **open_) as llama,
        Reasoner.open(str(forms[ORT].path), **open_) as ort,
    ):
        choices = Choices(ort.engine)
        rows = []
        for task, way in chosen:
            differences, num_tokens = [], 0
            asked = problems(task, options.num, options.seed)
            for index, problem in enumerate(asked):
                choices.clear()
                exact = answer(ort, way, problem.question, options)
                other = answer(llama, way, problem.question, options)
                num_tokens += len(exact)
                differences += first_difference(index, exact, other, choices.rows)
            rows.append(Row(task, way, len(asked), num_tokens, tuple(differences)))
            say(f"{way.model}, {way.label}: {rows[-1].num_equal} of {len(asked)} equal")
    return rows


def answer(reasoner: Reasoner, way: Way, question: str, options: argparse.Namespace) -> list[Drawn]:
    """All that is sampled for a question."""
    handle = reasoner.submit(
        question,
        **replace(way, budget=options.think_budget).keywords,
        answer_budget=options.answer_budget,
        soft=1.0,  # a bias near the budget's end would move margins
        sampling=Sampling(temperature=0, seed=options.seed),
    )
    handle.result()
    return [drawn for phase in handle.chains[0] for drawn in _drawn(phase)]


def _drawn(phase: PhaseResult) -> Iterator[Drawn]:
    """A turn that ends by itself is ended by a token that no phase lists."""
    ended = phase.reason is StopReason.STOP and not phase.mark and not phase.num_latent
    for position, token in enumerate((*phase.tokens, *([END] if ended else []))):
        yield Drawn(phase.name, position, token)


def first_difference(
    question: int, exact: Sequence[Drawn], other: Sequence[Drawn], choices: Sequence[Choice]
) -> list[Difference]:
    """None or one. `choices` are those of `exact`, one for each that was drawn."""
    if len(choices) != len(exact):
        raise EngineError(f"{len(exact)} tokens were drawn from {len(choices)} rows of logits")
    for place, (ours, theirs) in enumerate(zip(exact, other, strict=False)):
        if ours == theirs:
            continue
        at = choices[place]
        return [
            Difference(
                question,
                ours.phase,
                ours.position,
                place,
                ours.token,
                theirs.token,
                at.margin,
                theirs.token in (at.second, END),
            )
        ]
    if len(exact) != len(other):
        raise EngineError(f"question {question}: equal tokens, but one answer goes on without them")
    return []


# --- what was found -------------------------------------------------------------------------------


def findings(rows: Sequence[Row], remarks: Sequence[str]) -> Findings:
    figures = {
        "rows": [
            {
                "model": row.way.model,
                "task": row.task,
                "strategy": row.way.strategy,
                "prefix": row.way.prefix,
                "num": row.num,
                "num_equal": row.num_equal,
                "num_tokens": row.num_tokens,
                "largest_margin": row.largest_margin,
                "differences": [asdict(difference) for difference in row.differences],
            }
            for row in rows
        ]
    }
    columns = ("model", "task", "way", "equal", "tokens", "largest margin at a first difference")
    cells = [
        (
            row.way.model,
            row.task,
            row.way.label,
            f"{row.num_equal} of {row.num}",
            row.num_tokens,
            row.largest_margin,
        )
        for row in rows
    ]
    tables = [Table("Questions with equal tokens on llamacpp and onnxruntime", columns, cells)]
    firsts = [
        (row.way.label, row.task, d.question, d.phase, d.position, d.margin, d.is_second)
        for row in rows
        for d in row.differences
    ]
    if firsts:
        where = ("way", "task", "question", "phase", "position", "margin", "took the second")
        title = "First differences, and the margin of onnxruntime's two best logits there"
        tables.append(Table(title, where, firsts))
    return Findings(figures, tuple(tables), tuple(remarks))


def _add_options(parser: argparse.ArgumentParser) -> None:
    about = "a name, a Hugging Face folder or a GGUF"
    parser.add_argument("--coconut", default="nano-coconut", help=f"of task reach: {about}")
    parser.add_argument("--infty", default="nano-infty", help=f"of task iterate: {about}")
    parser.add_argument(
        "--prefixes",
        nargs="*",
        default=["operator-8", "operator-32", "operator-128"],
        help="of the model, for task operator: names or files",
    )
    parser.add_argument("--num", type=int, default=100, help="test questions a row")
    parser.add_argument("--quant", default="f16", help="of the GGUF")
    parser.add_argument("--think-budget", type=int, default=2048, help="tokens")
    parser.add_argument("--answer-budget", type=int, default=24, help="tokens")
    parser.add_argument("--threads", type=int, default=1, help="more do not help so small a model")
    parser.set_defaults(model="nano", context=512)


BENCH: Final = Bench("variant_engines", __doc__.splitlines()[0], _add_options, measure)
