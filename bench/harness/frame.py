"""All trials of a folder as a table (polars), for reports.

The schema is that of `Trial`: what polars would guess from the first lines is wrong where a meter
was plugged in later. polars reads 60,000 trials in a third of the time of the standard library and
of its memory; duckdb is slower here and gives a torn line as a row without values.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_type_hints

from edgereason.errors import UnsupportedError, UsageError

from .trials import Trial

if TYPE_CHECKING:
    import polars

_KEY: Final = ["config", "task", "question", "seed", "device"]


def ready() -> Any:
    """The package. Raises `UnsupportedError` where it is missing."""
    try:
        import polars
    except ImportError:
        raise UnsupportedError(
            "reports read trials with polars, which is not installed",
            "pip install 'edgereason[bench]'",
        ) from None
    return polars


def read_frame(folder: Path) -> polars.DataFrame:
    """Trials of all devices, one row each; of two with the same key the first. A torn last line is
    left out. Raises `UsageError` where there are none, or a line is no trial."""
    pl = ready()
    parts = []
    for path in sorted(folder.glob("trials*.jsonl")):
        whole = path.read_bytes()
        whole = whole[: whole.rfind(b"\n") + 1]
        if whole:
            try:
                parts.append(pl.read_ndjson(io.BytesIO(whole), schema=_schema(pl)))
            except pl.exceptions.PolarsError as error:
                raise UsageError(f"{path} is no file of trials: {error}") from None
    if not parts:
        raise UsageError(f"no trials in {folder}", "`edgereason bench pareto --out` writes them")
    frame: polars.DataFrame = pl.concat(parts).unique(_KEY, keep="first", maintain_order=True)
    return frame


def _schema(pl: Any) -> dict[str, Any]:
    kinds = {str: pl.String, int: pl.Int64, float: pl.Float64, bool: pl.Boolean}
    return {name: _kind(hint, kinds) for name, hint in get_type_hints(Trial).items()}


def _kind(hint: Any, kinds: dict[type, Any]) -> Any:
    """`float | None` is a float; the two words of `Source` are text."""
    members = [each for each in getattr(hint, "__args__", (hint,)) if each is not type(None)]
    return kinds[members[0] if isinstance(members[0], type) else str]
