"""Files in other formats of a model, and how far each lies from it: what `tune` chooses among.

    made = make(bundle, ["q4_0", "onnx-int4"], folder, progress)
    losses = losses_of(bundle, made, tokens=2000, progress)

The files are made of the model as it is here. What it had lost before is not in its loss: KL is
against the model itself. Knows no device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from edgereason.config import unknown
from edgereason.errors import EdgereasonError
from edgereason.models.bundle import MANIFEST, Bundle, open_bundle

from .compare.logits import compare, open_engines
from .compare.sample_text import TEXT
from .job import Job, export
from .offline import Progress
from .targets.gguf import FILE_TYPES
from .windows import windows_of

_ONNX: Final = ("onnx-int4", "onnx-int8")


def check_format(name: str) -> str:
    """A format of GGUF, or `onnx-int4` or `onnx-int8`."""
    wanted = name.strip().lower()
    if wanted not in (*FILE_TYPES, *_ONNX):
        raise unknown("no format called", name, (*FILE_TYPES, *_ONNX))
    return wanted


def make(
    bundle: Bundle, formats: Sequence[str], folder: Path, progress: Progress
) -> tuple[dict[str, Bundle], dict[str, str]]:
    """The bundles by format, and why some cannot be made. What an earlier call made is taken."""
    made: dict[str, Bundle] = {}
    why_not: dict[str, str] = {}
    for name in formats:
        out = folder / f"{bundle.name}-{name}"
        try:
            if not (out / MANIFEST).is_file():
                onnx = name.partition("-")[2] if name in _ONNX else ""
                job = Job("onnx" if onnx else "gguf", out, {"quant": onnx or name})
                export(bundle.path, job, progress)
            made[name] = open_bundle(out)
        except EdgereasonError as error:
            why_not[name] = error.message
    return made, why_not


def losses_of(
    bundle: Bundle, made: Mapping[str, Bundle], tokens: int, progress: Progress
) -> dict[str, float]:
    """Mean KL divergence, nats, from the model to each, on a text of ours."""
    found = {}
    for name, each in made.items():  # two at a time: large models
        opened = open_engines([bundle, each])
        _, theirs = compare(opened, windows_of(opened[0], TEXT, tokens), progress)
        found[name] = theirs.kl_mean
        del opened
    return found
