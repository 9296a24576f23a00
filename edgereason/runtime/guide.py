"""A small model beside the one that is asked, whose logits are added to its own.

    Reasoner.open("nano", guide="operator-guide")  # or "operator-guide:0.5"

UniR (arXiv 2505.19075): the large model stays as it is, a small reasoner is trained beside it so
that the sum of both is right (`python -m edgereason.training.nano guide`), and one reasoner serves
every model of its vocabulary. Each token costs a step of both, KV is that of both. What was
measured here is in `docs/ways.md`.
"""

from __future__ import annotations

from dataclasses import fields
from math import isfinite
from typing import TYPE_CHECKING

from edgereason import engines
from edgereason.config import build
from edgereason.models.bundle import open_bundle
from edgereason.models.hub import resolve
from edgereason.registry import load

if TYPE_CHECKING:
    from edgereason._core import Engine

_SAME = {"context": "num_cells", "sequences": "max_seqs", "batch": "max_rows"}
"""Options of an engine, and what they are in the `info` of the one that is guided."""


def guided(base: Engine, guide: str) -> Engine:
    """`base` with the guide that `MODEL` or `MODEL:strength` names, opened for as much at once.

    Raises ModelNotFoundError, BundleError where vocabularies differ, UnsupportedError where an
    engine cannot take tokens back, MemoryLimitError.
    """
    from edgereason import _core

    model, strength = parse_guide(guide)
    bundle = open_bundle(resolve(model))
    module = load(engines, bundle.engine)
    known = {option.name for option in fields(module.Config)}
    same = {name: base.info[key] for name, key in _SAME.items() if name in known}
    config = build(module.Config, same, what=f"option of engine {bundle.engine}")
    return _core.SumEngine(base, module.open(bundle, config), strength)


def parse_guide(text: str) -> tuple[str, float]:
    """A model, and how strongly it acts: 1 where no number stands behind a last colon."""
    model, _, told = text.rpartition(":")
    try:
        strength = float(told)
    except ValueError:
        return text, 1.0
    return (model, strength) if model and isfinite(strength) else (text, 1.0)
