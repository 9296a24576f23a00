"""LoRA adapters: the same as weights that were changed, and as llama.cpp itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgereason import Reasoner, engines
from edgereason.errors import BundleError, EdgereasonError, ModelNotFoundError, UsageError
from edgereason.models.bundle import open_bundle
from edgereason.registry import load
from support.cli_runner import Cli
from support.engine_cases import feed
from support.tiny_models import NUM_VOCAB, write_lora, write_model, write_vocab

TOKENS = [104, 101, 32, 115, 97, 105, 100, 32, 116, 104, 256, 10]
module = load(engines, "llamacpp")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "tiny.gguf", "dense")


def opened(path: Path, *lora: str, **more: Any) -> Any:
    config = module.Config(context=256, sequences=4, lora=lora, **more)
    engine = module.open(open_bundle(path), config)
    engine.set_threads(1)
    return engine


def greedy(engine: Any, num: int = 24) -> list[int]:
    tokens, logits = [], feed(engine, 0, TOKENS)
    for at in range(num):
        tokens.append(int(np.argmax(logits)))
        logits = feed(engine, 0, tokens[-1:], start=len(TOKENS) + at)
    return tokens


@pytest.mark.parametrize("scale", [1.0, 0.25, -0.5])
def test_it_is_what_changed_weights_are(tmp_path: Path, model: Path, scale: float) -> None:
    deltas = write_lora(tmp_path / "lora.gguf")
    changed = {name: np.float32(scale * delta) for name, delta in deltas.items()}
    merged = write_model(tmp_path / "merged.gguf", "dense", changed)
    plain = feed(opened(model), 0, TOKENS)
    wanted = feed(opened(merged), 0, TOKENS)
    found = feed(opened(model, f"{tmp_path / 'lora.gguf'}:{scale}"), 0, TOKENS)
    assert np.abs(found - wanted).max() < 1e-3
    assert np.abs(found - plain).max() > 0.1


def test_several_add_up(tmp_path: Path, model: Path) -> None:
    one = write_lora(tmp_path / "one.gguf")
    two = write_lora(tmp_path / "two.gguf", seed=6)
    both = {name: np.float32(one[name] + 0.5 * two[name]) for name in one}
    merged = write_model(tmp_path / "merged.gguf", "dense", both)
    engine = opened(model, str(tmp_path / "one.gguf"), f"{tmp_path / 'two.gguf'}:0.5")
    wanted = feed(opened(merged), 0, TOKENS)
    assert np.abs(feed(engine, 0, TOKENS) - wanted).max() < 1e-3


def test_tokens_of_llama_cpp(tmp_path: Path, model: Path) -> None:
    from llama_cpp import Llama

    write_lora(tmp_path / "lora.gguf")
    theirs = Llama(
        str(model),
        n_ctx=256,
        n_threads=1,
        n_threads_batch=1,
        lora_path=str(tmp_path / "lora.gguf"),
        lora_scale=0.5,
        verbose=False,
    )
    tokens = []
    for token in theirs.generate(TOKENS, temp=0.0, repeat_penalty=1.0):
        tokens.append(token)
        if len(tokens) == 24:
            break
    theirs.close()
    assert greedy(opened(model, f"{tmp_path / 'lora.gguf'}:0.5")) == tokens
    assert greedy(opened(model)) != tokens


def test_embeddings_pass_through_it_too(tmp_path: Path, model: Path) -> None:
    """A step of tokens and embeddings is two decodes then; the result is the same."""
    write_lora(tmp_path / "lora.gguf")
    engine = opened(model, str(tmp_path / "lora.gguf"), hidden=True)
    feed(engine, 0, TOKENS)
    state = np.array(engine.hidden(len(TOKENS) - 1))
    alone = feed(engine, 0, [state], start=len(TOKENS))
    feed(engine, 1, TOKENS)
    engine.decode([(1, len(TOKENS), state, True), (2, 0, 5, True)])
    assert np.abs(engine.logits(0) - alone).max() < 1e-3


def test_kv_of_other_weights_is_not_taken(tmp_path: Path, model: Path) -> None:
    write_lora(tmp_path / "lora.gguf")
    engine = opened(model, str(tmp_path / "lora.gguf"))
    feed(engine, 0, TOKENS)
    saved = engine.save(0)
    opened(model, str(tmp_path / "lora.gguf")).load(0, saved)
    for other in ((), (f"{tmp_path / 'lora.gguf'}:0.5",)):
        with pytest.raises(EdgereasonError, match="another model"):
            opened(model, *other).load(0, saved)


@pytest.mark.parametrize("scale", ["strong", "nan", "inf", ""])
def test_scales_that_are_none(tmp_path: Path, model: Path, scale: str) -> None:
    write_lora(tmp_path / "lora.gguf")
    with pytest.raises(UsageError, match=f"must be a number, got '{scale}'"):
        opened(model, f"{tmp_path / 'lora.gguf'}:{scale}")


def test_files_that_are_no_adapters(tmp_path: Path, model: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no such adapter"):
        opened(model, str(tmp_path / "gone.gguf"))
    with pytest.raises(BundleError, match=r"tiny\.gguf is no LoRA adapter"):
        opened(model, str(model))
    write_lora(tmp_path / "lora.gguf")
    with pytest.raises(BundleError, match=r"lora\.gguf is a LoRA adapter, no model"):
        opened(tmp_path / "lora.gguf")
    other = write_model(tmp_path / "other.gguf", "sliding")
    with pytest.raises(BundleError, match="cannot use the adapter") as raised:
        opened(other, str(tmp_path / "lora.gguf"))
    assert "trained on this very model" in raised.value.hint


def test_a_vocabulary_is_no_model(tmp_path: Path) -> None:
    path = write_vocab(tmp_path / "vocab.gguf")
    with pytest.raises(BundleError, match=r"vocab\.gguf holds a vocabulary and no weights"):
        opened(path)


def test_a_model_without_a_vocabulary_says_so(tmp_path: Path) -> None:
    says = {"tokenizer.ggml.model": "no_vocab", "llama.vocab_size": NUM_VOCAB}
    path = write_model(tmp_path / "mute.gguf", "dense", says=says)
    with pytest.raises(BundleError, match=r"no vocabulary \(tokenizer\.ggml\.model = no_vocab\)"):
        opened(path)


def test_the_command_line(cli: Cli, tmp_path: Path, model: Path) -> None:
    write_lora(tmp_path / "lora.gguf")
    ask = ["run", "he said", "--model", str(model), "--context", "256", "--json"]
    ask += ["--strategy", "no-think", "--answer-budget", "8", "--threads", "1"]
    plain, changed = (
        cli(*ask, *more).json["answer"] for more in ((), ("--lora", str(tmp_path / "lora.gguf")))
    )
    with Reasoner.open(model, context=256, threads=1, lora=(str(tmp_path / "lora.gguf"),)) as one:
        assert one.ask("he said", strategy="no-think", answer_budget=8).answer == changed
    assert plain != changed
