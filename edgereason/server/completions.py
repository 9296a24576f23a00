"""OpenAI's completions: a text, or its tokens, and the model goes on with it. No template, no
thinking. With `echo` and `logprobs` the given text is scored, as evaluations by choice want it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edgereason.records import Answer, Chunk
from edgereason.server import grammars
from edgereason.server.budgets import BUDGETS, SAMPLING
from edgereason.server.chat import FINGERPRINT, OPENAI, usage_of
from edgereason.server.errors import ApiError, openai_error
from edgereason.server.fields import (
    HARMLESS,
    Given,
    Means,
    Only,
    Table,
    bad,
    boolean,
    text,
    whole,
)
from edgereason.server.http import sse
from edgereason.server.running import Running, timings, was_cut
from edgereason.server.scores import completion_logprobs

Prompt = str | tuple[int, ...]

_LEAST: Final = 16  # tokens where the client says nothing, as there
_MOST_PROMPTS: Final = 64


def prompts(value: Any, name: str) -> tuple[Prompt, ...]:
    """One text, one list of tokens, or a list of either."""
    one = isinstance(value, str) or (isinstance(value, list) and _are_tokens(value))
    items = [value] if one else value
    if not isinstance(items, list) or not items or len(items) > _MOST_PROMPTS:
        raise bad(name, f"a text, token ids, or a list of up to {_MOST_PROMPTS} of them", value)
    return tuple(_prompt(item, f"{name}[{i}]") for i, item in enumerate(items))


def _are_tokens(value: list[Any]) -> bool:
    return bool(value) and all(type(item) is int for item in value)


def _prompt(item: Any, where: str) -> Prompt:
    if isinstance(item, str):
        return text(item, where)
    if not isinstance(item, list) or not _are_tokens(item):
        raise bad(where, "a text or a list of token ids", item)
    return tuple(item)


def _num_scores(value: Any, name: str) -> int:
    if isinstance(value, bool):
        return 0 if value else -1
    most: int = whole(0, 20)(value, name)
    return most


FIELDS: Final[Table] = {
    **OPENAI,
    **SAMPLING,
    **grammars.FIELDS,
    "deadline_ms": BUDGETS["deadline_ms"],
    "priority": BUDGETS["priority"],
    "service_tier": BUDGETS["service_tier"],
    "prompt": Means("prompts", prompts),
    "max_tokens": Means("max_tokens", whole(0)),
    "echo": Means("echo", boolean),
    "logprobs": Means("scores", _num_scores),
    "suffix": Only(("",), "nothing is filled in between two texts"),
    "best_of": Only((1,), "n gives several"),
    "stream_options": {
        "include_usage": Means("stream_usage", boolean),
        "continuous_usage_stats": HARMLESS,
    },
    "min_tokens": Only((0,), "a text ends where the model ends it"),
    "ignore_eos": Only((False,), "a text ends where the model ends it"),
    "add_special_tokens": Only((True,), "a text begins as the model expects it"),
    "prompt_logprobs": Only((0,), "echo and logprobs score the prompt"),
}


@dataclass(frozen=True, slots=True)
class Raw:
    """A prompt to go on with as it is. `tokens` are all of it, `text` is what is told with echo."""

    tokens: tuple[int, ...]
    text: str
    num_tokens: int  # that may follow
    scores: int  # -1: none
    echo: bool

    @property
    def options(self) -> dict[str, Any]:
        """Of the strategy `raw`."""
        scored = self.echo and self.scores >= 0
        return {"tokens": self.tokens, "score": scored, "only_score": self.num_tokens == 0}


def raw_of(engine: Any, prompt: Prompt, given: Given) -> Raw:
    """`engine`: of the model that is asked. For a thread: it tokenizes."""
    num, echo = given.get("max_tokens", _LEAST), given.get("echo", False)
    if num == 0 and not echo:
        raise bad(given.name("max_tokens"), "1 or more without echo", 0)
    tokens, said = read_prompt(engine, prompt)
    return Raw(tokens, said, num, given.get("scores", -1), echo)


def read_prompt(engine: Any, prompt: Prompt) -> tuple[tuple[int, ...], str]:
    """Its tokens, and its text."""
    if isinstance(prompt, str):
        tokens = tuple(engine.tokenize(prompt, parse_control=True))
        if engine.add_bos and engine.bos is not None and tokens[:1] != (engine.bos,):
            tokens = (engine.bos, *tokens)
        if not tokens:
            raise bad("prompt", "a text that is not empty, for this model", prompt)
        return tokens, prompt
    num_vocab = engine.info["num_vocab"]
    for token in prompt:
        if not 0 <= token < num_vocab:
            raise bad("prompt", f"token ids below {num_vocab}", token)
    return prompt, engine.detokenize(prompt).decode(errors="replace")


class CompletionWriter:
    """Writes one `text_completion`, or its chunks."""

    media_type = "text/event-stream; charset=utf-8"

    def __init__(self, running: Running, raw: Raw) -> None:
        self._running, self._raw = running, raw

    def whole(self, answer: Answer) -> dict[str, Any]:
        said = (self._raw.text if self._raw.echo else "") + answer.answer
        return self._object([self._choice(said, _finish(answer), self._logprobs())]) | {
            "usage": usage_of(answer),
            "timings": timings(answer),
            "edgereason": self._running.report(answer),
        }

    def start(self) -> Iterator[bytes]:
        if self._raw.echo:
            yield self._chunk(self._raw.text)

    def piece(self, chunk: Chunk) -> Iterator[bytes]:
        yield self._chunk(chunk.text)

    def end(self, answer: Answer) -> Iterator[bytes]:
        choice = self._choice("", _finish(answer), self._logprobs())
        report = {"timings": timings(answer), "edgereason": self._running.report(answer)}
        yield sse(self._object([choice]) | report)
        if self._running.given.get("stream_usage", False):
            yield sse(self._object([]) | {"usage": usage_of(answer)})
        yield b"data: [DONE]\n\n"

    def ping(self) -> bytes:
        return b": ping\n\n"

    def failed(self, error: ApiError) -> bytes:
        return sse(openai_error(error))

    def _logprobs(self) -> dict[str, Any] | None:
        if self._raw.scores < 0:
            return None
        told = self._raw.tokens if self._raw.echo else ()
        return completion_logprobs(self._running, told, self._raw.scores)

    def _chunk(self, said: str) -> bytes:
        return sse(self._object([self._choice(said, None, None)]))

    def _choice(self, said: str, finish: str | None, logprobs: Any) -> dict[str, Any]:
        return {"index": 0, "text": said, "logprobs": logprobs, "finish_reason": finish}

    def _object(self, choices: Sequence[Any]) -> dict[str, Any]:
        return {
            "id": f"cmpl-{self._running.id}",
            "object": "text_completion",
            "created": self._running.created,
            "model": self._running.asked_model,
            "system_fingerprint": FINGERPRINT,
            "choices": list(choices),
        }


def _finish(answer: Answer) -> str:
    return "length" if was_cut(answer) else "stop"


def prompts_of(given: Given) -> tuple[Prompt, ...]:
    if "prompts" not in given.values:
        raise ApiError(400, "prompt must be given", param="prompt", code="missing_parameter")
    found: tuple[Prompt, ...] = given.get("prompts")
    return found
