"""The suite of guessed tokens: its prompts, its pairs, and a run on nano."""

from __future__ import annotations

import argparse
import json

from edgereason.bench.suites import lookahead
from edgereason.bench.suites.lookahead import Pair

OPTIONS = argparse.Namespace(
    model="nano",
    context=512,
    seed=0,
    lookahead=7,
    draft="nano-infty",
    threads=1,
    prompts=27,
    decode=24,
    llama_server=None,
)


def test_kinds_come_in_turn_and_again_with_the_same_seed() -> None:
    asked = list(lookahead.prompts(9, seed=1))
    assert [kind for kind, _ in asked] == ["copied", "records", "prose"] * 3
    assert asked == list(lookahead.prompts(9, seed=1)) != list(lookahead.prompts(9, seed=2))
    for kind, text in asked:
        if kind == "copied":
            first, _, again = text.partition("\n\nThe same text, word for word:\n")
            first = first.removeprefix("A text:\n")
            assert first.startswith(again)
            assert 10 < len(again) < len(first) / 4
        if kind == "records":
            assert len([json.loads(line) for line in text.splitlines()[1:]]) == 4


def test_gains_are_of_prompts_in_pairs() -> None:
    pairs = [Pair("copied", True, 10, 15, 100, 40, 30), Pair("copied", False, 10, 9, 100, 0, 0)]
    theirs = [Pair("copied", True, 20, 22, 100)]
    found = lookahead.findings(pairs, theirs=theirs)
    assert found.figures["copied"] == {"gain": 1.2, "same": 1}
    assert found.figures["llama-server"] == {"copied": 1.1}
    (row,) = found.tables[0].rows
    assert row[:3] == ("copied", 2, "1 of 2")
    assert row[-2:] == (0.2, 0.75)


def test_nano_says_the_same_with_guesses() -> None:
    found = lookahead.measure(OPTIONS, lambda _: None)
    rows = {row[0]: row for row in found.tables[0].rows}
    assert set(rows) == {"copied", "records", "prose", "8 copies"}
    for row in rows.values():
        assert row[2] == f"{row[1]} of {row[1]}"
