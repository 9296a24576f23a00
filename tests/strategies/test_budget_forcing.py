"""Waiting: how often, and when it brings nothing new."""

from __future__ import annotations

from typing import Any

import pytest

from edgereason import _core
from edgereason.models.bundle import open_bundle
from edgereason.runtime.reasoner import Handle, Reasoner
from support.places import SCRIPTED

CONTROL = ["<|im_start|>", "<think>", "</think>"]
FIRST = ("<think>\n", "So it is 12.\n</think>")
END = ("</think>", "\n\nDone.")


def waited(*rules: tuple[str, str], **options: Any) -> Handle:
    engine = _core.ScriptedEngine([*rules, FIRST, END], control=CONTROL)
    with Reasoner(open_bundle(SCRIPTED), engine) as reasoner:
        handle = reasoner.submit("How many?", strategy="budget-forcing", options=options)
        handle.result()
        return handle


def stretches(handle: Handle) -> int:
    return sum(result.name == "think" for result in handle.chains[0])


@pytest.mark.parametrize(
    ("after", "options", "num"),
    [
        (" again it is 12.0\n</think>", {"waits": 4}, 2),  # the same value, written otherwise
        (" again it is 12.0\n</think>", {"waits": 4, "until_same": False}, 5),
        (" I do not know.\n</think>", {"waits": 2}, 3),  # says nothing: that is no agreement
        (" again it is 12\n</think>", {"waits": 0}, 1),
    ],
)
def test_it_stops_once_wait_brings_the_same_value_again(
    after: str, options: dict[str, Any], num: int
) -> None:
    handle = waited(("Wait", after), **options)
    assert stretches(handle) == num
    assert handle.result().answer == "Done."
