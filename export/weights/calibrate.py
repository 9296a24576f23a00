"""From a model and texts to an importance matrix: the model's own thinking on given questions, a
plain text, or both, read by an engine that collects what goes into each weight.

Knows neither quantization nor the command line.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgereason.errors import UnsupportedError, UsageError
from edgereason.models.bundle import Bundle, open_bundle
from edgereason.models.hub import resolve
from edgereason.planning.device import num_cores

from ..offline import Progress
from ..windows import STEP, WINDOW, WindowReader, read_text, steps_of, windows_of
from .imatrix import Imatrix, of_activations, write
from .traces import Wanted, read_questions, sample


@dataclass(frozen=True, slots=True)
class Text:
    """What to calibrate on. At least one of the files is given."""

    questions: Path | None
    plain: Path | None
    wanted: Wanted

    def __post_init__(self) -> None:
        if self.questions is None and self.plain is None:
            raise UsageError(
                "nothing to calibrate on", "give --questions, and the model thinks, or --text"
            )

    @property
    def names(self) -> tuple[str, ...]:
        thinking = (f"thinking on {self.questions.name}",) if self.questions else ()
        return thinking + ((self.plain.name,) if self.plain else ())


def calibrate(model: str, text: Text, out: Path, progress: Progress) -> Imatrix:
    """Writes the importance matrix of a GGUF. A run that was interrupted goes on with its traces,
    and writes what it would have written.
    """
    bundle = open_bundle(resolve(model))
    if bundle.engine != "llamacpp":
        raise UnsupportedError(
            f"{bundle.name} is a bundle for {bundle.engine}, calibration needs a GGUF",
            "export SOURCE --to gguf --quant f16, calibrate that; names of weights are the same",
        )
    plain = read_text(text.plain) if text.plain else ""
    _check_writable(out)
    kept = out.with_name(f".{out.name}.traces")
    traces = _think(model, text.questions, text.wanted, kept, progress) if text.questions else []
    imatrix = collect(bundle, traces, plain, text, progress)
    write(imatrix, out)
    kept.unlink(missing_ok=True)
    return imatrix


def _check_writable(out: Path) -> None:
    """Found out now, not after an hour."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}") from None
    if out.is_dir() or not os.access(out.parent, os.W_OK):
        what = "it is a folder" if out.is_dir() else f"{out.parent} cannot be written to"
        raise UsageError(f"cannot write {out}: {what}", "give --out a file")


def _think(
    model: str, file: Path, wanted: Wanted, kept: Path, progress: Progress
) -> list[list[int]]:
    from edgereason.runtime.reasoner import Reasoner

    questions = read_questions(file)
    with Reasoner.open(model, threads=num_cores()) as reasoner:
        return sample(reasoner, questions, wanted, progress, kept)


def collect(
    bundle: Bundle, traces: Sequence[list[int]], plain: str, text: Text, progress: Progress
) -> Imatrix:
    """Reads traces, and the plain text in windows, each from an empty context."""
    from edgereason._core import LlamaEngine
    from edgereason.engines import llamacpp

    longest = max(map(len, traces), default=0)
    config = llamacpp.Config(
        context=max(longest, WINDOW), sequences=STEP, batch=STEP, activations=True
    )
    engine = llamacpp.open(bundle, config)
    assert isinstance(engine, LlamaEngine)
    windows = [*traces, *windows_of(engine, plain, text.wanted.tokens)]
    reader = WindowReader(engine)
    total = sum(map(len, windows))
    done = 0
    for window in windows:
        for begin, part in steps_of(window):  # without output the last layer skips rows
            reader.read(part, begin)
            done += len(part)
            progress("collecting", done, total)
    return of_activations(engine.activations(), text.names, total, WINDOW)
