"""llama.cpp's own `/completion`: a text, or tokens, and the model goes on with it. The fields that
clients of its server read; of its settings those that are ours as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from edgereason.records import UNLIMITED, Answer, Chunk, Sampling, StopReason
from edgereason.server import completions, grammars
from edgereason.server.budgets import BUDGETS, SAMPLING
from edgereason.server.chat import OPENAI, read_bias
from edgereason.server.completions import Prompt, Raw
from edgereason.server.errors import ApiError, openai_error
from edgereason.server.fields import HARMLESS, Given, Means, Only, Table, bad, boolean, texts, whole
from edgereason.server.http import sse
from edgereason.server.running import Running, num_completion, timings, was_cut
from edgereason.server.scores import answer_entries

_KEY: Final = "prompt_string"  # of a prompt that is an object


def _prompts(value: Any, name: str) -> tuple[Prompt, ...]:
    """As in `/v1/completions`; a text may be in an object as well."""
    if isinstance(value, list):
        value = [_text_of(item, name) for item in value]
    return completions.prompts(_text_of(value, name), name)


def _text_of(value: Any, name: str) -> Any:
    if not isinstance(value, dict):
        return value
    if set(value) != {_KEY}:
        raise bad(name, f"an object with {_KEY} alone (this server has texts only)", list(value))
    return value[_KEY]


def _bias(value: Any, name: str) -> Any:
    """An object, as OpenAI has it, or pairs of a token and its bias; false forbids the token."""
    if value is False or value == []:
        return {}
    if not isinstance(value, list):
        return read_bias(value, name)
    pairs = [pair for pair in value if isinstance(pair, list) and len(pair) == 2]
    if len(pairs) < len(value) or not all(type(token) is int for token, _ in pairs):
        raise bad(name, "an object, or a list of pairs of a token id and a number", value)
    return read_bias({token: -100 if amount is False else amount for token, amount in pairs}, name)


FIELDS: Final[Table] = {
    **SAMPLING,
    **grammars.FIELDS,
    "deadline_ms": BUDGETS["deadline_ms"],
    "priority": BUDGETS["priority"],
    "model": OPENAI["model"],
    "stream": OPENAI["stream"],
    "logit_bias": Means("logit_bias", _bias),
    "prompt": Means("prompts", _prompts),
    "n_predict": Means("max_tokens", whole(UNLIMITED)),
    "max_tokens": Means("max_tokens", whole(UNLIMITED)),
    "n_probs": Means("scores", whole(0, 20)),
    "return_tokens": Means("return_tokens", boolean),
    "response_fields": Means("response_fields", lambda value, name: value and texts(value, name)),
    "cache_prompt": HARMLESS,
    "id_slot": HARMLESS,
    "timings_per_token": HARMLESS,
    "return_progress": HARMLESS,
    "ignore_eos": Only((False,), "a text ends where the model ends it"),
    "post_sampling_probs": Only((False,), "probabilities are told as the model gave them"),
    "n_indent": Only((0,), "lines are as the model writes them"),
    "t_max_predict_ms": Only((0,), "deadline_ms counts from arrival"),
    "lora": Only(([],), "adapters of single requests are not taken here"),
}


def raw_of(engine: Any, prompt: Prompt, given: Given, *, answer_tokens: int) -> Raw:
    """For a thread: it tokenizes. `answer_tokens`: where the client says nothing. Without a limit
    the text may fill the context.
    """
    tokens, said = completions.read_prompt(engine, prompt)
    num = given.get("max_tokens", answer_tokens)
    most = engine.info["num_cells"] if num == UNLIMITED else num
    return Raw(tokens, said, most, given.get("scores", 0) or -1, echo=False)


class CompletionWriter:
    """Writes one completion, or its pieces."""

    media_type = "text/event-stream; charset=utf-8"

    def __init__(self, running: Running, raw: Raw) -> None:
        self._running, self._raw = running, raw

    def whole(self, answer: Answer) -> dict[str, Any]:
        told = self._told(answer, answer.answer)
        wanted = self._running.given.get("response_fields")
        return _picked(told, wanted) if wanted else told

    def start(self) -> Iterator[bytes]:
        yield from ()

    def piece(self, chunk: Chunk) -> Iterator[bytes]:
        yield sse({"index": 0, "content": chunk.text, "stop": False})

    def end(self, answer: Answer) -> Iterator[bytes]:
        yield sse(self._told(answer, ""))

    def ping(self) -> bytes:
        return b": ping\n\n"

    def failed(self, error: ApiError) -> bytes:
        return sse(openai_error(error))

    def _told(self, answer: Answer, said: str) -> dict[str, Any]:
        running, given = self._running, self._running.given
        stop_text = running.stop_text
        results = [result for line in running.handle.chains[:1] for result in line]
        tokens = list(results[-1].tokens) if given.get("return_tokens") and results else []
        told: dict[str, Any] = {
            "index": 0,
            "content": said,
            "tokens": tokens,
            "id_slot": -1,
            "stop": True,
            "model": running.asked_model,
            "tokens_predicted": num_completion(answer),
            "tokens_evaluated": answer.usage.prompt_tokens,
            "tokens_cached": answer.usage.cached_tokens,
            "generation_settings": self._settings(),
            "prompt": self._raw.text,
            "has_new_line": "\n" in answer.answer,
            "truncated": answer.finish is StopReason.CONTEXT,
            "stop_type": "limit" if was_cut(answer) else "word" if stop_text else "eos",
            "stopping_word": stop_text or "",
            "timings": timings(answer),
            "edgereason": running.report(answer),
        }
        if self._raw.scores > 0:
            told["completion_probabilities"] = answer_entries(running)
        return told

    def _settings(self) -> dict[str, Any]:
        request = self._running.request
        drawn: Sampling = request.sampling or self._running.model.bundle.sampling
        return {
            "n_predict": self._raw.num_tokens,
            "seed": drawn.seed,
            "temperature": drawn.temperature,
            "top_k": drawn.top_k,
            "top_p": drawn.top_p,
            "min_p": drawn.min_p,
            "presence_penalty": drawn.presence_penalty,
            "repeat_penalty": drawn.repetition_penalty,
            "stop": list(request.stop),
            "logit_bias": [
                {"token": token, "bias": bias} for token, bias in drawn.logit_bias.items()
            ],
        }


def _picked(told: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The fields that were asked for; `a/b` is b of the object a."""
    found: dict[str, Any] = {}
    for name in names:
        value: Any = told
        for part in name.split("/"):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            found[name] = value
    return found
