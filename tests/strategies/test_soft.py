"""Thinking in blends of tokens, as ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgereason import Reasoner
from edgereason.errors import UnsupportedError, UsageError
from support.scripted_models import model
from support.tiny_models import write_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("soft") / "tiny.gguf", "dense")


@pytest.mark.parametrize("way", ["soft", "swi"])
def test_blends_are_told_and_spend_the_budget(tiny: Path, way: str) -> None:
    with Reasoner.open(tiny, context=256, threads=1) as reasoner:
        answer = reasoner.ask("he said", strategy=way, think_budget=20, answer_budget=4)
        again = reasoner.ask("he said", strategy=way, think_budget=20, answer_budget=4)
    assert 0 < answer.usage.latent_tokens <= answer.usage.reasoning_tokens <= 20
    assert (again.answer, again.reasoning) == (answer.answer, answer.reasoning)
    assert answer.reasoning  # it reads as its heaviest tokens


def test_a_script_is_thought_as_it_stands() -> None:
    """Its tokens are far likelier than all others, so that each blend is one token."""
    with model() as reasoner:
        answer = reasoner.ask("Why?", strategy="soft")
    assert (answer.answer, answer.reasoning) == ("7", "Hm.")
    assert answer.usage.latent_tokens == 0


def test_an_engine_without_rows_refuses() -> None:
    caps = 63  # all but token_rows
    with (
        model(caps=caps) as reasoner,
        pytest.raises(UnsupportedError, match="needs token_rows, which engine scripted lacks"),
    ):
        reasoner.ask("Why?", strategy="soft")


def test_turns_may_end_the_thought(tiny: Path) -> None:
    with Reasoner.open(tiny, context=256, threads=1) as reasoner:
        options = {"dwell": 1, "switches": 1}
        handle = reasoner.submit(
            "he said", strategy="swi", options=options, think_budget=100, answer_budget=4
        )
        assert handle.result().budget.think_tokens.ended_by == "budget"
        assert handle.chains[0][0].num_tokens < 100


@pytest.mark.parametrize(
    ("way", "options", "error"),
    [
        ("soft", {"top": 0}, r"blend top must be in \[1, 64\], got 0"),
        ("soft", {"noise": -1}, "blend noise must be 0 or more, got -1"),
        ("soft", {"temperature": 0}, "temperature must be more than 0, got 0"),
        ("swi", {"dwell": 0}, "dwell must be 1 or more, got 0"),
        ("swi", {"switches": -1}, "blend switches must be 0 or more, got -1"),
    ],
)
def test_wrong_options(way: str, options: dict[str, Any], error: str) -> None:
    with model() as reasoner, pytest.raises(UsageError, match=error):
        reasoner.ask("Why?", strategy=way, options=options)
