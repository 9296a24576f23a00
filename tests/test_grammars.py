"""Grammars as values."""

from __future__ import annotations

import json

import pytest

from edgereason.errors import UsageError
from edgereason.grammars import Form, Grammar
from edgereason.keywords import request_of


def test_a_schema_may_be_a_dict_or_its_text() -> None:
    schema = {"type": "object", "properties": {"b": {}, "a": {}}}
    made = Grammar.json(schema)
    assert made == Grammar.json(json.dumps(schema))
    assert made.form is Form.JSON
    assert made.is_json
    assert list(json.loads(made.text)["properties"]) == ["b", "a"]  # the order counts
    assert Grammar.json() == Grammar.json({"type": "object"})


def test_what_a_schema_says_of_blanks_holds() -> None:
    told = json.loads(Grammar.json({"x-guidance": {"whitespace_flexible": True}}).text)
    assert told["x-guidance"]["whitespace_flexible"] is True
    assert told["x-guidance"]["item_separator"] == ", "


def test_texts_of_a_choice_are_quoted() -> None:
    assert Grammar.choice('a"b', "c").text == r'start: "a\"b" | "c"'
    assert not Grammar.choice("a").is_json


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Grammar.json("{"), "the JSON schema is not JSON"),
        (lambda: Grammar.json("[]"), "a JSON schema is an object, got list"),
        (
            lambda: Grammar.json({"x-guidance": 3}),
            "x-guidance of a JSON schema is an object, got 3",
        ),
        (lambda: Grammar.json({"minimum": float("nan")}), "cannot be written as JSON"),
        (lambda: Grammar.json({"a": {1, 2}}), "cannot be written as JSON"),
        (Grammar.choice, "a choice is between texts that are not empty"),
        (lambda: Grammar.choice("a", ""), "a choice is between texts that are not empty"),
        (lambda: Grammar.regex(""), "a regular expression must not be empty"),
        (lambda: Grammar.lark("x" * (1 << 21)), "1048576 characters at most, got 2097152"),
        (lambda: Grammar.regex("(" * 101), "100 deep at most, got 101"),
        (lambda: Grammar.json('{"a":' * 150 + "1" + "}" * 150), "100 deep at most"),
        (lambda: Grammar.json('{"a":' * 9999), "the JSON schema is not JSON"),
        (lambda: Grammar.regex("\ud800"), "text"),
    ],
)
def test_what_is_no_grammar(make, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


def test_a_grammar_and_stop_texts_exclude_each_other() -> None:
    assert request_of("Hi", grammar=Grammar.json()).grammar == Grammar.json()
    with pytest.raises(UsageError, match="ends where that does, not at a stop text"):
        request_of("Hi", grammar=Grammar.json(), stop=["x"])
