"""LoRA of a nano model: what is frozen, what is added, and that merging changes nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the recipes train with torch")
pytest.importorskip("tokenizers", reason="the recipes learn their tokenizer with tokenizers")
pytest.importorskip("safetensors", reason="the recipes save safetensors")

from edgereason.errors import UsageError
from edgereason.training.nano import folder, lora
from edgereason.training.nano.model import Nano
from support.tiny_nano import TINY, WORDS, one_thread, run  # noqa: F401  # a fixture


def test_demonstrations_are_problems_of_their_split_with_a_way(tmp_path: Path) -> None:
    path = tmp_path / "demos.jsonl"
    run("demos", "--task", "operator", "--num", "20", "--out", str(path))
    for line in map(json.loads, path.read_text("utf-8").splitlines()):
        assert line["reply"].startswith("<think>\n")
        assert line["reply"].endswith(f"\n</think>\n\n{line['answer']}")
        a, b = map(int, line["prompt"].removeprefix("What is ").removesuffix("?").split("@"))
        assert int(line["answer"]) == a + b + a


def test_demonstrations_for_other_models_have_no_marks_and_short_ways(tmp_path: Path) -> None:
    path = tmp_path / "demos.jsonl"
    args = ("--task", "chain", "--num", "20", "--most-steps", "2", "--no-marks")
    run("demos", *args, "--out", str(path))
    for line in map(json.loads, path.read_text("utf-8").splitlines()):
        *steps, last = line["reply"].splitlines()
        assert len(steps) == 2
        assert last == f"The answer is {line['answer']}"


def test_a_merged_model_says_what_the_model_with_its_sums_said() -> None:
    torch.manual_seed(0)
    model = Nano(TINY)
    tokens = torch.randint(0, 500, (1, 12))
    plain = model(model.embed(tokens))[0]
    lora.add(model, 2)
    assert torch.equal(model(model.embed(tokens))[0], plain)  # it starts as the model it was
    for weight in model.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.1)
    changed = model(model.embed(tokens))[0]
    assert not torch.allclose(changed, plain, atol=1e-3)
    names = set(Nano(TINY).state_dict())
    lora.merge(model)
    assert set(model.state_dict()) == names
    assert torch.allclose(model(model.embed(tokens))[0], changed, atol=1e-5)


def test_only_the_sums_are_learned_and_the_model_is_saved_whole(tmp_path: Path) -> None:
    torch.manual_seed(0)
    base = Nano(replace(TINY, context=64))
    folder.save(base, WORDS, tmp_path / "base")
    run("demos", "--num", "20", "--out", str(tmp_path / "demos.jsonl"))
    args = ("--start", str(tmp_path / "base"), "--demos", str(tmp_path / "demos.jsonl"))
    few = ("--steps", "2", "--examples", "4", "--rank", "2", "--threads", "1")
    run("lora", *args, "--out", str(tmp_path / "lora"), *few)
    before, after = (folder.load(tmp_path / name)[0].state_dict() for name in ("base", "lora"))
    assert torch.equal(after["model.embed_tokens.weight"], before["model.embed_tokens.weight"])
    name = "model.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(after[name], before[name])


def test_what_is_no_demonstration_for_it_is_named(tmp_path: Path) -> None:
    demos = tmp_path / "demos.jsonl"

    def refused(line: str, words: str) -> None:
        demos.write_text(f'{{"prompt": "1", "reply": "2"}}\n{line}\n')
        with pytest.raises(UsageError, match=words):
            lora.read(demos, WORDS)

    refused('{"prompt": "1"}', "line 2 of demos.jsonl has no reply")
    turns = [{"role": role, "content": "1"} for role in ("user", "assistant", "user")]
    line = json.dumps({"messages": turns, "reply": "2"})
    refused(line, "demonstration 2 of demos.jsonl has 3 messages")
