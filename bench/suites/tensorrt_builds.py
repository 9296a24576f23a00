"""Which TensorRT engines compile ahead of time, for devices that are not here.

Both forms of models, of variants, and of two layers of every architecture: seconds, size and peak
memory of each build, and what is refused. Nothing is run: that needs a GPU.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgereason.engines.graph.trt_library import RTX, import_trt
from edgereason.errors import EngineError
from edgereason.export.sources.base import Architecture, Source
from edgereason.export.sources.open import open_source
from edgereason.export.sources.tensors import expected
from edgereason.export.targets import tensorrt
from edgereason.export.trt import build
from edgereason.export.weights.for_tensorrt import Weights

from ..harness.runner import Bench, Findings, Say, Table

_LAYERS: Final = 2
_MIB: Final = 1 << 20
_REFUSED: Final = (("fp8", "8.6"), ("int4", "7.5"))  # what must fail, with a reason


class RandomSource(Source):  # type: ignore[misc]  # mypy knows it as export._source
    """Two layers with random weights."""

    licence = base_model = base_hash = ""
    quantization = "random"
    vocabulary: Mapping[str, Any] = {}  # nobody writes to it

    def __init__(self, name: str, seed: int) -> None:
        self.path = Path(name)
        self.name = f"{name}, {_LAYERS} layers"
        self.architecture = _architecture(name)
        must, may = expected(self.architecture)
        self._shapes: dict[str, tuple[int, ...]] = must if name != "qwen2" else must | may
        self._seed = seed

    def names(self) -> tuple[str, ...]:
        return tuple(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def _read_tensor(self, name: str) -> NDArray[np.float32]:
        rng = np.random.default_rng([self._seed, self.names().index(name)])
        shape = self._shapes[name]
        found: NDArray[np.float32] = rng.standard_normal(shape, np.float32)
        found /= np.float32(shape[-1] ** 0.5)
        return found + 1 if "norm.weight" in name else found

    def files(self) -> tuple[Path, ...]:
        return ()

    def close(self) -> None:
        pass


def _architecture(name: str) -> Architecture:
    arch = Architecture(
        name=name,
        num_layers=_LAYERS,
        num_embd=256,
        num_heads=4,
        num_kv_heads=4 if name == "gpt2" else 2,
        head_dim=64,
        num_ff=512,
        num_vocab=1000,
        context=1024,
        norm_eps=1e-5,
        rope_theta=0.0 if name == "gpt2" else 10000.0,
        tied=name != "qwen2",
    )
    if name == "gemma3":
        slides = tuple(i % 2 == 0 for i in range(_LAYERS))
        return replace(
            arch,
            sliding_window=64,
            sliding_layers=slides,
            local_rope_theta=1e4,
            embedding_scale=16.0,
        )
    if name == "smollm3":
        return replace(arch, rope_layers=tuple(i % 2 == 0 for i in range(_LAYERS)))
    return arch


def measure(options: argparse.Namespace, say: Say) -> Findings:
    trt = import_trt(RTX)
    builds: list[dict[str, Any]] = []
    for source in _sources(options):
        with source:
            context = min(options.context, source.architecture.context)
            for form in options.forms:
                for quant in options.quants:
                    say(f"{source.name}, form {form}, {quant}")
                    builds += _builds(source, form, quant, context, options.capabilities)
    refused = [_refusal(options.seed, quant, capability) for quant, capability in _REFUSED]
    return findings(str(trt.__version__), builds, refused)


def _sources(options: argparse.Namespace) -> Iterator[Source]:
    for name in (options.model, *options.variants):
        source = open_source(name)
        if source.variant is not None:
            source.name += f" ({source.variant.kind})"
        yield source
    for name in options.architectures:
        yield RandomSource(name, options.seed)


def _builds(
    source: Source, form: Any, quant: Any, context: int, capabilities: list[str]
) -> list[dict[str, Any]]:
    """One graph, and an engine of it for each capability."""
    with tempfile.TemporaryDirectory() as folder:
        request = _request(source, Path(folder), form, quant, context)
        made = []
        for capability in capabilities:
            report = build.build(replace(request, capabilities=(capability,)))
            made.append(
                {
                    "model": source.name,
                    "form": form,
                    "quant": quant,
                    "capability": capability,
                    "seconds": report.seconds,
                    "engine_bytes": report.num_bytes,
                    "peak_bytes": report.peak_bytes,
                }
            )
        return made


def _request(source: Source, folder: Path, form: Any, quant: Any, context: int) -> build.Request:
    shape = tensorrt.Shape(form, context, batch=8, chunk=min(512, context))
    tensorrt.write_graph(source, folder, shape, Weights(quant), lambda *_: None)
    inputs, outputs = tensorrt.ports(source.architecture, shape)
    return build.Request(
        builder=RTX,
        graph=folder / tensorrt.GRAPH,
        engine=folder / tensorrt.ENGINE,
        cache=folder / tensorrt.CACHE,
        inputs=inputs,
        outputs=outputs,
        profiles=tensorrt.profiles(shape),
    )


def _refusal(seed: int, quant: Any, capability: str) -> dict[str, str]:
    with RandomSource("llama", seed) as source, tempfile.TemporaryDirectory() as folder:
        request = _request(source, Path(folder), "A", quant, 256)
        try:
            build.build(replace(request, capabilities=(capability,)))
        except EngineError as error:
            return {"quant": quant, "capability": capability, "says": str(error)}
    return {"quant": quant, "capability": capability, "says": "built, which it should not have"}


def findings(version: str, builds: list[dict[str, Any]], refused: list[dict[str, str]]) -> Findings:
    rows = [
        (
            each["model"],
            each["form"],
            each["quant"],
            each["capability"],
            round(each["seconds"], 1),
            round(each["engine_bytes"] / _MIB, 1),
            round(each["peak_bytes"] / _MIB),
        )
        for each in builds
    ]
    columns = ("model", "form", "quant", "for", "seconds", "engine MiB", "peak MiB")
    return Findings(
        {"tensorrt_rtx": version, "builds": builds, "refused": refused},
        (Table(f"Engines built on a CPU with tensorrt_rtx {version}", columns, rows),),
        tuple(f"{each['quant']} for {each['capability']}: {each['says']}" for each in refused),
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--variants",
        nargs="*",
        default=["nano", "nano-infty", "nano-coconut"],
        help="models beside --model: names, bundles or Hugging Face folders",
    )
    parser.add_argument(
        "--architectures",
        nargs="*",
        default=["llama", "qwen2", "qwen3", "gpt2", "gemma3", "smollm3"],
        help="built with two layers of random weights",
    )
    parser.add_argument("--forms", nargs="+", default=["A", "B"])
    parser.add_argument("--quants", nargs="+", default=["fp16", "int8", "int4"])
    parser.add_argument("--capabilities", nargs="+", default=["8.6", "12.0"])


BENCH = Bench("tensorrt_builds", __doc__.splitlines()[0], _add_options, measure)
