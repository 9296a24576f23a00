"""The graph builder: weights on disk, names, one copy of what is shared."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from edgereason.export.graph.builder import Graph


def _model(path: Path) -> onnx.ModelProto:
    onnx.checker.check_model(str(path), full_check=True)
    return onnx.load(str(path))


def _weights(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def test_weights_of_all_types_come_back_from_the_data_file(tmp_path: Path) -> None:
    weights = {
        "floats": np.arange(3000, dtype=np.float32).reshape(30, 100),
        "turned": np.arange(12, dtype=np.float32).reshape(3, 4).T,
        "bytes": np.arange(7, dtype=np.uint8),
        "halves": np.arange(-8, 8).astype(ml_dtypes.int4).reshape(2, 8),
        "brain": np.asarray([0.5, -2.0], ml_dtypes.bfloat16),
    }
    with Graph(tmp_path / "m.onnx", opset=21) as graph:
        for name, array in weights.items():
            assert graph.weight(name, array) == name
            assert name in graph
        graph.save({"edgereason.kind": "ort"})
    model = _model(tmp_path / "m.onnx")
    for name, array in _weights(model).items():
        np.testing.assert_array_equal(array, weights[name])
    assert {p.key: p.value for p in model.metadata_props} == {"edgereason.kind": "ort"}
    assert graph.num_bytes == (tmp_path / "m.onnx.data").stat().st_size


def test_large_weights_begin_on_a_page(tmp_path: Path) -> None:
    with Graph(tmp_path / "m.onnx", opset=21) as graph:
        graph.weight("small", np.ones(3, np.float32))
        graph.weight("large", np.ones(5000, np.float32))
        graph.save({})
    model = onnx.load(str(tmp_path / "m.onnx"), load_external_data=False)
    offsets = {
        t.name: int({e.key: e.value for e in t.external_data}["offset"])
        for t in model.graph.initializer
    }
    assert offsets == {"small": 0, "large": 4096}


def test_an_alias_costs_no_bytes(tmp_path: Path) -> None:
    with Graph(tmp_path / "m.onnx", opset=21) as graph:
        graph.weight("w", np.arange(6, dtype=np.float32))
        before = graph.num_bytes
        graph.alias("again", "w", (2, 3))
        assert graph.num_bytes == before
        graph.save({})
    found = _weights(_model(tmp_path / "m.onnx"))
    np.testing.assert_array_equal(found["again"], found["w"].reshape(2, 3))


def test_nodes_name_their_outputs_or_get_fresh_names(tmp_path: Path) -> None:
    with Graph(tmp_path / "m.onnx", opset=21) as graph:
        x = graph.input("x", np.float32, ("rows", 4))
        parts = graph.constant([1, 3], np.int64)
        assert parts == graph.constant([1, 3], np.int64) != graph.constant([1, 3], np.int32)
        first, second = graph.nodes(2, "Split", x, parts, outputs=("", "rest"), axis=1)
        assert (first, second) == ("Split.1.0", "rest")
        graph.output(second, "rest", np.float32, ("rows", 3))
        graph.output(graph.node("Neg", first), "negative", np.float32, ("rows", 1))
        graph.save({})
    _model(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    rest, negative = session.run(None, {"x": np.arange(8, dtype=np.float32).reshape(2, 4)})
    assert rest.tolist() == [[1, 2, 3], [5, 6, 7]]
    assert negative.tolist() == [[0], [-4]]


def test_neither_a_weight_nor_a_data_file_is_written_twice(tmp_path: Path) -> None:
    with Graph(tmp_path / "m.onnx", opset=21) as graph:
        graph.weight("w", np.ones(1, np.float32))
        with pytest.raises(ValueError, match="weight w already"):
            graph.weight("w", np.ones(1, np.float32))
    with pytest.raises(FileExistsError):
        Graph(tmp_path / "m.onnx", opset=21)
