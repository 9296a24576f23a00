"""What the engine collects while it decodes, against a model in numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgereason.engines import llamacpp
from edgereason.errors import UsageError
from edgereason.models import gguf
from edgereason.models.bundle import open_bundle
from reference.llama import inputs_of_weights
from support.tiny_models import HEADS, KV_HEADS, LAYERS, write_model

TOKENS = [72, 3, 250, 9, 9, 130, 201, 17, 64, 5]


def weights_of(path: Path) -> dict[str, NDArray[np.float32]]:
    return {
        tensor.name: np.memmap(path, np.float32, "r", tensor.offset, tensor.shape[::-1])
        for tensor in gguf.read(path).tensors
    }


def test_activations_are_those_of_the_model(tmp_path: Path) -> None:
    path = write_model(tmp_path / "tiny.gguf", "dense")
    config = llamacpp.Config(context=256, sequences=4, batch=64, activations=True)
    engine = llamacpp.open(open_bundle(path), config)
    for begin, end in ((0, 4), (4, 8), (8, 10)):  # rows of several steps add up
        engine.decode([(0, pos, TOKENS[pos], True) for pos in range(begin, end)])
    found = engine.activations()
    expected = inputs_of_weights(
        weights_of(path), TOKENS, layers=LAYERS, heads=HEADS, kv_heads=KV_HEADS, eps=1e-5
    )
    assert set(found) == set(expected)
    for name, (sums, counts, largest) in found.items():
        rows = expected[name]
        assert counts.tolist() == [len(TOKENS)], name
        np.testing.assert_allclose(sums[0], (rows**2).sum(0), rtol=0.02, atol=1e-3, err_msg=name)
        assert largest == pytest.approx(np.abs(rows).max(), rel=0.01), name


def test_the_last_layer_counts_only_rows_with_output(tmp_path: Path) -> None:
    path = write_model(tmp_path / "tiny.gguf", "dense")
    config = llamacpp.Config(context=256, sequences=4, activations=True)
    engine = llamacpp.open(open_bundle(path), config)
    engine.decode([(0, pos, 7, pos == 9) for pos in range(10)])
    counts = {name: entry[1].tolist() for name, entry in engine.activations().items()}
    assert counts["token_embd.weight"] == counts["blk.1.ffn_down.weight"] == [1]
    assert counts["blk.0.ffn_down.weight"] == [10]


def test_engines_collect_only_when_asked(tmp_path: Path) -> None:
    path = write_model(tmp_path / "tiny.gguf", "dense")
    engine = llamacpp.open(open_bundle(path), llamacpp.Config(context=256))
    with pytest.raises(UsageError, match="does not collect"):
        engine.activations()
