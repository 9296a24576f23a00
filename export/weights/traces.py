"""What a model itself thinks and answers on given questions, as tokens.

Traces are kept in a file as they come, so that an interrupted run goes on where it was and comes to
the same. So questions are asked one after the other: what runs beside a trace changes the last bits
of its logits, and now and then a token. Knows nothing of what they are used for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgereason import files
from edgereason.errors import UnsupportedError, UsageError
from edgereason.models.bundle import model_file
from edgereason.records import Budget, Request, Role, Sampling, StopReason, messages_of

from ..offline import Progress

if TYPE_CHECKING:
    from edgereason.runtime.reasoner import Reasoner

_MOST_BARREN: Final = 16  # traces in a row without a token, of fewer questions
_GREEDY_NO_MORE: Final = 0.7  # temperature where the model recommends none: traces must differ


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which traces. Questions are asked again, with other seeds, until there are enough tokens."""

    tokens: int  # sampled, of all traces together
    think_tokens: int = 512
    answer_tokens: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise UsageError(f"tokens must be 1 or more, got {self.tokens}")


def read_questions(path: Path) -> list[str]:
    """One question a line; of `.jsonl` files the key `question` of each line."""
    lines = files.read_given(path, "questions from ").splitlines()
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise UsageError(f"{path} holds no questions", "give one a line")
    if path.suffix != ".jsonl":
        return [line.strip() for _, line in numbered]
    return [_question(line, f"{path}, line {number}") for number, line in numbered]


def _question(line: str, where: str) -> str:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is not JSON: {error}") from None
    found = record.get("question") if isinstance(record, dict) else None
    if not isinstance(found, str) or not found.strip():
        keys = f", its keys are {', '.join(record)}" if isinstance(record, dict) else ""
        raise UsageError(f'{where} has no text under "question"{keys}')
    return found


def sample(
    reasoner: Reasoner,
    questions: Sequence[str],
    wanted: Wanted,
    progress: Progress,
    keep: Path | None = None,
) -> list[list[int]]:
    """Token ids of prompt, thinking and answer, a list a trace. `keep`: where unfinished work is
    kept. The same each time where `reasoner` has nothing else to do and a fixed number of threads.
    """
    kept = _Kept(keep, _key(reasoner, questions, wanted))
    barren = 0
    while kept.num_sampled < wanted.tokens:
        tokens, num = _trace(reasoner, _request(reasoner, questions, wanted, len(kept.traces)))
        kept.add(tokens, num)
        progress("thinking", min(kept.num_sampled, wanted.tokens), wanted.tokens)
        barren = 0 if num else barren + 1
        if barren >= max(len(questions), _MOST_BARREN):
            raise UnsupportedError(
                f"{reasoner.bundle.name} thinks and answers nothing: {barren} traces in a row are "
                "empty",
                "ask other questions, or calibrate on a text with --text",
            )
    return kept.traces


def _request(reasoner: Reasoner, questions: Sequence[str], wanted: Wanted, index: int) -> Request:
    """What trace `index` is of."""
    sampling = reasoner.bundle.sampling
    if sampling.temperature == 0:
        sampling = Sampling(temperature=_GREEDY_NO_MORE)
    return Request(
        messages=messages_of(questions[index % len(questions)]),
        strategy="think",
        budget=Budget(wanted.think_tokens, wanted.answer_tokens),
        sampling=replace(sampling, seed=(wanted.seed + index) % 2**64),
    )


def _trace(reasoner: Reasoner, request: Request) -> tuple[list[int], int]:
    """Its tokens, and how many of them are sampled."""
    handle = reasoner.submit(request)
    handle.result()
    bundle, engine = reasoner.bundle, reasoner.engine
    tokens = list(reasoner.prompt_tokens(request))
    num_sampled = 0
    for phase in handle.chains[0]:
        if phase.role is Role.ANSWER:
            tokens += engine.tokenize(bundle.reasoning.answer, parse_control=True)
        tokens += phase.tokens
        num_sampled += len(phase.tokens)
        if phase.role is Role.THINK and phase.reason is not StopReason.STOP:
            tokens += engine.tokenize(bundle.reasoning.close, parse_control=True)
    return tokens, num_sampled


def _key(reasoner: Reasoner, questions: Sequence[str], wanted: Wanted) -> str:
    """What must be the same for kept traces to be of use; how many are wanted need not."""
    bundle, threads = reasoner.bundle, reasoner.engine.info["max_threads"]
    at = model_file(bundle).stat()
    same = asdict(replace(wanted, tokens=1))
    text = json.dumps([bundle.name, at.st_size, at.st_mtime_ns, threads, list(questions), same])
    return hashlib.sha256(text.encode()).hexdigest()


class _Kept:
    """All traces so far, also as JSON lines; the first line says what they belong to."""

    def __init__(self, path: Path | None, key: str) -> None:
        self.traces: list[list[int]] = []
        self.num_sampled = 0
        self._path = path
        if path is not None:
            found = _read(path, key)
            path.write_text(json.dumps(key) + "\n")
            for trace, num_sampled in found:
                self.add(trace, num_sampled)

    def add(self, trace: list[int], num_sampled: int) -> None:
        self.traces.append(trace)
        self.num_sampled += num_sampled
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps([trace, num_sampled]) + "\n")


def _read(path: Path, key: str) -> list[tuple[list[int], int]]:
    """Traces with that key, up to a line that was cut off."""
    found: list[tuple[list[int], int]] = []
    try:
        first, *lines = path.read_text().splitlines()
        for line in lines if json.loads(first) == key else []:
            trace, num_sampled = json.loads(line)
            found.append((trace, num_sampled))
    except (OSError, ValueError):
        pass
    return found
