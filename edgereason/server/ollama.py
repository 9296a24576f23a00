"""Ollama's own API: `/api/chat` and `/api/generate` as lines of JSON, and what it says of models.

Unset `think` lets a model think that can; asking one that cannot is an error, as there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any, Final

from edgereason.records import Answer, Channel, Chunk, Message, ToolCall
from edgereason.server.budgets import BUDGETS, SAMPLING, TOKENS
from edgereason.server.conversation import read_messages
from edgereason.server.errors import ApiError, ollama_error
from edgereason.server.fields import HARMLESS, Given, Means, Only, Table, bad, boolean, text
from edgereason.server.grammars import ollama_format
from edgereason.server.http import to_json
from edgereason.server.models import Model
from edgereason.server.running import Running, num_completion, was_cut
from edgereason.server.tools import list_of_tools

VERSION: Final = "0.12.0"  # of Ollama's API that this follows; clients compare it


def _total(value: Any, name: str) -> int | None:
    """-1 and -2 say that there is no limit."""
    limit: int = TOKENS(value, name) if value != -2 else -1
    if limit == 0:
        raise bad(name, "-1, or 1 or more", value)
    return limit if limit > 0 else None


_OPTIONS: Final[Table] = {
    **SAMPLING,
    "num_predict": Means("max_tokens", _total),
    "typical_p": Only((1, 1.0), "it is not one of the ways to sample here"),
    "mirostat": Only((0,), "it is not one of the ways to sample here"),
    "logit_bias": Only(({},), "token ids are not taken here"),
    **{
        name: HARMLESS  # how the model is opened, which the server's command line says
        for name in (
            "num_ctx",
            "num_keep",
            "num_batch",
            "num_gpu",
            "main_gpu",
            "num_thread",
            "use_mmap",
            "repeat_last_n",
            "draft_num_predict",
            "penalize_newline",
        )
    },
}

_SHARED: Final[Table] = {
    **BUDGETS,
    "model": Means("model", text),
    "stream": Means("stream", boolean),
    "options": _OPTIONS,
    "format": Means("grammar", ollama_format),
    "keep_alive": HARMLESS,
    "truncate": Only((False,), "a prompt is never cut; one that is too long is an error"),
    "shift": Only((False,), "a context is never shifted"),
    "logprobs": Only((False,), "log-probabilities are not given"),
    "top_logprobs": Only((0,), "log-probabilities are not given"),
}

CHAT: Final[Table] = {
    **_SHARED,
    "messages": Means("messages", read_messages),
    "tools": Means("tools", list_of_tools),
}

GENERATE: Final[Table] = {
    **_SHARED,
    "prompt": Means("prompt", text),
    "system": Means("system", text),
    "suffix": Only(("",), "nothing is filled in between two texts"),
    "template": Only(("",), "the model's own template is used"),
    "raw": Only((False,), "prompts go through the model's template"),
    "context": Only(([],), "send the conversation to /api/chat"),
    "images": Only(([],), "this server has texts only"),
}


SHOW: Final[Table] = {
    "model": Means("model", text),
    "name": Means("model", text),
    "verbose": HARMLESS,
}


def chat_messages(given: Given) -> tuple[Message, ...]:
    if "messages" not in given.values:
        raise ApiError(400, "messages must be given", param="messages", code="missing_parameter")
    messages: tuple[Message, ...] = given.get("messages")
    return messages


def generate_messages(given: Given) -> tuple[Message, ...]:
    prompt, system = given.get("prompt"), given.get("system")
    if not prompt:
        raise ApiError(400, "prompt must be given", param="prompt", code="missing_parameter")
    first = (Message("system", system),) if system else ()
    return (*first, Message("user", prompt))


def complete(given: Given, model: Model) -> None:
    """What the dialect takes for granted."""
    asks = given.get("think") is True or given.get("effort", "none") != "none"
    if not model.thinks and asks:
        raise ApiError(400, f'"{model.name}" does not support thinking', param="think")
    if given.get("max_tokens") is None:
        given.values.pop("max_tokens", None)


class OllamaWriter:
    """Writes one reply, or its lines. `is_chat`: of /api/chat, else of /api/generate."""

    media_type = "application/x-ndjson"

    def __init__(self, running: Running, *, is_chat: bool) -> None:
        self._running = running
        self._is_chat = is_chat

    def whole(self, answer: Answer) -> dict[str, Any]:
        return {
            **self._line(answer.answer, answer.reasoning, answer.calls, done=True),
            **self._figures(answer),
        }

    def start(self) -> Iterator[bytes]:
        yield from ()

    def piece(self, chunk: Chunk) -> Iterator[bytes]:
        is_answer = chunk.channel is Channel.ANSWER
        texts = (chunk.text, "") if is_answer else ("", chunk.text)
        yield _line(self._line(*texts, (chunk.call,) if chunk.call else (), done=False))

    def end(self, answer: Answer) -> Iterator[bytes]:
        yield _line({**self._line("", "", done=True), **self._figures(answer)})

    def ping(self) -> bytes:
        return b""  # a line must be an object of the dialect's

    def failed(self, error: ApiError) -> bytes:
        return _line(ollama_error(error))

    def _line(
        self, content: str, thinking: str, calls: Sequence[ToolCall] = (), *, done: bool
    ) -> dict[str, Any]:
        thoughts = {"thinking": thinking} if thinking else {}
        said: dict[str, Any] = {"response": content, **thoughts}
        if self._is_chat:
            called = {"tool_calls": [_call(call) for call in calls]} if calls else {}
            said = {"message": {"role": "assistant", "content": content, **thoughts, **called}}
        return {
            "model": self._running.asked_model,
            "created_at": now(),
            **said,
            "done": done,
        }

    def _figures(self, answer: Answer) -> dict[str, Any]:
        times, model = answer.timings, self._running.model
        return {
            "done_reason": "length" if was_cut(answer) else "stop",
            "total_duration": _ns(self._running.age_ms),
            "load_duration": _ns(model.load_ms),
            "prompt_eval_count": answer.usage.prompt_tokens,
            "prompt_eval_duration": _ns(times.prefill_ms),
            "eval_count": num_completion(answer),
            "eval_duration": _ns(times.think_ms + times.answer_ms),
            "edgereason": self._running.report(answer),
        }


def _line(data: dict[str, Any]) -> bytes:
    return f"{to_json(data)}\n".encode()


def _ns(ms: float) -> int:
    return int(ms * 1e6)


def now() -> str:
    return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")


# --- what it says of models -----------------------------------------------------------------------


def tag(model: Model) -> dict[str, Any]:
    """A model as `/api/tags` lists it."""
    bundle = model.bundle
    digest = next((file.sha256 for file in bundle.files if file.sha256), "")
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": "1970-01-01T00:00:00Z",  # not recorded
        "size": model.size_bytes,
        "digest": digest,
        "details": _details(model),
        "capabilities": _capabilities(model),
    }


def loaded(model: Model) -> dict[str, Any]:
    """An open model as `/api/ps` lists it. It stays open until others need its room."""
    return {
        **tag(model),
        "expires_at": "9999-12-31T23:59:59Z",
        "size_vram": 0,
        "context_length": model.context,
    }


def show(model: Model) -> dict[str, Any]:
    bundle = model.bundle
    info: dict[str, Any] = {"general.architecture": bundle.architecture}
    if bundle.num_parameters:
        info["general.parameter_count"] = bundle.num_parameters
    if bundle.context:
        info[f"{bundle.architecture}.context_length"] = bundle.context
    return {
        "license": bundle.licence,
        "modelfile": "",
        "parameters": "",
        "template": bundle.chat_template,
        "details": _details(model),
        "model_info": info,
        "capabilities": _capabilities(model),
        "modified_at": "1970-01-01T00:00:00Z",
    }


def _call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "function": {"name": call.name, "arguments": dict(call.arguments)}}


def _details(model: Model) -> dict[str, Any]:
    bundle = model.bundle
    family = bundle.architecture or "unknown"
    return {
        "parent_model": bundle.base_model,
        "format": "gguf" if bundle.engine == "llamacpp" else bundle.engine,
        "family": family,
        "families": [family],
        "parameter_size": f"{bundle.num_parameters / 1e6:.1f}M" if bundle.num_parameters else "",
        "quantization_level": bundle.quantization,
    }


def _capabilities(model: Model) -> list[str]:
    return ["completion", "tools", *(["thinking"] if model.thinks else [])]
