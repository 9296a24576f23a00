"""Latent steps behind a prefix: what torch says with the same rows as its cache, in votes, and
in one batch with requests behind other prefixes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="compares with torch")
transformers = pytest.importorskip("transformers", reason="compares with transformers")
pytest.importorskip("gguf", reason="writes with the extra `export`")
pytest.importorskip("onnxruntime", reason="one of the engines")

import hf_models
from edgereason.export._frame import Job, run
from edgereason.export._open import open_source
from test_prefix_engines import Floats, made_up, save

from edgereason.bundle import open_bundle
from edgereason.chat import thinking_prompt
from edgereason.lowering import prompt_tokens
from edgereason.prefix import base_hash
from edgereason.records import Sampling, messages_of
from edgereason.runtime import Reasoner

LATENTS = 4
START, END = "<think>", "</think>"
SLOTS = {"p0": 5, "p1": 9}
QUESTIONS = ("The robot thinks", "Three times seventeen is", "12 + 30 =", "naïve café")
# llama.cpp rounds to float16 on the way, and a random model blows up what differs, step by step.
FORMS = {"gguf": ("f16", 0.2), "onnx": ("f32", 1e-3)}


@dataclass(frozen=True)
class Pair:
    """An open bundle, and the same weights and prefixes in torch."""

    path: str
    reasoner: Reasoner
    model: Any
    prefixes: dict[str, tuple[Floats, Floats]]
    tolerance: float

    def submit(self, question: str, prefix: str, strategy: str = "coconut", **more: Any) -> Any:
        return self.reasoner.submit(
            question,
            strategy=strategy,
            prefix=prefix or None,
            **{"think_budget": 9, "answer_budget": 10, "sampling": Sampling(temperature=0), **more},
        )

    def prompt(self, question: str, *, latent: bool = True) -> list[int]:
        thinking = None if latent else False
        segments = thinking_prompt(self.reasoner.bundle, messages_of(question), thinking)
        tokens = list(prompt_tokens(segments, self.reasoner.engine))
        return tokens + (self.ids(START) if latent else [])

    def ids(self, text: str) -> list[int]:
        return self.reasoner.engine.tokenize(text, parse_control=True)

    def falls_short(
        self, question: str, prefix: str, said: Sequence[int], latents: int | None = LATENTS
    ) -> float:
        """By how much a token lies below the best of a loop by hand, at most. `latents` None: of
        an answer without thinking."""
        latent = latents is not None
        with torch.no_grad():
            rows = self._rows(self.prompt(question, latent=latent))
            for _ in range(latents or 0):
                rows = torch.cat((rows, self._run(rows, prefix)[1]), dim=1)
            if latent:
                rows = torch.cat((rows, self._rows(self.ids(END))), dim=1)
            largest = 0.0
            for token in said:
                logits, _ = self._run(rows, prefix)
                largest = max(largest, float(logits.max() - logits[token]))
                rows = torch.cat((rows, self._rows([token])), dim=1)
        return largest

    def _rows(self, tokens: Sequence[int]) -> Any:
        return self.model.get_input_embeddings()(torch.tensor([list(tokens)]))

    def _run(self, rows: Any, prefix: str) -> tuple[Any, Any]:
        """Logits and state of the last row."""
        cache = transformers.DynamicCache()
        for i, (key, value) in enumerate(zip(*self.prefixes.get(prefix, ((), ())), strict=True)):
            cache.update(torch.from_numpy(key)[None], torch.from_numpy(value)[None], i)
        mask = torch.ones(1, SLOTS.get(prefix, 0) + rows.shape[1])
        out = self.model(
            inputs_embeds=rows,
            past_key_values=cache,
            attention_mask=mask,
            output_hidden_states=True,
        )
        return out.logits[0, -1], out.hidden_states[-1][:, -1:]


@pytest.fixture(scope="module", params=FORMS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Pair]:
    quant, tolerance = FORMS[request.param]
    tmp = tmp_path_factory.mktemp(request.param)
    folder = hf_models.save_model(tmp / "hf", "llama", dtype="float16")
    config = json.loads((folder / "config.json").read_text())
    variant = {"kind": "coconut", "latents": LATENTS, "start": START, "end": END, "mark": ""}
    config |= {"max_position_embeddings": 1024, "edgereason": {"variant": variant}}
    (folder / "config.json").write_text(json.dumps(config))
    with open_source(folder) as source:
        run(Job(request.param, tmp / "out", {"quant": quant}), source, lambda *_: None)
    model = hf_models.build_model("llama").half().float()  # the weights as they were saved
    bundle = open_bundle(tmp / "out")
    prefixes = {name: made_up(model, slots, slots) for name, slots in SLOTS.items()}
    for name, kv in prefixes.items():
        save(bundle.path / "prefixes" / f"{name}.safetensors", kv, base_hash(bundle))
    with Reasoner.open(str(bundle.path), threads=1, context=1024, sequences=32) as reasoner:
        yield Pair(str(bundle.path), reasoner, model, prefixes, tolerance)


def tokens_of(handle: Any) -> list[int]:
    handle.result(60)
    return list(handle.chains[0][-1].tokens)


@pytest.mark.parametrize("latents", [0, 1, LATENTS])
def test_the_same_tokens_as_a_loop_by_hand(pair: Pair, latents: int) -> None:
    for question in QUESTIONS[:2]:
        for prefix, other in (("p0", "p1"), ("p1", "")):
            handle = pair.submit(question, prefix, options={"latents": latents})
            said = tokens_of(handle)
            assert len(said) > 3
            assert pair.falls_short(question, prefix, said, latents) < pair.tolerance
            # Not by chance: other rows, or another number of steps, say something else.
            assert pair.falls_short(question, other, said, latents) > pair.tolerance
            assert pair.falls_short(question, prefix, said, latents + 1) > pair.tolerance
            usage = handle.result().usage
            assert usage.latent_tokens == latents
            assert usage.prompt_tokens >= SLOTS[prefix] + len(pair.prompt(question))


def test_a_vote_shares_the_prefix_and_the_thought(pair: Pair) -> None:
    """Nearly greedy, so that every sample is the loop's by hand; then drawn."""
    options = {"of": "coconut", "samples": 3, "early_stop": False}
    for prefix, other in (("p0", "p1"), ("p1", "p0")):
        handle = pair.submit(
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
            assert pair.falls_short(QUESTIONS[0], prefix, said) < pair.tolerance
            assert pair.falls_short(QUESTIONS[0], other, said) > pair.tolerance
    drawn = Sampling(temperature=1.5, seed=1)
    found = pair.submit(QUESTIONS[0], "p0", "vote", options=options, sampling=drawn).result(60)
    assert len(found.candidates) > 1


def test_different_prefixes_in_one_batch(pair: Pair) -> None:
    """Latent and ordinary ones behind each prefix and behind none: each says what it says alone."""
    asked = [
        (question, prefix, strategy)
        for question in QUESTIONS
        for prefix in ("p0", "p1", "")
        for strategy in ("coconut", "no-think")
    ]
    alone = [tokens_of(pair.submit(*each)) for each in asked]
    before = pair.reasoner.stats()["num_steps"]
    handles = [pair.submit(*each) for each in asked]
    together = [tokens_of(handle) for handle in handles]
    assert pair.reasoner.stats()["num_steps"] - before < 8 * len(asked)  # side by side
    for (question, prefix, strategy), said in zip(asked, together, strict=True):
        latents = LATENTS if strategy == "coconut" else None
        assert pair.falls_short(question, prefix, said, latents) < pair.tolerance
    if pair.tolerance < 0.01:  # float16 moves near ties with the batch
        assert together == alone


def test_more_than_the_context_holds_at_once(pair: Pair) -> None:
    """Some wait for cells that others free, or think less for want of them, but none is cut in its
    answer. The last to come are the most urgent."""
    asked = [(question, ("p0", "p1")[i % 2]) for i, question in enumerate(QUESTIONS * 2)]
    alone = [tokens_of(pair.submit(*each, answer_budget=30)) for each in asked]
    with Reasoner.open(pair.path, threads=1, context=256, sequences=16) as reasoner:
        tight = replace(pair, reasoner=reasoner)
        handles = [
            tight.submit(*each, answer_budget=30, priority=i) for i, each in enumerate(asked)
        ]
        together = [tokens_of(handle) for handle in handles]
        cells = [handle.result().usage.peak_cells for handle in handles]
        assert sum(cells) - sum(SLOTS[prefix] for _, prefix in asked) > 256
        rows = zip(asked, handles, together, alone, strict=True)
        for (question, prefix), handle, said, expected in rows:
            answer = handle.result()
            thought, answered = answer.phases[0], answer.phases[-1]
            latents = answer.usage.latent_tokens
            assert thought.reason == ("stop" if latents == LATENTS else "context")
            assert answered.reason != "context"
            assert answer.usage.cached_tokens >= SLOTS[prefix]
            short = pair.falls_short(question, prefix, said, latents)
            assert short < max(pair.tolerance, 0.01)
            if pair.tolerance < 0.01 and latents == LATENTS:
                assert said == expected
        until = time.monotonic() + 10  # the last requests are closed after they were answered
        while reasoner.stats()["num_active"] and time.monotonic() < until:
            time.sleep(0.01)
        assert reasoner.stats()["num_free_cells"] == 256 - sum(SLOTS.values())
