"""The engines that the contract suite runs on, and what its tests do with them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from edgereason import engines
from edgereason.models.bundle import Bundle, open_bundle, write_bundle
from edgereason.registry import load
from support import trt_twin
from support.tiny_models import write_model

if TYPE_CHECKING:
    from edgereason._core import Engine

TEXT = "The quick brown fox jumps over the lazy dog, and then it sleeps."
STORY = """Once upon a time there was a small robot who lived in a house by the sea. Every morning
it opened the window and listened to the waves. One day a storm came, and the wind blew so hard that
the door flew open. The robot went out to look for its friend, a grey cat called Molly. It found her
under an old boat, wet and afraid, and carried her home."""
SCRIPT = """
[[rules]]
after = "lazy"
reply = " dog, and then"
"""

# What is run: the scripted engine, a tiny model of each kind of memory, a real one; as graphs, what
# of them can be exported. The number is how far two ways to compute the same logits may lie
# apart: with another order of KV cells libllama rounds otherwise, and 4-bit kernels amplify it: 1.3
# at most on STORY, where one wrong token makes 8.5 at the median.
CASES = {
    "scripted": ("scripted", 0.0),
    "dense": ("llamacpp", 0.01),
    "sliding": ("llamacpp", 0.01),
    "recurrent": ("llamacpp", 0.01),
    "smollm2": ("llamacpp", 2.0),
    "onnx-dense": ("onnxruntime", 0.001),
    "onnx-sliding": ("onnxruntime", 0.001),
    "onnx-smollm2": ("onnxruntime", 2.0),
    "trt-A-dense": ("tensorrt", 0.03),  # on its twin; products and cache are float16
    "trt-B-sliding": ("tensorrt", 0.03),
}
ONNX = "onnx-"
TRT = "trt-"


@dataclass(frozen=True)
class Case:
    name: str
    module: ModuleType
    bundle: Bundle
    tolerance: float

    def open(self, **options: int) -> Engine:
        # Two threads that spin on a busy machine make this suite ten times slower.
        more = {"hidden": True, "threads": 1}
        known = {key: value for key, value in more.items() if key in self.module.Config.__slots__}
        chosen = {"context": 256, "sequences": 8, "batch": 64, **known, **options}
        engine: Engine = self.module.open(self.bundle, self.module.Config(**chosen))
        engine.set_threads(1)
        return engine

    def same(self, left: np.ndarray, right: np.ndarray) -> bool:
        return float(np.abs(left - right).max()) <= self.tolerance


def open_case(name: str, folder: Path, smollm2: Path | None) -> Case:
    engine, tolerance = CASES[name]
    kind = name.rpartition("-")[2]
    if name == "scripted":
        path = _scripted_bundle(folder)
    elif kind == "smollm2":
        assert smollm2
        path = smollm2
    else:
        path = write_model(folder / "tiny.gguf", kind)
    if name.startswith(ONNX):
        path = export_onnx(path, folder / "onnx", "f32" if kind != "smollm2" else "int8")
    if name.startswith(TRT):
        path = trt_twin.export(path, folder / "trt", name.split("-")[1])
        return Case(name, trt_twin.module(), open_bundle(path), tolerance)
    return Case(name, load(engines, engine), open_bundle(path), tolerance)


def export_onnx(model: Path, folder: Path, quant: str) -> Path:
    """A bundle for the engine `onnxruntime`, of a GGUF."""
    from edgereason.export.sources.open import open_source
    from edgereason.export.targets import onnx

    folder.mkdir()
    with open_source(model) as source:
        plan = onnx.check(source, onnx.Config(quant=quant))
        bundle = onnx.write(source, folder, plan, lambda *_: None)
        write_bundle(replace(bundle, name="tiny"), folder)
    return folder


def _scripted_bundle(folder: Path) -> Path:
    (folder / "script.toml").write_text(SCRIPT)
    manifest = {
        "format": 1,
        "name": "scripted",
        "engine": "scripted",
        "files": [{"path": "script.toml", "size_bytes": len(SCRIPT)}],
    }
    (folder / "edgereason.json").write_text(json.dumps(manifest))
    return folder


def feed(
    engine: Engine, seq: int, tokens: Sequence[int], start: int = 0, chunk: int = 64
) -> np.ndarray:
    """Appends tokens and returns the logits after the last of them."""
    last = start + len(tokens) - 1
    for begin in range(0, len(tokens), chunk):
        part = tokens[begin : begin + chunk]
        pos = start + begin
        engine.decode([(seq, pos + i, token, pos + i == last) for i, token in enumerate(part)])
    return output(engine, len(part) - 1)


def output(engine: Engine, row: int) -> np.ndarray:
    logits = engine.logits(row)
    assert logits is not None
    return logits


def fresh(engine: Engine, tokens: Sequence[int]) -> np.ndarray:
    """The logits after `tokens`, computed anew in the last sequence."""
    seq = engine.info["max_seqs"] - 1
    engine.drop(seq)
    logits = feed(engine, seq, tokens)
    engine.drop(seq)
    return logits


def fill(engine: Engine, seq: int, num: int) -> None:
    feed(engine, seq, [1] * num)
