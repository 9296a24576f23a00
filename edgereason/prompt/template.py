"""Chat templates: Jinja2 rendered as Hugging Face `transformers` renders it, in a sandbox that also
bounds the work.

A template is a program that came with a model, so it is not trusted: it reaches no attribute of
Python's own, and the time it takes and the texts it builds are limited. Messages are plain dicts
here; nothing is known of reasoning.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from functools import lru_cache, wraps
from typing import Any, Final, NoReturn

import jinja2
import jinja2.ext
import jinja2.meta
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.parser import Parser
from jinja2.runtime import Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from edgereason.errors import BundleError, UsageError

MAX_SECONDS: Final = 5.0
MAX_LENGTH: Final = 1 << 22
"""Longest text or list a template may build; the longest prompt, too."""
MAX_NUMBER: Final = 1 << 20
"""Largest integer a template may pass to a function, where it may be a width or a count."""
_MAX_BITS: Final = 1 << 12
_SUM_FACTOR: Final = 1 << 8  # copying an element is that much cheaper than keeping a character

# Functions and filters whose integers are counts and widths.
_COUNTING: Final = frozenset(
    {"batch", "center", "expandtabs", "indent", "ljust", "rjust", "slice", "tojson", "truncate"}
    | {"wordwrap", "zfill"}
)
_WIDE_FIELD: Final = re.compile(r"%(?:\([^)]*\))?[^a-zA-Z%]*\d{7}|\{[^{}]*:[^{}]*\d{7}")
_WIDTH_ARGUMENT: Final = re.compile(r"%[^a-zA-Z%]*\*|\{[^{}]*\{")


class _LimitError(Exception):
    """The template did more than any chat template needs."""


class _RefusedError(Exception):
    """The template's own `raise_exception`: it does not take these messages."""


_until: ContextVar[float] = ContextVar(
    "until"
)  # time.monotonic() at which this rendering is given up


def render_text(template: str, variables: Mapping[str, Any]) -> str:
    """Renders a template.

    Raises `UsageError` where the template refuses the messages, `BundleError` where it is wrong.
    """
    data = {name: _plain(value) for name, value in variables.items()}
    token = _until.set(time.monotonic() + MAX_SECONDS)
    try:
        return "".join(_bounded_output(_compile(template), data))
    except _RefusedError as error:
        raise UsageError(f"the chat template refuses these messages: {error}") from None
    except _LimitError as error:
        raise _bad_template(f"does too much: {error}") from None
    except jinja2.TemplateSyntaxError as error:
        raise _bad_template(f"has an error in line {error.lineno}: {error.message}") from None
    except SecurityError as error:
        raise _bad_template(f"tries what it must not: {error}") from None
    except (RecursionError, MemoryError) as error:
        raise _bad_template(f"does too much: {type(error).__name__}") from None
    except Exception as error:  # any Python error a template can provoke
        raise _bad_template(f"fails: {type(error).__name__}: {error}") from None
    finally:
        _until.reset(token)


@lru_cache(maxsize=64)
def variables_of(template: str) -> frozenset[str]:
    """Names the template reads but does not set; empty for one that does not parse."""
    try:
        return frozenset(jinja2.meta.find_undeclared_variables(_Sandbox().parse(template)))
    except (jinja2.TemplateError, RecursionError):
        return frozenset()


@lru_cache(maxsize=64)
def literals_of(template: str) -> str:
    """All text the template can write by itself, parted by NUL; "" for one that does not parse."""
    try:
        tree = _Sandbox().parse(template)
    except (jinja2.TemplateError, RecursionError):
        return ""
    texts = [node.data for node in tree.find_all(nodes.TemplateData)]
    texts += [node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str)]
    return "\0".join(texts)


def _bad_template(what: str) -> BundleError:
    return BundleError(
        f"the model's chat template {what}", "see it with: edgereason show MODEL --json"
    )


def _bounded_output(template: jinja2.Template, data: Mapping[str, Any]) -> list[str]:
    pieces, length = [], 0
    for piece in template.generate(**data):
        _tick()
        length += len(piece)
        if length > MAX_LENGTH:
            raise _LimitError(f"its output is longer than {MAX_LENGTH:,} characters")
        pieces.append(piece)
    return pieces


def _plain(value: Any) -> Any:
    """A copy in plain JSON types: the sandbox does not know which methods of others do harm."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, str):  # an Enum of strings, say
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    raise UsageError(f"a chat template takes JSON data, got {type(value).__name__}")


# --- limits ---------------------------------------------------------------------------------------


def _tick() -> str:
    if time.monotonic() > _until.get():
        raise _LimitError(f"it runs longer than {MAX_SECONDS:g} s")
    return ""


def _check_length(length: int) -> None:
    if length > MAX_LENGTH:
        raise _LimitError(f"it builds a value of length {length:,}")


def _sized(value: Any) -> Any:
    if isinstance(value, (str, list, tuple, dict)):
        _check_length(len(value))
    return value


def _weight(value: Any) -> int:
    """How much text a value could turn into; of a dict, its longest entry."""
    if isinstance(value, (str, list, tuple)):
        return len(value)
    if isinstance(value, dict):
        return max(map(_weight, value.values()), default=0)
    return 16  # a number


def _check_call(name: str, subject: Any, args: Sequence[Any]) -> None:
    """Refuses, before it runs, a call whose result could be far longer than what goes in."""
    if name in _COUNTING:
        _check_numbers(name, args)
    if name == "replace" and len(args) >= 2:
        _check_length(str(subject).count(str(args[0])) * len(str(args[1])))
    elif name == "join" and isinstance(subject, (str, list, tuple)):
        separator = max(map(_weight, args), default=0)
        _check_length(sum(map(_weight, subject)) + separator * len(subject))
    elif name == "sum" and isinstance(subject, (list, tuple)):  # of lists it copies all, each time
        num_items = sum(len(item) for item in subject if isinstance(item, (list, tuple)))
        _check_length(len(subject) * num_items // _SUM_FACTOR)
    elif name in ("format", "format_map", "%") and isinstance(subject, str):
        _check_format(subject, args)


def _check_numbers(name: str, args: Sequence[Any]) -> None:
    for value in args:
        if isinstance(value, int) and abs(value) > MAX_NUMBER:
            raise _LimitError(f"it asks {name} for {value:,}")


def _check_format(pattern: str, args: Sequence[Any]) -> None:
    if _WIDE_FIELD.search(pattern):
        raise _LimitError("it asks for a very wide field")
    if _WIDTH_ARGUMENT.search(pattern):
        _check_numbers("format", args)
    num_fields = pattern.count("%") + pattern.count("{")
    _check_length(num_fields * max(map(_weight, args), default=0))


def _bounded_filter(name: str, run: Callable[..., Any]) -> Callable[..., Any]:
    first = 1 if hasattr(run, "jinja_pass_arg") else 0  # where the filtered value stands

    @wraps(run)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        _tick()
        if name in ("join", "sum") and not isinstance(args[first], (str, list, tuple)):
            args = (*args[:first], list(args[first]), *args[first + 1 :])
        _check_call(name, args[first], (*args[first + 1 :], *kwargs.values()))
        return _sized(run(*args, **kwargs))

    return bounded


class _Code(CodeGenerator):
    """Jinja's compiler, with `~` going through a function that looks at the length."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.concat_bounded((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


class _Sandbox(ImmutableSandboxedEnvironment):
    """Renders what `transformers` renders, within the limits above."""

    code_generator_class = _Code
    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_Generation, jinja2.ext.loopcontrols],
        )
        self.filters = {name: _bounded_filter(name, run) for name, run in self.filters.items()}
        self.filters["tojson"] = _bounded_filter("tojson", _tojson)
        del self.globals["lipsum"]  # filler text at any length
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = _strftime_now
        self.globals["dict"] = _Dict()
        self.globals["namespace"] = _Namespace

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        kinds: tuple[type[nodes.For | nodes.Macro], ...] = (nodes.For, nodes.Macro)
        for node in source.find_all(kinds):
            tick = nodes.Call(nodes.EnvironmentAttribute("tick"), [], [], None, None)
            node.body.insert(0, nodes.ExprStmt(tick).set_lineno(node.lineno))
        return super()._generate(source, *args, **kwargs)

    @staticmethod
    def tick() -> str:
        return _tick()

    @staticmethod
    def concat_bounded(parts: Sequence[Any]) -> str:
        texts = [str(part) for part in parts]
        _check_length(sum(map(len, texts)))
        return "".join(texts)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        _check_binop(operator, left, right)
        return _sized(super().call_binop(context, operator, left, right))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        run = super().wrap_str_format(value)
        if run is None:
            return None

        @wraps(run)
        def bounded(*args: Any, **kwargs: Any) -> str:
            _check_call("format", value.__self__, (*args, *kwargs.values()))
            return str(_sized(run(*args, **kwargs)))

        return bounded

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(obj, (Macro, type)):
            name, subject = getattr(obj, "__name__", ""), getattr(obj, "__self__", None)
            if name == "join" and len(args) == 1:  # SEPARATOR.join(items)
                items = args[0] if isinstance(args[0], (str, list, tuple)) else list(args[0])
                _check_call(name, items, (subject,))
                args = (items,)
            else:
                _check_call(name, subject, (*args, *kwargs.values()))
        return _sized(super().call(context, obj, *args, **kwargs))


def _check_binop(op: str, left: Any, right: Any) -> None:
    if op == "%" and isinstance(left, str):
        _check_call("%", left, right if isinstance(right, tuple) else [right])
    elif isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if op == "**" else left.bit_length() + right.bit_length()
        if bits > _MAX_BITS:
            raise _LimitError("it computes with very large numbers")
    elif op == "*":
        numbers = [value for value in (left, right) if isinstance(value, int)]
        texts = [value for value in (left, right) if isinstance(value, (str, list, tuple))]
        if numbers and texts:
            _check_length(len(texts[0]) * max(numbers[0], 0))


# --- what transformers adds to Jinja --------------------------------------------------------------


class _Generation(jinja2.ext.Extension):
    """`{% generation %}`: marks what the assistant wrote, for training. Renders its body."""

    tags = {"generation"}  # noqa: RUF012  # declared so by Jinja

    def parse(self, parser: Parser) -> nodes.CallBlock:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        block = nodes.CallBlock(self.call_method("_body"), [], [], body)
        block.set_lineno(line)
        return block

    @staticmethod
    def _body(caller: Callable[[], str]) -> str:
        return caller()


class _Dict:
    """`dict(...)` without the attributes of the class."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args, **kwargs)


class _Namespace(Namespace):
    """`namespace(...)` that stores no private name."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, *rest = args
        values = dict(*rest, **kwargs)
        for name in values:
            _check_name(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"the private name {name!r} in a namespace")


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own filter escapes HTML; prompts must not be."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise_exception(message: str) -> NoReturn:
    raise _RefusedError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)


@lru_cache(maxsize=64)
def _compile(template: str) -> jinja2.Template:
    _check_length(len(template))
    return _Sandbox().from_string(template)
