"""TensorRT engines are built ahead of time, or refused with a reason; nothing runs here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgereason.errors import BundleError, EngineError, UnsupportedError, UsageError
from edgereason.export.sources.open import open_source
from edgereason.export.targets import tensorrt
from edgereason.export.trt import build
from edgereason.export.weights import imatrix
from edgereason.export.weights.for_tensorrt import Weights
from edgereason.models.bundle import open_bundle, write_bundle
from support.tiny_models import write_model
from support.trt_graphs import write

RTX = "tensorrt_rtx"


@pytest.fixture
def rtx() -> None:
    pytest.importorskip(RTX, reason="it builds engines without a GPU: pip install '.[parity]'")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("gguf") / "tiny.gguf", "dense")


def _config(**options: Any) -> tensorrt.Config:
    chosen = {"capability": ("8.6",), "context": 64, "batch": 2, "chunk": 16, **options}
    return tensorrt.Config(**chosen)


def _request(model: Path, folder: Path, form: Any, quant: Any, *capability: str) -> build.Request:
    """What is built without the checks that come before it."""
    with open_source(model) as source:
        path = write(source, folder, form, Weights(quant))
        inputs, outputs = tensorrt.ports(
            source.architecture, shape := tensorrt.Shape(form, 64, 4, 32)
        )
    return build.Request(
        builder=RTX,
        graph=path,
        engine=folder / "model.engine",
        cache=folder / "timing.cache",
        inputs=inputs,
        outputs=outputs,
        profiles=tensorrt.profiles(shape),
        capabilities=capability,
    )


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize(("form", "quant"), [("A", "fp16"), ("A", "int4"), ("B", "int8")])
def test_a_bundle_is_built_for_devices_that_are_not_here(
    form: str, quant: str, model: Path, tmp_path: Path
) -> None:
    config = _config(form=form, quant=quant, capability=("8.6", "12.0"))
    stages: list[str] = []
    with open_source(model) as source:
        plan = tensorrt.check(source, config)
        bundle = tensorrt.write(source, tmp_path, plan, lambda stage, *_: stages.append(stage))
    written = write_bundle(bundle, tmp_path)
    assert written.engine == "tensorrt"
    assert written.quantization == quant.upper()
    assert [file.path for file in written.files] == ["model.engine", "vocab.gguf", "tensorrt.json"]
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "edgereason.json",
        "model.engine",
        "tensorrt.json",
        "vocab.gguf",
    ]
    facts = json.loads((tmp_path / "tensorrt.json").read_text())
    assert facts["builder"] == RTX
    assert facts["form"] == form
    assert facts["capabilities"] == ["8.6", "12.0"]
    assert written.files[0].size_bytes == pytest.approx(plan.files["model.engine"], rel=0.6)
    assert open_bundle(tmp_path).context == 64
    assert "building with TensorRT" in stages


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize(
    ("quant", "capability", "takes"),
    [("fp8", "8.6", "fp16, int8, bf16, int4"), ("int4", "7.5", "fp16, int8")],
)
def test_numbers_that_a_device_lacks_are_refused_by_the_builder_with_our_message(
    quant: str, capability: str, takes: str, model: Path, tmp_path: Path
) -> None:
    request = _request(model, tmp_path / "m", "A", quant, capability)
    with pytest.raises(
        EngineError, match=f"for compute capability {capability}: .*{quant}"
    ) as caught:
        build.build(request)
    assert caught.value.hint == f"{capability} takes {takes}; take a --quant that it has"
    assert not request.engine.exists()


@pytest.mark.usefixtures("rtx")
def test_fp8_builds_where_the_device_has_it(model: Path, tmp_path: Path) -> None:
    report = build.build(_request(model, tmp_path / "m", "B", "fp8", "8.9"))
    assert report.num_bytes == (tmp_path / "m" / "model.engine").stat().st_size
    assert report.peak_bytes > 50 << 20


@pytest.mark.usefixtures("rtx")
def test_the_graph_of_another_runtime_is_refused(model: Path, tmp_path: Path) -> None:
    from edgereason.export.graph.builder import Graph
    from edgereason.export.graph.decoder import write_decoder
    from edgereason.export.graph.ort_dialect import OPSET, OrtDialect

    request = _request(model, tmp_path / "m", "A", "fp16", "8.6")
    other = tmp_path / "ort"
    other.mkdir()
    with open_source(model) as source, Graph(other / "model.onnx", opset=OPSET) as graph:
        dialect = OrtDialect(graph, source, context=64, quantize=lambda *_: None)
        write_decoder(dialect, context=64)
    with pytest.raises(EngineError, match="export the model with --to tensorrt"):
        build.build(replace(request, graph=other / "model.onnx"))


@pytest.mark.usefixtures("rtx")
def test_a_graph_with_other_inputs_than_promised_is_not_built(model: Path, tmp_path: Path) -> None:
    request = _request(model, tmp_path / "m", "B", "fp16", "8.6")
    wrong = replace(request.outputs[0], shape=("num_outputs", 7))
    with pytest.raises(EngineError, match=r"output logits is .*\(-1, 259\).*, not .*\(-1, 7\)"):
        build.build(replace(request, outputs=(wrong, *request.outputs[1:])))


def test_a_builder_that_crashes_takes_only_its_own_process(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "crashing_builder.py").write_text("import os\nos.kill(os.getpid(), 11)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    request = _request(model, tmp_path / "m", "A", "fp16", "8.6")
    with pytest.raises(EngineError, match=r"crashing_builder crashed while building \(SIGSEGV\)"):
        build.build(replace(request, builder="crashing_builder"))


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"quant": "fp8"}, UnsupportedError, "fp8 needs compute capability 8.9 or newer, not 8.6"),
        ({"capability": ("8.7",)}, UnsupportedError, "does not build for compute capability '8.7'"),
        ({"capability": ()}, UsageError, "name the compute capability of the device"),
        ({"context": 4096}, UsageError, "context is 4096, the model has 512"),
    ],
)
def test_what_cannot_be_is_said_before_any_work(
    options: dict[str, Any],
    error: type[Exception],
    says: str,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tensorrt, "find_builder", lambda: RTX)
    monkeypatch.setattr(tensorrt, "num_gpus", lambda: 0)
    with open_source(model) as source, pytest.raises(error) as caught:
        tensorrt.check(source, _config(**options))
    assert says in str(caught.value)


def test_without_a_builder_the_graph_is_written_only_when_it_is_asked_for(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt, "find_builder", lambda: "")
    with open_source(model) as source:
        with pytest.raises(UnsupportedError, match="graph_only=true"):
            tensorrt.check(source, _config())
        config = _config(graph_only=True, capability=())
        plan = tensorrt.check(source, config)
        bundle = tensorrt.write(source, tmp_path, plan, lambda *_: None)
    written = write_bundle(bundle, tmp_path)
    assert {file.path for file in written.files} == set(plan.files)
    assert json.loads((tmp_path / "tensorrt.json").read_text())["form"] == "A"
    data = (tmp_path / "model.onnx.data").stat().st_size
    assert data == pytest.approx(plan.files["model.onnx.data"], rel=0.5)


def test_the_full_tensorrt_builds_for_its_own_device_only(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt, "find_builder", lambda: "tensorrt")
    monkeypatch.setattr(tensorrt.metadata, "version", lambda _: "10.3.0")
    with open_source(model) as source:
        with pytest.raises(UsageError, match="for the GPU of this machine only"):
            tensorrt.check(source, _config())
        plan = tensorrt.check(source, _config(capability=()))
        assert "timing.cache" in plan.files
        assert "form A" in plan.notes[0]  # 10.3 has no attention of its own
        monkeypatch.setattr(tensorrt.metadata, "version", lambda _: "10.16.1")
        assert "form B" in tensorrt.check(source, _config(capability=())).notes[0]


def test_activations_are_rounded_by_the_ranges_of_an_imatrix(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = imatrix.Imatrix(
        sums={"blk.0.ffn_up.weight": np.ones((1, 64), np.float32)},
        counts={"blk.0.ffn_up.weight": np.ones(1, np.int64)},
        largest={"blk.0.ffn_up.weight": 3.5},
    )
    imatrix.write(known, tmp_path / "imatrix.gguf")
    file = tmp_path / "imatrix.gguf"
    config = _config(graph_only=True, quant="int8", activations=True, imatrix=file)
    (tmp_path / "out").mkdir()
    with open_source(model) as source:
        plan = tensorrt.check(source, config)
        tensorrt.write(source, tmp_path / "out", plan, lambda *_: None)
    graph = onnx.load(tmp_path / "out" / "model.onnx", load_external_data=False).graph
    assert [node.op_type for node in graph.node].count("QuantizeLinear") == 1
    with pytest.raises(UsageError, match="ranges must be known"):
        _config(quant="int8", activations=True)
    with pytest.raises(UsageError, match="not with int4"):
        _config(quant="int4", activations=True, imatrix=file)


def test_weights_that_float16_cannot_hold_are_refused() -> None:
    weight = np.full((4, 32), 70000.0, np.float32)
    with pytest.raises(
        BundleError, match=r"w holds numbers that float16 cannot \(take --quant bf16"
    ):
        Weights("fp16").store("w", weight, "fp16")
    assert Weights("bf16").store("w", weight, "bf16").codes[0, 0] == pytest.approx(70000, rel=0.01)
