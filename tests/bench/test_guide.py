"""The suite of guides, on nano guided by itself."""

from __future__ import annotations

import argparse

import pytest

from edgereason.bench.suites import guide
from edgereason.errors import UsageError

OPTIONS = argparse.Namespace(
    model="nano",
    guide="nano",
    context=512,
    seed=0,
    strengths=(0.0, 1.0),
    task="chain",
    num=4,
    way="think",
    think_budget=128,
    answer_budget=16,
    threads=1,
)


def test_all_are_asked_the_same_and_strength_0_is_the_model_alone() -> None:
    found = guide.measure(OPTIONS, lambda _: None)
    names = ["the model alone", "the guide alone", "strength 0", "strength 1"]
    assert list(found.figures) == names
    assert found.remarks == ("At strength 0 4 of 4 answers are those of the model alone.",)
    # A model and itself: greedily the same.
    assert len({found.figures[name]["tokens an answer"] for name in names}) == 1
    assert {found.figures[name]["right"] for name in names} == {4}


def test_without_a_guide_there_is_nothing_to_measure() -> None:
    with pytest.raises(UsageError, match="--guide MODEL"):
        guide.measure(argparse.Namespace(**{**vars(OPTIONS), "guide": None}), lambda _: None)
