"""Dicts, strings and the environment to dataclasses, and what is said about wrong ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from edgereason import config
from edgereason.errors import UsageError
from edgereason.keywords import request_of
from edgereason.records import Message, Sampling


class Color(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Inner:
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Options:
    name: str
    waits: int = field(default=2, metadata={"help": "how often to refuse an early stop"})
    threshold: float | None = None
    early_stop: bool = True
    stops: tuple[str, ...] = ()
    pair: tuple[int, float] = (1, 2.0)
    color: Color = Color.RED
    mode: Literal["fast", "good"] = "fast"
    inner: Inner = field(default_factory=Inner)
    costs: Mapping[int, float] = field(default_factory=dict)
    where: Path | None = None
    title: str | None = None
    count: int | str = 0

    def __post_init__(self) -> None:
        if self.waits < 0:
            raise UsageError(f"waits must be 0 or more, got {self.waits}")


def built(**values: Any) -> Options:
    return config.build(Options, {"name": "x", **values})


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("waits", "3", 3),
        ("waits", 3, 3),
        ("waits", 3.0, 3),
        ("threshold", "0.5", 0.5),
        ("threshold", 1, 1.0),
        ("threshold", "none", None),
        ("threshold", None, None),
        ("early_stop", "false", False),
        ("early_stop", "ON", True),
        ("early_stop", False, False),
        ("stops", "a, b", ("a", "b")),
        ("stops", "", ()),
        ("stops", ["a,b"], ("a,b",)),
        ("pair", "3, 4", (3, 4.0)),
        ("color", "blue", Color.BLUE),
        ("color", Color.BLUE, Color.BLUE),
        ("mode", "good", "good"),
        ("inner", {"depth": "7"}, Inner(7)),
        ("inner", Inner(7), Inner(7)),
        ("costs", {"5": "0.5"}, {5: 0.5}),
        ("where", "a/b", Path("a/b")),
        ("title", "none", "none"),  # text is not taken for a keyword
        ("count", "7", 7),
        ("count", "many", "many"),
    ],
)
def test_values_become_what_the_field_is(name: str, given: Any, expected: Any) -> None:
    found = getattr(built(**{name: given}), name)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("waits", "three", "waits must be a whole number, got 'three'"),
        ("waits", 2.5, "waits must be a whole number, got 2.5"),
        ("waits", True, "waits must be a whole number, got True"),
        ("waits", [1], "waits must be a whole number"),
        ("waits", "9" * 5000, "waits must be a whole number"),
        ("waits", float("inf"), "waits must be a whole number, got inf"),
        ("waits", -1, "waits must be 0 or more, got -1"),
        ("threshold", "high", "threshold must be a number"),
        ("early_stop", "maybe", "early_stop must be true or false"),
        ("early_stop", 1, "early_stop must be true or false"),
        ("stops", 5, "stops must be a list"),
        ("stops", [5], r"stops\[0\] must be text"),
        ("pair", "3", "pair needs 2 values, got 1"),
        ("color", "green", "color must be one of red, blue, got 'green'"),
        ("mode", "bad", "mode must be one of fast, good"),
        ("inner", 5, "inner must be a table"),
        ("inner", {"deep": 5}, "unknown key 'inner.deep'"),
        ("costs", {"x": 1}, "a key of costs must be a whole number"),
        ("where", 5, "where must be a path"),
    ],
)
def test_wrong_values_are_named(name: str, given: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        built(**{name: given})


def test_an_unknown_key_has_a_suggestion() -> None:
    with pytest.raises(UsageError, match="unknown option of vote 'wiats'") as raised:
        config.build(Options, {"name": "x", "wiats": 3}, what="option of vote")
    assert raised.value.hint.startswith("did you mean 'waits'? known: color, ")


def test_keys_may_have_dashes_but_come_once() -> None:
    assert built(**{"early-stop": "no"}).early_stop is False
    with pytest.raises(UsageError, match="early_stop is given twice"):
        built(**{"early-stop": "no", "early_stop": "no"})


def test_a_missing_value_is_named() -> None:
    with pytest.raises(UsageError, match="option name must be given"):
        config.build(Options, {})


def test_fields_of_says_what_a_flag_needs() -> None:
    options = {option.name: option for option in config.fields_of(Options)}
    assert options["waits"].help == "how often to refuse an early stop"
    assert options["waits"].default == 2
    assert options["name"].default is config.REQUIRED
    assert options["inner"].default == Inner()
    names = {name: option.type_name for name, option in options.items()}
    assert names["threshold"] == "float or none"
    assert names["stops"] == "str,..."
    assert names["pair"] == "int,float"
    assert names["color"] == "red|blue"
    assert names["mode"] == "fast|good"


def test_assignments() -> None:
    assert config.assignments(["a-b=1", "c = x=y"]) == {"a_b": "1", "c": "x=y"}
    for wrong in ("a", "=1"):
        with pytest.raises(UsageError, match="expected key=value, got"):
            config.assignments([wrong])
    with pytest.raises(UsageError, match="a_b is given twice"):
        config.assignments(["a-b=1", "a_b=2"])


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.env_name("--think-budget") == "EDGEREASON_THINK_BUDGET"
    monkeypatch.setenv("EDGEREASON_WAITS", "5")
    monkeypatch.setenv("EDGEREASON_MODE", "")
    assert config.env("--waits") == "5"
    assert config.env_values(Options) == {"waits": "5"}
    assert built(**config.env_values(Options)).waits == 5
    assert config.child_environment(A="b")["A"] == "b"


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEREASON_CACHE", str(tmp_path / "mine"))
    assert config.cache_dir() == tmp_path / "mine"
    monkeypatch.delenv("EDGEREASON_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert config.cache_dir() == tmp_path / "edgereason"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # not allowed by its specification
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config.cache_dir() == tmp_path / ".cache" / "edgereason"


def test_toml(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("waits = 3\n")
    assert config.load_toml(path) == {"waits": 3}
    path.write_text("waits = \n")
    with pytest.raises(UsageError, match=r"a.toml is not TOML"):
        config.load_toml(path)
    with pytest.raises(UsageError, match=r"cannot read .*b.toml: No such file"):
        config.load_toml(tmp_path / "b.toml")


# --- values of the API ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"answer_budget": 2**31}, "answer_tokens must fit 32 bits, got 2147483648"),
        ({"think_budget": 10**30}, "think_tokens must fit 32 bits"),
        ({"probe_every": 2**40}, "probe_every must fit 32 bits"),
        ({"answer_budget": "8"}, "answer_tokens must be a whole number, got '8'"),
        ({"answer_budget": 8.0}, "answer_tokens must be a whole number"),
        ({"answer_budget": True}, "answer_tokens must be a whole number"),
        ({"deadline_ms": "soon"}, "deadline_ms must be float or none"),
        ({"soft": None}, "soft must be a number, got None"),
        ({"strategy": 3}, "strategy must be text, got 3"),
        ({"stop": "end"}, "stop must be a list of str, got 'end'"),
        ({"stop": ("end", "")}, "a text that ends the answer must not be empty"),
        ({"stop": (3,)}, "stop must be a list"),
        ({"options": [1]}, "options must be Mapping"),
        ({"sampling": {"temperature": 1}}, "sampling must be Sampling or none"),
        ({"prefix": b"x"}, "prefix must be str or none"),
    ],
)
def test_what_a_request_is_given_is_of_its_type(keywords: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        request_of("Hi", **keywords)


def test_texts_that_are_none() -> None:
    with pytest.raises(UsageError, match="content must be text"):
        Message("user", "\ud800")
    with pytest.raises(UsageError, match="a prompt is a text or a list of messages, got 3"):
        request_of(3)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(UsageError, match="messages must be a list"):
        request_of([3])  # type: ignore[list-item]  # on purpose
    long = "x" * 10_000
    with pytest.raises(UsageError) as raised:
        request_of("Hi", priority=long)  # type: ignore[arg-type]  # on purpose
    assert len(str(raised.value)) < 400


def test_numbers_of_numpy_are_numbers() -> None:
    request = request_of("Hi", answer_budget=np.int64(5), soft=np.float32(0.5))  # type: ignore[arg-type]  # nearly
    assert request.budget.answer_tokens == 5
    assert Sampling(seed=2**63).seed == 2**63
