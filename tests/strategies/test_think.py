"""Thinking without words of doubt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgereason import _core
from edgereason.errors import UnsupportedError, UsageError
from edgereason.models.bundle import open_bundle
from edgereason.planning.calibration import Calibration, save
from edgereason.prompt.chat import Prompt, thinking_prompt
from edgereason.records import Sampling
from edgereason.runtime.reasoner import Reasoner
from edgereason.strategies import base
from support.places import SCRIPTED

RULES = [("<think>\n", "So Wait it waits.\n</think>"), ("</think>", "\n\n Wait.")]


def model(*words: str) -> Reasoner:
    engine = _core.ScriptedEngine(
        RULES, words=words, control=["<|im_start|>", "<think>", "</think>"]
    )
    return Reasoner(open_bundle(SCRIPTED), engine)


def test_its_prompt_is_rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool | None] = []

    def counted(*args: Any, **keywords: Any) -> Prompt:
        asked.append(args[2])
        return thinking_prompt(*args, **keywords)

    monkeypatch.setattr(base, "thinking_prompt", counted)
    with model() as reasoner:
        reasoner.ask("Why?", strategy="think", think_budget=20)
    assert asked == [True]


@pytest.mark.parametrize("way", ["think", "hbpo", "auto-think"])
def test_a_budget_of_0_is_the_models_way_without_thoughts(way: str) -> None:
    """Not a thought that is cut before it begins, behind which the answer would be cued."""
    with model(" Wait", " waits") as reasoner:
        handles = [
            reasoner.submit("Why?", strategy=name, think_budget=0) for name in (way, "no-think")
        ]
        for handle in handles:
            handle.result()
        found, wanted = (handle.chains[0] for handle in handles)
    assert [phase.name for phase in found] == ["answer"]
    assert [phase.tokens for phase in found] == [phase.tokens for phase in wanted]
    assert found[0].num_prompt == wanted[0].num_prompt


def test_words_of_doubt_are_free_where_nothing_is_thought() -> None:
    with model(" Wait", " waits") as reasoner:
        options = {"doubts": False}
        answer = reasoner.ask("Why?", strategy="think", options=options, think_budget=0)
        assert "Wait" in answer.answer


def test_words_of_doubt_are_kept_out_of_thoughts_and_allowed_in_the_answer() -> None:
    with model(" Wait", " waits") as reasoner:
        plain = reasoner.ask("Why?", strategy="think", think_budget=20)
        assert (plain.reasoning, plain.answer) == ("So Wait it waits.", "Wait.")
        (wait,) = reasoner._words(["wait"])
        handle = reasoner.submit(
            "Why?", strategy="think", options={"doubts": False}, think_budget=20
        )
        handle.result()
        thought, answer = handle.chains[0]
        assert wait not in thought.tokens
        assert wait in answer.tokens


def test_what_the_user_says_of_a_token_holds() -> None:
    with model(" Wait", " waits") as reasoner:
        (wait,) = reasoner._words(["wait"])
        answer = reasoner.ask(
            "Why?",
            strategy="think",
            options={"doubts": False},
            think_budget=20,
            sampling=Sampling(logit_bias={wait: 0.0}),
        )
        assert answer.reasoning == "So Wait it waits."


def test_a_vocabulary_without_such_words_is_refused() -> None:
    with model() as reasoner, pytest.raises(UnsupportedError, match="none of its words"):
        reasoner.ask("Why?", strategy="think", options={"doubts": False})


# --- brake ----------------------------------------------------------------------------------------


def test_a_brake_ends_thinking_at_the_end_of_a_sentence() -> None:
    rules = [("<think>\n", "One two. Three.\n</think>"), ("</think>", "\n\n42")]
    engine = _core.ScriptedEngine(rules, control=["<|im_start|>", "<think>", "</think>"])
    with Reasoner(open_bundle(SCRIPTED), engine) as reasoner:
        for brake, thought, why in (
            (0.0, "One two. Three.", "stop"),
            (900.0, "One two.", "stable"),  # the script leaves all else far behind
        ):
            answer = reasoner.ask("Why?", strategy="think", options={"brake": brake})
            assert (answer.reasoning, answer.answer) == (thought, "42")
            assert answer.phases[0].reason == why


@pytest.mark.parametrize("brake", [-1.0, float("nan"), float("inf")])
def test_a_brake_is_a_number_of_nats(brake: float) -> None:
    with model() as reasoner, pytest.raises(UsageError, match="brake must be "):
        reasoner.ask("Why?", strategy="think", options={"brake": brake})


# --- sure -----------------------------------------------------------------------------------------


def test_a_probe_that_is_sure_ends_thinking() -> None:
    thought = " ".join(f"{i * i} or more." for i in range(40))
    bundle = open_bundle(SCRIPTED)
    rules = [("<think>\n", thought), (bundle.reasoning.probe, "42\n"), ("</think>", "\n\n42")]
    engine = _core.ScriptedEngine(rules, control=["<|im_start|>", "<think>", "</think>"])
    with Reasoner(bundle, engine) as reasoner:
        for sure, every, why, most in (
            (1.0, 0, "budget", 300),
            (0.5, 0, "stable", 90),  # 64 tokens and the probe
            (0.5, 16, "stable", 40),
        ):
            answer = reasoner.ask(
                "Why?", options={"sure": sure}, strategy="think", think_budget=300,
                probe_every=every,
            )  # fmt: skip
            assert answer.phases[0].reason == why
            assert 0 < answer.usage.reasoning_tokens <= most


@pytest.mark.parametrize("sure", [0.0, 1.5])
def test_sureness_is_a_probability(sure: float) -> None:
    with model() as reasoner, pytest.raises(UsageError, match="sure must be above 0 and at most 1"):
        reasoner.ask("Why?", strategy="think", options={"sure": sure})


@pytest.mark.parametrize(
    ("exits", "options", "told"),
    [
        (0.9, {"brake": 0.5}, "even a perfect exit would think 90% of the tokens here"),
        (0.9, {"sure": 0.95}, "even a perfect exit would think 90% of the tokens here"),
        (0.9, {}, ""),  # nobody asked
        (0.5, {"sure": 0.95}, ""),  # one can pay
        (None, {"sure": 0.95}, ""),  # nobody knows
    ],
)
def test_who_asks_for_an_exit_that_cannot_pay_is_told(
    exits: float | None,
    options: dict[str, float],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EDGEREASON_CACHE", str(tmp_path))
    save(open_bundle(SCRIPTED), Calibration("scripted", "q.jsonl", 12, "answers", exits=exits))
    with model() as reasoner:
        note = reasoner.ask("Why?", strategy="think", options=options, think_budget=20).note
    assert note.startswith(told)
    assert bool(note) == bool(told)
