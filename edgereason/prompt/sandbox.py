"""Renders chat templates in a process of its own: a file that is run by itself, see `child.py`.

A template is a program that came with a model. Jinja's sandbox keeps it from Python's own
attributes, and limits of the process keep it from memory, files and endless work. What comes in and
goes out is JSON. Imports nothing of edgereason, so that it starts fast.
"""

from __future__ import annotations

import importlib
import json
import signal
import struct
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any, BinaryIO, Final, NoReturn

import jinja2
import jinja2.ext
import jinja2.meta
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

MAX_LENGTH: Final = 1 << 22
"""Longest template, and longest prompt, in characters."""
_MEMORY_BYTES: Final = 512 << 20  # addresses of the whole process; Python and Jinja take 40 MiB
_HEADER: Final = struct.Struct("<Q")  # bytes of the JSON that follows


class _RefusedError(Exception):
    """The template's own `raise_exception`: it does not take these messages."""


class _LimitError(Exception):
    """The template did more than any chat template needs."""


def frame(value: Any) -> bytes:
    """One message: its length and JSON in ASCII, which also holds lone surrogates."""
    data = json.dumps(value).encode()
    return _HEADER.pack(len(data)) + data


def frame_length(header: bytes) -> int:
    length: int = _HEADER.unpack(header)[0]
    return length


HEADER_BYTES: Final = _HEADER.size


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """What is sent back: `{"ok": ...}`, or `{"error": kind, "text": ...}`."""
    try:
        if request["what"] == "look":
            return {"ok": _look(request["template"])}
        return {"ok": _render(request["template"], request["variables"])}
    except _RefusedError as error:
        return _failed("refused", str(error))
    except Exception as error:  # any Python error a template can provoke
        return _failed("wrong", _told(error))


def _told(error: Exception) -> str:
    if isinstance(error, _LimitError):
        return f"does too much: {error}"
    if isinstance(error, (RecursionError, MemoryError)):
        return f"does too much: {type(error).__name__}"
    if isinstance(error, jinja2.TemplateSyntaxError):
        return f"has an error in line {error.lineno}: {error.message}"
    if isinstance(error, SecurityError):
        return f"tries what it must not: {error}"
    return f"fails: {type(error).__name__}: {error}"


def _failed(kind: str, text: str) -> dict[str, Any]:
    return {"error": kind, "text": text[:1000]}


def _render(template: str, variables: Mapping[str, Any]) -> str:
    pieces, length = [], 0
    for piece in _compile(template).generate(**variables):
        length += len(piece)
        if length > MAX_LENGTH:
            raise _LimitError(f"its output is longer than {MAX_LENGTH:,} characters")
        pieces.append(piece)
    return "".join(pieces)


def _look(template: str) -> dict[str, Any]:
    """Names the template reads but does not set, and all text it can write by itself."""
    _check_length(template)
    tree = _Sandbox().parse(template)
    texts = [node.data for node in tree.find_all(nodes.TemplateData)]
    texts += [node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str)]
    names = jinja2.meta.find_undeclared_variables(tree)
    return {"variables": sorted(names), "literals": "\0".join(texts)}


def _check_length(template: str) -> None:
    if len(template) > MAX_LENGTH:
        raise _LimitError(f"it is longer than {MAX_LENGTH:,} characters")


@lru_cache(maxsize=8)
def _compile(template: str) -> jinja2.Template:
    _check_length(template)
    return _Sandbox().from_string(template)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Renders what `transformers` renders."""

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_Generation, jinja2.ext.loopcontrols],
        )
        self.filters["tojson"] = _tojson
        del self.globals["lipsum"]  # its random text is in no prompt
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = _strftime_now
        self.globals["dict"] = _Dict()
        self.globals["namespace"] = _Namespace

    def handle_exception(self, source: str | None = None) -> NoReturn:
        """Jinja's own reads files to make tracebacks nicer."""
        raise  # noqa: PLE0704  # it is called where an exception is handled


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


# --- the process ----------------------------------------------------------------------------------


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answers until there is nothing left to read: when whoever asks is gone, so is this."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever asks
    _compile("{{ 'a' }}")  # looks up its codec
    for late in ("html", "logging", "pprint", "textwrap", "_strptime"):  # what Jinja imports late
        importlib.import_module(late)
    _shut_in()
    replies.write(frame({"ok": "ready"}))
    replies.flush()
    while len(header := requests.read(HEADER_BYTES)) == HEADER_BYTES:
        request = json.loads(requests.read(frame_length(header)))
        _limit_work(request["seconds"])
        reply = frame(answer(request))
        _limit_work(0)
        replies.write(reply)
        replies.flush()


def _shut_in() -> None:
    """No more memory than this, no file, no process. Where a system has no such limit, the time
    that the other side waits is what holds."""
    import resource

    limits = {"AS": _MEMORY_BYTES, "FSIZE": 0, "NPROC": 0, "NOFILE": 3, "CORE": 0}
    for name, most in limits.items():
        with suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))


def _limit_work(seconds: float) -> None:
    """Ends this process when it has computed for so long; 0: no more. What a busy machine lets it
    wait does not count."""
    with suppress(AttributeError):
        signal.setitimer(signal.ITIMER_PROF, seconds)


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
