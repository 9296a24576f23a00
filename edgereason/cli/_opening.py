"""From the command line to an open model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgereason.cli._options import Opening

if TYPE_CHECKING:
    from edgereason.runtime import Reasoner


def open_reasoner(opening: Opening) -> Reasoner:
    from edgereason.runtime import Reasoner

    given = {"context": opening.context, "kv": opening.kv, "gpu_layers": opening.gpu_layers}
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    return Reasoner.open(opening.model, engine=opening.engine, threads=opening.threads, **options)
