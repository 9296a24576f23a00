"""OpenAI's chat completions, with the budgets of vLLM, llama.cpp, SGLang and OpenRouter.

`reasoning_content` holds the thoughts, as most clients read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from edgereason.records import Answer, Channel, Chunk, Message
from edgereason.server import grammars
from edgereason.server.budgets import BUDGETS, EFFORT, SAMPLING, SWITCH, TOKENS
from edgereason.server.conversation import read_messages
from edgereason.server.errors import ApiError, openai_error
from edgereason.server.fields import (
    HARMLESS,
    Given,
    Means,
    Only,
    Table,
    bad,
    boolean,
    one_of,
    text,
    unsupported,
    whole,
)
from edgereason.server.http import sse
from edgereason.server.running import Running, num_completion, timings, was_cut

_TOTAL: Final = Means("max_tokens", whole(1))
NO_TOOLS: Final = "this server has no tools"
_NO_LOGPROBS: Final = "log-probabilities are not given"


def _bias(value: Any, name: str) -> dict[int, float]:
    try:
        bias = {int(token): float(amount) for token, amount in value.items()}
    except (AttributeError, TypeError, ValueError):
        bias = {-1: 0.0}
    if any(token < 0 or not -100 <= amount <= 100 for token, amount in bias.items()):
        raise ApiError(
            400, f"{name} must be an object of token id -> number from -100 to 100", param=name
        )
    return bias


def list_of_tools(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise bad(name, "a list", value)
    return value


def tool_choice(value: Any, name: str) -> str:
    if value not in ("none", "auto"):
        raise unsupported(name, value, NO_TOOLS)
    return str(value)


def check_tools(given: Given) -> None:
    """Tools that may not be called change nothing; others would."""
    tools = given.get("tools")
    if not tools:
        return
    if given.get("tool_choice") != "none":
        raise unsupported(
            given.name("tools"), tools, f"{NO_TOOLS}; tool_choice none leaves them out"
        )
    given.ignored.append(given.name("tools"))


OPENAI: Final[Table] = {
    "model": Means("model", text),
    "n": Only((1,), "one answer a request (strategy vote draws several and returns the winner)"),
    "stream": Means("stream", boolean),
    "logit_bias": Means("logit_bias", _bias),
    **{
        name: HARMLESS
        for name in (
            "user",
            "metadata",
            "safety_identifier",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
            "verbosity",
            "cache_prompt",
            "cache_salt",
            "session_id",
            "moderation",
        )
    },
    "store": Only((False,), "nothing is stored"),
}
"""What the endpoints of OpenAI's share."""

FIELDS: Final[Table] = {
    **OPENAI,
    **BUDGETS,
    **SAMPLING,
    **grammars.FIELDS,
    "messages": Means("messages", read_messages),
    "max_tokens": _TOTAL,
    "max_completion_tokens": _TOTAL,
    "n_predict": _TOTAL,
    "reasoning": {
        "effort": EFFORT,
        "max_tokens": Means("think_tokens", TOKENS),
        "enabled": SWITCH,
        "exclude": Means("hide_thinking", boolean),
    },
    "include_reasoning": Means("show_thinking", boolean),
    "reasoning_format": Only(("deepseek", "auto"), "thoughts come as reasoning_content"),
    "reasoning_field": Means("thinking_field", one_of("reasoning_content", "reasoning")),
    "reasoning_control": HARMLESS,  # here every request may be controlled
    "stream_options": {
        "include_usage": Means("stream_usage", boolean),
        "continuous_usage_stats": HARMLESS,
        "include_obfuscation": HARMLESS,
    },
    "timings_per_token": Only((False,), "timings come with the last chunk"),
    "return_progress": Only((False,), "progress is not told"),
    "tools": Means("tools", list_of_tools),
    "functions": Only(([],), NO_TOOLS),
    "tool_choice": Means("tool_choice", tool_choice),
    "function_call": Only(("none", "auto"), NO_TOOLS),
    "parallel_tool_calls": HARMLESS,
    "logprobs": Only((False,), _NO_LOGPROBS),
    "top_logprobs": Only((0,), _NO_LOGPROBS),
    "n_probs": Only((0,), _NO_LOGPROBS),
    "prompt_logprobs": Only((0,), _NO_LOGPROBS),
    "echo": Only((False,), "the prompt is not given back"),
    "ignore_eos": Only((False,), "an answer ends where the model ends it"),
    "min_tokens": Only((0,), "an answer ends where the model ends it"),
    "add_generation_prompt": Only((True,), "the model always goes on with a turn of its own"),
    "continue_final_message": Only((False,), "an answer that was begun is not gone on with"),
    "modalities": Only((["text"],), "this server has texts only"),
    "audio": Only((), "this server has texts only"),
    "prediction": Only((), "predicted outputs are not used"),
    "web_search_options": Only((), "this server reads no web pages"),
}


def messages_of(given: Given) -> tuple[Message, ...]:
    if "messages" not in given.values:
        raise ApiError(400, "messages must be given", param="messages", code="missing_parameter")
    check_tools(given)
    messages: tuple[Message, ...] = given.get("messages")
    return messages


def usage_of(answer: Answer) -> dict[str, Any]:
    prompt, completion = answer.usage.prompt_tokens, num_completion(answer)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": answer.usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": answer.usage.reasoning_tokens},
    }


class ChatWriter:
    """Writes one `chat.completion`, or its chunks."""

    media_type = "text/event-stream; charset=utf-8"

    def __init__(self, running: Running) -> None:
        self._running = running
        given = running.given
        shown = given.get("show_thinking", True) and not given.get("hide_thinking", False)
        self._thinking_key = given.get("thinking_field", "reasoning_content") if shown else None

    def whole(self, answer: Answer) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": answer.answer, "refusal": None}
        if self._thinking_key and answer.reasoning:
            message[self._thinking_key] = answer.reasoning
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": _finish(answer),
            "logprobs": None,
        }
        return self._object("chat.completion", [choice]) | {
            "usage": usage_of(answer),
            "timings": timings(answer),
            "edgereason": self._running.report(answer),
        }

    def start(self) -> Iterator[bytes]:
        yield self._chunk({"role": "assistant", "content": ""})

    def piece(self, chunk: Chunk) -> Iterator[bytes]:
        if chunk.channel is Channel.ANSWER:
            yield self._chunk({"content": chunk.text})
        elif self._thinking_key:
            yield self._chunk({self._thinking_key: chunk.text})

    def end(self, answer: Answer) -> Iterator[bytes]:
        wants_usage = self._running.given.get("stream_usage", False)
        more = {"timings": timings(answer), "edgereason": self._running.report(answer)}
        yield self._chunk({}, _finish(answer), **more)
        if wants_usage:
            yield sse(self._object("chat.completion.chunk", []) | {"usage": usage_of(answer)})
        yield b"data: [DONE]\n\n"

    def ping(self) -> bytes:
        return b": ping\n\n"

    def failed(self, error: ApiError) -> bytes:
        return sse(openai_error(error))

    def _chunk(self, delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return sse(self._object("chat.completion.chunk", [choice]) | more)

    def _object(self, kind: str, choices: list[Any]) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self._running.id}",
            "object": kind,
            "created": self._running.created,
            "model": self._running.asked_model,
            "system_fingerprint": FINGERPRINT,
            "choices": choices,
        }


def _finish(answer: Answer) -> str:
    return "length" if was_cut(answer) else "stop"


FINGERPRINT: Final = "b1-edgereason"
