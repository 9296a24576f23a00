"""Demonstrations as tokens: the prompt as the runtime renders it, the reply, and which of it is
learned. Knows no training.

A line of the file is `{"prompt": ..., "reply": ...}`, or `messages` instead of the prompt; other
keys are left alone.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgereason import files
from edgereason.config import build
from edgereason.errors import BundleError, UsageError
from edgereason.models.bundle import Bundle, open_bundle
from edgereason.prompt.chat import thinking_prompt
from edgereason.prompt.lowering import Tokenizer, prompt_tokens
from edgereason.records import Message, messages_of

from ..metadata import write_vocabulary
from ..sources.base import Source

_HINT: Final = 'a line is {"prompt": "...", "reply": "..."}, or "messages" instead of the prompt'


@dataclass(frozen=True, slots=True)
class Demo:
    messages: tuple[Message, ...]
    reply: str


@dataclass(frozen=True, slots=True, order=True)
class Example:
    """Tokens of prompt and reply; those from `begin` on are learned."""

    tokens: tuple[int, ...]
    begin: int


def read_demos(path: Path) -> tuple[list[Demo], str]:
    """The demonstrations of a file, and the file's sha256."""
    try:
        raw = files.read_bytes(path)
        lines = raw.decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}", _HINT) from None
    found = [
        _demo(line, f"line {number} of {path.name}")
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not found:
        raise UsageError(f"{path.name} holds no demonstrations", _HINT)
    return found, hashlib.sha256(raw).hexdigest()


def _demo(line: str, where: str) -> Demo:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is not JSON: {error}", _HINT) from None
    if not isinstance(data, dict) or ("prompt" in data) == ("messages" in data):
        raise UsageError(f"{where} must have either a prompt or messages", _HINT)
    reply = data.get("reply")
    if not isinstance(reply, str) or not reply:
        raise UsageError(f"{where} has no reply", _HINT)
    if "prompt" in data:
        if not isinstance(data["prompt"], str):
            raise UsageError(f"{where}: its prompt is no text", _HINT)
        return Demo(messages_of(data["prompt"]), reply)
    if not isinstance(data["messages"], list) or not data["messages"]:
        raise UsageError(f"{where}: its messages are no list", _HINT)
    return Demo(
        tuple(build(Message, turn, where=where) for turn in map(_object, data["messages"])), reply
    )


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"a message must be an object, got {value!r}", _HINT)
    return value


def encode(source: Source, demos: Sequence[Demo], thinking: bool | None) -> list[Example]:
    """All demonstrations as tokens. `thinking`: None where some reply opens a thought."""
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Path(folder) / "vocab.gguf"
        write_vocabulary(source, vocabulary)
        bundle = open_bundle(vocabulary)
        if not bundle.eos_token:
            raise BundleError(f"{source.name} has no token that ends a reply")
        tokenizer = _tokenizer(vocabulary, source.architecture.num_vocab)
        if thinking is None:
            opens = bundle.reasoning.opens
            thinking = any(mark in demo.reply for demo in demos for mark in opens)
        return list(_encode(bundle, tokenizer, demos, thinking))


def _encode(
    bundle: Bundle, tokenizer: Tokenizer, demos: Sequence[Demo], thinking: bool
) -> Iterator[Example]:
    for number, demo in enumerate(demos, 1):
        segments = thinking_prompt(bundle, demo.messages, thinking).segments
        text = "".join(segment.text for segment in segments)
        reply = demo.reply
        for mark in bundle.reasoning.opens:
            # What the prompt has opened already, the model does not write again.
            opened = text[at:] if (at := text.rfind(mark)) >= 0 else ""
            reply = reply.removeprefix(opened)
            if not thinking and mark in reply:
                raise UsageError(
                    f"demonstration {number} opens a thought, and thinking is off",
                    "take its thought out, or give --thinking",
                )
        prompt = prompt_tokens(segments, tokenizer)
        learned = tokenizer.tokenize(reply + bundle.eos_token, parse_control=True)
        yield Example((*prompt, *learned), len(prompt))


def _tokenizer(vocabulary: Path, num_vocab: int) -> Tokenizer:
    """An engine that has a vocabulary and no model."""
    from edgereason._core import HostEngine

    nothing: Any = None
    return HostEngine(
        nothing,
        vocabulary,
        caps=0,
        num_vocab=num_vocab,
        num_embd=1,
        context=1 << 18,  # of tokens that it may make; there is no KV
        max_rows=1,
        max_seqs=1,
    )
