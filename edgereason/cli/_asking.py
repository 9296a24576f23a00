"""From the command line to a `Request`: prompts, messages, budgets, sampling.

`check` needs no model, so that a typing error does not cost the time to load one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgereason import files
from edgereason.cli._options import Asking
from edgereason.config import assignments, build
from edgereason.errors import UsageError
from edgereason.grammars import Grammar
from edgereason.planning import effort
from edgereason.records import UNLIMITED, Budget, Message, Request, Sampling

if TYPE_CHECKING:
    import typer

    from edgereason.models.bundle import Bundle

_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "seed")


# --- what is asked --------------------------------------------------------------------------------


def read_question(
    prompt: str | None, messages: str | None, system: str | None
) -> tuple[Message, ...]:
    """The conversation from `PROMPT`, stdin or `--messages FILE`."""
    if messages is not None:
        if prompt is not None:
            raise UsageError(
                "a prompt and --messages are both given", "the last message is the question"
            )
        turns = parse_messages(_read(messages))
    else:
        turns = (Message("user", _read_prompt(prompt)),)
    if system is None:
        return turns
    if turns[0].role == "system":
        raise UsageError(
            "--system is given, and the messages have a system message", "keep one of them"
        )
    return (Message("system", _checked_text(system, "--system")), *turns)


def _read_prompt(prompt: str | None) -> str:
    if prompt is None and (sys.stdin is None or sys.stdin.isatty()):
        raise UsageError("no prompt", 'edgereason run "your question", or pipe it in')
    text = _read("-") if prompt in (None, "-") else _checked_text(prompt or "", "the prompt")
    if not text.strip():
        raise UsageError("the prompt is empty", 'edgereason run "your question", or pipe it in')
    return text.rstrip("\r\n")


def _read(name: str) -> str:
    try:
        if name != "-":
            return files.read_text(Path(name))
        if sys.stdin is None:
            raise UsageError("stdin is closed", 'edgereason run "your question", or pipe it in')
        return sys.stdin.buffer.read().decode("utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot read {name}: {error.strerror}", "give a file, or - and pipe it in"
        ) from None
    except UnicodeDecodeError:
        what = "stdin" if name == "-" else name
        raise UsageError(f"{what} is not UTF-8") from None


def _checked_text(text: str, what: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(f"{what} is not UTF-8") from None
    return text


def parse_messages(text: str) -> tuple[Message, ...]:
    """A JSON list of `{"role", "content"}`, for an assistant's turn also `reasoning_content`."""
    try:
        items = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the messages are not JSON: {error}") from None
    if not isinstance(items, list) or not items:
        raise UsageError(
            "the messages must be a JSON list", 'such as [{"role": "user", "content": "Hi"}]'
        )
    return tuple(_message(item, f"message {index}") for index, item in enumerate(items))


def _message(item: Any, where: str) -> Message:
    if not isinstance(item, dict):
        raise UsageError(f"{where} must be an object, got {json.dumps(item)[:40]}")
    names = ("reasoning", "reasoning_content")
    thoughts = [item[name] for name in names if item.get(name) is not None]
    if len(thoughts) == 2 and thoughts[0] != thoughts[1]:
        raise UsageError(f"{where}: reasoning and reasoning_content disagree")
    known = {key: value for key, value in item.items() if key not in names}
    if "content" in known:
        known["content"] = _content(known["content"], f"{where}.content")
    message = build(Message, known | {"reasoning": next(iter(thoughts), None)}, where=where)
    for text in (message.role, message.content, message.reasoning or ""):
        _checked_text(text, where)
    return message


def _content(value: Any, where: str) -> Any:
    """As chat interfaces send it: a text, a list of parts that are texts, or null for none."""
    if not isinstance(value, list):
        return "" if value is None else value
    texts = []
    for index, part in enumerate(value):
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get("text") if isinstance(part, dict) else None
        if kind != "text" or not isinstance(text, str):
            raise UsageError(
                f"{where}[{index}] must be a part of type text, got {json.dumps(part)[:40]}",
                'such as {"type": "text", "text": "Hi"}; images and sound are not taken',
            )
        texts.append(text)
    return "".join(texts)


# --- how it is answered ---------------------------------------------------------------------------


def check(asking: Asking, context: typer.Context) -> None:
    """Raises what is wrong whatever the model."""
    from edgereason.strategies.base import choose

    choose(strategy_of(asking), strategy_options(asking))
    budget_of(asking, context, None)
    sampling_of(asking, Sampling())
    grammar_of(asking)
    for text in asking.stop:
        if not _checked_text(text, "--stop"):
            raise UsageError("--stop must not be empty")


def build_request(
    asking: Asking, messages: tuple[Message, ...], context: typer.Context, bundle: Bundle
) -> Request:
    """The request. `context` tells which options came from the environment."""
    from edgereason.strategies.base import choose

    strategy, options = strategy_of(asking), strategy_options(asking)
    bound = choose(strategy, options, bundle).bound_by_context
    return Request(
        messages=messages,
        strategy=strategy,
        options=options,
        budget=budget_of(asking, context, bundle.context if bound else 0),
        sampling=sampling_of(asking, bundle.sampling),
        priority=asking.priority,
        stop=asking.stop,
        probe_every=asking.probe_every,
        prefix=asking.prefix,
        grammar=grammar_of(asking),
        adapters=asking.adapters,
    )


def grammar_of(asking: Asking) -> Grammar | None:
    """What the answer must look like, however it is said."""
    ways = ("json_schema", "choice", "regex", "grammar")
    given = [f"--{name.replace('_', '-')}" for name in ways if getattr(asking, name)]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} are given", "an answer has one form")
    if asking.json_schema:
        return Grammar.json(_inline(asking.json_schema))
    if asking.choice:
        return Grammar.choice(*asking.choice)
    if asking.regex:
        return Grammar.regex(asking.regex)
    return _written(_inline(asking.grammar)) if asking.grammar else None


def _inline(given: str) -> str:
    """The text itself, or that of the file it names."""
    return given if any(mark in given for mark in "{:\n") else _read(given)


def _written(text: str) -> Grammar:
    return Grammar.gbnf(text) if "::=" in text else Grammar.lark(text)


def strategy_of(asking: Asking) -> str:
    if asking.strategy is not None:
        return asking.strategy
    return "auto" if asking.samples is None else "vote"


def strategy_options(asking: Asking) -> Mapping[str, Any]:
    options: dict[str, Any] = dict(assignments(asking.options))
    if asking.samples is not None:
        if "samples" in options:
            raise UsageError("samples is given twice", "--samples is short for --set samples=")
        options["samples"] = asking.samples
    return options


def budget_of(asking: Asking, context: typer.Context, num_context: int | None) -> Budget:
    """What the request may spend. An effort is a share of the context, of `num_context` tokens.

    `num_context` is 0 where no context limits the thoughts. It is None as long as no model is open:
    what an effort comes to is not known then.
    """
    budget = Budget(
        think_tokens=UNLIMITED if asking.think_budget is None else asking.think_budget,
        answer_tokens=asking.answer_budget,
        deadline_ms=asking.deadline_ms,
        soft=asking.soft,
    )
    if asking.effort is None:
        return budget
    tokens = effort.think_tokens(asking.effort, num_context or 0)
    if asking.think_budget is not None:
        # Both are given. What was typed wins over what an environment variable says.
        typed = [name for name in ("effort", "think_budget") if _is_typed(context, name)]
        if typed == ["think_budget"]:
            return budget
        if typed != ["effort"] and num_context is not None and tokens != asking.think_budget:
            raise UsageError(
                f"--effort {asking.effort} is a think budget of {tokens} tokens, "
                f"and --think-budget says {asking.think_budget}",
                "give one of them",
            )
    return replace(budget, think_tokens=tokens)


def _is_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def sampling_of(asking: Asking, recommended: Sampling) -> Sampling:
    given = {name: getattr(asking, name) for name in _SAMPLING}
    return replace(
        recommended, **{name: value for name, value in given.items() if value is not None}
    )
