"""Long texts become tokens, or are refused: none overflows the stack of libllama's expressions.

Some 26,400 equal letters ended the process with pre-tokenizers that libllama matches recursively.
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from edgereason import ContextFullError, Reasoner
from support.host_models import Sums, engine_of
from support.places import ROOT
from support.tiny_models import write_vocab

CHILD = """
import sys
from pathlib import Path
from support.host_models import Sums, engine_of
engine = engine_of(Sums(), Path(sys.argv[1]))
print(len(engine.tokenize(eval(sys.argv[2]))))
"""
# Expressions that recur once a character, once a word, once a digit, and none.
# Those of gpt-oss, Mistral, Llama 4 and DeepSeek-V3 are gpt-4o, tekken, llama4 and deepseek-v3.
PRE_TOKENIZERS = (
    *("deepseek-llm", "deepseek-coder", "deepseek-v3", "gpt-4o", "llama4", "tekken", "seed-coder"),
    *("llama-bpe", "qwen2"),
)


@pytest.mark.parametrize("pre", PRE_TOKENIZERS)
@pytest.mark.parametrize("text", ["'a' * 100_000", "'ab ' * 30_000", "'1' * 100_000"])
def test_a_long_text_ends_no_process(pre: str, text: str, tmp_path: Path) -> None:
    path = write_vocab(tmp_path / "vocab.gguf", pre)
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", CHILD, str(path), text],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(ROOT / "tests"), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert int(done.stdout) == len(eval(text))


def test_an_ordinary_document_of_a_megabyte_becomes_tokens(tmp_path: Path) -> None:
    draw = random.Random(1)
    words = ("the", "sea,", "1,234", "didn't", "move:", "why?", "Größe", "naïve", "東京", "😀")
    text = "\n".join(" ".join(draw.choices(words, k=14)) for _ in range(15_000))
    engine = engine_of(Sums(), write_vocab(tmp_path / "vocab.gguf", "gpt-4o"))
    assert len(text.encode()) > 1_000_000
    assert engine.detokenize(engine.tokenize(text)) == text.encode()


def test_more_than_the_context_could_hold_is_refused_before_it_is_read() -> None:
    with (
        Reasoner.open("nano") as reasoner,
        pytest.raises(ContextFullError, match=r"3000.* bytes, the context holds"),
    ):
        reasoner.ask("a" * 3_000_000)
