"""SmolLM2-135M as ONNX against its GGUF's weights in transformers, and what few bits lose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgereason.export.sources.open import open_source
from edgereason.export.targets import onnx as target
from support.onnx_graph import Cache, Graph

torch = pytest.importorskip("torch", reason="compares with torch")
transformers = pytest.importorskip("transformers", reason="compares with transformers")
pytest.importorskip("accelerate", reason="transformers reads a GGUF with it")

pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.timeout(600)]

PROMPT = 40
STEPS = 32
KL = {"int8": 0.02, "int4_mixed": 0.2, "int4": 0.4}  # round to nearest everywhere: 0.33 to 0.36


def _export(path: Path, out: Path, quant: str) -> Graph:
    with open_source(path) as source:
        planned = target.check(source, target.Config(quant=quant, context=256))
        target.write(source, out, planned, lambda *_: None)
    size = (out / target.DATA).stat().st_size
    assert size == pytest.approx(planned.files[target.DATA], rel=0.02)
    return Graph(out / target.MODEL, source.architecture)


def _log_probs(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


@pytest.mark.filterwarnings("ignore")  # of transformers, about its own reading of a GGUF
def test_f32_is_the_model(smollm2: Path, tmp_path: Path) -> None:
    graph = _export(smollm2, tmp_path, "f32")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        smollm2.parent, gguf_file=smollm2.name, dtype="float32", attn_implementation="eager"
    ).eval()
    tokens = np.random.default_rng(0).integers(100, 20000, PROMPT).tolist()
    cache = Cache(graph.arch, 128)
    found = [*graph.run(cache, [0], [tokens])[0]]
    for _ in range(STEPS):
        tokens.append(int(found[-1].argmax()))
        found.append(graph.run(cache, [len(tokens) - 1], [tokens[-1:]])[0][0])
    with torch.no_grad():
        wanted = model(torch.tensor([tokens])).logits[0].numpy()
    assert np.abs(np.stack(found) - wanted).max() < 1e-3
    assert wanted[PROMPT - 1 : -1].argmax(-1).tolist() == tokens[PROMPT:]


def test_few_bits_lose_little(smollm2: Path, tmp_path: Path) -> None:
    tokens = _text(smollm2)
    logits = {}
    for quant in target.QUANTS:
        (tmp_path / quant).mkdir()
        graph = _export(smollm2, tmp_path / quant, quant)
        logits[quant] = _log_probs(graph.run(Cache(graph.arch, 256), [0], [tokens])[0])
    exact = logits["f32"]
    found = {q: float((np.exp(exact) * (exact - logits[q])).sum(-1).mean()) for q in KL}
    assert found["int8"] < found["int4_mixed"] < found["int4"]
    assert all(found[quant] < KL[quant] for quant in KL), found


def _text(path: Path) -> list[int]:
    from edgereason._core import LlamaEngine
    from edgereason.export.compare.sample_text import TEXT

    return LlamaEngine(path, context=256).tokenize(TEXT)[:200]
