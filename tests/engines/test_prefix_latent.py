"""Latent steps behind a prefix: what torch says with the same rows as its cache, in votes, and
in one batch with requests behind other prefixes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("torch", reason="compares with torch")
pytest.importorskip("transformers", reason="compares with transformers")
pytest.importorskip("gguf", reason="writes with the extra `export`")
pytest.importorskip("onnxruntime", reason="one of the engines")

from edgereason.models.bundle import open_bundle
from edgereason.models.prefix_file import base_hash
from edgereason.records import Sampling
from support.latent_pair import LATENTS, QUESTIONS, Pair, open_pair, tokens_of
from support.prefix_rows import made_up, save

POSITIONS = {"p0": 5, "p1": 9}


@pytest.fixture(scope="module", params=["gguf", "onnx", "tensorrt-A"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Pair]:
    tmp = tmp_path_factory.mktemp(request.param)
    with open_pair(request.param, "llama", tmp, context=1024) as opened:
        prefixes = {name: made_up(opened.model, num, num) for name, num in POSITIONS.items()}
        for name, kv in prefixes.items():
            path = opened.path / "prefixes" / f"{name}.safetensors"
            save(path, kv, base_hash(open_bundle(opened.path)))
        with opened.open(context=1024, sequences=32) as reasoner:  # which finds them by name
            yield replace(opened, reasoner=reasoner, prefixes=prefixes)


def submit(pair: Pair, question: str, prefix: str, strategy: str = "coconut", **more: Any) -> Any:
    return pair.reasoner.submit(
        question,
        strategy=strategy,
        prefix=prefix or None,
        **{"think_budget": 9, "answer_budget": 10, "sampling": Sampling(temperature=0), **more},
    )


@pytest.mark.parametrize("latents", [0, 1, LATENTS])
def test_the_same_tokens_as_a_loop_by_hand(pair: Pair, latents: int) -> None:
    for question in QUESTIONS[:2]:
        for prefix, other in (("p0", "p1"), ("p1", "")):
            handle = submit(pair, question, prefix, options={"latents": latents})
            said = tokens_of(handle)
            assert len(said) > 3
            assert pair.falls_short(question, said, latents, prefix) < pair.tolerance
            # Not by chance: other rows, or another number of steps, say something else.
            assert pair.falls_short(question, said, latents, other) > pair.tolerance
            assert pair.falls_short(question, said, latents + 1, prefix) > pair.tolerance
            usage = handle.result().usage
            assert usage.latent_tokens == latents
            assert usage.prompt_tokens >= POSITIONS[prefix] + len(pair.prompt(question))


def test_a_vote_shares_the_prefix_and_the_thought(pair: Pair) -> None:
    """Nearly greedy, so that every sample is the loop's by hand; then drawn."""
    options = {"of": "coconut", "samples": 3, "early_stop": False}
    for prefix, other in (("p0", "p1"), ("p1", "p0")):
        handle = submit(
            pair,
            QUESTIONS[0],
            prefix,
            "vote",
            options=options,
            sampling=Sampling(temperature=1e-3, seed=5),
        )
        answer = handle.result(60)
        assert answer.usage.latent_tokens == 3 * LATENTS
        assert answer.budget.think_tokens.used == LATENTS
        samples = [chain[-1].tokens for chain in handle.chains[1:]]
        assert len(samples) == 3
        for said in samples:
            assert pair.falls_short(QUESTIONS[0], said, prefix=prefix) < pair.tolerance
            assert pair.falls_short(QUESTIONS[0], said, prefix=other) > pair.tolerance
    drawn = Sampling(temperature=1.5, seed=1)
    found = submit(pair, QUESTIONS[0], "p0", "vote", options=options, sampling=drawn).result(60)
    assert len(found.candidates) > 1


def test_different_prefixes_in_one_batch(pair: Pair) -> None:
    """Latent and ordinary ones behind each prefix and behind none: each says what it says alone."""
    asked = [
        (question, prefix, strategy)
        for question in QUESTIONS
        for prefix in ("p0", "p1", "")
        for strategy in ("coconut", "no-think")
    ]
    begun = pair.reasoner.stats()["num_steps"]
    alone = [tokens_of(submit(pair, *each)) for each in asked]
    before = pair.reasoner.stats()["num_steps"]
    handles = [submit(pair, *each) for each in asked]
    together = [tokens_of(handle) for handle in handles]
    assert pair.reasoner.stats()["num_steps"] - before < before - begun  # side by side
    for (question, prefix, strategy), said in zip(asked, together, strict=True):
        latents = LATENTS if strategy == "coconut" else None
        assert pair.falls_short(question, said, latents, prefix) < pair.tolerance
    if pair.tolerance < 0.01:  # float16 moves near ties with the batch
        assert together == alone


def test_more_than_the_context_holds_at_once(pair: Pair) -> None:
    """Some wait for cells that others free, or think less for want of them, but none is cut in its
    answer. The last to come are the most urgent."""
    asked = [(question, ("p0", "p1")[i % 2]) for i, question in enumerate(QUESTIONS * 2)]
    alone = [tokens_of(submit(pair, *each, answer_budget=30)) for each in asked]
    with pair.open(context=256, sequences=16) as reasoner:
        tight = replace(pair, reasoner=reasoner)
        handles = [
            submit(tight, *each, answer_budget=30, priority=i) for i, each in enumerate(asked)
        ]
        together = [tokens_of(handle) for handle in handles]
        cells = [handle.result().usage.peak_cells for handle in handles]
        assert sum(cells) - sum(POSITIONS[prefix] for _, prefix in asked) > 256
        rows = zip(asked, handles, together, alone, strict=True)
        for (question, prefix), handle, said, expected in rows:
            answer = handle.result()
            thought, answered = answer.phases[0], answer.phases[-1]
            latents = answer.usage.latent_tokens
            assert thought.reason == ("stop" if latents == LATENTS else "context")
            assert answered.reason != "context"
            assert answer.usage.cached_tokens >= POSITIONS[prefix]
            short = pair.falls_short(question, said, latents, prefix)
            assert short < max(pair.tolerance, 0.01)
            if pair.tolerance < 0.01 and latents == LATENTS:
                assert said == expected
        until = time.monotonic() + 10  # the last requests are closed after they were answered
        while reasoner.stats()["num_active"] and time.monotonic() < until:
            time.sleep(0.01)
        assert reasoner.stats()["num_free_cells"] == 256 - sum(POSITIONS.values())
