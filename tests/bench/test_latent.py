"""The bench of latent steps, on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgereason.bench.harness.runner import run

pytest.importorskip("torch", reason="compares with torch")
pytest.importorskip("transformers", reason="compares with transformers")
pytest.importorskip("gguf", reason="writes with the extra `export`")
pytest.importorskip("onnxruntime", reason="runs an ONNX model")

from edgereason.bench.suites import latent
from edgereason.export.job import Job, export
from support import hf_models  # needs torch


@pytest.mark.parametrize("form", ["folder", "gguf"])
def test_the_bench_finds_a_step_like_torchs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    model = hf_models.save_model(tmp_path / "hf", "llama")
    if form == "gguf":
        pytest.importorskip("accelerate", reason="transformers reads a GGUF with it")
        export(model, Job("gguf", tmp_path / "out", {"quant": "f16"}))
        model = tmp_path / "out"
    asked = ["--question", "What is?", "--latents", "2", "--steps", "10"]
    asked += ["--wait-idle", "0", "--quiet"]
    assert run(latent.BENCH, ["--model", str(model), *asked]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]
    assert [len(figures[form]["steps"]) for form in ("gguf f16", "onnx f32")] == [3, 3]
    assert max(step["logits"] for step in figures["onnx f32"]["steps"]) < 1e-3
    assert figures["gguf f16"]["cost"]["ratio"] > 0
    assert run(latent.BENCH, ["--model", "nano-nobody", *asked]) == 3
    assert "no model called 'nano-nobody'" in capsys.readouterr().err
