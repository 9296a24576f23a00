"""Whether libllama makes the same tokens of a text as the tokenizer the model was trained with."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgereason.models.bundle import Bundle

from ..libllama import tokenize
from ..sources.base import Source

_TEXTS: Final = (
    "Hello, world!",
    "The quick brown fox jumps over the lazy dog.",
    " leading and trailing blanks  ",
    "two\n\nlines\r\nand\ttabs \n  indented",
    "Numbers: 0 7 42 1234 3.14159 1,000,000 2026-01-01 0x1F",
    "It's what they're saying; we'll see, I'd bet you've DON'T KNOW'S",
    "def f(x: int) -> list[int]:\n    return [x ** 2 for _ in range(3)]  # ok?",
    "x = a+b*c/(d-e)%f != g<=h>=i && !j || k^l~m",
    "Umlaute: äöüßÄÖÜ, naïve café, œuvre, Ångström, señor",
    "Привет, мир! Как дела?",
    "日本語のテキスト、中文文本\uff0c한국어 텍스트",
    "مرحبا بالعالم שלום עולם नमस्ते",
    "emoji \U0001f600\U0001f680 \U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f",
    "\\frac{a}{b} = \\sqrt{x^2 + y^2} \\boxed{51}",
    "https://example.org/a?b=c&d=e#f user@example.org",
    "...---...!!!???***",
    "CamelCase snake_case kebab-case SCREAMING_CASE",
    "",
)


@dataclass(frozen=True, slots=True)
class Agreement:
    num_texts: int
    num_same: int
    first_different: str = ""


def compare_tokens(source: Source, folder: Path, bundle: Bundle) -> Agreement | None:
    """None where the source has no `tokenizer.json`, or `tokenizers` is not installed."""
    written = source.path / "tokenizer.json"
    headers = [file.path for file in bundle.files if file.path.endswith(".gguf")]
    if not written.is_file() or not headers or importlib.util.find_spec("tokenizers") is None:
        return None
    tokenizer: Any = importlib.import_module("tokenizers").Tokenizer.from_file(str(written))
    texts = [*_TEXTS, *(f"a {text} b" for text in bundle.control_tokens[:8])]
    expected = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    found = tokenize(folder / headers[0], texts)
    different = [text for text, a, b in zip(texts, expected, found, strict=True) if a != b]
    return Agreement(len(texts), len(texts) - len(different), different[0] if different else "")
