"""Checkpoints of the paper's code become bundles, and what is none is refused."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgereason.models.variants.coconut import Variant
from edgereason.runtime.reasoner import Reasoner
from support.cli_runner import Cli

torch = pytest.importorskip("torch", reason="compares with torch")
pytest.importorskip("transformers", reason="compares with transformers")
pytest.importorskip("gguf", reason="writes with the extra `export`")
pytest.importorskip("onnxruntime", reason="runs an ONNX model")

from support import hf_models  # noqa: E402  # needs torch
from support.latent_pair import FORMS, Pair, tokens_of  # noqa: E402


def save_checkpoint(tmp: Path) -> tuple[Path, Path, Any]:
    """As the reference code saves it: a GPT-2 with three tokens more, the embedding twice."""
    base = hf_models.save_model(tmp / "gpt2", "gpt2")
    model = hf_models.build_model("gpt2")
    model.resize_token_embeddings(hf_models.ROWS + 3, mean_resizing=False)
    with torch.no_grad():
        model.get_input_embeddings().weight[hf_models.ROWS :].normal_(std=0.2)
    inside = {f"base_causallm.{name}": tensor for name, tensor in model.state_dict().items()}
    copy = {"embedding.weight": model.get_input_embeddings().weight.detach()}
    torch.save({**inside, **copy}, tmp / "checkpoint_33")
    return tmp / "checkpoint_33", base, model


@pytest.mark.parametrize("to", ["gguf", "onnx"])
def test_a_reference_checkpoint_becomes_a_bundle(cli: Cli, tmp_path: Path, to: str) -> None:
    checkpoint, base, model = save_checkpoint(tmp_path)
    out = str(tmp_path / "out")
    ran = cli(
        "export", str(checkpoint), "--base", str(base), "--to", to, "--quant", "f32", "--out", out
    )
    assert ran.code == 0, ran.err
    with Reasoner.open(out, threads=1) as reasoner:
        assert reasoner.bundle.variant == Variant(mark="###")
        question = "Three times seventeen is"
        prompt = reasoner.engine.tokenize(f"{question}\n", parse_control=True)
        start = reasoner.engine.tokenize("<|start-latent|>", parse_control=True)
        assert start == [hf_models.ROWS]
        handle = reasoner.submit(
            question, strategy="coconut", options={"mark": ""}, answer_budget=6
        )
        said = tokens_of(handle)
        assert handle.result().usage.latent_tokens == 6
        pair = Pair(Path(out), FORMS[to], reasoner, model)
        end = [hf_models.ROWS + 1]
        assert pair.shortfall([*prompt, *start], 6, end, said) < pair.tolerance


@dataclass
class Hostile:
    """Makes a folder when it is unpickled."""

    folder: Path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def test_what_is_no_checkpoint_is_refused(cli: Cli, tmp_path: Path) -> None:
    checkpoint, base, model = save_checkpoint(tmp_path)
    bad = tmp_path / "bad.pt"

    def refused(words: str, base: Path = base) -> None:
        ran = cli("export", str(bad), "--base", str(base), "--out", str(tmp_path / "out"))
        assert (ran.code, words in ran.err) == (3, True), ran.err
        assert not (tmp_path / "out").exists()

    refused("no such file")
    bad.write_bytes(b"not a checkpoint")
    refused("bad.pt is no Coconut checkpoint")
    torch.save({"base_causallm.x": Hostile(tmp_path / "ran")}, bad)
    refused("bad.pt is no Coconut checkpoint")
    assert not (tmp_path / "ran").exists()
    torch.save([1, 2], bad)
    refused("it holds no state dict")
    torch.save(model.state_dict(), bad)
    refused("beside base_causallm.*")
    torch.save({"base_causallm.x": torch.zeros(2)}, bad)
    refused("it has no base_causallm.transformer.wte.weight")
    bad.write_bytes(checkpoint.read_bytes())
    refused("no such folder", tmp_path / "absent")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"vocab_size": 400}))
    refused("has 451 tokens, gpt2 400: expected 3 more")
    bad.write_bytes(checkpoint.read_bytes()[:5000])
    refused("bad.pt is no Coconut checkpoint")
