"""The graphs for TensorRT say what the model says: ONNX Runtime on the CPU against torch."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgereason.export.sources.base import Source
from edgereason.export.sources.open import open_source
from edgereason.export.weights.for_tensorrt import Weights
from support import hf_models
from support.trt_graphs import GraphRun, write

IDS = np.random.default_rng(5).integers(3, 300, (3, 24))
EXACT = 1e-3
HALF = 0.03  # of logits around 1: float16 in products and cache

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's and transformers' own


@pytest.fixture(autouse=True, scope="module")
def needs_torch() -> None:
    for package in ("torch", "transformers"):
        pytest.importorskip(package, reason="graphs are compared with torch")


@cache
def _folder(kind: str, base: Path) -> Path:
    return hf_models.save_model(base / kind, kind)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hf")


@cache
def _torch(kind: str) -> tuple[np.ndarray, np.ndarray, Any]:
    """Logits [3, 24, vocab], hidden states after the final norm, and the model."""
    import torch

    model = hf_models.build_model(kind)
    with torch.no_grad():
        said = model(torch.tensor(IDS), output_hidden_states=True)
    return said.logits.numpy(), said.hidden_states[-1].numpy(), model


def _open(source: Source, folder: Path, form: str, weights: Weights) -> GraphRun:
    return GraphRun.open(write(source, folder, form, weights), source.architecture, form)


def _follow(run: GraphRun, kind: str, tolerance: float) -> None:
    """A prompt, a second part of it, single tokens, and three sequences side by side."""
    logits, hidden, _ = _torch(kind)
    parts = []
    for b, num in enumerate((5, 9, 13)):
        said, state, kept = run(IDS[b : b + 1, :3], [0], run.empty(1))
        np.testing.assert_allclose(said, logits[b, :3], atol=tolerance)
        np.testing.assert_allclose(state, hidden[b, :3], atol=tolerance)
        said, _, kept = run(IDS[b : b + 1, 3:num], [3], kept, rows=[num - 4])
        np.testing.assert_allclose(said[0], logits[b, num - 1], atol=tolerance)
        parts.append(kept)
    past = [5, 9, 13]
    for _ in range(4):
        joined = run.batch(parts, past)
        said, state, kept = run([[IDS[b, past[b]]] for b in range(3)], past, joined)
        for b in range(3):
            np.testing.assert_allclose(said[b], logits[b, past[b]], atol=tolerance)
            np.testing.assert_allclose(state[b], hidden[b, past[b]], atol=tolerance)
        parts = [_of(run, kept, joined, b, past) for b in range(3)]
        past = [num + 1 for num in past]


def _of(run: GraphRun, after: Any, before: Any, b: int, past: list[int]) -> Any:
    """The cache of one sequence after a step: form A has the new row behind the longest past."""
    if run.form == "B":
        return {name: array[b : b + 1] for name, array in after.items()}
    longest = max(past)
    return {
        name: np.concatenate(
            [before[name][b : b + 1, :, : past[b]], array[b : b + 1, :, longest:]], axis=2
        )
        for name, array in after.items()
    }


@pytest.mark.parametrize("form", ["A", "B"])
@pytest.mark.parametrize("kind", hf_models.KINDS)
def test_both_forms_follow_torch(kind: str, form: str, base: Path, tmp_path: Path) -> None:
    with open_source(_folder(kind, base)) as source:
        _follow(_open(source, tmp_path / "exact", form, Weights("fp32")), kind, EXACT)
        _follow(_open(source, tmp_path / "half", form, Weights("fp16")), kind, HALF)


@pytest.mark.parametrize("form", ["A", "B"])
def test_what_lies_beyond_a_sequence_does_not_matter(form: str, base: Path, tmp_path: Path) -> None:
    with open_source(_folder("gemma3", base)) as source:
        run = _open(source, tmp_path / "m", form, Weights("fp16"))
    clean, _, _ = run(IDS[:1, :6], [0], run.empty(1, 9, fill=0.0))
    dirty, _, _ = run(IDS[:1, :6], [0], run.empty(1, 9, fill=50.0))
    np.testing.assert_array_equal(clean, dirty)


@pytest.mark.parametrize("form", ["A", "B"])
def test_embeddings_in_and_hidden_states_out_follow_torch(
    form: str, base: Path, tmp_path: Path
) -> None:
    """Eight steps that feed the last hidden state back, beside a sequence that takes tokens."""
    import torch

    kind = "qwen3"
    _, _, model = _torch(kind)
    with open_source(_folder(kind, base)) as source:
        run = _open(source, tmp_path / "m", form, Weights("fp32"))
    table = model.get_input_embeddings().weight.detach().numpy()
    given = table[IDS[0, :4]][None]
    _, state, kept = run(IDS[:1, :4], [0], run.empty(1), rows=[3])
    for step in range(8):
        fed = state[-1].reshape(1, 1, -1)
        given = np.concatenate([given, fed], axis=1)
        said, state, kept = run([[-1]], [4 + step], kept, embeds=fed)
        with torch.no_grad():
            wanted = model(inputs_embeds=torch.tensor(given), output_hidden_states=True)
        np.testing.assert_allclose(said[0], wanted.logits[0, -1].numpy(), atol=EXACT)
        np.testing.assert_allclose(state[0], wanted.hidden_states[-1][0, -1].numpy(), atol=EXACT)


@pytest.mark.parametrize(("quant", "most"), [("int8", 0.12), ("fp8", 0.4), ("int4", 1.2)])
@pytest.mark.parametrize("form", ["A", "B"])
def test_codes_stay_near_what_they_stand_for(
    form: str, quant: Any, most: float, base: Path, tmp_path: Path
) -> None:
    """Root mean square of what the codes move the logits by; they differ by about 1.5 at random."""
    logits, _, _ = _torch("llama")
    with open_source(_folder("llama", base)) as source:
        run = _open(source, tmp_path / "m", form, Weights(quant))
    said, _, _ = run(IDS[:1], [0], run.empty(1))
    error = float(np.sqrt(np.mean((said - logits[0]) ** 2)))
    assert 1e-4 < error < most


def test_activations_are_rounded_where_their_range_is_known(base: Path, tmp_path: Path) -> None:
    with open_source(_folder("llama", base)) as source:
        ranges = {name: 8.0 for name in source.names() if name.startswith("blk.")}
        plain = _open(source, tmp_path / "plain", "A", Weights("int8"))
        rounded = _open(source, tmp_path / "rounded", "A", Weights("int8", ranges))
    a, _, _ = plain(IDS[:1], [0], plain.empty(1))
    b, _, _ = rounded(IDS[:1], [0], rounded.empty(1))
    difference = float(np.sqrt(np.mean((a - b) ** 2)))
    assert 1e-3 < difference < 0.3
