"""The engine `tensorrt` as far as it goes without a GPU: its KV on a twin, and what it refuses."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgereason.engines import tensorrt
from edgereason.engines.graph.exported import GraphInfo, Sizes
from edgereason.engines.graph.kv import PooledModel
from edgereason.errors import (
    BundleError,
    EdgereasonError,
    EngineError,
    UnsupportedError,
    UsageError,
)
from edgereason.export.sources.open import open_source
from edgereason.export.weights.for_tensorrt import Weights
from edgereason.models.bundle import Bundle, open_bundle
from support import trt_twin
from support.tiny_models import write_model
from support.trt_graphs import write

SEQS, CONTEXT, VOCAB = 5, 48, 259
TOLERANCE = 1e-3


@pytest.fixture(scope="module", params=["A-dense", "B-dense", "A-sliding", "B-sliding"])
def twin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    form, kind = request.param.split("-")
    folder = tmp_path_factory.mktemp(request.param)
    with open_source(write_model(folder / "tiny.gguf", kind)) as source:
        path = write(source, folder / "graph", form, Weights("fp32"), CONTEXT)
    return path


def _pooled(path: Path) -> PooledModel:
    pooled, info = trt_twin.executor(path, Sizes(CONTEXT, SEQS, CONTEXT))
    return PooledModel(
        pooled,
        num_seats=SEQS,
        capacity=CONTEXT,
        num_vocab=info.num_vocab,
        num_embd=info.num_embd,
    )


def _decode(model: PooledModel, rows: list[tuple[int, int, int, bool]]) -> np.ndarray:
    seqs, positions, tokens, outputs = zip(*rows, strict=True)
    logits, _ = model.decode(
        np.array(seqs, np.int32),
        np.array(positions, np.int32),
        np.array(tokens, np.int32),
        np.array(outputs, bool),
        None,
    )
    assert logits is not None
    return logits[: sum(outputs)].copy()


def _fresh(model: PooledModel, tokens: list[int]) -> np.ndarray:
    """The logits after `tokens`, from scratch; its sequence is SEQS - 1."""
    last = len(tokens) - 1
    said = _decode(model, [(SEQS - 1, i, token, i == last) for i, token in enumerate(tokens)])
    model.trim(SEQS - 1, 0)
    return said[0]


@pytest.mark.parametrize("seed", range(25))  # times four twins: a hundred
def test_any_order_of_operations_equals_recomputing(twin: Path, seed: int) -> None:
    rng = random.Random(seed)
    model, scratch = _pooled(twin), _pooled(twin)
    held: dict[int, list[int]] = {seq: [] for seq in range(SEQS)}
    checked = 0
    for _ in range(24):
        act = rng.choice(["step", "step", "step", "fork", "trim", "drop", "save"])
        seq = rng.randrange(SEQS)
        if act == "step":
            rows, expected = [], []
            for each in rng.sample(range(SEQS), rng.randint(1, SEQS)):
                num = min(CONTEXT - len(held[each]), rng.choice([1, 1, 1, 3]))
                for i in range(num):
                    token = rng.randrange(VOCAB)
                    rows.append((each, len(held[each]), token, i == num - 1))
                    held[each].append(token)
                expected.append(list(held[each]))
            for said, tokens in zip(_decode(model, rows), expected, strict=True):
                np.testing.assert_allclose(said, _fresh(scratch, tokens), atol=TOLERANCE)
                checked += 1
        elif act == "fork":
            target = rng.randrange(SEQS)
            if held[seq] and not held[target]:
                length = rng.randint(1, len(held[seq]))
                model.fork(seq, target, length)
                held[target] = held[seq][:length]
        elif act == "save" and held[seq]:
            data = model.save(seq)
            model.trim(seq, 0)
            model.load(seq, len(held[seq]), data)
        elif held[seq]:
            length = rng.randrange(len(held[seq])) if act == "trim" else 0
            model.trim(seq, length)
            del held[seq][length:]
    assert checked > 5


def test_embeddings_and_rows_that_nobody_wants(twin: Path) -> None:
    """A sequence of embeddings beside one of tokens says what the same tokens say."""
    model = _pooled(twin)
    table = np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)

    def feed(seq: int, embeddings: np.ndarray, outputs: list[bool]) -> np.ndarray:
        num = len(outputs)
        logits, _ = model.decode(
            np.full(num, seq, np.int32),
            np.arange(num, dtype=np.int32),
            np.full(num, -1, np.int32),
            np.array(outputs),
            embeddings,
        )
        assert logits is not None
        return logits[: sum(outputs)].copy()

    assert feed(0, table[:3], [False] * 3).shape == (0, VOCAB)
    whole = feed(1, table, [False, False, False, True])
    rest, _ = model.decode(
        np.array([0, 2], np.int32),
        np.array([3, 0], np.int32),
        np.array([-1, 7], np.int32),
        np.array([True, True]),
        np.stack([table[3], np.zeros(64, np.float32)]),
    )
    assert rest is not None
    np.testing.assert_allclose(rest[0], whole[0], atol=TOLERANCE)
    np.testing.assert_allclose(rest[1], _fresh(model, [7]), atol=TOLERANCE)


# --- what is refused ------------------------------------------------------------------------------


def _bundle(folder: Path, **facts: Any) -> Bundle:
    folder.mkdir()
    (folder / "model.engine").write_bytes(b"engine")
    write_model(folder / "vocab.gguf", "dense")
    said = {"format": 1, "builder": "tensorrt_rtx", "version": "1.7", "form": "B"}
    said |= {"context": 256, "batch": 4, "chunk": 64, **facts}
    (folder / "tensorrt.json").write_text(json.dumps(said))
    files = [
        {"path": name, "size_bytes": (folder / name).stat().st_size}
        for name in ("model.engine", "vocab.gguf", "tensorrt.json")
    ]
    manifest = {"format": 1, "name": "tiny", "engine": "tensorrt", "files": files}
    (folder / "edgereason.json").write_text(json.dumps(manifest))
    return open_bundle(folder)


def test_it_says_that_it_needs_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgereason.engines.graph.trt_library.num_gpus", lambda: 0)
    bundle = _bundle(tmp_path / "b")
    with pytest.raises(UnsupportedError) as caught:
        tensorrt.open(bundle, tensorrt.Config())
    assert "needs an NVIDIA GPU and its driver, and this machine has none" in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a GPU, and it would be used")
def test_without_a_driver_no_library_is_loaded(tmp_path: Path) -> None:
    """One that crashes without a driver would take the process with it."""
    _bundle(tmp_path / "b")
    code = (
        "import sys\n"
        "from edgereason.models.bundle import open_bundle\n"
        "from edgereason.engines import tensorrt\n"
        "from edgereason.errors import UnsupportedError\n"
        "try:\n    tensorrt.open(open_bundle(sys.argv[1]), tensorrt.Config())\n"
        "except UnsupportedError:\n    pass\n"
        "print(sorted(n for n in sys.modules if n.startswith(('tensorrt', 'onnx'))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "b")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("facts", "error", "says"),
    [
        ({"builder": ""}, UnsupportedError, "no TensorRT has built for a device yet"),
        ({"format": 9}, BundleError, "has format 9, this version reads 1"),
        ({"context": "many"}, BundleError, "cannot read"),
        ({"chunk": 0}, BundleError, "sizes must be 1 or more"),
    ],
)
def test_a_bundle_that_cannot_be_run_is_refused_before_a_gpu_is_asked_for(
    facts: dict[str, Any], error: type[EdgereasonError], says: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=says):
        tensorrt.open(_bundle(tmp_path / "b", **facts), tensorrt.Config())


def _info(form: str) -> GraphInfo:
    return GraphInfo(form, 256, 2, 2, 16, 259, 64, np.dtype(np.float16))


def test_an_engine_takes_what_it_was_built_for_or_less() -> None:
    facts = tensorrt.Facts("tensorrt_rtx", "1.7", "A", 256, batch=4, chunk=64)
    assert tensorrt.choose_sizes(tensorrt.Config(), facts, _info("A")) == Sizes(256, 4, 64)
    smaller = tensorrt.Config(context=128, sequences=2, batch=16)
    assert tensorrt.choose_sizes(smaller, facts, _info("A")) == Sizes(128, 2, 16)
    for options, says in (
        ({"sequences": 5}, "sequences must be at most 4"),
        ({"batch": 65}, "batch must be at most 64"),
        ({"context": 257}, "context must be at most 256"),
    ):
        with pytest.raises(UsageError, match=says):
            tensorrt.choose_sizes(tensorrt.Config(**options), facts, _info("A"))
    fixed = tensorrt.Facts("tensorrt_rtx", "1.7", "B", 256, batch=4, chunk=64)
    with pytest.raises(UsageError, match="context must be 256, which the engine was built for"):
        tensorrt.choose_sizes(smaller, fixed, _info("B"))


class Context:
    """Notes what it is told."""

    def __init__(self, works: bool = True) -> None:
        self.works = works
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.profile = -1
        self.num_runs = 0

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        self.profile = profile
        return stream == 77

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        self.num_runs += 1
        return self.works and stream == 77


class FakeEngine:
    def __init__(self, works: bool = True) -> None:
        self.contexts = [Context(works), Context(works)]
        self._left = list(self.contexts)

    def create_execution_context(self) -> Context:
        return self._left.pop(0)


def _tensors(length: int) -> dict[str, tuple[int, tuple[int, ...]]]:
    return {
        "input_ids": (10, (1, length)),
        "logits": (20, (1, 259)),
        "past_key_values.0.key": (30, (1, 2, 8, 16)),
        "present.0.key": (30, (1, 2, 8, 16)),
    }


def test_prompts_and_tokens_have_a_context_each() -> None:
    engine = FakeEngine()
    graph = tensorrt.TrtGraph(engine, 77, [])
    graph.run(_tensors(5))
    graph.run(_tensors(1))
    graph.run(_tensors(1))
    assert [(each.profile, each.num_runs) for each in engine.contexts] == [(0, 1), (1, 2)]
    writes = engine.contexts[1]
    assert set(writes.shapes) == {"input_ids", "past_key_values.0.key"}  # outputs have none to set
    assert writes.addresses["present.0.key"] == writes.addresses["past_key_values.0.key"] == 30


def test_a_run_that_fails_says_why() -> None:
    graph = tensorrt.TrtGraph(FakeEngine(works=False), 77, ["out of kernels"])
    with pytest.raises(EngineError, match="TensorRT failed: out of kernels"):
        graph.run(_tensors(1))


def test_the_library_has_the_calls_that_are_made() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="pip install '.[parity]'")
    for name in ("set_optimization_profile_async", "set_input_shape", "set_tensor_address"):
        assert callable(getattr(trt.IExecutionContext, name))
    assert callable(trt.IExecutionContext.execute_async_v3)
    for name in ("get_tensor_name", "get_tensor_mode", "get_tensor_shape", "get_tensor_dtype"):
        assert callable(getattr(trt.ICudaEngine, name))
    assert hasattr(trt.ICudaEngine, "device_memory_size_v2")
    assert hasattr(trt.ICudaEngine, "num_io_tensors")
