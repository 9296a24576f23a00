"""Tables of fields: what is taken, refused, ignored, and what disagrees."""

from __future__ import annotations

from typing import Any

import pytest

from edgereason.server.errors import ApiError
from edgereason.server.fields import (
    HARMLESS,
    OTHERS,
    Means,
    Only,
    Table,
    boolean,
    number,
    read,
    text,
    texts,
    whole,
)

TABLE: Table = {
    "limit": Means("limit", whole(1)),
    "max_limit": Means("limit", whole(1)),
    "user": HARMLESS,
    "n": Only((1,), "one is given"),
    "inner": {"limit": Means("limit", whole(1)), "on": Means("on", boolean)},
    "closed": {OTHERS: Only((), "none is known")},
}


def refusal(body: Any, **options: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read(body, TABLE, **options)
    assert caught.value.status == 400
    return caught.value


def test_names_of_one_meaning_agree() -> None:
    given = read({"limit": 3, "max_limit": 3, "inner": {"limit": 3, "on": False}}, TABLE)
    assert given.get("limit") == 3
    assert given.get("on") is False
    assert given.get("absent") is None
    assert given.ignored == []


def test_two_that_disagree_are_both_named() -> None:
    error = refusal({"limit": 3, "inner": {"limit": 4}})
    assert error.code == "conflicting_parameters"
    assert error.param == "limit, inner.limit"
    assert error.message == "limit says 3 and inner.limit says 4 (send one of them)"


def test_null_is_not_given() -> None:
    given = read({"limit": None, "n": None, "inner": None, "what": None}, TABLE)
    assert (given.values, given.ignored) == ({}, [])


def test_harmless_and_unheard_of_names_are_listed() -> None:
    given = read({"user": "a", "brand_new": 1, "inner": {"newer": 2}}, TABLE)
    assert given.ignored == ["user", "brand_new", "inner.newer"]


@pytest.mark.parametrize(
    ("body", "options", "said"),
    [
        ({"n": 2}, {}, "n=2 is not supported: one is given"),
        ({"n": True}, {}, "n=true is not supported: one is given"),
        ({"n": 1.0}, {}, "n=1.0 is not supported: one is given"),
        ({"limmit": 3}, {}, 'unknown field "limmit" (did you mean limit?)'),
        ({"brand_new": 3}, {"reject_unknown": True}, 'unknown field "brand_new"'),
        ({"closed": {"any": 0}}, {}, "closed.any=0 is not supported: none is known"),
        ({"inner": 3}, {}, "inner must be an object, got 3"),
        ({"limit": True}, {}, "limit must be a whole number from 1 to 2147483647, got true"),
        ({"limit": 0}, {}, "limit must be a whole number from 1 to 2147483647, got 0"),
        ([], {}, "the body must be a JSON object, got []"),
        (None, {}, "the body must be a JSON object, got null"),
    ],
)
def test_refusals_name_the_value(body: Any, options: Any, said: str) -> None:
    assert refusal(body, **options).message == said


def test_extra_body_is_a_mistake() -> None:
    assert "put its fields into the body" in refusal({"extra_body": {"limit": 3}}).message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 2.1, "1", True])
def test_numbers_are_finite_and_in_range(value: Any) -> None:
    with pytest.raises(ApiError):
        number(0, 2)(value, "temperature")


@pytest.mark.parametrize("value", ["", [""], [1], 3, {}, ["a"] * 65])
def test_lists_of_texts_are_checked(value: Any) -> None:
    with pytest.raises(ApiError):
        texts(value, "stop")


def test_half_a_character_is_refused() -> None:
    with pytest.raises(ApiError, match="half of a character"):
        text("\ud800", "prompt")
