"""Ways of being asked, as values and as text."""

from __future__ import annotations

import pytest

from edgereason.bench.harness.ways import Way, parse
from edgereason.errors import UsageError
from edgereason.keywords import request_of
from edgereason.records import Budget


@pytest.mark.parametrize(
    ("text", "way", "label"),
    [
        ("think", Way("think"), "think"),
        ("think:128", Way("think", 128), "think 128"),
        ("vote:8", Way("vote", options={"samples": 8}), "vote samples=8"),
        ("think+sums-16", Way("think", prefix="sums-16"), "think + sums-16"),
        ("hbpo:64@nano", Way("hbpo", 64, model="nano"), "hbpo 64"),
        ("no-think@hf:a/b:Q4_0", Way("no-think", model="hf:a/b:Q4_0"), "no-think"),
    ],
)
def test_a_way_is_read_and_written(text: str, way: Way, label: str) -> None:
    assert parse(text) == way
    assert str(way) == text
    assert way.label == label


def test_options_come_after_the_number() -> None:
    way = parse("vote:8:of=infty-think")
    assert way == Way("vote", options={"of": "infty-think", "samples": 8})
    assert str(way) == "vote:8:of=infty-think"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("thnk", "no strategy called 'thnk'"),
        ("think:many", "'think:many' is no way of asking"),
        ("think:1:2", "'think:1:2' is no way of asking"),
    ],
)
def test_what_is_no_way_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(text)


def test_a_way_settles_a_request_but_for_its_question() -> None:
    made = request_of("Hi", **Way("think", 9, prefix="sums").keywords, answer_budget=4)
    assert (made.strategy, made.prefix) == ("think", "sums")
    assert made.budget == Budget(think_tokens=9, answer_tokens=4)
    assert request_of("Hi", **Way("think").keywords).prefix is None


def test_the_name_of_a_way_is_its_label() -> None:
    assert Way("think", name="plain, KV of 512").label == "plain, KV of 512"
