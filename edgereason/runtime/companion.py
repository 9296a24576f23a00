"""A small model of the same vocabulary beside the one that is asked.

    Reasoner.open("nano", guide="operator-guide")  # or "operator-guide:0.5"
    Reasoner.open("qwen-f16", draft="qwen-q4_0")

A guide's logits are added to the model's own. UniR (arXiv 2505.19075): the large model stays as it
is, a small reasoner is trained beside it so that the sum of both is right (`python -m
edgereason.training.nano guide`), and one reasoner serves every model of its vocabulary. Each token
costs a step of both, KV is that of both.

A draft guesses what follows, and the model checks several guesses in one step (speculative
decoding, arXiv 2211.17192): no token changes. What was measured is in `docs/ways.md` and
`docs/design.md`.
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
"""Options of an engine, and what they are in the `info` of the one that it stands beside."""


def guided(base: Engine, guide: str) -> Engine:
    """`base` with the guide that `MODEL` or `MODEL:strength` names.

    Raises ModelNotFoundError, BundleError where vocabularies differ, UnsupportedError where an
    engine cannot take tokens back, MemoryLimitError.
    """
    from edgereason import _core

    model, strength = parse_guide(guide)
    return _core.SumEngine(base, open_beside(base, model), strength)


def open_beside(base: Engine, model: str, threads: int = 0) -> Engine:
    """The engine of `model`, opened for as much at once as `base`. `threads`: where they are fixed
    when an engine opens; 0: its own choice."""
    bundle = open_bundle(resolve(model))
    module = load(engines, bundle.engine)
    given = {name: base.info[key] for name, key in _SAME.items()}
    if threads:
        given["threads"] = threads
    known = {option.name for option in fields(module.Config)}
    same = {name: value for name, value in given.items() if name in known}
    config = build(module.Config, same, what=f"option of engine {bundle.engine}")
    opened: Engine = module.open(bundle, config)
    return opened


def parse_guide(text: str) -> tuple[str, float]:
    """A model, and how strongly it acts: 1 where no number stands behind a last colon."""
    model, _, told = text.rpartition(":")
    try:
        strength = float(told)
    except ValueError:
        return text, 1.0
    return (model, strength) if model and isfinite(strength) else (text, 1.0)
