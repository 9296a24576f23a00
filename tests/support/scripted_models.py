"""Scripted models for tests of strategies: what they say after what."""

from __future__ import annotations

from typing import Any, Final

from edgereason import _core
from edgereason.models.bundle import open_bundle
from edgereason.runtime.reasoner import Reasoner
from support.places import SCRIPTED

CONTROL: Final = ("<|im_start|>", "<think>", "</think>")
DIRECT: Final = "<think>\n\n</think>\n\n"  # what a prompt ends with where thinking is off


def model(
    *rules: tuple[str, str], monitor: Any = None, noise: bool = False, **options: Any
) -> Reasoner:
    """Says `reply` after `after`; thinks "Hm." and answers "7" elsewhere, with `noise` noise."""
    others = [] if noise else [("<think>\n", "Hm.\n</think>"), ("Hm.\n</think>", "\n\n7")]
    engine = _core.ScriptedEngine([*rules, *others], control=CONTROL, **options)
    return Reasoner(open_bundle(SCRIPTED), engine, monitor=monitor)
