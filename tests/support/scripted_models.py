"""Scripted models for tests of strategies: what they say after what."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from edgereason import _core
from edgereason.models.bundle import Bundle, File, open_bundle, write_bundle
from edgereason.prompt.detection import detect_reasoning
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


def opened(
    folder: Path,
    template: str,
    rules: Iterable[tuple[str, str]],
    words: Iterable[str] = (),
    control: Iterable[str] | None = None,
    *,
    name: str = "",
) -> Reasoner:
    """A bundle of its own, with a chat template: says each reply after its text, in `words` where
    it can. `control`: its control tokens, where they are not the usual ones. `name`: the model's
    own."""
    lines = [f"words = {_toml(sorted(set(words)))}"]
    if control is not None:
        lines.append(f"control = {_toml(list(control))}")
    for after, reply in rules:
        lines.append(f"[[rules]]\nafter = {_toml(after)}\nreply = {_toml(reply)}")
    (folder / "script.toml").write_text("\n".join(lines), encoding="utf-8")
    bundle = Bundle(
        path=folder,
        name="scripted",
        engine="scripted",
        files=(File("script.toml", 0),),
        chat_template=template,
        reasoning=detect_reasoning(template, name=name),
    )
    write_bundle(bundle, folder)
    return Reasoner.open(folder)


def _toml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
