"""What is asked of a strategy from outside: what it needs, what binds it, which options hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgereason.errors import BundleError, UsageError
from edgereason.models.bundle import Bundle, open_bundle
from edgereason.records import Capability
from edgereason.strategies.base import choose
from support.places import SCRIPTED


def recommends(**options: Any) -> Bundle:
    return replace(open_bundle(SCRIPTED), recommended={"auto": options})


@pytest.mark.parametrize(
    ("name", "of", "bound"),
    [
        ("think", None, True),
        ("infty-think", None, False),
        ("vote", "think", True),
        ("vote", "infty-think", False),
    ],
)
def test_a_vote_is_bound_by_what_binds_its_samples(name: str, of: str | None, bound: bool) -> None:
    assert choose(name, {"of": of} if of else {}).bound_by_context is bound


def test_a_vote_needs_what_its_samples_need() -> None:
    assert Capability.HIDDEN_OUT not in choose("vote").needs
    assert Capability.HIDDEN_OUT | Capability.FORK in choose("vote", {"of": "coconut"}).needs


def test_what_is_asked_for_lies_over_what_the_bundle_recommends() -> None:
    bundle = recommends(threshold=0.25, draft_tokens=4)
    assert choose("auto").config.threshold is None
    assert choose("auto", bundle=bundle).config.threshold == 0.25
    config = choose("auto", {"draft-tokens": 9}, bundle).config
    assert (config.threshold, config.draft_tokens) == (0.25, 9)


def test_a_wrong_recommendation_is_the_bundles_fault() -> None:
    with pytest.raises(BundleError, match=r"recommends: unknown option of auto 'treshold'"):
        choose("auto", bundle=recommends(treshold=1))
    with pytest.raises(UsageError, match=r"unknown option of auto 'treshold'"):
        choose("auto", {"treshold": 1})
