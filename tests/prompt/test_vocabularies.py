"""Genuine vocabularies: the marks of families are tokenized as the models write them.

They lie in the source distribution of llama-cpp-python, under `vendor/llama.cpp/models`, with
templates beside them: EDGEREASON_TEST_VOCABULARIES names that folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import pytest

from edgereason.models import gguf
from edgereason.prompt.detection import detect_reasoning
from edgereason.prompt.families import Family, families
from edgereason.prompt.lowering import lower, prompt_tokens
from edgereason.prompt.reasoning import Kind
from edgereason.records import Phase, Role, Segment

VARIABLE: Final = "EDGEREASON_TEST_VOCABULARIES"
FOLDER: Final = Path(os.environ.get(VARIABLE, ""))
FILES: Final = sorted(FOLDER.glob("ggml-vocab-*.gguf")) if os.environ.get(VARIABLE) else []
THOUGHT: Final = "So it is 4"

pytestmark = pytest.mark.skipif(
    not FILES, reason=f"{VARIABLE} names no folder with ggml-vocab-*.gguf"
)
of_bert = ("bert-bge", "nomic-bert-moe")  # encoders: what they are given is not what they give back
every = pytest.mark.parametrize(
    "path", [f for f in FILES if not any(name in f.name for name in of_bert)], ids=lambda f: f.stem
)


@dataclass
class Vocabulary:
    """A `Tokenizer` over libllama, which opens such a file without weights."""

    path: Path
    most_bytes: int = 1 << 20
    bos: int | None = None
    add_bos: bool = False
    _model: Any = field(init=False)

    def __post_init__(self) -> None:
        from llama_cpp import llama_cpp as lib

        params = lib.llama_model_default_params()
        params.vocab_only = True
        self._lib = lib
        self._model = lib.llama_model_load_from_file(str(self.path).encode(), params)
        self._vocab = lib.llama_model_get_vocab(self._model)

    def tokenize(self, text: str, *, parse_control: bool = False) -> list[int]:
        data = text.encode()
        tokens = (self._lib.llama_token * (len(data) + 8))()
        num = self._lib.llama_tokenize(
            self._vocab, data, len(data), tokens, len(tokens), False, parse_control
        )
        assert num >= 0
        return list(tokens[:num])

    def text(self, tokens: Iterator[int] | tuple[int, ...] | list[int]) -> str:
        return b"".join(map(self._piece, tokens)).decode()

    def _piece(self, token: int) -> bytes:
        import ctypes

        buffer = ctypes.create_string_buffer(256)
        num = self._lib.llama_token_to_piece(self._vocab, token, buffer, 256, 0, True)
        return buffer.raw[:num]


@lru_cache(maxsize=1)
def opened(path: Path) -> Vocabulary:
    return Vocabulary(path)


def texts_of(family: Family) -> list[str]:
    """What is forced of a family, mid-text."""
    return [text for text in (family.enter, family.forced, family.answer, family.skip) if text]


@every
def test_what_is_forced_is_what_is_meant(path: Path) -> None:
    """Vocabularies of SentencePiece put a blank before each text, also in the middle of one."""
    vocabulary = opened(path)
    for family in families():
        for text in texts_of(family):
            phase = Phase("x", Role.ANSWER, force=text, close=text)
            (lowered,) = lower(phase, vocabulary)
            assert vocabulary.text(lowered.force) == text
            assert vocabulary.text(lowered.close) == text


@every
def test_behind_a_thought_it_reads_as_if_written_at_once(path: Path) -> None:
    vocabulary = opened(path)
    for family in families():
        segments = (Segment(THOUGHT), Segment(family.forced), Segment("Four.", control=False))
        tokens = prompt_tokens(segments, vocabulary)
        whole = THOUGHT + family.forced + "Four."
        assert vocabulary.text(tokens).lstrip(" ") == whole
        assert prompt_tokens([Segment(whole)], vocabulary)[:2] == tokens[:2]


@every
def test_a_token_of_the_models_own_is_one_and_no_text_gives_it(path: Path) -> None:
    control, defined = gguf.read(path).control_tokens()
    vocabulary = opened(path)
    for text in {*control, *defined}:
        if not text.strip() or not any(text in mark for f in families() for mark in texts_of(f)):
            continue
        alone = vocabulary.tokenize(text, parse_control=True)
        alone = alone[1:] if vocabulary.text(alone[:1]) == " " else alone
        assert vocabulary.text(alone) == text
        assert len(alone) == 1, text
        if text in control:
            (lowered,) = lower(
                Phase("x", Role.ANSWER, force=(Segment(text, control=False),)), vocabulary
            )
            assert alone[0] not in lowered.force


@pytest.mark.parametrize(
    ("vocabulary", "template", "opened_with", "num_tokens"),
    [
        # As these models write them: tokens of their own, or several. The file of Qwen3.5 has the
        # tokens of Qwen2, among which no mark is.
        ("qwen35", "Qwen3.5-4B", "<think>", 3),
        ("gemma-4", "google-gemma-4-31B-it", "<|channel>thought", 2),
        ("qwen2", "Qwen-QwQ-32B", "<think>", 3),
    ],
)
def test_templates_with_the_vocabulary_of_their_model(
    vocabulary: str, template: str, opened_with: str, num_tokens: int
) -> None:
    path = FOLDER / f"ggml-vocab-{vocabulary}.gguf"
    header = gguf.read(path)
    text = (FOLDER / "templates" / f"{template}.jinja").read_text(encoding="utf-8")
    control, defined = header.control_tokens()
    found = detect_reasoning(
        text,
        (*control, *defined),
        bos_token=header.token("bos"),
        eos_token=header.token("eos"),
        name=header.name,
    )
    assert found.kind is Kind.MARKER
    assert found.opens == (opened_with,)
    (lowered,) = lower(Phase("x", Role.ANSWER, force=opened_with), opened(path))
    assert len(lowered.force) == num_tokens
