"""Options as dataclasses: built from dicts, TOML, `key=value` strings and the environment.

An option is declared once, as a dataclass field with its type, default and `metadata={"help":
...}`; the CLI, the server's schema and the docs derive from `fields_of`. An unknown key is an error
with a suggestion. The range of a value is the dataclass's own affair (`__post_init__`). The only
module that reads the environment.
"""

from __future__ import annotations

import difflib
import numbers
import os
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, Final, TypeVar

from edgereason import files
from edgereason.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")

REQUIRED: Final = MISSING
"""Default of an option that has none."""

_PREFIX: Final = "EDGEREASON_"
_TRUE: Final = ("1", "true", "yes", "on")
_FALSE: Final = ("0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class Option:
    """One field of a config: what the CLI, the server and the docs need of it."""

    name: str
    type: Any
    default: Any
    help: str

    @property
    def type_name(self) -> str:
        """For people: `int`, `float or none`, `think|answer`, `int,...`."""
        return _type_name(self.type)


MOST: Final = 2**31 - 1
"""The largest number that the native core takes."""
ABOVE_0: Final = sys.float_info.min
"""The lower end of a range whose numbers must be more than 0."""


def require_ranges(config: object, **ranges: tuple[float, float]) -> None:
    """For `__post_init__`: each named field lies within its range, ends included."""
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        if low <= value <= high:
            continue
        least = "more than 0" if low == ABOVE_0 else f"{low} or more"
        wanted = least if high >= MOST and not value > high else f"in [{low}, {high}]"
        raise UsageError(f"{name} must be {wanted}, got {value}")


def fields_of(config: type) -> tuple[Option, ...]:
    """The options of a dataclass, in order."""
    hints = _hints(config)
    return tuple(
        Option(f.name, hints[f.name], _default(f), str(f.metadata.get("help", "")))
        for f in fields(config)
        if f.init
    )


def build(
    config: type[T], values: Mapping[str, Any], *, what: str = "option", where: str = ""
) -> T:
    """Makes a `config` from a dict. Strings become what the field is declared as.

    Keys may be written with `-` for `_`. Raises `UsageError` on an unknown key, a missing one, or a
    value that does not fit its type; `what` names a key in it, `where` is the path to a table
    inside others.
    """
    hints = _hints(config)
    known = [f.name for f in fields(config) if f.init]  # type: ignore[arg-type]  # any dataclass
    prefix = f"{where}." if where else ""
    given: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in known:
            raise unknown(f"unknown {what}", prefix + key, known)
        if name in given:
            raise UsageError(f"{prefix}{name} is given twice")
        given[name] = _coerced(value, hints[name], f"{prefix}{name}")
    missing = [
        f.name
        for f in fields(config)  # type: ignore[arg-type]  # any dataclass
        if f.init and f.name not in given and _default(f) is REQUIRED
    ]
    if missing:
        raise UsageError(f"{what} {prefix}{missing[0]} must be given")
    return config(**given)


_MOST_SHOWN: Final = 200  # characters of a wrong value
_INT32: Final = (-(2**31), 2**31 - 1)


def check_types(record: Any, *, wide: Sequence[str] = ()) -> None:
    """Raises `UsageError` where a dataclass holds what its fields are not declared as, or a whole
    number that the core's 32 bits cannot; those of `wide` may be larger."""
    for name, kind in _hints(type(record)).items():
        value = getattr(record, name)
        if not _check_of(kind)(value):
            raise _wrong(value, kind, name)
        if kind is int and name not in wide and not _INT32[0] <= value <= _INT32[1]:
            raise UsageError(f"{name} must fit 32 bits, got {value}")


@cache
def _check_of(kind: Any) -> Callable[[Any], bool]:  # noqa: PLR0911  # one return a kind
    """What tells whether a value is of a declared kind. Kept: each request has forty fields."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return lambda value: True
    if origin in (typing.Union, types.UnionType):
        checks = [_check_of(arg) for arg in args]
        return lambda value: any(check(value) for check in checks)
    if origin is tuple:
        item = _check_of(args[0])
        return lambda value: isinstance(value, tuple) and all(map(item, value))
    if origin is not None:
        return partial(_is_mapping_of, *map(_check_of, args))
    if kind in (int, float):
        return partial(_is_number, kind)
    if kind is str:
        return lambda value: isinstance(value, str) and _is_text(value)
    return lambda value: isinstance(value, kind)


def _is_mapping_of(key: Callable[[Any], bool], item: Callable[[Any], bool], value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    return all(key(name) and item(one) for name, one in value.items())


def _is_number(kind: type, value: Any) -> bool:
    """Other libraries have numbers of their own; a bool is none."""
    if type(value) is kind:
        return True
    abstract = numbers.Integral if kind is int else numbers.Real
    return isinstance(value, abstract) and not isinstance(value, bool)


def _is_text(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    return True


def unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not one of `known`: it names the nearest, and all."""
    known = sorted(known)
    near = difflib.get_close_matches(name.rpartition(".")[2], known, n=1, cutoff=0.5)
    there = f"known: {', '.join(known)}" if known else "there are none"
    return UsageError(f"{what} {name!r}", f"did you mean {near[0]!r}? {there}" if near else there)


def assignments(pairs: Sequence[str]) -> dict[str, str]:
    """`["waits=3", "temperature=0.6"]` as a dict."""
    values: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key:
            raise UsageError(f"expected key=value, got {pair!r}")
        if key in values:
            raise UsageError(f"{key} is given twice")
        values[key] = value.strip()
    return values


def load_toml(path: Path) -> dict[str, Any]:
    return parse_toml(files.read_given(path), str(path))


def parse_toml(text: str, where: str) -> dict[str, Any]:
    try:
        data: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where} is not TOML: {error}") from None
    return data


# --- the environment ------------------------------------------------------------------------------


def env_name(flag: str) -> str:
    """The environment twin of a flag: `--think-budget` is `EDGEREASON_THINK_BUDGET`."""
    return _PREFIX + flag.lstrip("-").replace("-", "_").upper()


def env(flag: str) -> str | None:
    """The value of a flag's environment twin; an empty one counts as not set."""
    return os.environ.get(env_name(flag)) or None


def completing() -> bool:
    """Whether a shell has started the program to ask how a command line may go on."""
    return "_EDGEREASON_COMPLETE" in os.environ


def env_values(config: type) -> dict[str, str]:
    """What the environment says about the options of a dataclass, for `build`."""
    found = {option.name: env(option.name) for option in fields_of(config)}
    return {name: value for name, value in found.items() if value is not None}


def child_environment(**changes: str) -> dict[str, str]:
    """The environment for a child process."""
    return {**os.environ, **changes}


def preset_environment(name: str, value: str) -> None:
    """Sets a variable that a library reads when it is loaded, unless the user has set it."""
    os.environ.setdefault(name, value)


def folder_named(variable: str) -> Path | None:
    """The folder that a variable of another program names; None where it is not set."""
    value = os.environ.get(variable)
    return Path(value).expanduser() if value else None


def cache_dir() -> Path:
    """Where models are kept: `EDGEREASON_CACHE`, or the user's cache folder."""
    chosen = env("cache")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "edgereason"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "edgereason"
    base = os.environ.get("XDG_CACHE_HOME") or ""
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "edgereason"


def measured_dir() -> Path:
    """Where measurements of models are kept: `EDGEREASON_MEASURED`, or a folder of the cache."""
    chosen = env("measured")
    return Path(chosen).expanduser() if chosen else cache_dir() / "measured"


# --- values to types ------------------------------------------------------------------------------


_hints: Callable[[Any], dict[str, Any]] = lru_cache(maxsize=256)(typing.get_type_hints)


def _default(item: Any) -> Any:
    if item.default is not MISSING:
        return item.default
    return item.default_factory() if item.default_factory is not MISSING else REQUIRED


def _coerced(value: Any, kind: Any, where: str) -> Any:  # noqa: PLR0911  # one return a kind
    """`value` as `kind`, or a UsageError that names both."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _one_of(value, args, where)
    if origin is typing.Literal:
        return _choice(value, {str(arg): arg for arg in args}, where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return value if isinstance(value, kind) else _choice(value, _members(kind), where)
    if origin is tuple:
        return _sequence(value, args, where)
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(value, args or (Any, Any), where)
    if is_dataclass(kind) and isinstance(kind, type):
        if isinstance(value, kind):
            return value
        return build(kind, _as_mapping(value, where), what="key", where=where)
    return _scalar(value, kind, where)


def _scalar(value: Any, kind: Any, where: str) -> Any:
    if kind is bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in _TRUE + _FALSE:
            return value.lower() in _TRUE
    elif kind in (int, float) and isinstance(value, (int, float, str)):
        if not isinstance(value, bool):
            try:
                number = kind(value)
            except (ValueError, OverflowError):
                raise _wrong(value, kind, where) from None
            if isinstance(value, str) or number == value:
                return number
    elif kind is str and isinstance(value, str):
        return value
    elif kind is Path and isinstance(value, (str, Path)):
        return Path(value)
    raise _wrong(value, kind, where)


def _one_of(value: Any, kinds: Sequence[Any], where: str) -> Any:
    if type(None) in kinds and (value is None or (value in ("none", "") and str not in kinds)):
        return None
    rest = [kind for kind in kinds if kind is not type(None)]
    for kind in rest[:-1]:
        try:
            return _coerced(value, kind, where)
        except UsageError:
            continue
    return _coerced(value, rest[-1], where)


def _choice(value: Any, choices: Mapping[str, Any], where: str) -> Any:
    if str(value) in choices:
        return choices[str(value)]
    raise UsageError(f"{where} must be one of {', '.join(choices)}, got {value!r}")


def _members(kind: type[Enum]) -> dict[str, Enum]:
    return {str(member.value): member for member in kind}


def _sequence(value: Any, args: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")] if value.strip() else []
    if not isinstance(value, (list, tuple)):
        raise _wrong(value, tuple, where)
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_coerced(item, args[0], f"{where}[{i}]") for i, item in enumerate(value))
    if len(value) != len(args):
        raise UsageError(f"{where} needs {len(args)} values, got {len(value)}")
    pairs = zip(value, args, strict=True)
    return tuple(_coerced(item, kind, f"{where}[{i}]") for i, (item, kind) in enumerate(pairs))


def _mapping(value: Any, kinds: Sequence[Any], where: str) -> dict[Any, Any]:
    return {
        _coerced(key, kinds[0], f"a key of {where}"): _coerced(item, kinds[1], f"{where}.{key}")
        for key, item in _as_mapping(value, where).items()
    }


def _as_mapping(value: Any, where: str) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise _wrong(value, dict, where)


def _wrong(value: Any, kind: Any, where: str) -> UsageError:
    shown = repr(value)
    shown = shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}..."
    named = _ARTICLES.get(kind) or _type_name(kind)
    if typing.get_origin(kind) is tuple:
        named = f"a list of {_type_name(typing.get_args(kind)[0])}"
    return UsageError(f"{where} must be {named}, got {shown}")


_ARTICLES: Final[Mapping[Any, str]] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    tuple: "a list",
    dict: "a table",
    Path: "a path",
}


def _type_name(kind: Any) -> str:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        names = [_type_name(arg) for arg in args if arg is not type(None)]
        return " or ".join(names + ["none"] * (type(None) in args))
    if origin is typing.Literal:
        return "|".join(map(str, args))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(_members(kind))
    if origin is tuple:
        return f"{_type_name(args[0])},..." if Ellipsis in args else ",".join(map(_type_name, args))
    return getattr(kind, "__name__", str(kind))
