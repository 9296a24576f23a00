"""Templates of Ollama, which are Go's, in Jinja.

    jinja = to_jinja("{{ .System }}User: {{ .Prompt }}\\nBot: {{ .Response }}")

Both forms: one exchange at a time (`.System`, `.Prompt`, `.Response`), and all at once
(`.Messages`). Of tools nothing is written. What Go can do beyond that raises `UnsupportedError`,
which names it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from edgereason.errors import UnsupportedError

# A quotation mark begins a text and nothing else, or a hostile template would take for ever.
_ACTION: Final = re.compile(
    r"\{\{(?P<before>-\s)?"
    r"(?P<code>\s*/\*.*?\*/|(?:\"(?:\\.|[^\"\\])*\"|`[^`]*`|(?!\}\})[^\"`])*?)"
    r"(?P<after>\s-)?\}\}",
    re.DOTALL,
)
_TOKEN: Final = re.compile(
    r"""\s+|(?P<string>"(?:\\.|[^"\\])*"|`[^`]*`)|(?P<number>-?\d+)|(?P<mark>:=|[()|,=])"""
    r"""|(?P<path>\$?\w*(?:\.\w+)+|\$\w*|\.)|(?P<word>\w+)"""
)
_MOST: Final = 1 << 18  # characters; the longest in use has 10,000
_BLANKS: Final = " \t\r\n"
_NEVER: Final = "[]"  # tools and images: what depends on them is left out

# Fields of what a template is given, and of a message.
_GIVEN: Final = {
    "System": "ns.System",
    "Prompt": "ns.Prompt",
    "Response": "ns.Response",
    "Suffix": "''",
    "Messages": "messages",
    "Tools": _NEVER,
    "Think": "(enable_thinking if enable_thinking is defined else true)",
    "IsThinkSet": "(enable_thinking is defined)",
    "ThinkLevel": "(reasoning_effort if reasoning_effort is defined else '')",
}
_OF_MESSAGE: Final = {
    "Role": "{}['role']",
    "Content": "({}['content'] or '')",
    "Thinking": "({}.get('reasoning_content') or '')",
    "ToolCalls": _NEVER,
    "ToolName": "''",
    "Images": _NEVER,
}
_COMPARED: Final = {"ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def to_jinja(template: str) -> str:
    """The chat template that writes the same. Raises `UnsupportedError`."""
    if len(template) > _MOST:
        raise _unknown(f"more than {_MOST} characters")
    try:
        return _translated(_Parser(template).nodes())
    except RecursionError:
        raise _unknown("blocks or brackets nested too deeply") from None


def _translated(nodes: list[_Node]) -> str:
    writer = _Writer()
    if _mentions(nodes, "Messages"):
        systems = "messages | selectattr('role', 'equalto', 'system') | map(attribute='content')"
        given = f"Prompt='', Response='', System={systems} | join('\\n\\n')"
        start = f"{{% set ns = namespace({given}) %}}"
        return start + writer.all(nodes, "")
    if not _mentions(nodes, "Response"):
        nodes = [*nodes, _Node("write", ".Response")]
    none = "{% set ns.System = '' %}{% set ns.Prompt = '' %}{% set ns.Response = '' %}"
    return (
        "{% set ns = namespace(System='', Prompt='', Response='') %}{% for m in messages %}"
        "{% if m['role'] == 'system' %}{% set ns.System = m['content'] %}"
        "{% elif m['role'] == 'user' %}{% set ns.Prompt = m['content'] %}"
        "{% elif m['role'] == 'assistant' %}{% set ns.Response = m['content'] %}"
        f"{writer.all(nodes, '')}{none}{{% endif %}}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{writer.all(_until_response(nodes), '')}{{% endif %}}"
    )


@dataclass
class _Node:
    """`text`, `write`, `set`, `jump`, `if`, `range` or `with`; `code` is Go's."""

    kind: str
    code: str
    body: list[_Node] = field(default_factory=list)
    others: list[_Node] = field(default_factory=list)  # of `else`


def _mentions(nodes: Sequence[_Node], name: str) -> bool:
    word = re.compile(rf"\.{name}\b")
    return any(
        (node.kind != "text" and word.search(node.code))
        or _mentions(node.body, name)
        or _mentions(node.others, name)
        for node in nodes
    )


def _until_response(nodes: Sequence[_Node]) -> list[_Node]:
    """What comes before the answer: there the model goes on."""
    kept: list[_Node] = []
    for node in nodes:
        if not _mentions([node], "Response"):
            kept.append(node)
            continue
        if node.kind in ("if", "with") and not _mentions([_Node("write", node.code)], "Response"):
            body, others = _until_response(node.body), _until_response(node.others)
            kept.append(_Node(node.kind, node.code, body, others))
        break
    return kept


# --- reading --------------------------------------------------------------------------------------


class _Parser:
    def __init__(self, template: str) -> None:
        self._pieces = list(_pieces(template))
        self._at = 0

    def nodes(self) -> list[_Node]:
        found, end = self._until()
        if end:
            raise _unknown(end)
        return found

    def _until(self) -> tuple[list[_Node], str]:
        """Nodes up to an `else` or an `end`, and which."""
        found: list[_Node] = []
        while self._at < len(self._pieces):
            kind, code = self._pieces[self._at]
            self._at += 1
            if kind == "text":
                found.append(_Node("text", code))
                continue
            word, _, rest = code.partition(" ")
            if word in ("end", "else"):
                return found, code
            if word in ("if", "range", "with"):
                found.append(self._block(word, rest.strip()))
            elif word in ("define", "template", "block"):
                raise _unknown(word)
            elif word in ("break", "continue"):
                found.append(_Node("jump", word))
            elif re.match(r"\$\w+\s*:?=", code):
                found.append(_Node("set", code))
            elif code and not code.startswith("/*"):
                found.append(_Node("write", code))
        return found, ""

    def _block(self, kind: str, code: str) -> _Node:
        body, end = self._until()
        node = _Node(kind, code, body)
        if end.startswith("else if "):
            node.others = [self._block("if", end.removeprefix("else if ").strip())]
        elif end == "else":
            node.others, end = self._until()
            if end != "end":
                raise _unknown(end or "a block without an end")
        elif end != "end":
            raise _unknown(end or "a block without an end")
        return node


def _pieces(template: str) -> Iterator[tuple[str, str]]:
    """Texts, trimmed as actions beside them say, and actions."""
    at, trim = 0, False
    for match in _ACTION.finditer(template):
        text = template[at : match.start()]
        text = text.lstrip(_BLANKS) if trim else text
        text = text.rstrip(_BLANKS) if match["before"] else text
        if text:
            yield "text", text
        yield "action", match["code"].strip()
        at, trim = match.end(), bool(match["after"])
    rest = template[at:].lstrip(_BLANKS) if trim else template[at:]
    if rest:
        yield "text", rest


# --- writing --------------------------------------------------------------------------------------


class _Writer:
    def __init__(self) -> None:
        self._depth = 0

    def all(self, nodes: Sequence[_Node], dot: str) -> str:
        return "".join(self._one(node, dot) for node in nodes)

    def _one(self, node: _Node, dot: str) -> str:  # noqa: PLR0911  # one return a kind
        if node.kind == "text":
            return f"{{{{ {json.dumps(node.code, ensure_ascii=False)} }}}}"
        if node.kind == "write":
            return f"{{{{ {_expression(node.code, dot)} }}}}"
        if node.kind == "jump":
            return f"{{% {node.code} %}}"
        if node.kind == "set":
            name, _, value = node.code.partition("=")
            return f"{{% set {_variable(name.strip(' :'))} = {_expression(value, dot)} %}}"
        if node.kind == "range":
            return self._range(node, dot)
        test = _expression(node.code, dot)
        if test == _NEVER:
            return self.all(node.others, dot)
        inside = test if node.kind == "with" else dot
        others = f"{{% else %}}{self.all(node.others, dot)}" if node.others else ""
        return f"{{% if {test} %}}{self.all(node.body, inside)}{others}{{% endif %}}"

    def _range(self, node: _Node, dot: str) -> str:
        named, walrus, over = node.code.rpartition(":=")
        items = _expression(over, dot)
        if items == _NEVER:
            return self.all(node.others, dot)
        names = [name.strip() for name in named.split(",")] if walrus else []
        self._depth += 1
        item = f"item{self._depth}"
        counted = f"{{% set {_variable(names[0])} = loop.index0 %}}" if len(names) == 2 else ""
        valued = f"{{% set {_variable(names[-1])} = {item} %}}" if names else ""
        body = self.all(node.body, item)
        others = f"{{% else %}}{self.all(node.others, dot)}" if node.others else ""
        self._depth -= 1
        start = f"{{% for {item} in {items} %}}"
        return f"{start}{counted}{valued}{body}{others}{{% endfor %}}"


def _variable(name: str) -> str:
    """A namespace keeps what is set in a loop, as Go does."""
    return f"ns.of_{name.removeprefix('$')}"


def _expression(code: str, dot: str) -> str:
    tokens = list(_tokens(code))
    value, at = _pipeline(tokens, 0, dot)
    if at != len(tokens):
        raise _unknown(code)
    return value


def _tokens(code: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(code):
        match = _TOKEN.match(code, at)
        if match is None:
            raise _unknown(code)
        if match.lastgroup:
            yield match.lastgroup, match[0]
        at = match.end()


def _pipeline(tokens: Sequence[tuple[str, str]], at: int, dot: str) -> tuple[str, int]:
    """Each command's value is the last argument of the next."""
    value, at = _command(tokens, at, dot, [])
    while at < len(tokens) and tokens[at] == ("mark", "|"):
        value, at = _command(tokens, at + 1, dot, [value])
    return value, at


def _command(
    tokens: Sequence[tuple[str, str]], at: int, dot: str, piped: list[str]
) -> tuple[str, int]:
    called = ""
    if at < len(tokens) and tokens[at][0] == "word" and tokens[at][1] not in ("true", "false"):
        called = tokens[at][1]
        at += 1
    values: list[str] = []
    while at < len(tokens) and tokens[at] not in (("mark", ")"), ("mark", "|")):
        value, at = _operand(tokens, at, dot)
        values.append(value)
    values += piped
    if called:
        return _call(called, values), at
    if len(values) != 1:
        raise _unknown(" ".join(text for _, text in tokens))
    return values[0], at


def _operand(tokens: Sequence[tuple[str, str]], at: int, dot: str) -> tuple[str, int]:
    kind, text = tokens[at]
    if text == "(":
        value, at = _pipeline(tokens, at + 1, dot)
        if at >= len(tokens) or tokens[at][1] != ")":
            raise _unknown("a bracket that is not closed")
        return value, at + 1
    if kind == "string":
        try:
            plain = text[1:-1] if text.startswith("`") else json.loads(text)
        except ValueError:  # Go has escapes that JSON has not
            raise _unknown(text) from None
        return json.dumps(plain, ensure_ascii=False), at + 1
    if kind == "number" or text in ("true", "false"):
        return text, at + 1
    if kind == "path":
        return _path(text, dot), at + 1
    raise _unknown(text)


def _path(text: str, dot: str) -> str:
    base, *fields = text.split(".")
    fields = [name for name in fields if name]
    value = dot if base in ("", "$") else _variable(base)
    for name in fields:
        if name in _GIVEN:
            value = _GIVEN[name]
        elif name in _OF_MESSAGE and value:
            value = _OF_MESSAGE[name].format(value)
        else:
            raise _unknown(f".{name}")
    if not value:
        raise _unknown(text)
    return value


def _call(name: str, values: list[str]) -> str:  # noqa: PLR0911  # one return a function
    if name == "and" and _NEVER in values:
        return _NEVER
    if name == "or" and _NEVER in values:
        values = [value for value in values if value != _NEVER] or [_NEVER]
    if name in ("len", "gt") and values[:1] in ([_NEVER], ["0"]):
        return "0" if name == "len" else _NEVER
    if name in ("and", "or") and len(values) == 1:
        return values[0]
    if name == "eq" and len(values) > 1:
        return "(" + " or ".join(f"{values[0]} == {each}" for each in values[1:]) + ")"
    if name in _COMPARED and len(values) == 2:
        return f"({values[0]} {_COMPARED[name]} {values[1]})"
    if name in ("and", "or") and values:
        return "(" + f" {name} ".join(values) + ")"
    if name == "not" and len(values) == 1:
        return f"(not {values[0]})"
    if name == "len" and len(values) == 1:
        return f"({values[0]} | length)"
    if name == "slice" and 1 < len(values) < 4:
        return f"{values[0]}[{values[1]}:{values[2] if len(values) == 3 else ''}]"
    if name == "index" and len(values) == 2:
        return f"{values[0]}[{values[1]}]"
    if name == "json" and len(values) == 1:
        return f"({values[0]} | tojson)"
    raise _unknown(f"{name} of {len(values)} values")


def _unknown(what: str) -> UnsupportedError:
    return UnsupportedError(f"a template of Ollama's says what is not known here: {what}")
