"""What an answer must look like, as each dialect writes it.

All come to one meaning, `grammar`; None asks for nothing. What a schema uses and cannot be had is
told when a model compiles it: `Service` names the field then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from edgereason.errors import UsageError
from edgereason.grammars import Grammar
from edgereason.server.errors import ApiError
from edgereason.server.fields import Means, Only, Table, bad, shown, text, unsupported


def _made(make: Callable[[], Grammar], name: str) -> Grammar:
    try:
        return make()
    except UsageError as error:
        raise ApiError(400, f"{name}: {error}", param=name, code="invalid_value") from None


def schema(value: Any, name: str) -> Grammar:
    """A JSON schema, as an object or as its text."""
    if not isinstance(value, (dict, str)):
        raise bad(name, "a JSON schema", value)
    return _made(lambda: Grammar.json(value), name)


def regex(value: Any, name: str) -> Grammar:
    pattern = text(value, name)
    return _made(lambda: Grammar.regex(pattern), name)


def choice(value: Any, name: str) -> Grammar:
    if not isinstance(value, list):
        raise bad(name, "a list of texts", value)
    return _made(lambda: Grammar.choice(*value), name)


def written(value: Any, name: str) -> Grammar | None:
    """GBNF, or Lark; an empty one is none."""
    given = text(value, name)
    if not given:
        return None
    form = Grammar.gbnf if "::=" in given else Grammar.lark
    return _made(lambda: form(given), name)


def any_object(value: Any, name: str) -> Grammar | None:
    if not isinstance(value, bool):
        raise bad(name, "true or false", value)
    return Grammar.json() if value else None


_ONE_OF: Final = {
    "json": schema,
    "regex": regex,
    "choice": choice,
    "grammar": written,
    "json_object": any_object,
}


def structured(value: Any, name: str) -> Grammar | None:
    """vLLM's: an object with one of its names."""
    if not isinstance(value, dict):
        raise bad(name, "an object", value)
    given = {key: item for key, item in value.items() if item is not None}
    for key, item in given.items():
        if key not in _ONE_OF:
            raise unsupported(f"{name}.{key}", item, f"known: {', '.join(_ONE_OF)}")
    if len(given) != 1:
        raise bad(name, f"an object with one of {', '.join(_ONE_OF)}", list(given))
    ((key, item),) = given.items()
    return _ONE_OF[key](item, f"{name}.{key}")


def response_format(value: Any, name: str) -> Grammar | None:
    """OpenAI's `response_format` and `text.format`, Anthropic's `output_config.format`.

    A schema stands in `json_schema`, beside it, or, as in llama.cpp, in a `json_object`.
    """
    if not isinstance(value, dict):
        raise bad(name, "an object", value)
    kind = value.get("type")
    if kind == "text":
        return None
    if kind not in ("json_object", "json_schema"):
        raise bad(f"{name}.type", "text, json_object or json_schema", kind)
    holder, where = value, name
    if kind == "json_schema" and "json_schema" in value:
        holder, where = value["json_schema"], f"{name}.json_schema"
        if not isinstance(holder, dict):
            raise bad(where, "an object", holder)
    if holder.get("schema") is not None:
        return schema(holder["schema"], f"{where}.schema")
    if kind == "json_schema":
        raise ApiError(400, f"{where}.schema must be given, got {shown(holder)}", param=name)
    return Grammar.json()


def ollama_format(value: Any, name: str) -> Grammar | None:
    """Ollama's: nothing, "json", or a schema."""
    if value == "":
        return None
    if value == "json":
        return Grammar.json()
    if not isinstance(value, dict):
        raise bad(name, '"json" or a JSON schema', value)
    return schema(value, name)


RESPONSE_FORMAT: Final = Means("grammar", response_format)

FIELDS: Final[Table] = {
    "response_format": RESPONSE_FORMAT,
    "json_schema": Means("grammar", schema),
    "grammar": Means("grammar", written),
    "structured_outputs": Means("grammar", structured),
    "guided_json": Means("grammar", schema),
    "guided_regex": Means("grammar", regex),
    "guided_choice": Means("grammar", choice),
    "guided_grammar": Means("grammar", written),
    "structural_tag": Only((), "tags in free text are not taken"),
}
"""The names of OpenAI, llama.cpp and vLLM."""
