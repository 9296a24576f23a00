"""The target `onnx`: what is written, what is planned, what is refused, and that it resumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgereason.errors import UnsupportedError, UsageError
from edgereason.export.graph.rope import tables
from edgereason.export.sources.base import Source
from edgereason.export.sources.open import open_source
from edgereason.export.target import Plan
from edgereason.export.targets import onnx as target
from edgereason.export.weights import imatrix
from edgereason.models.bundle import Bundle, open_bundle, write_bundle
from support.hf_models import save_model
from support.onnx_graph import Cache, Floats, Graph

pytest.importorskip("torch", reason="makes the models")
pytest.importorskip("transformers", reason="makes the models")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("source"), "llama")


def _write(folder: Path, out: Path, **options: Any) -> Bundle:
    with open_source(folder) as source:
        plan = target.check(source, target.Config(**options))
        return target.write(source, out, plan, lambda *_: None)


def _check(folder: Path, **options: Any) -> Plan:
    with open_source(folder) as source:
        return target.check(source, target.Config(**options))


def _logits(out: Path, source: Source, ids: list[int]) -> Floats:
    graph = Graph(out / target.MODEL, source.architecture)
    return graph.run(Cache(source.architecture, 64), [0], [ids])[0]


@pytest.mark.parametrize("quant", target.QUANTS)
def test_a_bundle_that_opens_as_planned(folder: Path, tmp_path: Path, quant: str) -> None:
    planned = _check(folder, quant=quant)
    written = write_bundle(_write(folder, tmp_path, quant=quant), tmp_path)
    assert written == open_bundle(tmp_path)
    assert (written.engine, written.quantization) == ("onnxruntime", quant.upper())
    assert written.files[0].path == "model.onnx"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["edgereason.json", *planned.files])
    model = onnx.load(str(tmp_path / target.MODEL), load_external_data=False)
    gaps = (tmp_path / target.DATA).stat().st_size - planned.files[target.DATA]
    assert abs(gaps) < 4096 * len(model.graph.initializer)  # a weight begins on a page
    told = {p.key.removeprefix("edgereason."): p.value for p in model.metadata_props}
    assert told == {"format": "1", "kind": "ort", "context": "256", "architecture": "llama"}
    assert [i.name for i in model.graph.input][:4] == [
        "input_ids",
        "inputs_embeds",
        "past_lengths",
        "output_rows",
    ]
    assert [o.name for o in model.graph.output][-2:] == ["logits", "hidden_states"]


@pytest.mark.parametrize("quant", ["int8", "int4"])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2"])
def test_few_bits_are_the_weights_that_are_stored(tmp_path: Path, kind: str, quant: str) -> None:
    """Against the f32 graph of a source that gives the dequantized weights."""
    folder = save_model(tmp_path / "source", kind)
    with open_source(folder) as source:
        plan = target.check(source, target.Config(quant=quant))
        quantizer = target._quantizer(source, plan.choices, lambda *_: None)
        (tmp_path / "few").mkdir()
        target.write(source, tmp_path / "few", plan, lambda *_: None)
        read = source.tensor

        def dequantized(name: str) -> Floats:
            blocks = quantizer(name, read(name))
            return read(name) if blocks is None else blocks.dequantized()

        source.tensor = dequantized  # type: ignore[method-assign]
        (tmp_path / "full").mkdir()
        exact = target.check(source, target.Config(quant="f32"))
        target.write(source, tmp_path / "full", exact, lambda *_: None)
        ids = list(range(40, 60))
        few = _logits(tmp_path / "few", source, ids)
        full = _logits(tmp_path / "full", source, ids)
        source.tensor = read  # type: ignore[method-assign]
    # onnxruntime rounds activations to 8 bits there, nothing else differs.
    assert np.abs(few - full).max() < 0.1 * np.abs(full).max()
    assert np.corrcoef(few.ravel(), full.ravel())[0, 1] > 0.999


def test_tied_embeddings_are_stored_once(folder: Path, tmp_path: Path) -> None:
    for quant in target.QUANTS:
        (tmp_path / quant).mkdir()
        _write(folder, tmp_path / quant, quant=quant)
        model = onnx.load(str(tmp_path / quant / target.MODEL), load_external_data=False)
        places = [
            {e.key: e.value for e in tensor.external_data}["offset"]
            for tensor in model.graph.initializer
            if "embd" in tensor.name and "scales" not in tensor.name
        ]
        assert len(set(places)) == 1, (quant, places)
    assert not any(name == "output.weight" for name in open_source(folder).names())


def test_importance_moves_the_weights_that_matter(folder: Path, tmp_path: Path) -> None:
    name = "blk.0.ffn_down.weight"
    with open_source(folder) as source:
        width = source.shape(name)[1]
        driven = np.random.default_rng(0).gamma(0.2, 1.0, width).astype(np.float32)
        weight = source.tensor(name)
    matrix = imatrix.Imatrix(
        sums={name: driven[None]}, counts={name: np.ones(1, np.int64)}, largest={name: 1.0}
    )
    imatrix.write(matrix, tmp_path / "some.gguf")
    errors = {}
    for which, options in (("plain", {}), ("driven", {"imatrix": tmp_path / "some.gguf"})):
        (tmp_path / which).mkdir()
        with open_source(folder) as source:
            plan = target.check(source, target.Config(quant="int4", **options))
            blocks = target._quantizer(source, plan.choices, lambda *_: None)(name, weight)
        assert blocks is not None
        errors[which] = float((driven * (weight - blocks.dequantized()) ** 2).sum())
    assert errors["driven"] < 0.9 * errors["plain"]


def test_what_is_finished_is_not_done_again(folder: Path, tmp_path: Path) -> None:
    (tmp_path / ".onnx").mkdir()
    (tmp_path / ".onnx" / "model.onnx.data").write_bytes(b"of a run that was killed")
    _write(folder, tmp_path, quant="f32")
    assert not (tmp_path / ".onnx").exists()
    before = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    _write(folder, tmp_path, quant="f32")
    assert before == {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}


def test_weights_that_no_part_uses_are_refused(folder: Path, tmp_path: Path) -> None:
    extra = "blk.0.attn_sinks.weight"
    with open_source(folder) as source:
        names, shape = source.names(), source.shape
        source.names = lambda: (*names, extra)  # type: ignore[method-assign]
        source.shape = lambda name: (4,) if name == extra else shape(name)  # type: ignore[method-assign]
        plan = target.check(source, target.Config(quant="f32"))
        with pytest.raises(UnsupportedError, match=r"uses blk\.0\.attn_sinks\.weight"):
            target.write(source, tmp_path, plan, lambda *_: None)
    assert not (tmp_path / target.MODEL).exists()


def test_options_that_cannot_be(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no ONNX format called 'int3'"):
        target.Config(quant="int3")
    with pytest.raises(UsageError, match="context must be 0 or more, got -1"):
        target.Config(context=-1)
    with pytest.raises(UsageError, match="f32 loses nothing"):
        target.Config(quant="f32", imatrix=tmp_path)
    with pytest.raises(UsageError, match="context must be 256 or less"):
        _check(folder, context=300)
    imatrix.write(
        imatrix.Imatrix(
            sums={"blk.0.attn_q.weight": np.ones((1, 7), np.float32)},
            counts={"blk.0.attn_q.weight": np.ones(1, np.int64)},
            largest={},
        ),
        tmp_path / "other.gguf",
    )
    with pytest.raises(UsageError, match=r"other\.gguf is of another model"):
        _check(folder, quant="int4", imatrix=tmp_path / "other.gguf")


def test_a_shorter_context_makes_shorter_tables(folder: Path, tmp_path: Path) -> None:
    bundle = _write(folder, tmp_path, quant="f32", context=40)
    assert bundle.context == 40
    assert any("40 tokens" in note for note in _check(folder, context=40).notes)
    model = onnx.load(str(tmp_path / target.MODEL))
    found = {t.name: numpy_helper.to_array(t).shape for t in model.graph.initializer}
    assert found["rope.cos"] == (40, 8)


def test_positions_are_scaled(folder: Path) -> None:
    arch = open_source(folder).architecture
    plain = tables(arch, local=False, context=5)
    scaled = tables(replace(arch, rope_scale=4.0), local=False, context=17)
    for one, four in zip(plain, scaled, strict=True):
        np.testing.assert_allclose(one, four[::4], atol=1e-6)
    factors = tuple(4.0 if i else 1.0 for i in range(arch.head_dim // 2))
    stretched = tables(replace(arch, rope_factors=factors), local=False, context=17)
    np.testing.assert_allclose(stretched[0][:5, 0], plain[0][:, 0], atol=1e-6)
    np.testing.assert_allclose(stretched[0][::4, 1:], plain[0][:, 1:], atol=1e-6)
    both = replace(arch, local_rope_theta=100.0, rope_scale=4.0)
    local = tables(both, local=True, context=2)[0][1]
    np.testing.assert_allclose(local, np.cos(100.0 ** (-np.arange(0, 16, 2) / 16)), rtol=1e-6)
