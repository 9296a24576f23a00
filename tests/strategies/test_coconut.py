"""Coconut: latent steps against a loop by hand in torch, beside others, and what is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgereason.errors import ContextFullError, UnsupportedError, UsageError
from edgereason.records import Sampling, StopReason
from edgereason.runtime.reasoner import Reasoner
from support.cli_runner import Cli
from support.places import SCRIPTED

QUESTION = "What is 17 * 3?"


@pytest.fixture(scope="module")
def scripted() -> Iterator[Reasoner]:
    with Reasoner.open(SCRIPTED) as opened:
        yield opened


def test_the_answer_follows_the_mark(scripted: Reasoner) -> None:
    answer = scripted.ask(QUESTION, strategy="coconut")
    assert answer.answer == "51"
    assert (answer.usage.latent_tokens, answer.usage.reasoning_tokens) == (6, 6)
    assert [(p.name, p.reason) for p in answer.phases] == [
        ("latent", "stop"),
        ("think", "stop"),
        ("answer", "stop"),
    ]


def test_people_are_told_how_much_was_latent(cli: Cli) -> None:
    ran = cli("run", QUESTION, "--strategy", "coconut")
    assert "thought 6 tokens (6 latent, ended by stop)" in ran.err


def test_stop_thinking_ends_written_steps_too() -> None:
    with Reasoner.open(SCRIPTED, sleep_ms=5) as slow:
        handle = slow.submit(
            QUESTION, strategy="coconut", options={"latents": 1000}, answer_budget=4
        )
        time.sleep(0.2)
        handle.stop_thinking()
        answer = handle.result(10)
    assert 0 < answer.usage.latent_tokens == answer.usage.reasoning_tokens < 200
    assert answer.answer == "51"
    assert answer.phases[0].reason == StopReason.INTERRUPTED.value


def test_written_steps_are_thinking_within_the_budget(scripted: Reasoner) -> None:
    def ask(budget: int) -> Any:
        return scripted.ask(
            QUESTION, strategy="coconut", think_budget=budget, options={"mark": "5"}
        )

    assert ask(-1).answer == "1"
    assert ask(-1).usage.reasoning_tokens == 8  # six latent, "#" and " "
    assert ask(7).usage.reasoning_tokens == 7
    assert ask(4).usage.latent_tokens == ask(4).usage.reasoning_tokens == 4
    assert ask(0).usage.reasoning_tokens == 0


@pytest.mark.parametrize("latents", [0, 1, 200])
def test_latents_are_an_option(scripted: Reasoner, latents: int) -> None:
    answer = scripted.ask(QUESTION, strategy="coconut", options={"latents": latents})
    assert (answer.usage.latent_tokens, answer.answer) == (latents, "51")


def test_what_cannot_be_asked_for(scripted: Reasoner) -> None:
    def ask(**options: Any) -> None:
        scripted.ask(QUESTION, strategy="coconut", options=options)

    with pytest.raises(ContextFullError, match=r"10000 latent steps follow.*context holds 4096"):
        ask(latents=10_000)
    with pytest.raises(UsageError, match="latents must be 0 or more, got -1"):
        ask(latents=-1)
    # A budget that ends them in time is an answer.
    answer = scripted.ask(QUESTION, strategy="coconut", options={"latents": 10_000}, think_budget=5)
    assert answer.usage.latent_tokens == 5


def test_a_deadline_cuts_latent_steps() -> None:
    with Reasoner.open(SCRIPTED, sleep_ms=5) as slow:
        answer = slow.ask(
            QUESTION,
            strategy="coconut",
            options={"latents": 2000},
            answer_budget=4,
            deadline_ms=400,
        )
    assert 10 < answer.usage.latent_tokens < 80
    assert answer.answer == "51"
    assert answer.budget.deadline_ms.late_ms <= 20


def test_a_probe_ends_latent_steps(scripted: Reasoner) -> None:
    answer = scripted.ask(QUESTION, strategy="coconut", options={"latents": 100}, probe_every=4)
    assert answer.phases[0].reason == StopReason.STABLE.value
    assert 12 <= answer.usage.latent_tokens < 40
    assert answer.answer == "51"


# --- against torch --------------------------------------------------------------------------------

torch = pytest.importorskip("torch", reason="compares with torch")
pytest.importorskip("transformers", reason="compares with transformers")
pytest.importorskip("gguf", reason="writes with the extra `export`")
pytest.importorskip("onnxruntime", reason="runs an ONNX model")

from edgereason.export.job import Job, export  # noqa: E402
from support import hf_models  # noqa: E402  # needs torch
from support.latent_pair import END, LATENTS, QUESTIONS, START, Pair, open_pair, tokens_of  # noqa: E402


@pytest.fixture(
    scope="module",
    params=[(kind, name) for kind in ("llama", "gpt2") for name in ("gguf", "onnx", "tensorrt-B")],
    ids=" ".join,
)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    kind, name = request.param
    with open_pair(name, kind, tmp_path_factory.mktemp(name)) as opened:
        yield opened


def test_the_same_tokens_as_a_loop_by_hand(pair: Pair) -> None:
    for question in QUESTIONS:
        for latents in (0, 1, LATENTS):
            handle = pair.reasoner.submit(
                question, strategy="coconut", options={"latents": latents}, answer_budget=12
            )
            said = tokens_of(handle)
            assert pair.falls_short(question, said, latents) < pair.tolerance
            # Not by chance: another number of steps says something else.
            assert pair.falls_short(question, said, latents + 1) > pair.tolerance


def test_every_latent_step_says_what_torch_says(pair: Pair) -> None:
    """Torch is fed the engine's states, so that each step's difference is its own: fed back on both
    sides, a random model multiplies it by two a step. The engine is asked for rows of its own.
    """
    with pair.open() as alone:  # nothing else uses its engine
        engine = alone.engine
        for question in QUESTIONS:
            tokens = pair.prompt(question)
            last = len(tokens) - 1
            engine.decode([(0, pos, token, pos == last) for pos, token in enumerate(tokens)])
            row = last
            with torch.no_grad():
                rows = pair.rows(tokens)
                for step in range(LATENTS + 1):
                    logits, state = pair.run(rows)
                    hidden = engine.hidden(row).copy()
                    assert np.abs(hidden - state[0, 0].numpy()).max() < pair.tolerance / 4
                    assert np.abs(engine.logits(row) - logits.numpy()).max() < pair.tolerance / 4
                    rows = torch.cat((rows, torch.from_numpy(hidden)[None, None]), dim=1)
                    engine.decode([(0, len(tokens) + step, hidden, True)])
                    row = 0
            engine.drop(0)


def test_a_row_may_want_its_state_alone(pair: Pair) -> None:
    """libllama then leaves the head out, unless another row of the pass is sampled from."""
    with pair.open() as alone:
        engine = alone.engine
        tokens = pair.prompt(QUESTIONS[0])
        last = len(tokens) - 1

        def thought(output: Any, beside: bool) -> tuple[list[Any], Any]:
            """States of three steps, and the logits of a token behind them."""
            rows: list[Any] = [(0, i, token, i == last) for i, token in enumerate(tokens)]
            engine.decode(rows)
            states = [engine.hidden(last).copy()]
            for step in range(1, 4):
                rows = [(0, last + step, states[-1], output)]
                rows += [(1, step - 1, tokens[step], True)] * beside
                engine.decode(rows)
                states.append(engine.hidden(0).copy())
                assert engine.logits(0) is not None or output == "hidden"
                if output == "hidden" and pair.form.target == "gguf":
                    assert engine.logits(0) is None
                assert not beside or engine.logits(1) is not None
            engine.decode([(0, last + 4, tokens[0], True)])
            logits = engine.logits(0).copy()
            engine.drop(0)
            engine.drop(1)
            return states, logits

        for beside in (False, True):
            (states, logits), (others, same) = thought(True, beside), thought("hidden", beside)
            np.testing.assert_array_equal(states, others)
            np.testing.assert_array_equal(logits, same)


def test_beside_others_as_alone(pair: Pair) -> None:
    """Latent and ordinary requests in the same steps, their rows in the same decode."""
    asked = [
        (question, strategy)
        for question in QUESTIONS
        for strategy in ("coconut", "no-think", "think")
    ]

    def submit(question: str, strategy: str) -> Any:
        return pair.reasoner.submit(question, strategy=strategy, think_budget=9, answer_budget=6)

    alone = [tokens_of(submit(*each)) for each in asked]
    handles, together = [], []
    for some in (asked[:6], asked[6:]):
        # So many fit the context whatever they share: none thinks less for want of cells.
        handles += [submit(*each) for each in some]
        together += [tokens_of(handle) for handle in handles[len(together) :]]
    for (question, strategy), handle, said in zip(asked, handles, together, strict=True):
        if strategy == "coconut":
            assert handle.result().usage.latent_tokens == LATENTS
            assert pair.falls_short(question, said) < pair.tolerance
    if pair.tolerance < 0.01:  # float16 moves near ties with the batch
        assert together == alone


def test_votes_sample_after_the_same_thought(pair: Pair) -> None:
    def vote(seed: int) -> Any:
        return pair.reasoner.ask(
            QUESTIONS[0],
            strategy="vote",
            options={"of": "coconut", "samples": 3, "early_stop": False},
            answer_budget=8,
            sampling=Sampling(temperature=1.5, seed=seed),
        )

    answer = vote(1)
    assert answer.usage.latent_tokens == 3 * LATENTS
    assert answer.budget.think_tokens.used == LATENTS
    assert len(answer.candidates) > 1


def test_a_plain_bundle_needs_to_be_told(tmp_path: Path) -> None:
    folder = hf_models.save_model(tmp_path / "hf", "llama")
    export(folder, Job("gguf", tmp_path / "out", {"quant": "f16"}))
    with (
        Reasoner.open(str(tmp_path / "out"), threads=1) as reasoner,
        pytest.raises(UnsupportedError, match="hidden_out") as raised,
    ):
        reasoner.ask(QUESTIONS[0], strategy="coconut")
    assert raised.value.hint == "open the model with --engine-set hidden=true"
    with Reasoner.open(str(tmp_path / "out"), threads=1, hidden=True) as reasoner:
        with pytest.raises(UsageError, match="out does not say how many latent steps"):
            reasoner.ask(QUESTIONS[0], strategy="coconut", options={"latents": 3})
        given = {"latents": 3, "start": START, "end": END}
        answer = reasoner.ask(QUESTIONS[0], strategy="coconut", options=given, answer_budget=4)
        assert answer.usage.latent_tokens == 3
