"""A guide beside a frozen nano model: what is learned, by whom, and what is saved."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the recipes train with torch")
pytest.importorskip("tokenizers", reason="the recipes learn their tokenizer with tokenizers")
pytest.importorskip("safetensors", reason="the recipes save safetensors")

from edgereason.training.nano import examples, folder, guide, train
from edgereason.training.nano.model import Nano
from support.tiny_nano import TINY, WORDS, one_thread, run  # noqa: F401  # a fixture


def test_the_loss_is_that_of_the_sum_and_moves_the_guide_alone() -> None:
    torch.manual_seed(0)
    base, small = Nano(TINY), Nano(replace(TINY, num_layers=1))
    batch = [
        examples.encode(
            [examples.Piece("What is 1+2?", False), examples.Piece("3<|im_end|>", True)], WORDS
        )
    ]
    loss, num = guide.loss_beside(base)(small, batch)
    ids = train.padded([one.tokens for one in batch])
    pair = guide.Pair(base, small)
    logits = pair.logits(pair.hidden(ids[:, :-1]))
    own = base.logits(base(base.embed(ids[:, :-1]))[0])
    assert torch.allclose(logits - own, small.logits(small(small.embed(ids[:, :-1]))[0]), atol=1e-5)
    learned = train.padded([one.learned for one in batch])[0, 1:].bool()
    wanted = torch.nn.functional.cross_entropy(
        logits[0][learned], ids[0, 1:][learned], reduction="sum"
    )
    assert num == int(learned.sum())
    assert torch.allclose(loss, wanted, atol=1e-4)
    loss.backward()
    assert all(weight.grad is None for weight in base.parameters())
    assert any(weight.grad.abs().sum() > 0 for weight in small.parameters())


def test_a_guide_is_trained_and_is_a_model_of_the_family(tmp_path: Path) -> None:
    torch.manual_seed(0)
    folder.save(Nano(TINY), WORDS, tmp_path / "base")
    run("demos", "--task", "operator", "--num", "8", "--out", str(tmp_path / "demos.jsonl"))
    args = ("--base", str(tmp_path / "base"), "--demos", str(tmp_path / "demos.jsonl"))
    run("guide", *args, "--steps", "3", "--threads", "1", "--out", str(tmp_path / "guide"))
    lines = (tmp_path / "guide" / "log.jsonl").read_text("utf-8").splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    model, _ = folder.load(tmp_path / "guide")
    assert model.shape == guide.SHAPE
