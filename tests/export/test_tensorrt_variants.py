"""The nano family for TensorRT: engines compile ahead of time, and the same graph, run on the CPU
by the engine's twin and asked through the runtime, says what llamacpp says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gguf", reason="the extra `export`")
pytest.importorskip("onnx", reason="the extra `export`")
pytest.importorskip("onnxruntime", reason="runs the graph")

from edgereason.bench.harness.problems import problems
from edgereason.export.job import Job, export
from edgereason.export.sources.open import open_source
from edgereason.models.bundle import verify
from edgereason.records import Sampling
from edgereason.runtime.reasoner import Reasoner
from support import trt_twin

MODELS = ("nano", "nano-infty", "nano-coconut")
WAYS: dict[str, dict[str, Any]] = {
    "chain-no-think": {"model": "nano", "strategy": "no-think"},
    "chain-think": {"model": "nano", "strategy": "think"},
    "operator-think": {"model": "nano", "strategy": "think", "prefix": "operator-32"},
    "iterate-rounds": {"model": "nano-infty", "strategy": "infty-think"},
    "reach-latent": {"model": "nano-coconut", "strategy": "coconut"},
}


@pytest.fixture(scope="module", params=["A", "B"])
def twins(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Reasoner]]:
    folder = tmp_path_factory.mktemp(request.param)
    opened: dict[str, Reasoner] = {}
    with trt_twin.in_its_place():
        for model in MODELS:
            options = {"graph_only": True, "form": request.param}
            export(model, Job("tensorrt", folder / model, options))
            opened[model] = Reasoner.open(str(folder / model))
        yield opened
        for reasoner in opened.values():
            reasoner.close()


@pytest.mark.parametrize("way", WAYS)
def test_the_same_tokens_as_llamacpp(way: str, twins: Mapping[str, Reasoner]) -> None:
    asked = {"sampling": Sampling(temperature=0), "think_budget": -1, **WAYS[way]}
    model = asked.pop("model")
    with Reasoner.open(model, threads=1) as llama:
        for problem in problems(way.partition("-")[0], 3, 7):
            told = [
                each.submit(problem.question, **asked).result(120) for each in (llama, twins[model])
            ]
            assert told[0].answer
            assert told[0].to_dict()["reasoning"] == told[1].to_dict()["reasoning"]
            assert told[0].answer == told[1].answer
            assert told[0].usage == told[1].usage


@pytest.mark.parametrize("model", MODELS)
def test_it_compiles_ahead_of_time(model: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="it builds without a GPU: pip install '.[parity]'")
    with open_source(model) as source:
        job = Job("tensorrt", tmp_path / model, {"capability": ("8.6", "12.0")})
        bundle = export(source, job).bundle
        assert bundle.variant == source.variant
        assert len(source.prefixes) == sum("prefixes/" in file.path for file in bundle.files)
    verify(bundle)
    assert json.loads((bundle.path / "tensorrt.json").read_text())["capabilities"] == [
        "8.6",
        "12.0",
    ]


def test_the_bench_tells_variants_apart(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorrt_rtx", reason="it builds without a GPU: pip install '.[parity]'")
    from edgereason.bench.harness.runner import run as run_bench
    from edgereason.bench.suites import tensorrt_builds

    asked = "--model nano --variants nano-infty --architectures --forms B --quants int4"
    asked += " --capabilities 8.6 --wait-idle 0 --quiet"
    assert run_bench(tensorrt_builds.BENCH, asked.split()) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]
    assert [each["model"] for each in figures["builds"]] == ["nano", "nano-infty (infty_think)"]
    assert all(each["engine_bytes"] > 1 << 20 for each in figures["builds"])
    assert [each["quant"] in each["says"] for each in figures["refused"]] == [True, True]
