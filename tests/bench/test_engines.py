"""The bench of engines: onnxruntime-genai runs the same model, and the table says what was run."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgereason.bench.rivals.genai import Genai, wrap
from edgereason.bench.suites.engines import _findings
from edgereason.engines import onnxruntime as module
from edgereason.models.bundle import open_bundle
from support.engine_cases import export_onnx, feed, output
from support.tiny_models import write_model

pytest.importorskip("onnx", reason="graphs are wrapped with it")


def test_genai_writes_what_the_engine_writes(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_genai", reason="it is what is compared with")
    folder = export_onnx(write_model(tmp_path / "tiny.gguf", "dense"), tmp_path / "onnx", "f32")
    wrapped = tmp_path / "wrapped"
    wrapped.mkdir()
    wrap(folder, wrapped, threads=1, spin=False, context=256)
    engine = module.open(open_bundle(folder), module.Config(threads=1, context=256))
    tokens = engine.tokenize("he said that the sea was calm")
    _, _, written = Genai(wrapped, context=256).prompt_and_decode(tokens, 20)
    logits = feed(engine, 0, tokens)
    ours = []
    for pos in range(len(tokens), len(tokens) + 21):
        ours.append(int(logits.argmax()))
        engine.decode([(0, pos, ours[-1], True)])
        logits = output(engine, 0)
    assert written == ours


def test_ratios_are_ours_to_theirs() -> None:
    def run(decode: float, prompt: float) -> dict[str, float]:
        return {"decode_tokens_per_s": decode, "prompt_tokens_per_s": prompt}

    decode = {"onnxruntime": [run(30, 1), run(20, 1)], "llamacpp": [run(10, 1), run(10, 1)]}
    prompt = {"onnxruntime": [run(1, 100), run(1, 100)], "llamacpp": [run(1, 50), run(1, 400)]}
    found = _findings({"INT4": (decode, prompt)})
    ours, theirs = found.figures["decode"]
    assert (ours["weights"], ours["tok/s"], ours["onnxruntime to this"]) == ("INT4", 25, 1)
    assert (theirs["weights"], theirs["onnxruntime to this"]) == ("", 2.5)
    assert (theirs["lowest"], theirs["highest"]) == (2, 3)
    assert found.figures["prompt"][1]["lowest"] == 0.25
