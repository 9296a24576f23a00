"""A small model whose logits are added to those of another."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgereason import _core
from edgereason.errors import BundleError, ModelNotFoundError, UnsupportedError
from edgereason.records import Answer, Sampling
from edgereason.runtime.companion import parse_guide
from edgereason.runtime.reasoner import Reasoner
from support.engine_cases import feed
from support.places import SCRIPTED
from support.tiny_models import write_model

NANO = "nano"
SUM = "What is 47+8-23?"


def asked(guide: str = "", **more: Any) -> Answer:
    with Reasoner.open(NANO, guide=guide, threads=1, context=512) as reasoner:
        return reasoner.ask(SUM, **{"strategy": "think", "think_budget": 64, **more})


def test_at_strength_0_no_token_changes() -> None:
    alone, guided = asked(), asked("nano-infty:0")
    assert (guided.answer, guided.reasoning) == (alone.answer, alone.reasoning)
    assert guided.usage.reasoning_tokens == alone.usage.reasoning_tokens > 5


def test_the_sum_of_a_model_and_itself_is_itself_when_greedy() -> None:
    assert asked("nano").reasoning == asked().reasoning


def test_a_model_and_itself_at_temperature_2_draw_as_it_does_alone_at_1() -> None:
    alone = asked(sampling=Sampling(temperature=1, seed=3))
    assert asked("nano", sampling=Sampling(temperature=2, seed=3)).reasoning == alone.reasoning


def test_votes_fork_both() -> None:
    answer = asked("nano:0.5", strategy="vote", options={"samples": 3, "early_stop": False})
    assert sum(candidate.votes for candidate in answer.candidates) == 3
    assert answer.answer == asked().answer


def test_logits_are_added(tmp_path: Path) -> None:
    path = write_model(tmp_path / "tiny.gguf", "dense")
    one, two, both = (_core.LlamaEngine(path, context=64, max_seqs=2) for _ in range(3))
    guided = _core.SumEngine(both, two, -0.5)
    tokens = one.tokenize("The quick brown fox")
    alone = feed(one, 0, tokens)
    assert np.allclose(feed(guided, 0, tokens), 0.5 * alone, atol=1e-6)
    assert guided.meta("general.architecture") == one.meta("general.architecture")
    assert guided.hidden(0) is None


def test_other_words_are_refused() -> None:
    said = "token 0 is '<|endoftext|>' in the model and '\\x00' in the guide"
    with pytest.raises(BundleError, match=re.escape(said)):
        asked(SCRIPTED)


def test_one_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelNotFoundError, match="no-such-guide"):
        asked("no-such-guide:0.5")


def test_its_kv_is_not_kept_on_disk(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="not kept on disk"):
        Reasoner.open(NANO, guide="nano", kv_cache=tmp_path)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("nano", ("nano", 1.0)),
        ("nano:0.5", ("nano", 0.5)),
        ("folder/guide:-1", ("folder/guide", -1.0)),
        ("ollama:qwen3:0.6b", ("ollama:qwen3:0.6b", 1.0)),
        ("ollama:qwen3:0.6b:2", ("ollama:qwen3:0.6b", 2.0)),
        ("nano:nan", ("nano:nan", 1.0)),
        (":2", (":2", 1.0)),
    ],
)
def test_a_number_behind_the_last_colon_is_the_strength(
    text: str, found: tuple[str, float]
) -> None:
    assert parse_guide(text) == found
