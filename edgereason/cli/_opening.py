"""From the command line to an open model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgereason.cli._options import Opening
from edgereason.config import assignments
from edgereason.errors import UsageError

if TYPE_CHECKING:
    from edgereason.models.bundle import Bundle
    from edgereason.runtime.reasoner import Reasoner


@contextmanager
def open_reasoner(opening: Opening, *, quiet: bool = False) -> Iterator[Reasoner]:
    """`quiet`: say nothing of how the model is opened."""
    from edgereason.cli._screen import say
    from edgereason.models.bundle import open_bundle
    from edgereason.models.hub import resolve
    from edgereason.runtime.reasoner import Reasoner
    from edgereason.runtime.trace import JsonLines

    options = engine_options(opening)
    bundle = open_bundle(resolve(opening.model))
    path, tuned, note = tuned_for(bundle, opening)
    if note and not quiet:
        say(note, error=True)
    options = {"engine": opening.engine, "threads": opening.threads, **options, **tuned}
    with ExitStack() as stack:
        if opening.trace is not None:
            options["trace"] = stack.enter_context(JsonLines(Path(opening.trace)))
        yield stack.enter_context(Reasoner.open(path, **options))


def tuned_for(bundle: Bundle, opening: Opening) -> tuple[Path, dict[str, Any], str]:
    """How `edgereason tune` found that a model is best opened now: its file, options of
    `Reasoner.open`, and what to say. Whoever types how it is opened gets that.
    """
    import psutil

    from edgereason.cli.tune import told
    from edgereason.planning.here import load_tuned

    same_model = {"context", "lookahead", "draft"}
    typed = set(engine_options(opening)) - same_model or opening.engine or opening.threads
    choices = () if typed else load_tuned(bundle)
    if not choices:
        return bundle.path, {}, ""
    busy = 0.0
    if len(choices) > 1:
        busy = psutil.cpu_percent(interval=0.1) / 100 * (psutil.cpu_count() or 1)
    choice = min(choices, key=lambda each: (abs(each.busy_cores - busy), each.busy_cores))
    path = Path(choice.model)
    if not path.exists():
        return bundle.path, {}, f"tuned for {choice.format}, which is gone: edgereason tune again"
    if path == bundle.path and not choice.options:
        return path, {}, ""
    return path, dict(choice.options), f"tuned: {told(choice)}"


def engine_options(opening: Opening) -> dict[str, Any]:
    """What has a flag of its own, and `--engine-set`."""
    flags: dict[str, Any] = {
        "context": opening.context,
        "kv": opening.kv,
        "gpu_layers": opening.gpu_layers,
    }
    flags["lora"] = opening.lora or None
    flags["cores"] = None if opening.cores is None else cores_of(opening.cores)
    flags["nice"] = opening.nice or None
    flags["lookahead"] = opening.lookahead or None
    flags["guide"], flags["draft"] = opening.guide, opening.draft
    others = assignments(opening.engine_options)
    for name in ("threads", "trace", *flags):
        if name in others:
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(f"--engine-set {name}=... is not needed", f"use {flag}")
    if "park_tokens" in others:
        raise UsageError("park_tokens is not an option of an engine", "Reasoner.open takes it")
    return {name: value for name, value in flags.items() if value is not None} | others


def cores_of(text: str) -> tuple[int, ...]:
    """The cores of a list such as `2,3` or `0,4-7`, as `taskset -c` takes it."""
    cores: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise UsageError(f"cores must be a list such as 2,3 or 4-7, got {text!r}")
        cores += range(first, last + 1)
    return tuple(cores)
