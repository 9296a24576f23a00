r"""What an answer must look like, as a value.

    Grammar.json({"type": "object", "properties": {"age": {"type": "integer"}}})
    Grammar.json()                                # any JSON object
    Grammar.choice("left", "right")
    Grammar.regex(r"\d{4}-\d{2}-\d{2}")
    Grammar.gbnf('root ::= "yes" | "no"')         # as llama.cpp writes grammars
    Grammar.lark('start: "yes" | "no"')           # as llguidance writes them

Plain data: what it comes to is seen when a model compiles it (`runtime/grammars.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from edgereason.config import check_types
from edgereason.errors import UsageError

_MOST_BYTES: Final = 1 << 20
_MOST_DEPTH: Final = 100  # what parsers of others recurse into
_OPENING: Final = "([{"
_CLOSING: Final = ")]}"

# One way to write JSON, the way most models do: a blank more or less is no decision of theirs.
_LAYOUT: Final = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class Form(Enum):
    """In which language a grammar is written."""

    JSON = "JSON schema"
    REGEX = "regular expression"
    LARK = "Lark grammar"
    GBNF = "GBNF grammar"


@dataclass(frozen=True, slots=True)
class Grammar:
    """Made by one of the functions below. Equal values are the same grammar."""

    form: Form
    text: str

    def __post_init__(self) -> None:
        check_types(self)
        if not self.text:
            raise UsageError(f"a {self.form.value} must not be empty")
        if len(self.text) > _MOST_BYTES:
            raise UsageError(
                f"a {self.form.value} has {_MOST_BYTES} characters at most, got {len(self.text)}"
            )
        depth = _depth(self.text)
        if depth > _MOST_DEPTH:
            raise UsageError(
                f"the brackets of a {self.form.value} are {_MOST_DEPTH} deep at most, got {depth}"
            )

    @property
    def is_json(self) -> bool:
        """Its texts are JSON, which can be closed wherever it is cut."""
        return self.form is Form.JSON

    @classmethod
    def json(cls, schema: Mapping[str, Any] | str | None = None) -> Grammar:
        """JSON that is valid under a schema (draft 2020-12), a dict or its text; None: any object.

        Properties come in the order of the schema. `"x-guidance"` in it sets blanks otherwise, as
        llguidance's manual says.
        """
        if schema is None:
            schema = {"type": "object"}
        if isinstance(schema, str):
            schema = _parsed(schema)
        if not isinstance(schema, Mapping):
            raise UsageError(f"a JSON schema is an object, got {type(schema).__name__}")
        own = schema.get("x-guidance", {})
        if not isinstance(own, Mapping):
            raise UsageError(f"x-guidance of a JSON schema is an object, got {own!r:.40}")
        try:
            text = json.dumps({**schema, "x-guidance": {**_LAYOUT, **own}}, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise UsageError(f"the JSON schema cannot be written as JSON: {error}") from None
        return cls(Form.JSON, text)

    @classmethod
    def choice(cls, *texts: str) -> Grammar:
        """One of these texts."""
        if not texts or not all(isinstance(text, str) and text for text in texts):
            raise UsageError(f"a choice is between texts that are not empty, got {texts!r:.80}")
        return cls(Form.LARK, f"start: {' | '.join(map(json.dumps, texts))}")

    @classmethod
    def regex(cls, pattern: str) -> Grammar:
        """A text that the whole of the pattern matches; Rust's syntax, without look-around."""
        return cls(Form.REGEX, pattern)

    @classmethod
    def lark(cls, text: str) -> Grammar:
        """llguidance's variant of Lark; its first rule is `start`."""
        return cls(Form.LARK, text)

    @classmethod
    def gbnf(cls, text: str) -> Grammar:
        """A grammar as llama.cpp writes it; its first rule is `root`."""
        return cls(Form.GBNF, text)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"the JSON schema is not JSON: {error}", 'such as {"type": "object"}'
        ) from None


def _depth(text: str) -> int:
    """How deep brackets are nested; those in texts count as well, so that it may be too many."""
    depth = deepest = 0
    for char in text:
        depth += (char in _OPENING) - (char in _CLOSING)
        deepest = max(deepest, depth)
    return deepest
