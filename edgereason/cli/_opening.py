"""From the command line to an open model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgereason.cli._options import Opening
from edgereason.trace import JsonLines

if TYPE_CHECKING:
    from edgereason.runtime import Reasoner


@contextmanager
def open_reasoner(opening: Opening) -> Iterator[Reasoner]:
    from edgereason.runtime import Reasoner

    given = {"context": opening.context, "kv": opening.kv, "gpu_layers": opening.gpu_layers}
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    with ExitStack() as stack:
        if opening.trace is not None:
            options["trace"] = stack.enter_context(JsonLines(Path(opening.trace)))
        yield stack.enter_context(
            Reasoner.open(opening.model, engine=opening.engine, threads=opening.threads, **options)
        )
