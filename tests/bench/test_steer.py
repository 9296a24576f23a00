"""The bench of steering, on a tiny model."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("torch", reason="reads thoughts in torch")
pytest.importorskip("gguf", reason="writes a control vector")

from edgereason.bench.harness.questions import Question
from edgereason.bench.suites import steer
from edgereason.errors import UsageError
from support.tiny_models import write_model


def test_a_model_that_is_never_right_has_no_pairs(tmp_path: Path) -> None:
    questions = tmp_path / "q.jsonl"
    questions.write_text(json.dumps({"question": "What is 17 * 3?", "answer": "51"}))
    options = argparse.Namespace(
        model=write_model(tmp_path / "tiny.gguf", "dense"), context=1024, threads=1, seed=0,
        train=questions, questions=questions, num_train=1, samples=2, num=1, strengths=[0.1],
        batch=1, think_budget=8, answer_budget=4,
    )  # fmt: skip
    with pytest.raises(UsageError, match="no question has two right thoughts"):
        steer.measure(options, lambda text: None)


def test_a_thought_without_words_is_no_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = SimpleNamespace(think_tokens=SimpleNamespace(ended_by="stop"))

    def thought(text: str, tokens: int) -> SimpleNamespace:
        usage = SimpleNamespace(reasoning_tokens=tokens)
        return SimpleNamespace(answer="51", reasoning=text, usage=usage, budget=ended)

    drawn = iter([thought("", 2), thought("17 * 3 = 51", 9), thought("Let me see. 51", 12)])
    monkeypatch.setattr(steer, "_answers", lambda *args, **keywords: [next(drawn)])
    options = argparse.Namespace(samples=3)
    train = [Question("What is 17 * 3?", "51")]
    assert steer._pairs(None, train, options, tmp_path, lambda text: None) == 1  # type: ignore[arg-type]
    toward = json.loads((tmp_path / "toward.jsonl").read_text())
    assert toward == {"prompt": "What is 17 * 3?", "reply": "17 * 3 = 51"}


def test_vectors_are_of_equal_length_layer_by_layer(tmp_path: Path) -> None:
    from edgereason.models.steering_file import read_steering

    for name, text in (("toward", "yes"), ("away", "no no no")):
        line = json.dumps({"prompt": "How?", "reply": text})
        (tmp_path / f"{name}.jsonl").write_text(line)
    model = write_model(tmp_path / "tiny.gguf", "dense")
    options = argparse.Namespace(model=model, seed=0, tokens=0)
    made = steer._vectors(options, tmp_path, lambda text: None)
    short, random = (read_steering(made[name]).rows for name in ("short", "random"))
    assert (short != random).any()
    assert (short**2).sum(1) == pytest.approx((random**2).sum(1), rel=1e-4)
